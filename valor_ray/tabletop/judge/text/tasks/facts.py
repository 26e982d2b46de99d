"""What the sentences of a plan claim about two things: which is smaller, when the answer is yes, which is chosen.

A plan is read sentence by sentence. The task's phrases are marked wherever they are named (in full, by colour or noun
alone, as "the first", as "the reference"); each comparing word is read with the thing before it, the thing after
it, and the yes, no or name that it leads to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from valor_ray.tabletop.judge.text.english import COLOURS, has, plural_pattern

_EDGE = (
    r"(?! (?:edge|border|boundary|bound|corner|coordinate|x|y|side of (?:its|the|"
    r"each|that) (?:own )?region|end|limit|and right|and bottom|half))"
)
_WORDS = (  # name of the group, pattern; the first that fits counts
    (
        "skip",
        (
            r"at least|at most|no more than one|once more|one or more|more precisely|"
            r"more than one|not more|or more|further steps?"
        ),
    ),
    ("x_less", rf"left(?:[- ]?most|wards?)?(?:[- ]hand)?(?:(?: side)? of)?{_EDGE}"),
    (
        "x_more",
        (
            rf"(?:to the )?right(?:[- ]?most|wards?)(?:[- ]hand)?|(?:to the|on the|the|is|"
            rf"lies|its|§\w) right(?:[- ]hand)?(?:(?: side)? of)?{_EDGE}|right of"
        ),
    ),
    (
        "y_less",
        (
            r"above|higher up|upper[- ]?most|top[- ]?most|on top of|(?:higher|upper) (?:in|"
            r"on) the (?:image|picture|frame|photo|scene)|nearer the top"
        ),
    ),
    (
        "y_more",
        (
            r"below|beneath|underneath|lower down|bottom[- ]?most|lower (?:in|"
            r"on) the (?:image|picture|frame|photo|scene)|nearer the bottom"
        ),
    ),
    ("depth_less", r"closer|closest|nearer|nearest|in front(?: of)?|front[- ]?most|foremost|ahead of"),
    (
        "depth_more",
        (
            r"farther|farthest|further|furthest|behind|(?:more|most) (?:distant|remote)|"
            r"deeper|deepest|rear[- ]?most|back[- ]?most"
        ),
    ),
    ("height_more", r"taller|tallest"),
    ("height_less", r"shorter|shortest"),
    ("width_more", r"wider|widest|broader|broadest"),
    ("width_less", r"narrower|narrowest|slimmer|slimmest|thinner|thinnest"),
    (
        "any_less",
        (
            r"smaller|smallest|less(?:er)?(?! obvious| likely)|least|minimum|minimal|min|"
            r"minimi[sz]\w+|fewer|fewest|lower(?! edge| corner| bound)|lowest|ascending|"
            r"increasing|precedes?|comes? before|under|outnumbered by|<=?|fall(?:s|"
            r"ing)? short of"
        ),
    ),
    (
        "any_more",
        (
            r"larger|largest|greater|greatest|bigger|biggest|higher|highest|maximum|maximal|"
            r"max|maximi[sz]\w+|exceeds?|exceeding|surpass\w*|descending|decreasing|"
            r"outnumbers?|longer|longest|beyond|>=?|more(?= than\b| §| of\b| in number|"
            r"[.,;]|$)|bottom(?=$)"
        ),
    ),
)
_COMPARING = re.compile(
    "|".join(f"(?P<{name}>(?<![\\w-])(?:{pattern})(?![\\w-]))" for name, pattern in _WORDS)
)
_NUMERIC = re.compile(
    r"\b(?:value|number|coordinate|reading|depth|distance|position|count|midpoint|"
    r"cent\w+|x|y)s?(?: (?:of|for) [^,;]{0,30})? (?:is|lies|falls|are|being|"
    r"comes out|stays)\s*$"
)
_VERBS = (
    r"answers?|returns?|outputs?|gives?|choose|chooses|pick|picks|select|selects|"
    r"reports?|prints?|says?|respond|reply|name|state|conclude|final answer|declare|"
    r"result is|the answer is|set (?:the )?final"
)
_BREAK = re.compile(rf"[,;:]|\b(?:then|{_VERBS}|yes|no|otherwise|else|if|and (?!the §|of §|that of|§))\b")
_LEADING = re.compile(
    r"\s*(?:of )?(?:the )?§([ab])\b[^§]{0,40}\bthan\b[^§]{0,40}§([ab])"
)  # more boxes than balls
_NEGATED = re.compile(r"\b(?:not|isn't|is no|never)\b(?: \w+)? ?$")


@dataclass(frozen=True)
class Fact:
    """One comparing word of a plan."""

    less: bool
    quantity: str  # that the word itself speaks of ("" when it is a word like smaller)
    subject: str  # "a", "b", "ab" (both) or ""
    against: str  # the thing after it
    outcome: str  # yes, no, "" when the sentence says neither
    chosen: str  # the thing that is answered when it holds, "" when none is named
    deciding: bool  # the sentence says what to answer
    sentence: str
    word: str = ""  # itself

    def lower(self) -> str:
        """Which thing it calls the smaller one: "a", "b" or "" when that is not said."""
        subject = self.subject if self.subject in ("a", "b") else ""
        if self.against in ("a", "b"):
            return self.against if not self.less else _other(self.against)
        if not subject:
            return ""
        return subject if self.less else _other(subject)


def _other(thing: str) -> str:
    return {"a": "b", "b": "a"}[thing]


def mark(sentence: str, a: str, b: str, first: str, roles: dict[str, str], ordered: bool = False) -> str:
    """The sentence with §a and §b wherever it names the task's things. first: the one that the plan names first.

    ordered: the plan sorts, so that "the first" is no name.
    """
    text = re.sub(r"\bbounding[- ]?box(es)?\b", r"region\1", sentence)
    for name, phrase in sorted((("a", a), ("b", b)), key=lambda pair: -len(pair[1])):
        if phrase:
            text = re.sub(rf"\b{plural_pattern(phrase)}(?:'s|'|s')?(?![\w-])", f" §{name} ", text)
    if b:
        text = _mark_parts(text, a, b)
        second = _other(first)
        text = text if ordered else _mark_ordinals(text, first, second)
        for word, name in roles.items():
            text = re.sub(rf"\b(?:{word})\b", f" §{name} ", text)
    return " ".join(text.split())


_FIGURE = r"numbers?|counts?|totals?|groups?|figures?|tally|values?|readings?|kinds?|sum"  # of the first thing named


def _mark_ordinals(text: str, first: str, second: str) -> str:
    for ordinal, name in (("first", first), ("second|other", second)):
        text = re.sub(rf"\bthe (?:{ordinal}) (?:{_FIGURE})\b(?! way)", f" §{name} ", text)
    text = re.sub(
        (
            r"\b(?:the )?former\b|\b(?:the|of|that) first(?: one| object| thing|"
            r" item)?(?='s|\s+(?:is|has|lies|are|count|set|kind|group|over|by|divided)\b|"
            r"[.,;)]|\s*$)|\bof the first\b"
        ),
        f" §{first} ",
        text,
    )
    text = re.sub(
        (
            r"\b(?:the )?latter\b|\b(?:the|of|that) (?:second|other)(?: one| object| thing|"
            r" item)?(?='s|\s+(?:is|has|lies|are|count|set|kind|group)\b|[.,;)]|\s*$)|"
            r"\bof the second\b"
        ),
        f" §{second} ",
        text,
    )
    return text


def _mark_parts(text: str, a: str, b: str) -> str:
    """Colours and nouns that only one of the two has stand for it."""
    words = {"a": a.split(), "b": b.split()}
    for name, other in (("a", "b"), ("b", "a")):
        for word in words[name]:
            if word in words[other] or word in ("object", "thing"):
                continue
            if word in COLOURS:
                text = re.sub(rf"\b{word}(?: one| object| thing| item)?(?:'s)?\b", f" §{name} ", text)
            elif word == "box":
                text = re.sub(
                    (
                        r"(?<!its )(?<!each )(?<!both )(?<!every )(?<!that )(?<!region )\bthe box(?:'s)?(?= |"
                        r",|$)(?! (?:of|coordinates?|with|whose|cent\w+|height|edges?|corners?))"
                    ),
                    f" §{name} ",
                    text,
                )
            else:
                text = re.sub(rf"\b{plural_pattern(word)}(?:'s)?(?![\w-])", f" §{name} ", text)
    return text


def facts(sentence: str) -> Iterator[Fact]:
    """The comparing words of a marked sentence."""
    words = [m for m in _COMPARING.finditer(sentence) if m.lastgroup != "skip"]
    against = ""
    for place, match in enumerate(words):
        start = words[place - 1].end() if place else 0
        end = words[place + 1].start() if place + 1 < len(words) else len(sentence)
        before, after = sentence[start : match.start()], sentence[match.end() : end]
        group = match.lastgroup or "any_less"
        quantity, _, sense = group.partition("_")
        if quantity == "y" and match[0] in ("above", "below", "beneath") and _NUMERIC.search(before):
            quantity, sense = "any", "more" if match[0] == "above" else "less"
        less = sense == "less"
        leading = _LEADING.match(after)
        of = (
            re.match(r"\s*(?:of )?(?:the )?§([ab])\b(?![^§]{0,40}\bthan\b)", after)
            if match[0] in ("more", "fewer", "less")
            else None
        )
        if _NEGATED.search(before):
            less = not less
        subject = leading[1] if leading else of[1] if of else _subject(sentence[: match.start()], before)
        if place and against == subject != "" and re.match(r"\s*(?:of )?(?:it|them|that|this)\b", after):
            continue  # "smaller than the anchor's lies left of it": the same said again
        against = leading[2] if leading else "" if of else _against(after)
        if against and quantity == "any" and not _COMPARED.search(match[0] + after[: after.find("§")]):
            against, subject = "", subject or against  # "a smaller x for the ball": that of the ball
        yield Fact(
            less=less,
            quantity="" if quantity == "any" else quantity,
            subject=subject,
            against=against,
            outcome=_outcome(before, after, sentence[:start]),
            chosen=_chosen(sentence, match.start(), match.end(), end),
            deciding=has(_VERBS, sentence) or has(r"yes|no", sentence),
            sentence=sentence,
            word=match[0],
        )


_PAIR = re.compile(r"§[ab][\w\s']{0,24}(?:\band\b|\bor\b|&|/)[\w\s']{0,24}§[ab][^§]*$")
_COMPARED = re.compile(
    r"\bthan\b|exceed|surpass|outnumber|preced|before|beyond|under|short|[<>]|below|above|compared|beneath|past"
)


def _subject(whole: str, before: str) -> str:
    """The thing named last before the word, in its clause or else earlier in the sentence; "ab" for a pair of them."""
    claim = re.search(r"§([ab])[^§]{1,40}§[ab][^§]*\b(?:its|it|that is)\b[^§]*$", whole)
    if claim and not _PAIR.search(whole):
        return claim[1]  # "the ball is above the box when its y is smaller": the ball's
    for text in (before, whole):
        named = re.findall(r"§([ab])", text)
        if named:
            pair = re.search(
                r"§([ab])[\w\s']{0,24}(?:\band\b|\bor\b|&|/)[\w\s']{0,24}§([ab])\W*[^§]{0,60}$", text
            )
            return (
                "ab"
                if pair and pair[1] != pair[2] and not re.search(r"\bif\b|\bwhen\b", text[pair.end(2) :])
                else named[-1]
            )
    return ""


def _against(after: str) -> str:
    named = re.search(r"§([ab])", after)
    if named is None or named.start() > 70:
        return ""
    between = after[: named.start()]
    if _BREAK.search(between):
        return ""
    both = re.match(r"[\w\s']{0,24}(?:\band\b|\bor\b)[\w\s']{0,24}§([ab])", after[named.end() :])
    return "" if both and both[1] != named[1] else named[1]


def _outcome(before: str, after: str, earlier: str) -> str:
    """yes or no, whichever the comparison leads to: "smaller means yes"; "otherwise no" says yes."""
    told = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}
    if lead := re.findall(rf"\b{_ANSWER}\b[^.;:]{{0,24}}?\b(?:{_IF})\b[^.;]*$", before):
        return told[lead[-1]]
    for match in re.finditer(rf"\b{_ANSWER}\b(?!{_NO_ANSWER})", after):
        if re.match(rf"[\"' ,]*(?:{_IF})\b", after[match.end() :]):
            continue
        between = after[: match.start()]
        word = told[match[1]]
        if re.search(
            r"\b(?:otherwise|else|if not|unless|"
            r"other cases?|anything else|in any other)\b[^.;]{0,24}$",
            between,
        ):
            return "no" if word == "yes" else "yes"
        return word
    if re.search(rf"\b(?:{_IF})\b", before) or not re.search(_ANSWER, before):
        return ""
    lone = re.findall(rf"\b{_ANSWER}\b(?!{_NO_ANSWER})", before)
    return told[lone[-1]] if len(set(lone)) == 1 else ""


_ANSWER = r"(yes|true|no|false)"
_IF = r"if|when|whenever|provided|only|as long as|where|exactly|should|in case|as soon as"
_NO_ANSWER = (
    r" (?:box|region|detection|such|object|need|longer|other|match|more|less|\w+ (?:is|are|was|can|could))\b"
)


def _chosen(sentence: str, start: int, stop: int, end: int) -> str:
    """The thing whose name is answered when the comparison holds."""
    after = re.search(rf"(?:{_VERBS}|then|,|→|->|:)[^§,;]{{0,40}}§([ab])", sentence[stop:end])
    if after and re.search(r"\bif\b|\bwhen\b|\bwhenever\b|\bprovided\b", sentence[:start]):
        return after[1]
    before = re.search(
        rf"(?:{_VERBS})[^§,;]{{0,40}}§([ab])[^§]{{0,20}}\b(?:if|when|whenever|provided|in case|where)\b",
        sentence[:start],
    )
    return before[1] if before else ""
