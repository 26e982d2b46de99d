"""What a plan says it will do: its steps, what it looks for, asks, measures, compares, and answers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from valor_ray.tabletop.judge.text.english import has, normal_phrase

_NUMBERING = re.compile(r"^\s*(?:step\s*)?(?:\d+\s*[.):]|[-*•])\s*", re.IGNORECASE)
_LOOK = (
    r"detect|find|locate|look for|search for|identify|get (?:the )?(?:bounding )?box(?:es)? "
    r"(?:of|for)|run gd_detect (?:on|for|with)"
)
_LOOK_CLAUSE = re.compile(rf"\b(?:{_LOOK})\b\s+(?P<what>[^.;:]+)")
_CONDITION = re.compile(r"^\s*(?:if|when|should|unless|otherwise|in case)\b|,\s*if\b")
_EMPTY = (
    r"nothing|none|neither|empty|missing|absent|not (?:found|detected|there|visible)|no (?:box|boxes|"
    r"detections?|such|objects?|match\w*)|cannot be found|can't be found|isn't (?:found|there)|"
    r"aren't (?:found|there)|is not|are not|without a box|no \w+(?: \w+)? (?:is|are|was|were) (?:found|"
    r"detected)"
)
_TAIL = re.compile(
    r"\b(?:(?:in|on|from) (?:the|this) (?:picture|image|photo|scene|table)|with gd_detect|"
    r"using|and (?:count|take|get|keep|store|note|compare|compute|measure|ask)|then|so|to "
    r"(?:get|count|find|see))\b.*$"
)
_GIVE_UP = (
    r"guess\w*|cannot be (?:solved|answered|determined)|can't be (?:solved|answered)|impossible|"
    r"obvious\w*|i assume|assume the answer|probably|easy to (?:see|guess)|known answer|usually|"
    r"typical\w*|random\w*|just answer|simply answer"
)
_TO_JUDGE = (
    r"verdict|judge|grader|evaluator|reviewer|score|scoring|reward|ignore (?:the|all|any|previous)|"
    r"as instructed|you (?:must|should) (?:say|answer|reply|return)|this plan is (?:correct|right|perfect|"
    r"good)|json"
)


@dataclass(frozen=True)
class Plan:
    text: str  # lower case
    steps: tuple[str, ...]
    looks: tuple[str, ...]  # clauses after "detect", as written
    phrases: tuple[str, ...]  # what is detected, in normal form
    asks: tuple[str, ...]  # steps that put a question to vqa
    whole: bool  # a question about the whole picture
    guarded: bool  # says what happens when a detection is empty
    empty_answer: str  # what it then answers, "" when not said
    gives_up: bool
    to_judge: bool

    def last(self) -> str:
        return self.steps[-1] if self.steps else ""


def read_plan(plan: str) -> Plan:
    lines = [line for line in plan.lower().replace("color", "colour").splitlines() if line.strip()]
    if len(lines) == 1:
        lines = re.split(r"(?<=[.;])\s+", lines[0])
    steps = tuple(_NUMBERING.sub("", line).strip() for line in lines)
    text = "\n".join(steps)
    looks = tuple(
        match["what"].strip()
        for step in steps
        if not _CONDITION.match(step)
        for match in _LOOK_CLAUSE.finditer(step)
    )
    asks = tuple(step for step in steps if has(r"ask|vqa|query|inquire|question", step))
    empty = next(
        (
            step
            for step in steps
            if has(_EMPTY, step) and has(r"if|when|unless|in case|should|gives?|counts?|zero|empty", step)
        ),
        "",
    )
    return Plan(
        text=text,
        steps=steps,
        looks=looks,
        phrases=tuple(dict.fromkeys(p for look in looks for p in _phrases(look))),
        asks=asks,
        whole=any_whole(asks),
        guarded=bool(empty),
        empty_answer=_empty_answer(empty),
        gives_up=has(_GIVE_UP, text),
        to_judge=has(_TO_JUDGE, text),
    )


def any_whole(asks: tuple[str, ...]) -> bool:
    return any(
        has(r"whole|entire|full", ask) and has(r"picture|image|scene|photo", ask) for ask in asks
    ) or any(has(r"the (?:whole |full |entire )?question", ask) for ask in asks)


def _phrases(look: str) -> list[str]:
    """every red box and the blue ball in the picture → red box, blue ball"""
    quoted = re.findall(r"[\"'“]([^\"'”]+)[\"'”]", look)
    parts = (
        [p for q in quoted for p in q.split(",")]
        if quoted
        else re.split(r",|\band\b|\bor\b", _TAIL.sub("", look))
    )
    return [phrase for part in parts if (phrase := normal_phrase(part))]


def _empty_answer(step: str) -> str:
    match = re.search(
        (
            r"(?:answer|return|give|say|reply|result is|set final_answer to|gives?|counts? "
            r"as)\s+(?:with\s+)?[\"']?([\w.-]+)"
        ),
        step,
    )
    return match[1].rstrip(".") if match else ""
