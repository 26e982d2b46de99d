"""Which phrases a program asks the detector for, found in its syntax tree without running it.

Values are followed through constants, names, f-strings, +, lists, dicts, loops, comprehensions and the arguments of the
program's own functions. The order of execution is not: a name stands for everything it is ever bound to.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from valor_ray.program.syntax_tree import syntax_tree
from valor_ray.tools import SPELLINGS, split_phrases

_MOST_VALUES = 256  # of one expression
_LONGEST = 500  # characters of a text
# expressions looked at in one program, so that none takes long; beyond them all is unknown
_MOST_STEPS = 3000


@dataclass(frozen=True)
class Phrases:
    phrases: tuple[str, ...]  # as they would be asked for, in the order of the calls, without repeats
    unresolved: tuple[int, ...]  # lines of the calls that ask for something only running the program tells


class _Unknown:
    """Stands for a value that the syntax tree does not tell."""


_UNKNOWN = _Unknown()


def detection_phrases(code: str) -> Phrases:
    """The phrases of all gd_detect and GD_DETECT calls. A program that does not parse has none."""
    try:
        tree = syntax_tree(code)
        texts, unresolved = _collect(tree)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return Phrases((), ())
    return Phrases(split_phrases("\n".join(texts)), tuple(sorted(set(unresolved))))


def _collect(tree: ast.Module) -> tuple[list[str], list[int]]:
    detectors = {
        name: parameters.index("prompt")
        for name, (t, parameters) in SPELLINGS.items()
        if t.name == "gd_detect"
    }
    nodes = list(ast.walk(tree))
    for node in nodes:  # find = gd_detect
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id in detectors:
            detectors |= {t.id: detectors[node.value.id] for t in node.targets if isinstance(t, ast.Name)}
    values = _Values(nodes)
    texts: list[str] = []
    unresolved: list[int] = []
    calls = [
        n
        for n in nodes
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id in detectors
    ]
    for call in sorted(calls, key=lambda c: (c.lineno, c.col_offset)):
        assert isinstance(call.func, ast.Name)
        prompt = _argument(call, detectors[call.func.id], "prompt")
        for value in values.of(prompt) if prompt is not None else [_UNKNOWN]:
            if isinstance(value, str):
                texts.append(value)
            else:
                unresolved.append(call.lineno)
    return texts, unresolved


def _argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    given = [keyword.value for keyword in call.keywords if keyword.arg == name]
    before = call.args[: position + 1]
    if given:
        return given[0]
    if len(before) <= position or any(isinstance(argument, ast.Starred) for argument in before):
        return None
    return before[position]


@dataclass(frozen=True)
class _Binding:
    """What a name may be: an expression, or what iterating over it gives; `path` unpacks tuples."""

    value: ast.expr
    each: bool = False
    path: tuple[int, ...] = ()


class _Values:
    """The values that expressions may have. Lists and sets are tuples here."""

    def __init__(self, nodes: list[ast.AST]) -> None:
        self._bindings: dict[str, list[_Binding]] = defaultdict(list)
        self._steps = 0
        self._open: set[int] = set()  # bindings being followed: a name that depends on itself adds nothing
        functions = {node.name: node.args for node in nodes if isinstance(node, ast.FunctionDef)}
        for node in nodes:
            for target, binding in _bindings(node, functions):
                self._bind(target, binding)

    def of(self, node: ast.expr) -> list[Any]:
        """Possible values, `_UNKNOWN` among them when there may be others."""
        self._steps += 1
        if self._steps > _MOST_STEPS:
            return [_UNKNOWN]
        # a long text is dropped before the next one is made
        cut = (_UNKNOWN if isinstance(v, str) and len(v) > _LONGEST else v for v in self._values(node))
        values = list(islice(cut, _MOST_VALUES + 1))
        if len(values) > _MOST_VALUES:
            values[_MOST_VALUES:] = [_UNKNOWN]
        return values

    def _bind(self, target: ast.expr, binding: _Binding) -> None:
        if isinstance(target, ast.Name):
            self._bindings[target.id].append(binding)
        elif isinstance(target, ast.Tuple | ast.List):
            for i, part in enumerate(target.elts):
                self._bind(part, _Binding(binding.value, binding.each, (*binding.path, i)))

    def _values(self, node: ast.expr) -> Iterator[Any]:
        match node:
            case ast.Constant(value=value):
                yield value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)):
                yield -value
            case ast.Name(id=name):
                yield from self._named(name)
            case ast.JoinedStr(values=parts):
                yield from self._joined(parts)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                yield from (_added(a, b) for a, b in product(self.of(left), self.of(right)))
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
                yield from product(*(self.of(part) for part in parts))
            case ast.Dict(keys=names, values=parts) if all(names):
                pairs = [
                    self.of(part)
                    for name in zip(names, parts, strict=True)
                    for part in name
                    if part is not None
                ]
                yield from (dict(_pairs(flat)) for flat in product(*pairs))
            case ast.IfExp(body=body, orelse=other):
                yield from [*self.of(body), *self.of(other)]
            case ast.Subscript(value=value, slice=index):
                yield from (_item(v, i) for v, i in product(self.of(value), self.of(index)))
            case ast.ListComp(elt=part) | ast.SetComp(elt=part) | ast.GeneratorExp(elt=part):
                yield tuple(self.of(part))
            case ast.Call(func=ast.Attribute(value=owner, attr=method), args=arguments):
                yield from self._method(owner, method, arguments)
            case ast.Call(func=ast.Name(id=function), args=arguments):
                yield from self._builtin(function, arguments)
            case _:
                yield _UNKNOWN

    def _named(self, name: str) -> Iterator[Any]:
        bindings = self._bindings.get(name)
        if not bindings:
            yield _UNKNOWN
            return
        for binding in bindings:
            if id(binding) in self._open:
                continue
            self._open.add(id(binding))
            values = self.of(binding.value)
            self._open.discard(id(binding))
            for value in values:
                for each in _elements(value) if binding.each else (value,):
                    yield _unpacked(each, binding.path)

    def _joined(self, parts: list[ast.expr]) -> Iterator[Any]:
        choices = []
        for part in parts:
            if isinstance(part, ast.FormattedValue):
                plain = part.format_spec is None and part.conversion in (-1, ord("s"))
                choices.append(self.of(part.value) if plain else [_UNKNOWN])
            else:
                choices.append(self.of(part))
        for texts in product(*choices):
            plain = all(isinstance(text, str | int | float) for text in texts)
            yield _joined_by("", tuple(map(str, texts))) if plain else _UNKNOWN

    def _method(self, owner: ast.expr, method: str, arguments: list[ast.expr]) -> Iterator[Any]:
        for value in self.of(owner):
            match value, method:
                case str(), "lower" | "upper" | "strip" | "title" | "capitalize" if not arguments:
                    yield getattr(value, method)()
                case str(), "join" if len(arguments) == 1:
                    for parts in self.of(arguments[0]):
                        known = isinstance(parts, tuple) and all(isinstance(part, str) for part in parts)
                        yield _joined_by(value, parts) if known else _UNKNOWN
                case dict(), "keys":
                    yield tuple(value)
                case dict(), "values":
                    yield tuple(value.values())
                case dict(), "items":
                    yield tuple(value.items())
                case dict(), "get" if arguments:
                    yield from (_item(value, key) for key in self.of(arguments[0]))
                case _:
                    yield _UNKNOWN

    def _builtin(self, function: str, arguments: list[ast.expr]) -> Iterator[Any]:
        choices = [self.of(argument) for argument in arguments]
        for values in product(*choices):
            lists = all(isinstance(value, tuple | dict) for value in values)
            match function, values:
                case "list" | "tuple" | "set" | "sorted" | "reversed", (_,) if lists:
                    yield tuple(values[0])
                case "enumerate", (_,) if lists:
                    yield tuple(enumerate(values[0]))
                case "zip", (_, *_) if lists:
                    yield tuple(zip(*values, strict=False))
                case "str", (str() | int() | float() as value,):
                    yield str(value)
                case _:
                    yield _UNKNOWN


def _bindings(node: ast.AST, functions: dict[str, ast.arguments]) -> Iterator[tuple[ast.expr, _Binding]]:
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from ((target, _Binding(value)) for target in targets)
        case (
            ast.AnnAssign(target=target, value=ast.expr() as value)
            | ast.NamedExpr(target=target, value=value)
        ):
            yield target, _Binding(value)
        case ast.AugAssign(target=ast.Name(id=name) as target, op=op, value=value):
            yield target, _Binding(ast.BinOp(ast.Name(name), op, value))
        case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
            yield target, _Binding(value, each=True)
        case ast.Call(func=ast.Attribute(value=ast.Name() as owner, attr="append"), args=[value]):
            yield owner, _Binding(ast.Tuple([value]))
        case ast.Call(func=ast.Name(id=name)) if name in functions:
            for i, parameter in enumerate(functions[name].args):
                given = _argument(node, i, parameter.arg)
                if given is not None:
                    yield ast.Name(parameter.arg), _Binding(given)


def _joined_by(between: str, parts: tuple[str, ...]) -> Any:
    """Too long a text is not even made: there may be hundreds of them."""
    length = sum(map(len, parts)) + len(between) * len(parts)
    return between.join(parts) if length <= 2 * _LONGEST else _UNKNOWN


def _pairs(flat: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    parts = iter(flat)
    for key in parts:
        yield (key if isinstance(key, str | int | float) else id(key)), next(parts)


def _added(left: Any, right: Any) -> Any:
    both = (str, tuple)
    return (
        left + right
        if type(left) is type(right) and isinstance(left, both) and len(left) < _LONGEST
        else _UNKNOWN
    )


def _item(value: Any, index: Any) -> Any:
    if isinstance(value, dict):
        return value.get(index, _UNKNOWN) if isinstance(index, str | int | float) else _UNKNOWN
    inside = isinstance(value, tuple) and isinstance(index, int) and -len(value) <= index < len(value)
    return value[index] if inside else _UNKNOWN


def _elements(value: Any) -> Iterable[Any]:
    return value if isinstance(value, tuple | dict) else (_UNKNOWN,)


def _unpacked(value: Any, path: tuple[int, ...]) -> Any:
    for index in path:
        value = _item(value, index)
    return value
