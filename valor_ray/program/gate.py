"""The gate of the fast path: which programs may run in a worker that other programs will use after them.

An allow-list over the syntax tree. What passes can reach no state that outlives its namespace: no name or attribute
with an underscore in front, no attribute set, no class, decorator or generator function, only the listed builtins, and
only the listed attributes on whatever object. Everything else takes the fork path; nothing is refused here for good.
The walls (seccomp, limits, user) are the same on both paths: the gate saves the fork, not a wall.
"""

from __future__ import annotations

import ast
import builtins
from functools import lru_cache

from valor_ray.program.inside.namespace import BUILTINS, EXITS
from valor_ray.program.syntax_tree import syntax_tree

# fmt: off
_NODES = (
    ast.Module, ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.For, ast.While, ast.If, ast.IfExp, ast.Pass,
    ast.Break, ast.Continue, ast.Return, ast.FunctionDef, ast.Lambda, ast.arguments, ast.arg, ast.Try,
    ast.ExceptHandler, ast.Raise, ast.Assert, ast.Import, ast.ImportFrom, ast.alias, ast.Name, ast.Load, ast.Store,
    ast.Del, ast.Delete, ast.Constant, ast.JoinedStr, ast.FormattedValue, ast.BinOp, ast.UnaryOp, ast.BoolOp,
    ast.Compare, ast.Call, ast.keyword, ast.Starred, ast.Attribute, ast.Subscript, ast.Slice, ast.List, ast.Tuple,
    ast.Dict, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.NamedExpr,
    ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)
# On any object at all, so each must be harmless on numbers, texts, containers, arrays, and the modules below.
_TEXT = (
    "capitalize", "casefold", "center", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdecimal",
    "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper", "join", "ljust", "lower", "lstrip",
    "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit",
    "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper", "zfill",
)
_CONTAINERS = (
    "add", "append", "clear", "copy", "difference", "discard", "extend", "get", "insert", "intersection",
    "isdisjoint", "issubset", "issuperset", "items", "keys", "pop", "popitem", "remove", "reverse", "setdefault",
    "sort", "symmetric_difference", "union", "update", "values", "most_common", "elements", "is_integer",
)
_MATH = (
    "acos", "asin", "atan", "atan2", "ceil", "comb", "cos", "degrees", "dist", "e", "exp", "fabs", "factorial",
    "floor", "fmod", "fsum", "gcd", "hypot", "inf", "isclose", "isfinite", "isinf", "isnan", "isqrt", "lcm", "log",
    "log10", "log1p", "log2", "nan", "perm", "pi", "prod", "radians", "sin", "sqrt", "tan", "tau", "tanh", "trunc",
)
_ARRAYS = (
    "abs", "absolute", "all", "allclose", "any", "arange", "arccos", "arcsin", "arctan", "arctan2", "argmax",
    "argmin", "argsort", "array", "asarray", "astype", "average", "bool_", "clip", "column_stack", "concatenate",
    "cross", "cumsum", "deg2rad", "diff", "divide", "dot", "equal", "exp2", "eye", "flatten", "float32",
    "float64", "full", "greater", "histogram", "hstack", "int32", "int64", "interp", "isin", "item", "less",
    "linspace", "logical_and", "logical_not", "logical_or", "maximum", "mean", "median", "min", "max", "minimum",
    "nanmax", "nanmean", "nanmedian", "nanmin", "ndim", "nonzero", "ones", "outer", "percentile", "power",
    "quantile", "rad2deg", "ravel", "reshape", "round", "shape", "sign", "size", "sort", "square", "stack", "std",
    "subtract", "sum", "take", "tolist", "transpose", "unique", "var", "vstack", "where", "zeros", "T",
)
_OTHER = (
    "norm", "linalg", "crop", "width", "height", "bbox", "label", "findall", "search", "match", "fullmatch", "sub",
    "group", "groups", "mode", "pstdev", "stdev", "variance", "Counter", "defaultdict", "deque", "combinations",
    "permutations", "product", "chain", "groupby", "reduce", "IGNORECASE", "exit", "stdout", "stderr", "write",
    "flush", "maxsize", "pprint", "loads", "dumps", "itemgetter", "deepcopy", "ascii_letters", "ascii_lowercase",
    "ascii_uppercase", "digits", "punctuation", "annotations",
)
_TYPES = ("Any", "Callable", "Dict", "FrozenSet", "Iterable", "Iterator", "List", "Literal", "Mapping", "Optional",
          "Sequence", "Set", "Tuple", "Union")
# fmt: on
ATTRIBUTES = frozenset((*_TEXT, *_CONTAINERS, *_MATH, *_ARRAYS, *_OTHER, *_TYPES))
# An import leaves nothing; of most of these there is no attribute in the list.
MODULES = (
    "__future__", "abc", "ast", "bisect", "cmath", "collections", "colorsys", "copy", "dataclasses", "datetime",
    "decimal", "enum", "fractions", "functools", "heapq", "itertools", "json", "math", "numbers", "numpy", "operator",
    "pprint", "random", "re", "statistics", "string", "sys", "textwrap", "time", "typing", "unicodedata", "warnings",
)  # fmt: skip
_LONGEST = 16384  # characters
_MOST_NODES = 5000
# Builtins that a warm worker does not have: a program that names one needs a fork.
_REFUSED = frozenset(dir(builtins)) - {*BUILTINS, *EXITS}


@lru_cache(maxsize=4096)
def passes(code: str) -> bool:
    """Whether the program may run in a warm worker."""
    if len(code) > _LONGEST or "\0" in code:
        return False
    try:
        tree = syntax_tree(code.removeprefix("\ufeff"))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return all(count < _MOST_NODES and _allowed(node) for count, node in enumerate(ast.walk(tree)))


def _allowed(node: ast.AST) -> bool:
    if not isinstance(node, _NODES):
        return False
    match node:
        case ast.Name(id="_") | ast.arg(arg="_"):  # what nobody looks at
            return True
        case ast.Name(id=name) | ast.arg(arg=name):
            return not name.startswith("_") and name not in _REFUSED
        case ast.Attribute(attr=name, ctx=context):
            return isinstance(context, ast.Load) and name in ATTRIBUTES
        case ast.keyword(arg=str() as name):
            return not name.startswith("_")
        case ast.FunctionDef(name=name, decorator_list=decorators):
            return not name.startswith("_") and not decorators and name not in _REFUSED
        case ast.ExceptHandler(type=kind, name=name):
            return kind is not None and not (name or "").startswith("_")
        case ast.Import(names=names):
            return all(alias.name in MODULES and _plain(alias) for alias in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            known = module in MODULES and level == 0
            return known and all(alias.name in ATTRIBUTES and _plain(alias) for alias in names)
    return True


def _plain(alias: ast.alias) -> bool:
    return not (alias.asname or "").startswith("_") and alias.asname not in _REFUSED
