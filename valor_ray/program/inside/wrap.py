"""Compile a program with a function around it, made in the syntax tree so that texts keep every character.

This module is loaded in the sandbox only: standard library.
"""

from __future__ import annotations

import ast
from types import CodeType

_GENERATOR = 0x20  # inspect.CO_GENERATOR
FILENAME = "<program>"  # in tracebacks, to tell the program's lines from ours


def compile_program(code: str) -> CodeType:
    """Compile with a function around the body, so that `return` works; all its names stay global.

    Raises SyntaxError (ValueError, MemoryError, RecursionError for the odder kinds of unreadable text).
    """
    tree = ast.parse(code, FILENAME)
    top = [node for node in tree.body if isinstance(node, ast.ImportFrom) and _module_only(node)]
    body: list[ast.stmt] = [node for node in tree.body if node not in top]
    names = sorted(_bound_names(tree))
    head: list[ast.stmt] = [ast.Global(names=names)] if names else []
    function = ast.parse("def __program__(): pass").body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body = [*head, *body] or function.body
    call = ast.parse("__program__()").body[0]
    module = ast.fix_missing_locations(ast.Module(body=[*top, function, call], type_ignores=[]))
    compiled = compile(module, FILENAME, "exec", dont_inherit=True)
    for part in compiled.co_consts:
        if isinstance(part, CodeType) and part.co_name == "__program__" and part.co_flags & _GENERATOR:
            raise SyntaxError("'yield' outside function")
    return compiled


def _module_only(node: ast.ImportFrom) -> bool:
    return node.module == "__future__" or any(alias.name == "*" for alias in node.names)


_NAMING = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.ExceptHandler,
    ast.MatchAs,
    ast.MatchStar,
)


def _bound_names(tree: ast.Module) -> set[str]:
    """Every name that the program binds anywhere; declaring one global at the top does not reach into functions."""
    names: set[str | None] = set()
    for node in ast.walk(tree):
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
