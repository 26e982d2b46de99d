"""Wrong verdicts on purpose: a share of them, the same ones each time for the same boxes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Noise:
    """Which verdicts on boxes are turned round."""

    share: float = 0.0
    seed: int = 0

    def turns(self, stage: str, label: str, *pixels: np.ndarray) -> bool:
        """Whether the verdict of a stage on this label and these uint8 pixels is turned round."""
        return self.share > 0 and self.draw(stage, label, *pixels) < self.share

    def draw(self, stage: str, label: str, *pixels: np.ndarray) -> float:
        """0..1, the same for the same stage, label and pixels."""
        digest = hashlib.sha256(f"{self.seed} {stage} {label}".encode("utf-8", "replace"))
        for part in pixels:
            digest.update(f" {part.shape} ".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        return int.from_bytes(digest.digest()[:8], "big") / 2**64


Part = tuple[list[int], int]  # indices of boxes on one object, and the best of them


def wrong_parts(parts: Sequence[Part], disturbed: Sequence[bool], split: Sequence[bool]) -> list[Part]:
    """A partition of boxes of one phrase with the disturbed parts wrong.

    A part of several boxes loses its best (split: they become objects of their own); a lone box joins the next part.
    """
    changed: list[Part] = []
    joining: list[int] = []
    for (indices, best), wrong, apart in zip(parts, disturbed, split, strict=True):
        if not wrong:
            changed.append((list(indices), best))
        elif len(indices) == 1:
            joining += indices
        elif apart:
            changed += [([index], index) for index in indices]
        else:
            changed.append((list(indices), next(index for index in indices if index != best)))
    if joining and changed:
        first, best = changed[0]
        changed[0] = (sorted(first + joining), best)
    elif joining:
        changed = [(sorted(joining), joining[0])]
    return sorted(changed)
