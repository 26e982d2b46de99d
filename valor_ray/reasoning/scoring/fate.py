"""What has become of a row that was to be scored."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Fate(StrEnum):
    SCORED = "scored"
    MISSING = "missing"  # a verdict is missing: judged again by the next run
    FAILED = "failed"  # the row itself, or scoring it, failed
    CANARY = "canary"


def fate(record: Mapping[str, Any]) -> Fate:
    """Of a record of score_row."""
    if record["canary"]:
        return Fate.CANARY
    if record.get("error"):
        return Fate.FAILED
    return Fate.MISSING if record["value"] is None else Fate.SCORED
