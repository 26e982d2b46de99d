"""The logic check: coherent steps that lead to an answer of the asked kind, with a word on empty detections."""

from __future__ import annotations

import re
from collections import Counter

from valor_ray.tabletop.judge.text.english import has
from valor_ray.tabletop.judge.text.judged import Judged, cannot_tell, no, yes
from valor_ray.tabletop.judge.text.plan import Plan
from valor_ray.tabletop.judge.text.question import Asked

_ANSWERS = {
    "count": r"count\w*|number|how many|len|sum|total|tally",
    "number": (
        r"scale|comput\w*|calculat\w*|divid\w*|multipl\w*|times|number|ratio|measure\w*|product|"
        r"estimate\w*|depth|answer with|return"
    ),
    "yesno": r"yes|no|true|false",
    "option": r"answer with|answer|choose|pick|return|select|report|the one|give",
    "word": r"ask\w*|answer|vqa|read|name|report|return|query|give|choose|take",
}
_TRANSITIVE = (
    r"depth|x|y|centre|center|its box|of the box|of its box|height|width|box of|compare|"
    r"coordinates?|ask|crop|region"
)


def judge_logic(asked: Asked, plan: Plan) -> Judged:
    if plan.to_judge:
        return no("the plan speaks to its judge")
    if problem := _degenerate(plan):
        return no(problem)
    if plan.gives_up:
        return no("the plan guesses or gives up")
    if asked.kind is None:
        return cannot_tell("it is not clear what kind of answer the question wants")
    if plan.whole:
        return no("the question is handed to vqa as it is")
    if not plan.looks:
        return no("nothing is looked for before it is used")
    if not has(_ANSWERS[asked.kind], " ".join(plan.steps[-2:])):
        return no(f"the last step does not give a {asked.kind} answer")
    if asked.kind == "yesno" and not has(r"yes|true", plan.text):
        return no("it is not said when the answer is yes")
    if _needs_guard(asked, plan) and not plan.guarded:
        return no("it is not said what happens when a detection comes back empty")
    return yes("the steps lead to an answer of the asked kind")


def _degenerate(plan: Plan) -> str:
    if sum(len(step.split()) for step in plan.steps) < 4:
        return "there is no plan to speak of"
    if any(len(step.split()) > 24 and not re.search(r"[,.;:]", step) for step in plan.steps):
        return "the plan is words without sentences"
    most = Counter(plan.steps).most_common(1)
    if most and most[0][1] >= 3:
        return "the plan repeats itself"
    tokens = plan.text.split()
    if len(tokens) > 60 and len(set(tokens)) < 0.2 * len(tokens):
        return "the plan repeats itself"
    return ""


def _needs_guard(asked: Asked, plan: Plan) -> bool:
    """Counting and existence answer an empty detection by themselves; the rest would use a box that is not there."""
    simple = asked.kind in ("count", "yesno") and not asked.relations and not asked.sizes and not asked.target
    if not simple:
        return True
    rest = [step for step in plan.steps if not has(r"detect|find|locate", step)]
    return any(
        has(_TRANSITIVE, step) and not has(r"count|how many|no box|there is a box|if there", step)
        for step in rest
    )
