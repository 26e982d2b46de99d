"""The attribute check: sizes, colours, counts and ratios come from the tools, and nothing that singles out is lost."""

from __future__ import annotations

import re

from valor_ray.tabletop.judge.text.english import COLOURS, content_words, has, plural_pattern
from valor_ray.tabletop.judge.text.judged import Judged, no, yes
from valor_ray.tabletop.judge.text.plan import Plan
from valor_ray.tabletop.judge.text.question import Asked, measures
from valor_ray.tabletop.judge.text.tasks.agree import COUNTING, DIVIDING, Saying
from valor_ray.tabletop.judge.text.tasks.task import Kind, Task

_TIMES = r"times|multipl\w*|scaled? by (?:its |the |their )?depth|product|3d|×|x depth"
_GREATER = r"taller|tallest|higher|highest|larger|largest|bigger|biggest|greater|greatest|wider|widest|longer|longest"
_LESSER = r"shorter|shortest|lower|lowest|smaller|smallest|lesser|least|narrower|narrowest"
_COUNT = r"count\w*|number of|how many|len|length of the list|tally|add up|sum"


def judge_attribute(asked: Asked, plan: Plan, task: Task | None = None) -> Judged:
    if plan.to_judge:
        return no("the plan speaks to its judge")
    if plan.gives_up:
        return no("the plan guesses or gives up")
    if task is not None:
        problem = _task_problem(task, asked, plan)
        return no(problem) if problem else yes("what is asked for is obtained from the tools")
    if lost := [colour for colour in asked.colours if not has(colour, plan.text)]:
        return no(f"the plan drops {', '.join(lost)}")
    if not _keeps_things(asked, plan):
        return no(f"the plan does not look for {', '.join(asked.things[:3])}")
    if plan.whole:
        return no("vqa is asked about the whole picture in place of boxes")
    if (asked.sizes or asked.ratio) and (problem := _size_problem(asked, plan)):
        return no(problem)
    if asked.kind == "count" and not has(_COUNT, plan.text):
        return no("nothing is counted")
    if asked.target and not any(has(asked.target, ask) for ask in plan.asks):
        return no(f"the {asked.target} is not read from a box")
    if not (plan.looks or plan.asks or has(_COUNT, plan.text)):
        return no("no tool is used")
    return yes("what is asked for is obtained from the tools")


def _task_problem(task: Task, asked: Asked, plan: Plan) -> str:
    for phrase in (task.a, task.b):
        if phrase and (lost := _lost(phrase, plan)):
            return lost
    if plan.whole:
        return "vqa is asked about the whole picture in place of boxes"
    if (
        task.kind in (Kind.COUNT, Kind.COUNT_SIDE, Kind.MORE)
        and not has(COUNTING, plan.text)
        and not has("more|fewer", plan.text)
    ):
        return "nothing is counted"
    if task.target and (problem := _target_problem(task.target, plan)):
        return problem
    if task.kind is Kind.SCALE and (problem := _given_problem(asked, plan)):
        return problem
    if not task.quantity.startswith("real"):
        return ""
    saying = Saying(plan, task)
    fits, why = saying.quantity()
    if fits is False:
        return why
    if task.kind is Kind.RATIO and not has(DIVIDING, plan.text) and "/" not in plan.text:
        return "the ratio is not computed"
    agrees, why = saying.sense()
    return why if agrees is False else ""


def _lost(phrase: str, plan: Plan) -> str:
    """Words of a thing's name that the plan drops, or gives to another thing only."""
    *colour, noun = phrase.split()
    if has(plural_pattern(phrase), plan.text):
        return ""
    if colour and not has(colour[0], plan.text):
        return f"the plan drops {colour[0]}"
    if noun != "object" and not has(plural_pattern(noun), plan.text):
        return f"the plan does not look for {noun}"
    others = [p for p in plan.phrases if p != phrase and len(p.split()) == 2 and p.split()[0] in COLOURS]
    if colour and others and not plan.asks and not has(rf"{colour[0]}(?:,| and| or|/)", plan.text):
        return f"the plan looks for {others[0]} in place of {phrase}"
    return ""


def _target_problem(target: str, plan: Plan) -> str:
    names = {
        "colour": r"colours?|hue",
        "shape": (
            r"shapes?|kind|type|form|sort|what (?:it|the object|this object) is|class|"
            r"category|(?:box|cube), (?:a )?ball"
        ),
    }
    wanted, other = (
        names.get(target, target),
        names.get({"colour": "shape", "shape": "colour"}.get(target, ""), ""),
    )
    asks = " ".join(plan.asks)
    if has(wanted, asks) or (has(wanted, plan.text) and not (other and has(other, asks))):
        return ""
    return f"the {target} is not read from a box"


def _given_problem(asked: Asked, plan: Plan) -> str:
    given = [float(number) for number in asked.given]
    if other := [n for n in measures(plan.text) if given and float(n) not in given]:
        return f"the question does not give the plan's {other[0]}"
    spoken = {float(n) for n in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w])", plan.text)}
    if not spoken & set(given) and not has(r"given|known|reference|stated", plan.text):
        return f"the given {asked.given[0]} is not used"
    if not spoken & set(given) and (odd := [n for n in spoken if n >= 5]):
        return f"the question does not give the plan's {odd[0]:g}"
    return ""


def _keeps_things(asked: Asked, plan: Plan) -> bool:
    """Most of the words that name things come back in the plan; short questions must keep them all."""
    if not asked.things:
        return True
    said = set(content_words(plan.text)) | {word for look in plan.phrases for word in look.split()}
    kept = sum(thing in said for thing in asked.things)
    return kept == len(asked.things) if len(asked.things) <= 2 else kept >= 0.4 * len(asked.things)


def _size_problem(asked: Asked, plan: Plan) -> str:
    if not has(r"depth|depths|3d", plan.text):
        return "a real size is taken from pixels alone, without depth"
    if not any(has(_TIMES, step) or "×" in step or "*" in step for step in plan.steps):
        return "pixels are not multiplied by depth"
    if other := [number for number in measures(plan.text) if asked.given and number not in asked.given]:
        return f"the question does not give the plan's {other[0]}"
    missing = [number for number in asked.given if number not in plan.text]
    if missing and not has(r"given|known|reference", plan.text):
        return f"the given {missing[0]} is not used"
    if wrong := _other_end(asked, plan):
        return wrong
    if asked.ratio and not has(r"divid\w*|ratio|quotient|over|per", plan.text) and "/" not in plan.text:
        return "the ratio is not computed"
    return ""


def _other_end(asked: Asked, plan: Plan) -> str:
    """A choice by size whose answer the plan takes from the wrong end; empty when it is right or not said."""
    if asked.kind != "option":
        return ""
    greater, lesser = has(_GREATER, asked.text), has(_LESSER, asked.text)
    if greater == lesser:
        return ""
    for step in plan.steps:
        if not has(r"answer|choose|pick|return|select|report", step):
            continue
        more, less = has(_GREATER, step), has(_LESSER, step)
        if more != less and more != greater:
            return f"the question asks for the other one: {step[:80]!r}"
    return ""
