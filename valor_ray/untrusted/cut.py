"""Of what is too long to keep or to send on: the start, or what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

LONGEST = 200  # characters of a value's JSON, above which it is cut
_MOST = 8  # arguments of a call
_LONGEST_NAME = 40


def cut(value: Any) -> Any:
    """A JSON value as it is if it is short, the start of a long text, and for other long ones a text that says so.

    What was cut is short: to cut it again changes nothing.
    """
    if isinstance(value, str):
        note = f"… ({len(value):,} characters)"
        return value if len(value) <= LONGEST else value[: LONGEST - len(note)] + note
    if len(json.dumps(value, ensure_ascii=False)) <= LONGEST:
        return value
    if isinstance(value, list | dict):
        kind = "list" if isinstance(value, list) else "dict"
        return f"(a {kind} of {len(value):,}, {len(json.dumps(value)):,} characters of JSON)"
    return "(a long number)"


def cut_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call that was refused, as traces and records keep them: a kilobyte or two at most."""
    return {name[:_LONGEST_NAME]: cut(value) for name, value in islice(given.items(), _MOST)}
