"""What a plan says it will do: its steps, what it looks for, asks, measures, compares, and answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from valor_ray.tabletop.judge.text.english import COLOURS, has, normal_phrase

_NUMBERING = re.compile(r"^\s*(?:#+\s*)?(?:step\s*)?(?:\(?\d+\s*[.):]|\(?[a-h]\)|[-*•–>]+)\s*", re.IGNORECASE)
_LOOK = (
    r"detect(?:ing|s)?|locali[sz](?:e|ing)|fetch(?:ing)?|find(?:ing|s)?|locat(?:e|es|ing)|look(?:ing)? for|"
    r"search(?:ing)? (?:\w+ ){0,3}?for|identify|spot|get (?:the |all |"
    r"every )?(?:bounding )?box(?:es)? "
    r"(?:of|for|around)|(?:run|call|use|apply|query|invoke) (?:gd_detect|gd detect|"
    r"the detector|detection|object detection)(?: \w+)? (?:on|for|with|to (?:find|"
    r"detect|locate|get))"
)
_LOOK_CLAUSE = re.compile(rf"\b(?:{_LOOK})\b:?\s+(?P<what>[^.;:\n]+)")
_CONDITION = re.compile(r"^\s*(?:if|when|should|unless|otherwise|in case|else)\b|,\s*if\b")
EMPTY = (
    r"nothing|none|neither|empty|missing|absent|unavailable|not (?:\w+ )?(?:found|"
    r"detected|there|visible|present|seen|located|exist)|no (?:\w+ ){0,3}?(?:box|"
    r"boxes|"
    r"regions?|detections?|such|objects?|match\w*|results?|hits?)|(?:cannot|can't|"
    r"could not|couldn't|can not) be (?:\w+ )?(?:found|detected|located|seen)|"
    r"isn't (?:found|there|detected|present)|"
    r"aren't (?:found|there|detected|present)|fails? to (?:find|detect|return|"
    r"locate|appear)|does not exist|doesn't exist|without a (?:box|detection)|"
    r"zero (?:detections?|boxes|results|matches)|"
    r"no (?:\w+ ){1,4}?(?:is|are|was|were) (?:\w+ )?(?:found|detected|present|"
    r"visible|there|seen|returned|located)|comes? (?:back|up) (?:empty|blank)|"
    r"(?:detection|search|lookup|either|any|one)(?: of (?:them|these|"
    r"the two))? fails|"
    r"lacks?|undetected|not in (?:the|this) (?:image|picture|scene)|"
    r"finds? (?:nothing|none|no\b)|returns? (?:nothing|no\b)|yields? (?:nothing|"
    r"no\b)|only one|can't find|cannot find|didn't find|(?:list|result)s? (?:is|"
    r"are) empty|without (?:either|one|any|it|them|both|the|a|an)|lack of|"
    r"fewer than (?:two|one)|not both|less than (?:two|one)|there (?:is|are|"
    r"'s) no(?:ne)?\b|absence|fails?|failed|failure|unsuccessful\w*|undetectable"
)
_SAID = (
    r"unknown|yes|no|none|zero|not found|not detected|cannot (?:tell|determine)|n/a|"
    r"undetermined|unclear|missing|null|-?\d+(?:\.\d+)?"
)
_PRESENT = (  # a condition that both are there
    r"(?:only (?:if|when|continue|proceed|go on)|provided|as long as|once|"
    r"check that|make sure|ensure|verify|confirm)[^.;]{0,40}"
    r"\b(?:both|all|each|either|it|any|at least one)\b[^.;]{0,30}\b(?:found|"
    r"detected|exists?|present|available|non-empty|there|visible)"
)
_ASK = (
    r"(?<!question )ask(?:s|ing|ed)?(?! for (?:an|the) answer)|vqa|inquir\w*|visual question|"
    r"quer(?:y|ied|ies|ying)(?=.*\b(?:colour|shape|material|kind|type|look))"
)
_TAIL = re.compile(
    r"\(.*$|,?\s*(?:and |then )*\b(?:answer(?:ing)?|return(?:ing)?|measur\w+|"
    r"comput\w+|compar\w+|calculat\w+|check\w*|if|when|without|provided|giv\w+|"
    r"keep\w*|tak\w+|read\w*|say\w*|respond\w*|output\w*|whose (?=\w+ is known)|separately|each|first)\b.*$|"
    r"\b(?:(?:in|on|from) (?:the|this) (?:picture|image|photo|scene|table)|"
    r"with (?:gd_detect|gd detect|the detector|one|a single)|"
    r"using|via|and (?:count|take|get|keep|store|note|compare|compute|measure|ask|read|record|use|remember)|then|so|to "
    r"(?:get|count|find|see|obtain|have)|present|visible|separately|as well|among\w*|out of|by (?:calling|name))\b.*$"
)
_GIVE_UP = (
    r"cannot be (?:solved|answered)|can't be (?:solved|answered)|impossible to (?:answer|tell|know|solve|say)|"
    r"assume the answer|easy to guess|(?:just|simply|only|i will|i'll|we) guess|guess (?:the|that|it|at)|"
    r"the answer is obvious\w*|obviously"
)
_HUNCH = r"guess\w*|probably|usually|typical\w*|random\w*|likely"
_USES = r"detect\w*|box(?:es)?|find\w*|found|locat\w+|depths?|distances?|vqa|tool|search\w*|look\w*|heights?"
_NOT_A_HUNCH = (
    r"(?:not?|never|without|avoid|rather than|instead of|don't|no need to)\W+(?:\w+\W+){0,2}(?:guess|random)"
)
_TO_JUDGE = (
    r"verdict\"?\W{1,4}\"?(?:yes|no)|(?:dear|to the|for the|attention) (?:judge|grader|evaluator|reviewer)\b|"
    r"(?:judge|grader|evaluator|reviewer)s? (?:should|must|will|can|please)|judge\s?:|"
    r"rubric|reward|ignore (?:all|any|previous)|ignore the (?:above|rules|instructions)|"
    r"this plan is (?:correct|right|perfect|good)"
)


_COLOURED = re.compile(
    rf"\b(?:{'|'.join(sorted(COLOURS))})[ -](?:box(?:es)?|balls?|cylinders?|cones?|objects?)\b"
)


@dataclass(frozen=True)
class Plan:
    text: str  # lower case
    steps: tuple[str, ...]
    sentences: tuple[str, ...]  # of all steps, without quotes
    looks: tuple[str, ...]  # clauses after "detect", as written
    phrases: tuple[str, ...]  # what is detected, in normal form
    coloured: tuple[str, ...]  # red box, blue object: all things that it names with their colour, anywhere
    asks: tuple[str, ...]  # steps that put a question to vqa
    whole: bool  # a question about the whole picture
    guarded: bool  # says what happens when a detection is empty
    empty_answer: str  # what it then answers, "" when not said
    gives_up: bool
    to_judge: bool

    @property
    def outside_looks(self) -> str:
        """The text without what is looked for."""
        text = self.text
        for look in self.looks:
            if phrase := _TAIL.sub("", look).strip():
                text = text.replace(phrase, " ")
        return text


@lru_cache(maxsize=256)
def read_plan(plan: str) -> Plan:
    lower = plan.lower().replace("color", "colour").replace("gray", "grey").translate(_PLAIN)
    lower = lower.replace("i.e.", "that is").replace("e.g.", "such as")
    lines = [line for line in lower.splitlines() if line.strip()]
    if len(lines) == 1:
        lines = re.split(r"(?<=[.;])\s+|\s+(?=\(?\d\s*[.)]\s)", lines[0])
    steps = tuple(step for line in lines if (step := _NUMBERING.sub("", line).strip(" *")))
    text = "\n".join(steps)
    sentences = tuple(
        s for step in steps for part in re.split(r"(?<=[.;!?])\s+|;\s*", step) if (s := _sentence(part))
    )
    looks = tuple(
        match["what"].strip()
        for sentence in (s for step in steps for s in re.split(r"(?<=[.;!?])\s+|;\s*", step))
        if not _CONDITION.match(sentence)
        for match in _LOOK_CLAUSE.finditer(sentence)
    )
    asks = tuple(sentence for sentence in sentences if has(_ASK, sentence))
    empty = [s for s in sentences if _on_empty(s)]
    return Plan(
        text=text,
        steps=steps,
        sentences=sentences,
        looks=looks,
        phrases=tuple(dict.fromkeys(p for look in looks for p in _phrases(look))),
        coloured=tuple(dict.fromkeys(normal_phrase(match[0]) for match in _COLOURED.finditer(text))),
        asks=asks,
        whole=any_whole(asks),
        guarded=bool(empty),
        empty_answer=next((answer for s in empty if (answer := _empty_answer(s))), ""),
        gives_up=_gives_up(text, looks),
        to_judge=has(_TO_JUDGE, text),
    )


_PLAIN = str.maketrans(
    {
        "’": "'",
        "‘": "'",
        "“": '"',
        "”": '"',
        "`": " ",
        "×": "*",
        "–": "-",
        "—": ",",
        "≤": "<",
        "≥": ">",
        "_": " ",
    }
)


def _sentence(text: str) -> str:
    """Without quotes and trailing points; halves of sums are no fractions of things."""
    return re.sub(r"/\s*2\b", " halved", text.replace('"', "").replace("*", " times ")).strip(" .;!?")


def _on_empty(sentence: str) -> bool:
    """Speaks of what is not there, in whatever form, or of a condition on what is there."""
    return (
        has(EMPTY, sentence)
        or has(_ABSENCE, sentence)
        or has(_PRESENT, sentence)
        or bool(_IF_SEEN.search(sentence))
        or "[]" in sentence
    )


_ABSENCE = (
    r"verif\w*|check\w*|confirm\w*|ensur\w*|complete\w*|incomplete|lack\w*|safeguard\w*|absen\w+|availab\w+|"
    r"nowhere|miss(?:es|ed)?|lost|invisible|escapes?|unseen|hidden|blank|zero|0|skip\w*|leav\w+ (?:\w+ )?out|left out|"
    r"default\w*|fall\w* ?back|unknown|n/a|not both|up short|fruitless\w*|empt\w+|"
    r"len(?:gth)? (?:is |of |== |= )?0|"
    r"not \w+|n't|cannot|can't|refus\w+|nobody|vanish\w*|gone|out of (?:sight|view)|in view|undefined|undetermined|nil|"
    r"no (?!otherwise|if|when|else|more|less|need|longer|matter|and|or)\w+|guard\w*|"
    r"handle\w*|found|detections?|error|crash\w*|gaps?|void"
)
_IF_SEEN = re.compile(
    r"\b(?:if|when|whenever|unless|should|in case|provided|once|only|supposing|suppose|assuming|as long as|until|"
    r"without|make sure|ensure|check\w*|verify|confirm|both|at least|first of all|any)\b[^.;]{0,70}"
    r"\b(?:f(?:ou|i)nds?|detect\w*|sees?|seen|there|exists?|present|appears?|visible|return\w*|comes?|list|turns? up|"
    r"results?|hits?|match\w*|shows?|shown|available|spotted|located|success\w*|something|anything|exactly)\b"
)


def _gives_up(text: str, looks: tuple[str, ...]) -> bool:
    plain = re.sub(_NOT_A_HUNCH, " ", text)
    return (
        has(_GIVE_UP, plain)
        or re.search(r"^guess\b", plain, re.MULTILINE) is not None
        or (not looks and has(_HUNCH, plain) and not has(_USES, plain))
    )


_REJECTED = (
    r"better|unreliable|could|would|might|instead|rather|no,|but|avoid\w*|wrong|risk\w*"  # weighed, not done
)


def any_whole(asks: tuple[str, ...]) -> bool:
    return any(
        has(r"(?:the |this )?(?:whole|entire|full) (?:picture|image|scene|photo)", ask)
        and not has(r"(?:not|rather than|instead of|never|without)(?: \w+){0,3} (?:whole|entire|full)", ask)
        and not has(_REJECTED, ask)
        for ask in asks
    ) or any(
        has(r"the (?:whole |full |entire )question|the question (?:itself|directly|as it is|about the)", ask)
        for ask in asks
    )


def _phrases(look: str) -> list[str]:
    """every red box and the blue ball in the picture → red box, blue ball"""
    quoted = re.findall(r"\"([^\"]+)\"|(?<![a-z])'([^']+)'", look)
    parts = (
        [p for q in quoted for p in (q[0] or q[1]).split(",")]
        if quoted
        else re.split(r",|\band\b|\bor\b|\bas well as\b|\bplus\b|&", _TAIL.sub("", look))
    )
    return [phrase for part in parts if (phrase := normal_phrase(part))]


def _empty_answer(sentence: str) -> str:
    """What is answered when a detection is empty: in the clause that says so, or the next one. "" when not clear."""
    clauses = [
        clause
        for part in re.split(r"[,():]|\botherwise\b|\band then\b", sentence)
        if (clause := part.strip())
    ]
    place = next((i for i, clause in enumerate(clauses) if has(EMPTY, clause)), None)
    if place is None:
        return ""
    for clause in clauses[place : place + 2]:
        match = _GIVES.search(clause) or (_LEADS.match(clause) if clause is clauses[place] else None)
        if match:
            return match["said"]
    return ""


_GIVES = re.compile(
    r"\b(?:answers?|answering|returns?|returning|giv\w+|say|reply|respond|report|"
    r"output|result is|set (?:the )?final[ _]answer (?:to|as)|counts? "
    r"as|default\w* to|fall(?:s|ing)? back (?:to|on)|the answer is|stop with|"
    r"end with)\s+(?:with\s+|as\s+|back\s+)?(?:a\s+|an\s+)?(?:plain\s+|simple\s+)?"
    rf"[\"']?(?P<said>{_SAID})(?![\w-]| (?:box|detection|object))"
)
_LEADS = re.compile(rf"[\"']?(?P<said>{_SAID})[\"']? (?:if|when|in case|should)\b")
