"""What a program may call inside the judge: builtins, methods of plain values, and the usual of math and numpy."""

from __future__ import annotations

import math
import operator
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from valor_ray.tabletop.judge.text.run.array import array, differences, where
from valor_ray.tabletop.judge.text.run.limits import MOST_ITEMS, Unreadable, checked, weighed

Native = Callable[..., Any]


def items(value: Any) -> list[Any]:
    """All that iterating over a value gives, at most MOST_ITEMS. Raises TypeError as Python does, or Unreadable."""
    if isinstance(value, list):
        return value
    if not isinstance(value, _ITERABLE):
        raise TypeError(f"{type(value).__name__!r} object is not iterable")
    iterable: Iterable[Any] = value  # type: ignore[assignment]
    taken = list(islice(iterable, MOST_ITEMS + 1))
    if len(taken) > MOST_ITEMS:
        raise Unreadable("too many items")
    return taken


_ITERABLE: tuple[type, ...] = (
    str, tuple, dict, set, frozenset, range, Iterator, type({}.keys()), type({}.values()), type({}.items()),
)  # fmt: skip


def _least(pick: Native) -> Native:
    def take(*args: Any, key: Any = None, default: Any = _NOTHING) -> Any:
        values = items(args[0]) if len(args) == 1 else list(args)
        weighed(values)
        if not values and default is not _NOTHING:
            return default
        return pick(values, key=key)

    return take


_NOTHING = object()


def _sorted(values: Any, key: Any = None, reverse: Any = False) -> list[Any]:
    inside = items(values)
    weighed(inside)
    return sorted(inside, key=key, reverse=bool(reverse))


def _sum(values: Any, start: Any = 0) -> Any:
    total = start
    for value in items(values):
        if isinstance(total, list | tuple | dict | str):
            raise Unreadable("a sum of containers")
        total = checked(total + value)
    return total


def _text(value: Any = "") -> str:
    weighed(value)
    return str(checked(str(value)))


def _next(values: Any, *default: Any) -> Any:
    if not isinstance(values, Iterator):
        raise TypeError("not an iterator")
    return next(values, *default)


def _zip(*values: Any, strict: Any = False) -> Iterator[Any]:
    return iter(list(zip(*map(items, values), strict=bool(strict))))


def _map(function: Any, *values: Any) -> Iterator[Any]:
    return iter([function(*args) for args in zip(*map(items, values), strict=False)])


def _filter(function: Any, values: Any) -> Iterator[Any]:
    return iter([value for value in items(values) if (value if function is None else function(value))])


def _range(*bounds: Any) -> range:
    span = range(*bounds)
    if len(span) > MOST_ITEMS:
        raise Unreadable("a long range")
    return span


def _dict(*args: Any, **named: Any) -> dict[Any, Any]:
    pairs = (
        args[0]
        if args and isinstance(args[0], Mapping)
        else [tuple(items(p)) for p in items(args[0])]
        if args
        else ()
    )
    weighed(pairs)
    return dict(pairs, **named)


def _set(values: Any = ()) -> set[Any]:
    inside = items(values)
    weighed(inside)
    return set(inside)


def _reduce(function: Any, values: Any, *start: Any) -> Any:
    inside = [*start, *items(values)]
    if not inside:
        raise TypeError("reduce() of empty iterable with no initial value")
    total = inside[0]
    for value in inside[1:]:
        total = checked(function(total, value))
    return total


def _power(base: Any, exponent: Any, *rest: Any) -> Any:
    if rest or abs(exponent) > 64 or (isinstance(base, int) and abs(base) > 2**32):
        raise Unreadable("a large power")
    return checked(base**exponent)


def _counter(values: Any = ()) -> dict[Any, int]:
    counts: dict[Any, int] = {}
    for value in items(values):
        weighed(value)
        counts[value] = counts.get(value, 0) + 1
    return counts


ERRORS: Mapping[str, type[Exception]] = {
    error.__name__: error
    for error in (
        Exception, IndexError, KeyError, LookupError, TypeError, ValueError, ZeroDivisionError, ArithmeticError,
        AttributeError, NameError, RuntimeError, StopIteration, AssertionError,
    )
}  # fmt: skip


def _isinstance(value: Any, kinds: Any) -> bool:
    asked = kinds if isinstance(kinds, tuple) else (kinds,)
    known = [kind.python for kind in asked if isinstance(kind, Kind)]
    if len(known) != len(asked):
        raise Unreadable("isinstance of an unknown type")
    return isinstance(value, tuple(known))


class Kind:
    """A builtin type as the program sees it: called, or asked about with isinstance."""

    def __init__(self, python: type, make: Native) -> None:
        self.python, self.make = python, make

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self.make(*args, **named)


def _number(kind: type) -> Native:
    return lambda value=0, *rest: checked(
        kind(value, *rest) if not isinstance(value, str) else kind(value[:80], *rest)
    )


BUILTINS: dict[str, Any] = {
    "int": Kind(int, _number(int)), "float": Kind(float, _number(float)), "str": Kind(str, _text),
    "bool": Kind(bool, bool), "list": Kind(list, lambda values=(): list(items(values))),
    "tuple": Kind(tuple, lambda values=(): tuple(items(values))), "dict": Kind(dict, _dict),
    "set": Kind(set, _set), "frozenset": Kind(frozenset, lambda values=(): frozenset(_set(values))),
    "abs": abs, "all": lambda v: all(items(v)), "any": lambda v: any(items(v)), "len": len, "min": _least(min),
    "max": _least(max), "sum": _sum, "sorted": _sorted, "reversed": lambda v: iter(list(items(v))[::-1]), "zip": _zip,
    "enumerate": lambda v, start=0: iter(list(enumerate(items(v), start))), "range": _range, "map": _map,
    "filter": _filter, "next": _next, "iter": lambda v: iter(items(v)), "round": round, "divmod": divmod,
    "pow": _power, "print": lambda *_a, **_n: None, "isinstance": _isinstance, "repr": lambda v: _text(repr(v)),
    "callable": callable, "slice": slice,
}  # fmt: skip


def _close(a: float, b: float, rel_tol: float = 1e-9, abs_tol: float = 0.0) -> bool:
    return math.isclose(a, b, rel_tol=rel_tol, abs_tol=abs_tol)


_MATH: dict[str, Any] = {
    name: getattr(math, name)
    for name in "sqrt hypot floor ceil fabs inf pi nan isnan isfinite log exp atan2 trunc".split()
} | {"isclose": _close, "pow": _power, "dist": math.dist, "fsum": _sum}  # fmt: skip


def _arg(pick: Native) -> Native:
    def place(values: Any) -> int:
        inside = items(values)
        return int(inside.index(pick(inside)))

    return place


def _mean(values: Any) -> float:
    inside = items(values)
    return float(_sum(inside)) / len(inside)


_NUMPY: dict[str, Any] = _MATH | {
    "mean": _mean, "average": _mean, "median": lambda v: statistics.median(items(v)), "sum": _sum,
    "min": _least(min), "max": _least(max), "amin": _least(min), "amax": _least(max), "abs": abs, "absolute": abs,
    "argmin": _arg(min), "argmax": _arg(max), "minimum": min, "maximum": max, "round": round,
    "sign": lambda v: (v > 0) - (v < 0),
    "array": lambda v, *_a, **_n: array(items(v)), "asarray": lambda v, *_a, **_n: array(items(v)), "float64": float,
    "argsort": lambda v: array(sorted(range(len(items(v))), key=items(v).__getitem__)), "diff": differences,
    "where": where, "float32": float, "any": lambda v: any(items(v)),
    "prod": lambda v: math.prod(items(v)), "all": lambda v: all(items(v)), "isclose": _close,
    "count_nonzero": lambda v: sum(map(bool, items(v))),
}  # fmt: skip


class Module:
    """A module's listed names; anything else is unreadable."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names


def _getter(*keys: Any) -> Native:
    return lambda value: value[keys[0]] if len(keys) == 1 else tuple(value[key] for key in keys)


MODULES: dict[str, Module] = {
    "math": Module(_MATH), "numpy": Module(_NUMPY),
    "statistics": Module({"mean": _mean, "median": lambda v: statistics.median(items(v)), "fmean": _mean}),
    "functools": Module({"reduce": _reduce, "partial": lambda f, *a, **n: lambda *b, **m: f(*a, *b, **{**n, **m})}),
    "collections": Module({"Counter": _counter, "OrderedDict": _dict}),
    "operator": Module({"itemgetter": _getter, "lt": operator.lt, "gt": operator.gt, "le": operator.le,
        "ge": operator.ge}),
    "itertools": Module({
        "chain": lambda *v: iter([x for part in v for x in items(part)]),
        "combinations": lambda v, n: iter([(a, b) for i, a in enumerate(items(v)) for b in items(v)[i + 1:]]),
        "product": lambda v, w: iter([(a, b) for a in items(v) for b in items(w)]),
    }),
    "typing": Module(dict.fromkeys(("List", "Dict", "Tuple", "Optional", "Any", "Union", "Callable"))),
    "__future__": Module({"annotations": None}),
}  # fmt: skip

_STR = (
    "lower upper strip lstrip rstrip title capitalize casefold startswith endswith "
    "split rsplit replace count find index "
    "isdigit isalpha isnumeric removeprefix removesuffix partition rpartition splitlines"
).split()
METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset(_STR),
    list: frozenset("append extend insert pop remove index count sort reverse copy clear".split()),
    dict: frozenset("get keys values items pop setdefault update copy clear most_common".split()),
    set: frozenset(
        "add discard remove union intersection difference issubset issuperset copy update".split()
    ),
    frozenset: frozenset("union intersection difference issubset issuperset".split()),
    tuple: frozenset(("index", "count")),
    float: frozenset(("is_integer",)),
}


def method(owner: Any, name: str) -> Native:
    """A bound method of a plain value, with sizes checked. Raises AttributeError as Python does, or Unreadable."""
    kind = type(owner)
    if kind is str and name == "join":
        return lambda parts: checked(owner.join(items(parts)))
    if kind is str and name == "format":
        raise Unreadable("str.format")
    if kind is dict and name == "most_common":
        return lambda n=None: sorted(owner.items(), key=lambda pair: -pair[1])[:n]
    if kind is list and name == "sort":
        return lambda key=None, reverse=False: owner.__setitem__(slice(None), _sorted(owner, key, reverse))
    if name not in METHODS.get(kind, ()):
        if hasattr(kind, name):
            raise Unreadable(f"{kind.__name__}.{name}")
        raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}")
    bound = getattr(owner, name)

    def call(*args: Any, **named: Any) -> Any:
        weighed(owner, args)
        result = checked(bound(*args, **named))
        checked(owner)
        return result

    return call
