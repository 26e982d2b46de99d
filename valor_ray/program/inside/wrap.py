"""Compile a program with a function around it, made in the syntax tree so that texts keep every character.

This module is loaded in the sandbox only: standard library.
"""

from __future__ import annotations
import __future__

import ast
import sys
from types import CodeType
from typing import Any

_GENERATOR = 0x20  # inspect.CO_GENERATOR
FILENAME = "<program>"  # in tracebacks, to tell the program's lines from ours
RETURNED = "__returned__"  # the global that holds what `return` gave
_AROUND = f"def __program__(): pass\n{RETURNED} = __program__()"
# Annotations are read by nobody, and `List` without its import is no mistake worth a program.
_UNREAD_ANNOTATIONS = __future__.annotations.compiler_flag


def compile_program(code: str) -> CodeType:
    """Compile with a function around the body, so that `return` works; all its names stay global.

    Raises SyntaxError (ValueError, MemoryError, RecursionError for the odder kinds of unreadable text).
    """
    tree = ast.parse(code.removeprefix("\ufeff"), FILENAME)
    top = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    body = [_in_a_function(node) for node in tree.body if node not in top]
    module = ast.parse(_AROUND)
    function = module.body[0]
    assert isinstance(function, ast.FunctionDef)
    names = sorted(_bound_names(body))
    head: list[ast.stmt] = [ast.copy_location(ast.Global(names), function)] if names else []
    function.body = [*head, *body] or function.body
    module.body[:0] = top
    compiled = compile(module, FILENAME, "exec", flags=_UNREAD_ANNOTATIONS, dont_inherit=True)
    for part in compiled.co_consts:
        if isinstance(part, CodeType) and part.co_name == "__program__" and part.co_flags & _GENERATOR:
            raise SyntaxError("'yield' outside function")
    return compiled


def _in_a_function(node: ast.stmt) -> ast.stmt:
    """The statement, with what only a module may do said as a function may: annotated globals, `import *`.

    Walks statements only: expressions may be nested deeper than calls.
    """
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        plain = ast.Assign([node.target], node.value) if node.value else ast.Pass()
        return ast.copy_location(plain, node)
    if isinstance(node, ast.ImportFrom) and node.names[0].name == "*" and node.module and not node.level:
        return ast.copy_location(_import_all(node.module), node)
    for part in (node, *getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        for field in ("body", "orelse", "finalbody"):
            if hasattr(part, field):
                setattr(part, field, [_in_a_function(inner) for inner in getattr(part, field)])
    return node


_FIRST: dict[str, Any] = {"lineno": 1, "col_offset": 0, "end_lineno": 1, "end_col_offset": 0}


def _import_all(module: str) -> ast.stmt:
    """`from module import *` by name. What is not loaded cannot be imported: saying so is left to the import."""
    has = vars(sys.modules[module]) if module in sys.modules else {}
    public = [name for name in has.get("__all__", has) if name in has and not name.startswith("_")]
    aliases = [ast.alias(name, **_FIRST) for name in public]
    return ast.ImportFrom(module, aliases, 0) if aliases else ast.Import([ast.alias(module, **_FIRST)])


_NAMING = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.ExceptHandler,
    ast.MatchAs,
    ast.MatchStar,
)


def _bound_names(body: list[ast.stmt]) -> set[str]:
    """Every name that the program binds anywhere; declaring one global at the top does not reach into functions."""
    names: set[str | None] = set()
    waiting: list[Any] = list(body)
    while waiting:  # ast.walk takes twice as long, half of the time of a short program
        node = waiting.pop()
        for field in vars(node).values():
            if isinstance(field, list):
                waiting += [part for part in field if isinstance(part, ast.AST)]
            elif isinstance(field, ast.AST) and not isinstance(field, ast.expr_context):
                waiting.append(field)
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, _NAMING):
            names.add(node.name)
        elif isinstance(node, ast.MatchMapping):
            names.add(node.rest)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(
                alias.asname or alias.name.partition(".")[0] for alias in node.names if alias.name != "*"
            )
    return {name for name in names if name}
