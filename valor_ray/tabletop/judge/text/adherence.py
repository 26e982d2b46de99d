"""The adherence check: the program's calls and data flow do what the plan says, and use the API properly."""

from __future__ import annotations

import ast
import re

from valor_ray.program.phrases import detection_phrases
from valor_ray.tabletop.judge.text.code import Program, read_program
from valor_ray.tabletop.judge.text.direction import wrong_direction
from valor_ray.tabletop.judge.text.english import has
from valor_ray.tabletop.judge.text.judged import Judged, no, yes
from valor_ray.tabletop.judge.text.plan import Plan

_ASKED_FOR = ("colour", "shape", "material", "kind", "type", "pattern")


def judge_adherence(plan: Plan, code: str) -> Judged:
    if plan.to_judge or has(r"verdict|judge|grader", code.lower()):
        return no("the work speaks to its judge")
    program = read_program(code)
    if program is None:
        return no("the program is no Python")
    checks = (_results, _api, _phrases, _depth, _vqa, _guard, _counting, _arithmetic)
    for check in checks:
        if problem := check(plan, program, code):
            return no(problem)
    if problem := wrong_direction(plan, program):
        return no(problem)
    return yes("the program does what the plan says")


def _results(plan: Plan, program: Program, code: str) -> str:
    if not program.answers and not program.branches:
        return "final_answer is never set"
    written = [answer for answer in program.answers if isinstance(answer, ast.Constant)]
    if not program.branches and len(written) == len(program.answers):
        return "the answer is written down instead of computed"
    return ""


def _api(plan: Plan, program: Program, code: str) -> str:
    return program.misused


def _phrases(plan: Plan, program: Program, code: str) -> str:
    if not plan.looks or detection_phrases(code).unresolved:
        return ""
    planned, asked = set(plan.phrases), set(program.phrases)
    if missing := planned - asked:
        return f"the plan's {sorted(missing)[0]!r} is not detected"
    if extra := asked - planned:
        return f"{sorted(extra)[0]!r} is detected, which the plan does not say"
    return ""


def _depth(plan: Plan, program: Program, code: str) -> str:
    planned = has(r"depths?|3d|distances? (?:from|to) the camera", plan.text)
    if planned and not program.calls["depth"]:
        return "the plan's depth is left out"
    if (
        program.calls["depth"]
        and not planned
        and not has(r"closest|nearest|farthest|furthest|near|far|front|behind", plan.text)
    ):
        return "depth is used, which the plan does not say"
    return ""


def _vqa(plan: Plan, program: Program, code: str) -> str:
    calls = program.calls["vqa"]
    if plan.asks and not calls:
        return "the plan asks vqa and the program does not"
    if calls and not plan.asks and not has(r"read|look at|classify|determine|recogni[sz]e", plan.text):
        return "vqa is asked, which the plan does not say"
    prompts = " ".join(
        part.value.lower().replace("color", "colour")
        for call in calls
        for part in ast.walk(call)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )
    for word in _ASKED_FOR:
        if calls and any(has(word, ask) for ask in plan.asks) and not has(word, prompts):
            return f"the plan asks for the {word}, the program for something else"
    whole = [
        call for call in calls if any(isinstance(a, ast.Constant) and a.value is None for a in call.args)
    ]
    if whole and not plan.whole and any(has(r"box|its|crop|region", ask) for ask in plan.asks):
        return "vqa is asked about the whole picture, the plan says its box"
    return ""


def _guard(plan: Plan, program: Program, code: str) -> str:
    """What the plan says about an empty detection is in the program, with the same answer."""
    steps = [
        step
        for step in plan.steps
        if has(r"^if|when|in case|unless", step) and not has(r"yes if|yes when", step)
    ]
    said = [
        step
        for step in steps
        if has(r"nothing|none|neither|missing|empty|not found|not detected|no \w+", step)
    ]
    if not said or not plan.guarded:
        return ""
    if not program.guards:
        return "the plan's word on an empty detection is not in the program"
    answers = {answer for _, answer in program.guards if answer}
    if plan.empty_answer and answers and plan.empty_answer not in answers:
        return f"an empty detection gives {sorted(answers)[0]!r}, the plan says {plan.empty_answer!r}"
    return ""


def _counting(plan: Plan, program: Program, code: str) -> str:
    if not has(r"count\w*|number of", plan.text) or has(r"counted|discount", plan.text):
        return ""
    counts = any(
        (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("len", "sum"))
        or (isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add))
        for node in ast.walk(program.tree)
    )
    return "" if counts else "the plan counts and the program does not"


def _arithmetic(plan: Plan, program: Program, code: str) -> str:
    """Pixels times depth, the given number, and which size stands over which."""
    products = [
        node
        for node in ast.walk(program.tree)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)
    ]
    if has(
        r"(?:pixels?|height|width|size)s? (?:in pixels )?(?:times|multiplied by|x|by) (?:its |the |their )?depth|3d",
        plan.text,
    ) and not any(":depth" in program.origin(product) for product in products):
        return "pixels are not multiplied by depth"
    numbers = {str(node.value) for node in ast.walk(program.tree) if isinstance(node, ast.Constant)}
    for number in re.findall(r"\b(\d+(?:\.\d+)?)\s*(?:cm|m|metres?|meters?)\b", plan.text):
        if number not in numbers and f"{number}.0" not in numbers:
            return f"the plan's {number} is not in the program"
    quotients = [
        node
        for node in ast.walk(program.tree)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
    ]
    for over, under in _fractions(plan):
        for node in quotients:
            top, bottom = program.origin(node.left), program.origin(node.right)
            if under in top and over in bottom and over not in top:
                return f"{under!r} is divided by {over!r}, the plan says the other way"
    return ""


def _fractions(plan: Plan) -> list[tuple[str, str]]:
    """(numerator, denominator) phrases that the plan's words fix."""
    fractions = []
    for step in plan.steps:
        named = sorted((step.find(phrase), phrase) for phrase in plan.phrases if phrase in step)
        if has(r"divide", step) and len(named) == 2:
            fractions.append((named[0][1], named[1][1]))
        elif has(r"scale", step) and len(named) == 1 and len(plan.phrases) == 2:
            other = next(phrase for phrase in plan.phrases if phrase != named[0][1])
            fractions.append((named[0][1], other))
    return fractions
