"""Group-normalised advantages (GRPO): how much better a sample is than the others of its question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

_EPSILON = 1e-4  # as in trl: keeps a group of nearly equal rewards from being blown up


class Use(StrEnum):
    """What becomes of a sample in training."""

    USED = "used"
    EQUAL = (
        "equal"  # its group's known rewards are all the same (or there is one only): nothing to learn from
    )
    MISSING = "missing"  # it has no reward: it leaves the batch (law 3)


def advantages(rewards: Sequence[float | None]) -> list[tuple[Use, float | None]]:
    """Of one group: (r - mean) / deviation over the known rewards; the deviation is that of a sample (n - 1)."""
    known = [reward for reward in rewards if reward is not None]
    if len(known) < 2 or max(known) - min(known) < 1e-9:
        return [(Use.MISSING if reward is None else Use.EQUAL, None) for reward in rewards]
    mean = sum(known) / len(known)
    deviation = math.sqrt(sum((reward - mean) ** 2 for reward in known) / (len(known) - 1))
    return [
        (Use.MISSING, None) if reward is None else (Use.USED, (reward - mean) / (deviation + _EPSILON))
        for reward in rewards
    ]
