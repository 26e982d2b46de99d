"""Errors on purpose in the oracle's answers: another answer that the question allows, the same for the same key."""

from __future__ import annotations

import hashlib
import random

from valor_ray.tabletop.judge.scenes.answer import CANNOT_TELL
from valor_ray.tabletop.judge.scenes.mentions import COLOURS, SHAPES
from valor_ray.tabletop.judge.scenes.question import Asked, Kind

_FACTORS = (0.5, 0.65, 1.5, 2.0)  # wrong sizes: all outside the metric's tolerance


def with_noise(said: str, asked: Asked, share: float, key: str) -> str:
    """The answer, replaced by another likely one with probability `share`; "cannot tell" stays."""
    if share <= 0 or said == CANNOT_TELL:
        return said
    drawn = random.Random(hashlib.sha256(key.encode("utf-8", "replace")).digest())
    return drawn.choice(_others(said, asked)) if drawn.random() < share else said


def _others(said: str, asked: Asked) -> list[str]:
    """Wrong answers of the right form."""
    if asked.kind is Kind.COUNT:
        return [str(number) for number in (int(said) - 1, int(said) + 1) if number >= 0]
    if asked.kind in (Kind.SIZE, Kind.RATIO):
        return [f"{float(said) * factor:.6g}" for factor in _FACTORS]
    if asked.kind is Kind.ATTRIBUTE:
        return [word for word in (COLOURS if asked.target == "colour" else SHAPES) if word != said]
    if asked.kind is Kind.CHOICE and asked.other is not None:
        return [asked.other.text if said == asked.subject.text else asked.subject.text]
    return ["no" if said == "yes" else "yes"]
