"""A part of a check fails by itself: its error is a part of the result, and the others go on."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

Say = Callable[[str], None]


def attempt(name: str, work: Callable[[], dict[str, Any]], say: Say) -> dict[str, Any]:
    """What `work` returns, or {"error"} with what it raised; the traceback goes to stderr."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001  # a part that fails is a finding of the check, not its end
        traceback.print_exc(file=sys.stderr)
        say(f"{name} FAILED: {type(error).__name__}")
        return {"error": f"{type(error).__name__}: {error}"}


def failures(result: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the parts of a result that have failed."""
    failed = []
    for name, value in result.items():
        if isinstance(value, Mapping):
            failed += [prefix + name] if "error" in value else failures(value, f"{prefix}{name}.")
    return failed
