"""When answers of different programs say the same: self-consistency (Wang et al. 2022) over executed programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from valor_ray.measure.answers import normalise, number

NEAR = 0.05  # relative difference up to which two measured numbers are one answer


def votes(answers: Sequence[Any]) -> list[int]:
    """Of each answer, how many of all say the same, itself included; None (no answer) has no vote: 0.

    Texts and yes/no are compared as marking compares them, whole numbers exactly, measured ones by NEAR.
    """
    return [
        0 if answer is None else sum(other is not None and same(answer, other) for other in answers)
        for answer in answers
    ]


def same(one: Any, other: Any) -> bool:
    """Whether two answers (JSON values, not None) say the same. Symmetric; of measured numbers not transitive."""
    first, second = number(one), number(other)
    if first is not None and second is not None:
        if first.is_integer() and second.is_integer():
            return first == second
        return abs(first - second) <= NEAR * max(abs(first), abs(second))
    return _key(one) == _key(other)


def _key(answer: Any) -> str:
    if isinstance(answer, bool):
        return "yes" if answer else "no"
    if isinstance(answer, str):
        plain = normalise(answer)
        return {"true": "yes", "false": "no"}.get(plain, plain)
    return json.dumps(answer, sort_keys=True)
