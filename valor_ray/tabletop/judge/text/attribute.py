"""The attribute check: sizes, colours, counts and ratios come from the tools, and nothing that singles out is lost."""

from __future__ import annotations

from valor_ray.tabletop.judge.text.english import content_words, has
from valor_ray.tabletop.judge.text.judged import Judged, no, yes
from valor_ray.tabletop.judge.text.plan import Plan
from valor_ray.tabletop.judge.text.question import Asked, measures
from valor_ray.tabletop.judge.text.tasks.against import (
    another_number,
    another_quantity,
    another_sense,
    another_target,
    another_thing,
    any_object,
    other_things,
)
from valor_ray.tabletop.judge.text.tasks.agree import Saying
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
        problem = _task_problem(task, plan)
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


def _task_problem(task: Task, plan: Plan) -> str:
    if strange := other_things(plan, task) or any_object(plan, task):
        return strange
    for phrase in (task.a, task.b):
        if phrase and (lost := another_thing(plan, phrase, {task.a, task.b})):
            return lost
    if plan.whole and task.kind is not Kind.EXISTS:
        return "vqa is asked about the whole picture in place of boxes"
    saying = Saying(plan, task)
    if problem := another_target(saying) or another_number(saying):
        return problem
    if task.kind is Kind.MORE:
        return another_sense(saying)
    return another_quantity(saying) or another_sense(saying) if task.quantity.startswith("real") else ""


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
