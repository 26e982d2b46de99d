"""What a reply is to say and do. Flaws change it, styles write it down; nothing here knows a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from valor_ray.tabletop.questions import Blueprint

SIZED = ("height", "ratio", "choice")  # families that compare sizes
BY_DEPTH = ("closer", "order")  # and relation closest, farthest of family nested
PAIRS = ("closer", "height", "ratio", "side", "order", "choice")  # two single objects, each measured


@dataclass(frozen=True)
class Intent:
    """A reply before it has words. `plan` is what the plan tells; all else is what the code does."""

    family: str  # decides the shape of the program; that of a delegated question is count or existence
    plan: Blueprint
    a: str  # phrases that the code detects
    b: str
    names: tuple[str, str]  # what it answers for a and b
    relation: str
    target: str  # colour or shape that VQA is asked for
    number: int
    axis: str  # x or y
    measure: str = "deep"  # of sizes: deep, flat, one depth, width, area, divided
    plan_measure: str = "deep"  # deep or flat
    distance: str = "depth"  # or pixels: of the box's height
    yes: tuple[str, str] = ("yes", "no")  # if the condition holds, if not
    formula: str = "ratio"  # of numbers: ratio, inverted, difference, unscaled
    plus: int = 0  # added to a count
    most: int = 0  # a count is cut at this; 0: it is not
    least: int = 1  # boxes that existence needs
    take_first: bool = False  # the first box in place of the extreme one
    unfiltered: bool = False  # every box counts, wherever it is
    vqa_whole: bool = False  # VQA sees the whole picture
    wrong_end: bool = False  # a sorted list is read from the wrong end
    override: str = ""  # source of a constant that replaces the answer at the end
    guarded: bool = True  # says and does what happens when nothing is detected
    instead: str = ""  # a whole reply of another kind: asked (VQA about the picture) or guessed


def intent(b: Blueprint) -> Intent:
    """The right one."""
    axis = "y" if b.relation in ("above", "below") else "x"
    return Intent(b.family, b, b.a, b.b, (b.a, b.b), b.relation, b.target, b.number, axis)


T = TypeVar("T")


class Pick:
    """Chooses among ways to say the same; without a generator always the first."""

    def __init__(
        self, rng: np.random.Generator | None, verb: int | None = None, straight: bool = False
    ) -> None:
        """verb: of the plan's first step. straight: never the ways that turn a comparison or an order round."""
        self._rng, self._straight = rng, straight
        self.verb = self(range(4)) if verb is None else verb  # of the plan's first step

    def __call__(self, options: Sequence[T]) -> T:
        return options[0 if self._rng is None else int(self._rng.integers(len(options)))]

    def turned(self) -> bool:
        """Is what is compared or sorted to be named the other way round?"""
        return not self._straight and self((False, True))
