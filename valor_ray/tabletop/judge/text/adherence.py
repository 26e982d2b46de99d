"""The adherence check: the program is run in scenes of the judge's own, and does what the plan says.

What a program computes is told by its answers, however it is written (run/observe.py); the plan is read for the same
thing (tasks/agree.py). A program that cannot be run here, or a plan that does not say, gives no verdict.
"""

from __future__ import annotations

import re

from valor_ray.program.phrases import detection_phrases
from valor_ray.tabletop.judge.text.english import COLOURS, has, normal_phrase, plural_pattern
from valor_ray.tabletop.judge.text.judged import Judged, cannot_tell, no, yes
from valor_ray.tabletop.judge.text.plan import Plan
from valor_ray.tabletop.judge.text.run.observe import Observed, observe, said
from valor_ray.tabletop.judge.text.tasks.against import against, another_thing
from valor_ray.tabletop.judge.text.tasks.task import Kind, Task

_SHAPES = frozenset("box ball cylinder cone".split())
_BEYOND = r"next to|beside|adjacent|overlap\w*|intersect\w*|iou|diagonal"
_RELATION = r"left|right|above|below|behind|front|closest|nearest|farthest|furthest|leftmost|rightmost|most"
_BY_HAND = r"compar\w*|cent(?:re|er)s?|midpoints?|coordinates?|depths?|sort\w*|x|y"
_TO_JUDGE = r"#[^\n]*(?:\bverdict\W+yes\b|\b(?:dear|to the|for the) (?:judge|grader|reviewer)\b|\bjudge\s?:|\brubric\b)"


def judge_adherence(plan: Plan, code: str) -> Judged:
    if plan.to_judge or re.search(_TO_JUDGE, code.lower()):
        return no("the work speaks to its judge")
    seen = observe(code, planned_phrases(plan, code))
    if seen.unreadable:
        return cannot_tell(f"the program cannot be run here: {seen.unreadable}")
    if seen.error:
        return no(f"the program ends in an error: {seen.error}")
    for check in (_constant, _phrases, _empty):
        if problem := check(plan, seen):
            return no(problem)
    if not seen.tasks:
        return _no_task(plan)
    return _compared(plan, seen)


def planned_phrases(plan: Plan, code: str) -> tuple[str, ...]:
    """Phrases of the plan that name things for sure: a colour and a noun, or a noun that the program looks for too."""
    asked = [normal_phrase(phrase) for phrase in detection_phrases(code).phrases]
    nouns = {phrase.split()[-1] for phrase in asked if phrase} | _SHAPES | {"object"}
    coloured = [
        p for p in plan.phrases if len(p.split()) == 2 and p.split()[0] in COLOURS and p.split()[1] in nouns
    ]
    spoken = [p for p in asked if p and has(plural_pattern(p), plan.text)]
    bare = [
        p
        for p in plan.phrases
        if p in nouns and p != "box" and not any(p in c.split() for c in (*coloured, *asked))
    ]
    return tuple(dict.fromkeys([*coloured, *spoken, *bare]))[:3]


def _constant(plan: Plan, seen: Observed) -> str:
    if seen.constant and not seen.prompts and not seen.asked:
        return "the answer is written down instead of computed"
    return "the answer does not depend on the picture" if seen.constant and seen.prompts else ""


def _phrases(plan: Plan, seen: Observed) -> str:
    """A thing that the plan names in full is detected, and nothing is detected that the plan calls otherwise."""
    asked = set(seen.prompts)
    nouns = {word for phrase in asked for word in phrase.split()} | _SHAPES
    for phrase in (*plan.coloured, *plan.phrases):
        words = phrase.split()
        sure = phrase in _SHAPES - {"box"} or (
            len(words) == 2 and words[0] in COLOURS and words[1] in nouns | {"object"}
        )
        if sure and not _covered(phrase, asked) and not _looked_at(phrase, seen):
            return f"the plan's {phrase!r} is not detected"
    for phrase in asked:
        if has(_RELATION, phrase) and has(_BY_HAND, plan.text):
            return f"the relation is left to the detector: {phrase!r}"
        if problem := another_thing(plan, phrase, asked):
            return f"{phrase!r} is detected: {problem}"
        if _narrower(phrase, plan):
            return f"{phrase!r} is detected, which the plan does not say"
    return ""


def _covered(phrase: str, asked: set[str]) -> bool:
    return any(set(phrase.split()) <= set(other.split()) for other in asked)


def _looked_at(phrase: str, seen: Observed) -> bool:
    """More is detected, and vqa is asked about each box: what the phrase adds may be read there."""
    return bool(seen.asked) and bool({"object", phrase.split()[-1]} & set(seen.prompts))


def _narrower(phrase: str, plan: Plan) -> bool:
    """A noun of the program's own, where the plan names things and never this one."""
    noun = phrase.split()[-1]
    return (
        noun in _SHAPES - {"box"}
        and not has(plural_pattern(noun), plan.text)
        and has(r"objects?|things?|items?", " ".join(plan.phrases))
        and not has(r"both|two|each|pair|either|one|they|them|other|candidates?|options?", plan.text)
    )


def _empty(plan: Plan, seen: Observed) -> str:
    """A program that dies of an empty detection, where the plan speaks of it or where none is an answer."""
    if seen.crashes and (plan.guarded or _kinds(seen) & {Kind.COUNT, Kind.EXISTS, Kind.MORE}):
        return f"nothing catches an empty detection: {seen.crashes[:60]}"
    if Kind.COUNT in _kinds(seen) and said(seen.empty.get("", 0)) not in ("0", "0.0"):
        return f"an empty detection counts as {said(seen.empty[''])}"
    return ""


def _kinds(seen: Observed) -> set[Kind]:
    return {task.kind for task in seen.tasks}


def _no_task(plan: Plan) -> Judged:
    if has(_BEYOND, plan.text):
        return cannot_tell("the plan measures something that is not known here")
    return no("what the program answers is not what any reading of the plan gives")


def _compared(plan: Plan, seen: Observed) -> Judged:
    """Yes unless the plan states something against every task that the program computes."""
    reasons = []
    for task in seen.tasks:
        reason = _turned(task, plan) or _broader(task, plan, seen) or against(plan, task)
        if not reason:
            return yes(f"the program gives {task}, and the plan states nothing else")
        reasons.append(f"the program gives {task}; {reason}")
    return no(reasons[0])


def _broader(task: Task, plan: Plan, seen: Observed) -> str:
    """Of what the plan names with its colour the program takes any: it looks at boxes and does not tell them apart."""
    shapes = _SHAPES - {"box"} if task.target != "shape" and "object" in (task.a, task.b) else frozenset()
    for phrase in (*plan.coloured, *plan.phrases, *shapes):
        words = set(phrase.split())
        if (
            (
                (phrase in shapes and has(plural_pattern(phrase), plan.text))
                or (len(words) == 2 and words & COLOURS)
            )
            and not _covered(phrase, set(seen.prompts))
            and any(set(of.split()) < words or of == "object" for of in (task.a, task.b) if of)
        ):
            return f"the plan's {phrase!r} is not told from others"
    return ""


def _turned(task: Task, plan: Plan) -> str:
    if task.kind is not Kind.EXISTS or not task.negated:
        return ""
    absent = r"(?:yes|true) (?:if|when) (?:there (?:is|are) (?:no|none)|nothing|none|no )"
    return "" if has(absent, plan.text) else "the program says no for yes"
