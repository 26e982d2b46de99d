"""The expressions of the interpreter: values from syntax trees, over listed node kinds, names and methods only."""

from __future__ import annotations

import ast
import builtins
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from valor_ray.tabletop.judge.text.run import library
from valor_ray.tabletop.judge.text.run.array import Array, whole
from valor_ray.tabletop.judge.text.run.array import attribute as array_attribute
from valor_ray.tabletop.judge.text.run.limits import DEEPEST, MOST_STEPS, Unreadable, checked, weighed

_BINARY: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor,
}  # fmt: skip
_COMPARE: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne, ast.Is: operator.is_, ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in (b if isinstance(b, str | dict | set | frozenset) else library.items(b)),
    ast.NotIn: lambda a, b: a not in (b if isinstance(b, str | dict | set | frozenset) else library.items(b)),
}  # fmt: skip
_WHOLE = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
_UNARY: Mapping[type, Callable[[Any], Any]] = {
    ast.Not: operator.not_, ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert,
}  # fmt: skip


class Return(Exception):
    def __init__(self, value: Any) -> None:
        self.value = value


class Break(Exception):
    pass


class Continue(Exception):
    pass


CONTROL = (Return, Break, Continue)


class Scope:
    """Names of a function call (or comprehension), with those around it."""

    def __init__(self, names: dict[str, Any], outer: Scope | None) -> None:
        self.names, self.outer = names, outer
        self.elsewhere: set[str] = set()  # declared global or nonlocal

    def get(self, name: str) -> Any:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        if hasattr(builtins, name):
            raise Unreadable(f"the builtin {name}")
        raise NameError(f"name {name!r} is not defined")

    def set(self, name: str, value: Any) -> None:
        if name not in self.elsewhere:
            self.names[name] = value
            return
        scope = self.outer
        while scope is not None and scope.outer is not None and name not in scope.names:
            scope = scope.outer
        (scope or self).names[name] = value


class Expressions:
    """Evaluates expressions; statements are the interpreter's, which is one of these."""

    def __init__(self, defined: Mapping[str, Any]) -> None:
        start = {
            **library.BUILTINS,
            **library.ERRORS,
            "np": library.MODULES["numpy"],
            "math": library.MODULES["math"],
        }
        self.top = Scope({**start, "__name__": "__main__", **defined}, None)
        self.steps, self.depth = 0, 0

    def step(self) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Unreadable("the program takes too long")

    def body(self, nodes: list[ast.stmt], scope: Scope) -> None:
        raise NotImplementedError

    def assign(self, target: ast.expr, value: Any, scope: Scope) -> None:
        self.step()
        match target:
            case ast.Name(id=name):
                scope.set(name, value)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                self._unpack(parts, list(library.items(value)), scope)
            case ast.Subscript(value=owner, slice=index):
                place = self.eval(index, scope)
                weighed(place)
                held = self.eval(owner, scope)
                held[place] = value
                checked(held)
            case _:
                raise Unreadable(f"assigning to {type(target).__name__}")

    def _unpack(self, parts: list[ast.expr], values: list[Any], scope: Scope) -> None:
        star = next((i for i, part in enumerate(parts) if isinstance(part, ast.Starred)), None)
        if star is not None:
            after = len(parts) - star - 1
            if len(values) < len(parts) - 1:
                raise ValueError("not enough values to unpack")
            middle = values[star : len(values) - after]
            values = [*values[:star], middle, *values[len(values) - after :]]
        if len(values) != len(parts):
            raise ValueError(f"expected {len(parts)} values to unpack, got {len(values)}")
        for part, value in zip(parts, values, strict=True):
            self.assign(part.value if isinstance(part, ast.Starred) else part, value, scope)

    # expressions

    def eval(self, node: ast.expr, scope: Scope) -> Any:
        self.step()
        kind = type(node)
        if kind is ast.Name:
            return scope.get(node.id)  # type: ignore[attr-defined]
        if kind is ast.Constant:
            return node.value  # type: ignore[attr-defined]
        ev = getattr(self, f"ev_{kind.__name__}", None)
        if ev is None:
            raise Unreadable(kind.__name__)
        return ev(node, scope)

    def ev_List(self, node: ast.List, scope: Scope) -> list[Any]:
        return list(self._elements(node.elts, scope))

    def ev_Tuple(self, node: ast.Tuple, scope: Scope) -> tuple[Any, ...]:
        return tuple(self._elements(node.elts, scope))

    def ev_Set(self, node: ast.Set, scope: Scope) -> set[Any]:
        values = list(self._elements(node.elts, scope))
        weighed(values)
        return set(values)

    def _elements(self, nodes: list[ast.expr], scope: Scope) -> Iterator[Any]:
        for node in nodes:
            if isinstance(node, ast.Starred):
                yield from library.items(self.eval(node.value, scope))
            else:
                yield self.eval(node, scope)

    def ev_Dict(self, node: ast.Dict, scope: Scope) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                made.update(self.eval(value, scope))
                continue
            name = self.eval(key, scope)
            weighed(name)
            made[name] = self.eval(value, scope)
        return made

    def ev_JoinedStr(self, node: ast.JoinedStr, scope: Scope) -> str:
        return str(checked("".join(str(self.eval(part, scope)) for part in node.values)))

    def ev_FormattedValue(self, node: ast.FormattedValue, scope: Scope) -> str:
        value = self.eval(node.value, scope)
        weighed(value)
        form = self.eval(node.format_spec, scope) if node.format_spec is not None else ""
        if len(form) > 6 or any(
            len(digits) > 2 for digits in form.replace(".", " ").split() if digits.isdigit()
        ):
            raise Unreadable("a long format")
        return format(repr(value) if node.conversion == ord("r") else value, form)

    def ev_BinOp(self, node: ast.BinOp, scope: Scope) -> Any:
        return self.binary(node.op, self.eval(node.left, scope), self.eval(node.right, scope))

    def binary(self, op: ast.operator, left: Any, right: Any) -> Any:
        if isinstance(op, ast.Mult):
            if isinstance(left, Array) or isinstance(right, Array):
                return self.everywhere(operator.mul, left, right)
            sized = next((v for v in (left, right) if isinstance(v, str | list | tuple)), None)
            times = right if sized is left else left
            if sized is not None and isinstance(times, int) and times * len(sized) > 2000:
                raise Unreadable("a long repetition")
            return checked(left * right)
        if isinstance(op, ast.Pow):
            return library.BUILTINS["pow"](left, right)
        if isinstance(op, ast.Mod) and isinstance(left, str):
            raise Unreadable("% of a text")
        if type(op) not in _BINARY:
            raise Unreadable(type(op).__name__)
        if isinstance(left, Array) or isinstance(right, Array):
            return self.everywhere(_BINARY[type(op)], left, right)
        return checked(_BINARY[type(op)](left, right))

    def everywhere(self, op: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
        """An operator on arrays, each value of which counts as a step."""
        weighed(left, right)
        self.steps += sum(len(side) for side in (left, right) if isinstance(side, Array))
        return checked(whole(op, left, right))

    def ev_UnaryOp(self, node: ast.UnaryOp, scope: Scope) -> Any:
        return _UNARY[type(node.op)](self.eval(node.operand, scope))

    def ev_BoolOp(self, node: ast.BoolOp, scope: Scope) -> Any:
        wanted = isinstance(node.op, ast.Or)
        value: Any = None
        for part in node.values:
            value = self.eval(part, scope)
            if bool(value) == wanted:
                return value
        return value

    def ev_Compare(self, node: ast.Compare, scope: Scope) -> Any:
        left = self.eval(node.left, scope)
        result: Any = True
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.eval(right_node, scope)
            if not isinstance(left, str | int | float) or not isinstance(right, str | int | float):
                weighed(left, right)
            if type(op) in _WHOLE and (isinstance(left, Array) or isinstance(right, Array)):
                result = self.everywhere(_COMPARE[type(op)], left, right)
                left = right
                continue
            result = _COMPARE[type(op)](left, right)
            if not result:
                return result
            left = right
        return result

    def ev_IfExp(self, node: ast.IfExp, scope: Scope) -> Any:
        return self.eval(node.body if self.eval(node.test, scope) else node.orelse, scope)

    def ev_NamedExpr(self, node: ast.NamedExpr, scope: Scope) -> Any:
        value = self.eval(node.value, scope)
        self.assign(node.target, value, scope)
        return value

    def ev_Subscript(self, node: ast.Subscript, scope: Scope) -> Any:
        owner, index = self.eval(node.value, scope), self.eval(node.slice, scope)
        weighed(index)
        if not isinstance(owner, list | tuple | dict | str | range):
            raise TypeError(f"{type(owner).__name__!r} object is not subscriptable")
        return owner[index]

    def ev_Slice(self, node: ast.Slice, scope: Scope) -> slice:
        bounds = (self.eval(b, scope) if b is not None else None for b in (node.lower, node.upper, node.step))
        return slice(*bounds)

    def ev_Attribute(self, node: ast.Attribute, scope: Scope) -> Any:
        owner = self.eval(node.value, scope)
        if isinstance(owner, library.Module):
            if node.attr not in owner.names:
                raise Unreadable(f".{node.attr}")
            return owner.names[node.attr]
        if isinstance(owner, Array):
            return array_attribute(owner, node.attr)
        if not isinstance(owner, str | list | dict | set | frozenset | tuple | float | int):
            raise Unreadable(f".{node.attr}")
        return library.method(owner, node.attr)

    def ev_Lambda(self, node: ast.Lambda, scope: Scope) -> Callable[..., Any]:
        return self.function(node.args, node.body, scope)

    def ev_Call(self, node: ast.Call, scope: Scope) -> Any:
        function = self.eval(node.func, scope)
        args = list(self._elements(node.args, scope))
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            value = self.eval(keyword.value, scope)
            named.update({keyword.arg: value} if keyword.arg else value)
        if not callable(function):
            raise TypeError(f"{type(function).__name__!r} object is not callable")
        return checked(function(*args, **named))

    def function(
        self, spec: ast.arguments, body: list[ast.stmt] | ast.expr, outer: Scope
    ) -> Callable[..., Any]:
        defaults = [self.eval(default, outer) for default in spec.defaults]
        named_defaults = [None if d is None else self.eval(d, outer) for d in spec.kw_defaults]
        names = [arg.arg for arg in (*spec.posonlyargs, *spec.args)]
        only_named = [arg.arg for arg in spec.kwonlyargs]
        preset = {
            **dict(zip(names[len(names) - len(defaults) :], defaults, strict=True)),
            **dict(zip(only_named, named_defaults, strict=True)),
        }

        def call(*args: Any, **named: Any) -> Any:
            self.step()
            rest = args[len(names) :]
            if rest and spec.vararg is None:
                raise TypeError("too many positional arguments")
            local = {**preset, **dict(zip(names, args, strict=False)), **named}
            if missing := [name for name in (*names, *only_named) if name not in local]:
                raise TypeError(f"missing argument {missing[0]!r}")
            if spec.vararg is not None:
                local[spec.vararg.arg] = rest
            return self._enter(body, Scope(local, outer))

        return call

    def _enter(self, body: list[ast.stmt] | ast.expr, scope: Scope) -> Any:
        if self.depth >= DEEPEST:
            raise Unreadable("calls inside calls")
        self.depth += 1
        try:
            if isinstance(body, ast.expr):
                return self.eval(body, scope)
            self.body(body, scope)
        except Return as returned:
            return returned.value
        finally:
            self.depth -= 1
        return None

    def ev_ListComp(self, node: ast.ListComp, scope: Scope) -> list[Any]:
        return [self.eval(node.elt, inner) for inner in self._loops(node.generators, scope)]

    def ev_SetComp(self, node: ast.SetComp, scope: Scope) -> set[Any]:
        return library.BUILTINS["set"](
            [self.eval(node.elt, inner) for inner in self._loops(node.generators, scope)]
        )

    def ev_GeneratorExp(self, node: ast.GeneratorExp, scope: Scope) -> Iterator[Any]:
        return (self.eval(node.elt, inner) for inner in self._loops(node.generators, scope))

    def ev_DictComp(self, node: ast.DictComp, scope: Scope) -> dict[Any, Any]:
        made = {}
        for inner in self._loops(node.generators, scope):
            key = self.eval(node.key, inner)
            weighed(key)
            made[key] = self.eval(node.value, inner)
        return made

    def _loops(self, generators: list[ast.comprehension], scope: Scope) -> Iterator[Scope]:
        first, *rest = generators
        for value in list(library.items(self.eval(first.iter, scope))):
            inner = Scope({}, scope)
            self.assign(first.target, value, inner)
            if all(self.eval(test, inner) for test in first.ifs):
                if rest:
                    yield from self._loops(rest, inner)
                else:
                    yield inner
