"""Whether a program compares the way its plan says. Unclear cases give no complaint: other checks have their say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from valor_ray.tabletop.judge.text.code import Branch, Program
from valor_ray.tabletop.judge.text.english import has, normal_phrase
from valor_ray.tabletop.judge.text.plan import Plan

LESS = (
    r"smaller|smallest|less|lesser|lower|lowest|least|minimum|minimal|fewer|fewest|nearer|"
    r"nearest|closer|closest|shorter|shortest|leftmost|before"
)
MORE = (
    r"larger|largest|greater|greatest|more|higher|highest|bigger|biggest|most|maximum|maximal|"
    r"farther|farthest|further|furthest|taller|tallest|rightmost|exceeds?"
)
_YES = ("yes", "true")
_NO = ("no", "false")


def wrong_direction(plan: Plan, program: Program) -> str:
    """What is compared the wrong way round; empty when nothing is seen to be."""
    for step in plan.steps:
        if has(r"\byes\b", step):
            wrong = _yes_no(step, plan, program)
        elif has(r"count|keep|sum", step) and has(r"whose|with|where|that (?:is|are|lie)", step):
            wrong = _filter(step, plan, program)
        elif has(r"take|pick|choose|select|keep|sort", step) and has(
            r"smallest|largest|min\w*|max\w*|\w+est|\w+most", step
        ):
            wrong = _extreme(step, program)
        elif has(r"answer|return|choose|pick|report", step):
            wrong = _option(step, program)
        else:
            continue
        if wrong:
            return f"{wrong}, against the plan: {step[:80]!r}"
    return ""


def _sense(step: str) -> bool | None:
    """True: smaller; False: larger; None: not said, or both."""
    less, more = has(LESS, step), has(MORE, step)
    return None if less == more else less


def _yes_no(step: str, plan: Plan, program: Program) -> str:
    condition = re.split(r"\byes\b[\"']?\s*(?:if|when|only if|in case)", step, maxsplit=1)
    if len(condition) < 2:
        return ""
    said = re.split(
        r",? (?:and|otherwise|else)[, ]+[\"']?no\b|[;,]\s*[\"']?no\b|\botherwise\b|\belse\b", condition[1]
    )[0]
    sense = _sense(said)
    subject = _subject(said, plan)
    exists = sense is None and has(r"there (?:is|are)|found|any|at least one|exists?|not empty", said)
    for branch in program.branches:
        positive = _positive(branch)
        if positive is None:
            continue
        if exists and not any(isinstance(node, ast.Compare) for node in ast.walk(branch.test)):
            negated = isinstance(branch.test, ast.UnaryOp) and isinstance(branch.test.op, ast.Not)
            if positive == negated:
                return "the program says no for yes"
        for left, less, right in _comparisons(branch.test):
            first, second = program.origin(left), program.origin(right)
            if exists and ":len" in first and isinstance(right, ast.Constant):
                if positive == less:
                    return "the program says no for yes"
            elif sense is not None and subject:
                side = _side(subject, first, second)
                if side is not None and (less == side) != (sense == positive):
                    return "the program compares the other way round"
    return ""


def _positive(branch: Branch) -> bool | None:
    """Whether the test being true means yes."""
    then, other = _constant(branch.then), _constant(branch.other)
    if then in _YES or other in _NO:
        return True
    if then in _NO or other in _YES:
        return False
    return None


def _option(step: str, program: Program) -> str:
    sense = _sense(step)
    if sense is None:
        return ""
    for branch in program.branches:
        chosen = normal_phrase(_constant(branch.then))
        if not chosen:
            continue
        for left, less, right in _comparisons(branch.test):
            side = _side(chosen, program.origin(left), program.origin(right))
            if side is not None and (less == side) != sense:
                return "the program chooses the other one"
    return ""


def _filter(step: str, plan: Plan, program: Program) -> str:
    sense = _sense(step)
    if sense is None or not plan.phrases:
        return ""
    for node in ast.walk(program.tree):
        if not isinstance(node, ast.comprehension | ast.For):
            continue
        counted = program.origin(node.iter)
        for left, less, right in _comparisons(program.tree):
            first, second = program.origin(left), program.origin(right)
            inside_first, inside_second = bool(counted & first), bool(counted & second)
            telling = inside_first != inside_second and _phrases(first) and _phrases(second)
            if telling and (less == inside_first) != sense:
                return "the program keeps the others"
    return ""


def _extreme(step: str, program: Program) -> str:
    sense = _sense(step)
    picks = [
        (node.func.id == "min", node)
        for node in ast.walk(program.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("min", "max")
    ]
    if sense is None or not picks:
        return ""
    if all(less != sense for less, _ in picks):
        return "the program takes the other end"
    deep = [
        ":depth" in program.origin(key.value)
        for _, node in picks
        for key in node.keywords
        if key.arg == "key"
    ]
    if deep and has(r"depth", step) != any(deep):
        return "the program goes by something else"
    return ""


def _comparisons(tree: ast.AST) -> Iterator[tuple[ast.expr, bool, ast.expr]]:
    """Left side, whether it is asked to be the smaller, right side."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            if isinstance(node.ops[0], ast.Lt | ast.LtE):
                yield node.left, True, node.comparators[0]
            elif isinstance(node.ops[0], ast.Gt | ast.GtE):
                yield node.left, False, node.comparators[0]


def _side(phrase: str, first: frozenset[str], second: frozenset[str]) -> bool | None:
    """True: the phrase is on the left side only; False: on the right only."""
    inside = phrase in first, phrase in second
    return None if inside[0] == inside[1] else inside[0]


def _subject(said: str, plan: Plan) -> str:
    """The phrase that a condition speaks of: the one it names first, or the plan's first."""
    normal = normal_phrase(said)
    named = sorted((normal.find(phrase), -len(phrase), phrase) for phrase in plan.phrases if phrase in normal)
    if named:
        return named[0][2]
    if not plan.phrases or has(r"second|latter|other", said.split(" than ")[0]):
        return plan.phrases[1] if len(plan.phrases) > 1 else ""
    return plan.phrases[0]


def _phrases(origin: frozenset[str]) -> frozenset[str]:
    return frozenset(name for name in origin if not name.startswith(":"))


def _constant(node: ast.expr | None) -> str:
    return str(node.value).strip().lower() if isinstance(node, ast.Constant) else ""
