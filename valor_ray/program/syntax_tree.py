"""The syntax tree of a program, also where another thread parses at the same time."""

from __future__ import annotations

import ast

_TRIES = 5


def syntax_tree(code: str) -> ast.Module:
    """`ast.parse`, tried again where Python itself fails: "AST constructor recursion depth mismatch" of programs
    that are well, met in a process whose other threads parse too, and by others (python/cpython#106905).

    Raises SyntaxError, ValueError, MemoryError or RecursionError of what cannot be read.
    """
    for _ in range(_TRIES - 1):
        try:
            return ast.parse(code)
        except SystemError:
            continue
    return ast.parse(code)
