"""The logic check: coherent steps that lead to an answer of the asked kind, with a word on empty detections."""

from __future__ import annotations

import re
from collections import Counter

from valor_ray.tabletop.judge.text.english import has
from valor_ray.tabletop.judge.text.judged import Judged, cannot_tell, no, yes
from valor_ray.tabletop.judge.text.plan import Plan
from valor_ray.tabletop.judge.text.question import Asked
from valor_ray.tabletop.judge.text.tasks.against import another_kind
from valor_ray.tabletop.judge.text.tasks.agree import COUNTING, DIVIDING, Saying
from valor_ray.tabletop.judge.text.tasks.task import YES_NO, Kind, Task

_NAMING = (
    r"answers?|choos\w+|picks?|returns?|selects?|reports?|outputs?|gives?|names?|"
    r"one|label|final\w*|prints?|whichever|winner|result\w*|"
    r"conclude\w*|declare\w*|respond\w*|say|state|store\w*|assign\w*|set"
)
_ANSWERS = {
    "count": COUNTING,
    "number": (
        rf"{DIVIDING}|scal\w+|comput\w*|calculat\w*|multipl\w*|numbers?|measure\w*|"
        rf"product|estimate\w*|convert\w*"
    ),
    "yesno": r"yes|no|true|false",
    "option": _NAMING,
    "word": rf"ask\w*|vqa|read|quer(?:y|ied|ies)|take|look\w*|{_NAMING}",
}
_OF_KIND = {
    Kind.COUNT: "count", Kind.COUNT_SIDE: "count", Kind.RATIO: "number", Kind.SCALE: "number", Kind.CHOICE: "option",
    Kind.ASK: "word", Kind.EXTREME: "word", **dict.fromkeys(YES_NO, "yesno"),
}  # fmt: skip
_TRANSITIVE = (
    r"depth|x|y|centre|center|its box|of the box|of its box|height|width|box of|compare|"
    r"coordinates?|ask|crop|region"
)


def judge_logic(asked: Asked, plan: Plan, task: Task | None = None) -> Judged:
    if plan.to_judge:
        return no("the plan speaks to its judge")
    if problem := _degenerate(plan):
        return no(problem)
    if plan.gives_up:
        return no("the plan guesses or gives up")
    kind = _OF_KIND[task.kind] if task is not None else asked.kind
    if kind is None:
        return cannot_tell("it is not clear what kind of answer the question wants")
    if plan.whole and (task is None or task.kind is not Kind.EXISTS):
        return no("the question is handed to vqa as it is")
    if task is None and not plan.looks:
        return no("nothing is looked for before it is used")
    if problem := another_kind(Saying(plan, task)) if task is not None else _wrong_answer(kind, plan):
        return no(problem)
    if _needs_guard(asked, plan, task) and not plan.guarded:
        return no("it is not said what happens when a detection comes back empty")
    return yes("the steps lead to an answer of the asked kind")


def _wrong_answer(kind: str, plan: Plan) -> str:
    if not has(_ANSWERS[kind], " ".join(plan.steps[-2:])):
        return f"the last step does not give a {kind} answer"
    if kind == "yesno" and not has(r"yes|true", plan.text):
        return "it is not said when the answer is yes"
    return ""


def _degenerate(plan: Plan) -> str:
    if sum(len(step.split()) for step in plan.steps) < 4:
        return "there is no plan to speak of"
    if any(_word_salad(step) for step in plan.steps):
        return "the plan is words without sentences"
    most = Counter(plan.steps).most_common(1)
    if most and most[0][1] >= 3:
        return "the plan repeats itself"
    tokens = plan.text.split()
    if len(tokens) > 60 and len(set(tokens)) < 0.2 * len(tokens):
        return "the plan repeats itself"
    return ""


def _word_salad(step: str) -> bool:
    """Long and without points, or without the small words that sentences have."""
    tokens = step.split()
    small = sum(
        token in ("the", "a", "of", "and", "if", "is", "to", "in", "each", "its", "with", "by", "that")
        for token in tokens
    )
    return len(tokens) > 24 and not re.search(r"[,.;:]", step) and small < 0.2 * len(tokens)


def _needs_guard(asked: Asked, plan: Plan, task: Task | None) -> bool:
    """Counting and existence answer an empty detection by themselves; the rest would use a box that is not there."""
    if task is not None:
        return task.kind not in (Kind.COUNT, Kind.EXISTS, Kind.MORE)
    simple = asked.kind in ("count", "yesno") and not asked.relations and not asked.sizes and not asked.target
    if not simple:
        return True
    rest = [step for step in plan.steps if not has(r"detect|find|locate", step)]
    return any(
        has(_TRANSITIVE, step) and not has(r"count|how many|no box|there is a box|if there", step)
        for step in rest
    )
