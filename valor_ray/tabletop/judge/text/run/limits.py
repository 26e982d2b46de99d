"""What stops a run inside the judge: work and sizes are bounded, and what the interpreter does not know is said."""

from __future__ import annotations

from typing import Any

MOST_STEPS = 20_000  # nodes of one run; right programs need a few hundred
MOST_ITEMS = 2_000  # of a container, also counted through its parts
LONGEST = 4_000  # characters of a text
MOST_BITS = 512  # of a whole number
DEEPEST = 30  # calls of the program's functions inside one another


class Unreadable(BaseException):
    """The program does something that the interpreter does not know, or too much: no verdict follows from it.

    A BaseException, so that no `except` of the interpreted program's semantics takes it for the program's own error.
    """


def checked(value: Any) -> Any:
    """The value, when it is small enough to go on with. Raises Unreadable."""
    if isinstance(value, bool | float) or value is None:
        return value
    if isinstance(value, int):
        if value.bit_length() > MOST_BITS:
            raise Unreadable("a number is too large")
    elif isinstance(value, str):
        if len(value) > LONGEST:
            raise Unreadable("a text is too long")
    elif isinstance(value, list | tuple | dict | set | frozenset) and len(value) > MOST_ITEMS:
        raise Unreadable("a container is too large")
    return value


def weighed(*values: Any) -> None:
    """Before anything that walks through values (comparing, hashing, writing out). Raises Unreadable for heavy ones."""
    left, stack = MOST_ITEMS, list(values)
    while stack:
        value = stack.pop()
        if isinstance(value, list | tuple | set | frozenset):
            left -= len(value)
            stack += value if left > 0 else ()
        elif isinstance(value, dict):
            left -= 2 * len(value)
            stack += [*value.keys(), *value.values()] if left > 0 else ()
        if left <= 0:
            raise Unreadable("a value has too many parts")
