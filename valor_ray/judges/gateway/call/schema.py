"""Whether an answer fits its JSON schema. Checked here too: an endpoint may only say that it keeps to schemas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_SHOWN = 120  # characters of what does not fit


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    return bool(_validator(json.dumps(schema, sort_keys=True)).is_valid(value))


def misfit(value: Any, schema: Mapping[str, Any]) -> str:
    """What does not fit, the first thing: "verdict: 'Yes' is not one of ['yes', 'no']"."""
    error = next(iter(_validator(json.dumps(schema, sort_keys=True)).iter_errors(value)), None)
    if error is None:
        return ""
    place = ".".join(map(str, error.absolute_path))
    said = error.message if len(error.message) <= _SHOWN else f"{error.message[:_SHOWN]}…"
    return f"{place}: {said}" if place else said


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema))
