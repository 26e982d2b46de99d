"""What a program does, read from its syntax tree: tool calls, where values come from, and which answer follows when."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from valor_ray.program.phrases import detection_phrases
from valor_ray.tabletop.judge.text.english import normal_phrase
from valor_ray.tools import SPELLINGS, split_phrases

_DETECT, _DEPTH, _VQA = "gd_detect", "depth", "vqa"


@dataclass(frozen=True)
class Branch:
    """An answer that depends on a test: final_answer = yes if test else no."""

    test: ast.expr
    then: ast.expr | None
    other: ast.expr | None


@dataclass
class Program:
    tree: ast.Module
    phrases: tuple[str, ...]  # asked of the detector, in normal form
    calls: dict[str, list[ast.Call]] = field(default_factory=lambda: defaultdict(list))  # by canonical tool
    misused: str = ""  # a call that the API does not allow
    origins: dict[str, frozenset[str]] = field(
        default_factory=dict
    )  # name -> phrases and tools it comes from
    branches: list[Branch] = field(default_factory=list)
    guards: list[tuple[frozenset[str], str]] = field(
        default_factory=list
    )  # names tested for emptiness, answer then
    answers: list[ast.expr] = field(
        default_factory=list
    )  # all that is assigned to final_answer outside guards

    def origin(self, node: ast.AST | None) -> frozenset[str]:
        """The detection phrases and tools (":depth", ":vqa", ":len") that a value comes from."""
        sources: set[str] = set()
        for part in ast.walk(node) if node is not None else ():
            if isinstance(part, ast.Name):
                sources |= self.origins.get(part.id, frozenset())
            elif isinstance(part, ast.Call):
                sources |= _call_origin(part)
        return frozenset(sources)


def read_program(code: str) -> Program | None:
    """None when the text is no Python."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    program = Program(tree, tuple(normal_phrase(phrase) for phrase in detection_phrases(code).phrases))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SPELLINGS:
            tool, parameters = SPELLINGS[node.func.id]
            program.calls[tool.name].append(node)
            program.misused = program.misused or _misuse(node, parameters)
    _trace(program)
    _read_body(program, tree.body)
    return program


def _misuse(call: ast.Call, parameters: tuple[str, ...]) -> str:
    named = [keyword.arg for keyword in call.keywords if keyword.arg]
    if unknown := [name for name in named if name not in parameters]:
        return f"there is no parameter {unknown[0]!r}"
    starred = any(isinstance(arg, ast.Starred) for arg in call.args) or len(named) != len(call.keywords)
    if not starred and len(call.args) + len(named) != len(parameters):
        return f"{ast.unparse(call.func)} takes {', '.join(parameters)}"
    return ""


def _call_origin(call: ast.Call) -> set[str]:
    if not isinstance(call.func, ast.Name):
        return set()
    if call.func.id == "len":
        return {":len"}
    if call.func.id not in SPELLINGS:
        return set()
    tool = SPELLINGS[call.func.id][0].name
    if tool != _DETECT:
        return {f":{tool}"}
    texts = [
        value.value
        for value in (*call.args, *(keyword.value for keyword in call.keywords))
        if isinstance(value, ast.Constant) and isinstance(value.value, str)
    ]
    return {normal_phrase(phrase) for text in texts for phrase in split_phrases(text)}


def _trace(program: Program) -> None:
    """Where each name's values come from; a name that is bound again to its own part keeps its origin."""
    for _ in range(3):  # enough for chains that run against the order of the text
        for node in ast.walk(program.tree):
            for target, value in _bindings(node):
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        before = program.origins.get(name.id, frozenset())
                        program.origins[name.id] = before | program.origin(value)


def _bindings(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from ((target, value) for target in targets)
        case ast.AugAssign(target=target, value=value) | ast.NamedExpr(target=target, value=value):
            yield target, value
        case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
            yield target, value
        case ast.Call(func=ast.Attribute(value=ast.Name() as owner, attr="append"), args=[value]):
            yield owner, value


def _read_body(program: Program, body: list[ast.stmt]) -> None:
    for place, node in enumerate(body):
        match node:
            case ast.Assign(targets=[ast.Name(id="final_answer")], value=ast.IfExp() as value):
                program.branches.append(Branch(value.test, value.body, value.orelse))
                program.answers.append(value)
            case ast.Assign(targets=[ast.Name(id="final_answer")], value=value):
                program.answers.append(value)
            case ast.If(test=test, body=inner, orelse=other):
                then, otherwise = _answer_of(inner), _answer_of(other) or _answer_of(body[place + 1 :])
                empty = _tested_empty(test)
                if empty and then is not None:
                    program.guards.append((empty, _text(then)))
                    _read_body(program, other)
                    continue
                if then is not None:
                    program.branches.append(Branch(test, then, otherwise))
                _read_body(program, inner)
                _read_body(program, other)
            case ast.For(body=inner) | ast.While(body=inner) | ast.With(body=inner) | ast.Try(body=inner):
                _read_body(program, inner)
            case ast.FunctionDef(body=inner):
                _read_body(program, inner)


def _answer_of(body: list[ast.stmt]) -> ast.expr | None:
    for node in body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "final_answer" for t in node.targets
        ):
            return node.value
    return None


def _tested_empty(test: ast.expr) -> frozenset[str]:
    """The names that a test asks to be empty: not a, len(a) == 0, a == [], joined by or / and."""
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=ast.Name(id=name)):
            return frozenset({name})
        case ast.UnaryOp(op=ast.Not(), operand=ast.BoolOp(values=values)) if all(
            isinstance(v, ast.Name) for v in values
        ):
            return frozenset(v.id for v in values if isinstance(v, ast.Name))
        case ast.Compare(
            left=ast.Call(func=ast.Name(id="len"), args=[ast.Name(id=name)]), ops=[ast.Eq() | ast.Lt()]
        ):
            return frozenset({name})
        case ast.Compare(left=ast.Name(id=name), ops=[ast.Eq() | ast.Is()], comparators=[ast.List(elts=[])]):
            return frozenset({name})
        case ast.BoolOp(values=values):
            parts = [_tested_empty(value) for value in values]
            return frozenset().union(*parts) if all(parts) else frozenset()
    return frozenset()


def _text(node: ast.expr) -> str:
    return str(node.value).lower() if isinstance(node, ast.Constant) else ""
