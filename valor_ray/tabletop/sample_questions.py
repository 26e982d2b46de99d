"""Questions about a scene with their true answers, and scene-free blueprints for pre-training.

True answers are for evaluation only. A question is asked only where it has one clear answer: objects well visible,
positions and depths apart by a margin, and sizes for which pixels × depth (what programs compute) is near the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from valor_ray.depth_map import depth_at
from valor_ray.records import DepthMap
from valor_ray.tabletop.questions import (
    FAMILIES,
    REFERENCE_CM,
    RELATIONS,
    Blueprint,
    Part,
    belongs,
    part_of_pair,
)
from valor_ray.tabletop.render import Geometry, RenderedObject
from valor_ray.tabletop.scenes import COLOURS, SHAPES

Truth = str | int | float
T = TypeVar("T")
Fits = Callable[[RenderedObject, RenderedObject], bool]

_CLEAR = 0.65  # least visible share of an object that a question names
_APART = 0.06  # least distance between two positions, in shares of the picture's side
_DEPTH_APART = 1.12  # least ratio of two depths that a question compares
_SIZE_SLACK = 0.12  # how far pixels × depth may be from the metric ratio of heights
_TRICKY = 0.7  # share of size questions about objects whose pixels alone mislead
_TALLER = 1.25  # least ratio of heights that a choice compares


@dataclass(frozen=True)
class AnsweredQuestion:
    """A question about a rendering, with its true answer: for evaluation only."""

    blueprint: Blueprint
    answer: Truth
    boxes: tuple[tuple[float, float, float, float], ...]  # of the objects that matter


def matches(thing: RenderedObject, phrase: str) -> bool:
    """Does the phrase name the object?"""
    *colour, noun = phrase.split()
    return noun in ("object", thing.shape) and (not colour or colour[0] == thing.colour)


def _centre(thing: RenderedObject) -> tuple[float, float]:
    x1, y1, x2, y2 = thing.bbox
    return (x1 + x2) / 2, (y1 + y2) / 2


class _Asker:
    """Draws questions of each family about one rendering; None where the scene does not allow a clear one.

    Pairs of phrases are the part's own.
    """

    def __init__(self, rendering: Geometry, rng: np.random.Generator, part: Part) -> None:
        self.rendering, self.rng, self.part = rendering, rng, part
        self.things = rendering.objects
        self.side = rendering.side
        self.clear = all(t.visible >= _CLEAR for t in self.things)
        labels = [t.label for t in self.things]
        self.unique = [t for t in self.things if labels.count(t.label) == 1 and t.visible >= _CLEAR]

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.rng.integers(len(options)))]

    def relation(self, family: str) -> str:
        return str(self.pick(list(RELATIONS[family])))

    def pair(self, fits: Fits, tricky: Fits | None = None) -> tuple[RenderedObject, RenderedObject] | None:
        """Two objects that fit; in most draws tricky ones only, so that a scene without any is passed over."""
        pairs = [
            (a, b)
            for a in self.unique
            for b in self.unique
            if a is not b and part_of_pair(a.label, b.label) == self.part and fits(a, b)
        ]
        if tricky is not None and self.rng.random() < _TRICKY:
            pairs = [pair for pair in pairs if tricky(*pair)]
        return self.pick(pairs) if pairs else None

    def _pixels_mislead(self, a: RenderedObject, b: RenderedObject) -> bool:
        """Would heights in pixels, without depth, give a wrong ratio?"""
        pixels = (a.bbox[3] - a.bbox[1]) / (b.bbox[3] - b.bbox[1])
        true = a.height_m / b.height_m
        return abs(pixels / true - 1) > 0.25

    def _pixels_turn(self, a: RenderedObject, b: RenderedObject) -> bool:
        """Is the taller object the one of fewer pixels?"""
        return ((a.bbox[3] - a.bbox[1]) > (b.bbox[3] - b.bbox[1])) != (a.height_m > b.height_m)

    def named(self, phrase: str) -> list[RenderedObject]:
        return [t for t in self.things if matches(t, phrase)]

    def depth(self, thing: RenderedObject) -> float:
        """What the depth tool reads off the true depth map, in metres."""
        return depth_at(DepthMap(self.rendering.depth, self.rendering.focal_px), thing.bbox)

    def size(self, thing: RenderedObject) -> float:
        return (thing.bbox[3] - thing.bbox[1]) * self.depth(thing)

    def phrase(self) -> str:
        """A full label of the part, a bare shape, or a bare colour."""
        colour, shape = COLOURS[self.rng.integers(8)], SHAPES[self.rng.integers(4)]
        if self.things and self.rng.random() < 0.6:
            thing = self.things[self.rng.integers(len(self.things))]
            colour, shape = thing.colour, thing.shape
        phrase = str(self.pick([f"{colour} {shape}", shape, f"{colour} object"]))
        return phrase if belongs(Blueprint("count", phrase), self.part) else self.phrase()

    def done(self, blueprint: Blueprint, answer: Truth, things: list[RenderedObject]) -> AnsweredQuestion:
        return AnsweredQuestion(blueprint, answer, tuple(t.bbox for t in things))

    def count(self) -> AnsweredQuestion | None:
        phrase = "object" if self.rng.random() < 0.1 else self.phrase()
        things = self.named(phrase)
        return self.done(Blueprint("count", phrase), len(things), things) if self.clear else None

    def existence(self) -> AnsweredQuestion | None:
        phrase, things = "", []
        wanted = self.rng.random() < 0.5
        for _ in range(8):
            phrase = self.phrase()
            things = self.named(phrase)
            if bool(things) == wanted:
                break
        return (
            self.done(Blueprint("existence", phrase), "yes" if things else "no", things)
            if self.clear
            else None
        )

    def attribute(self) -> AnsweredQuestion | None:
        target = str(self.pick(["colour", "shape"]))
        options = [(t.shape if target == "colour" else f"{t.colour} object", t) for t in self.things]
        options = [(p, t) for p, t in options if len(self.named(p)) == 1 and t.visible >= 0.9]
        if not options:
            return None
        phrase, thing = self.pick(options)
        return self.done(Blueprint("attribute", phrase, target=target), getattr(thing, target), [thing])

    def _depths_apart(self, a: RenderedObject, b: RenderedObject) -> bool:
        near, far = sorted((self.depth(a), self.depth(b)))
        return far / near >= _DEPTH_APART

    def closer(self) -> AnsweredQuestion | None:
        pair, relation = self.pair(self._depths_apart), self.relation("closer")
        if pair is None:
            return None
        a, b = pair
        first = (self.depth(a) < self.depth(b)) == (relation == "closer")
        return self.done(Blueprint("closer", a.label, b.label, relation), (a if first else b).label, [a, b])

    def _sizes_honest(self, a: RenderedObject, b: RenderedObject) -> bool:
        if min(a.visible, b.visible) < 0.97:
            return False
        seen, true = self.size(a) / self.size(b), a.height_m / b.height_m
        return abs(seen / true - 1) <= _SIZE_SLACK

    def height(self) -> AnsweredQuestion | None:
        pair = self.pair(self._sizes_honest, self._pixels_mislead)
        if pair is None:
            return None
        a, b = pair
        number = int(REFERENCE_CM[self.rng.integers(len(REFERENCE_CM))])
        return self.done(
            Blueprint("height", a.label, b.label, number=number), number * b.height_m / a.height_m, [a, b]
        )

    def ratio(self) -> AnsweredQuestion | None:
        pair = self.pair(self._sizes_honest, self._pixels_mislead)
        if pair is None:
            return None
        a, b = pair
        return self.done(Blueprint("ratio", a.label, b.label), a.height_m / b.height_m, [a, b])

    def side_(self) -> AnsweredQuestion | None:
        relation = self.relation("side")
        axis = 0 if relation in ("left", "right") else 1
        pair = self.pair(lambda a, b: abs(_centre(a)[axis] - _centre(b)[axis]) >= _APART * self.side)
        if pair is None:
            return None
        a, b = pair
        before = _centre(a)[axis] < _centre(b)[axis]
        answer = "yes" if before == (relation in ("left", "above")) else "no"
        return self.done(Blueprint("side", a.label, b.label, relation), answer, [a, b])

    def order(self) -> AnsweredQuestion | None:
        pair, relation = self.pair(self._depths_apart), self.relation("order")
        if pair is None:
            return None
        a, b = pair
        answer = "yes" if (self.depth(a) < self.depth(b)) == (relation == "in front of") else "no"
        return self.done(Blueprint("order", a.label, b.label, relation), answer, [a, b])

    def nested(self) -> AnsweredQuestion | None:
        relation, target = self.relation("nested"), str(self.pick(["colour", "shape"]))
        options = [*SHAPES] if target == "colour" else [f"{c} object" for c in COLOURS]
        phrases = [p for p in options if len(self.named(p)) >= 2]
        if not phrases or not self.clear:
            return None
        phrase = str(self.pick(phrases))
        key = (lambda t: _centre(t)[0] / self.side) if relation in ("leftmost", "rightmost") else self.depth
        ordered = sorted(self.named(phrase), key=key, reverse=relation in ("rightmost", "farthest"))
        gap = abs(key(ordered[0]) - key(ordered[1]))
        wide = gap >= _APART if relation in ("leftmost", "rightmost") else gap >= 0.15
        if not wide or ordered[0].visible < 0.9 or getattr(ordered[0], target) == getattr(ordered[1], target):
            return None
        return self.done(
            Blueprint("nested", phrase, relation=relation, target=target),
            getattr(ordered[0], target),
            ordered,
        )

    def choice(self) -> AnsweredQuestion | None:
        relation = self.relation("choice")

        def fits(a: RenderedObject, b: RenderedObject) -> bool:
            true, seen = a.height_m / b.height_m, self.size(a) / self.size(b)
            return (true > _TALLER and seen > _TALLER) or (true < 1 / _TALLER and seen < 1 / _TALLER)

        pair = self.pair(fits, self._pixels_turn)
        if pair is None:
            return None
        a, b = pair
        first = (a.height_m > b.height_m) == (relation == "taller")
        return self.done(Blueprint("choice", a.label, b.label, relation), (a if first else b).label, [a, b])

    def count_side(self) -> AnsweredQuestion | None:
        relation = self.relation("count_side")
        if not self.clear or not self.unique:
            return None
        anchor: RenderedObject = self.pick(self.unique)
        x = _centre(anchor)[0]

        def beside(phrase: str) -> list[RenderedObject]:
            return [t for t in self.named(phrase) if (_centre(t)[0] < x) == (relation == "left")]

        options = [p for p in [*SHAPES, *(f"{c} object" for c in COLOURS)] if not matches(anchor, p)]
        options = [p for p in options if part_of_pair(p, anchor.label) == self.part]
        options = [
            p for p in options if all(abs(_centre(t)[0] - x) >= _APART * self.side for t in self.named(p))
        ]
        if self.rng.random() < 0.75:
            options = [p for p in options if beside(p)]
        if not options:
            return None
        phrase = str(self.pick(options))
        things = beside(phrase)
        return self.done(
            Blueprint("count_side", phrase, anchor.label, relation), len(things), [anchor, *things]
        )

    def more(self) -> AnsweredQuestion | None:
        relation = self.relation("more")
        options = [*SHAPES] if self.rng.random() < 0.5 else [f"{c} object" for c in COLOURS]
        if not self.clear:
            return None
        pairs = [
            (p, q)
            for p in options
            for q in options
            if p != q and part_of_pair(p, q) == self.part and len(self.named(p)) != len(self.named(q))
        ]
        if not pairs:
            return None
        first, second = self.pick(pairs)
        m, n = len(self.named(first)), len(self.named(second))
        answer = "yes" if (m > n if relation == "more" else m < n) else "no"
        things = self.named(first) + self.named(second)
        return self.done(Blueprint("more", first, second, relation), answer, things)


def ask(
    rendering: Geometry, family: str, rng: np.random.Generator, part: Part = "training"
) -> AnsweredQuestion | None:
    """A question of the family about the picture with its true answer, about a pair of phrases of the part; None when
    the picture allows no clear one."""
    asker = _Asker(rendering, rng, part)
    question: AnsweredQuestion | None = getattr(asker, "side_" if family == "side" else family)()
    return question


def free_blueprint(rng: np.random.Generator, family: str | None = None, part: Part = "training") -> Blueprint:
    """A blueprint without a scene, for pre-training text; its pair of phrases is the part's own."""
    family = family or FAMILIES[rng.integers(len(FAMILIES))]
    while True:
        blueprint = _free(rng, family)
        if blueprint.a != blueprint.b and belongs(blueprint, part):
            return blueprint


def _free(rng: np.random.Generator, family: str) -> Blueprint:
    relation = ""
    if family in RELATIONS:
        relation = RELATIONS[family][rng.integers(len(RELATIONS[family]))]
    target = ("colour", "shape")[rng.integers(2)] if family in ("attribute", "nested") else ""
    labels = [f"{COLOURS[rng.integers(8)]} {SHAPES[rng.integers(4)]}" for _ in range(2)]
    shape, colour = SHAPES[rng.integers(4)], f"{COLOURS[rng.integers(8)]} object"
    if family in ("count", "existence"):
        whole = family == "count" and rng.random() < 0.1
        return Blueprint(family, "object" if whole else (labels[0], shape, colour)[rng.integers(3)])
    if target:
        return Blueprint(family, shape if target == "colour" else colour, relation=relation, target=target)
    if family == "count_side":
        return Blueprint(family, (shape, colour)[rng.integers(2)], labels[1], relation)
    if family == "more":
        pool = [*SHAPES] if rng.random() < 0.5 else [f"{c} object" for c in COLOURS]
        first, second = rng.choice(len(pool), 2, replace=False)
        return Blueprint(family, pool[first], pool[second], relation)
    number = int(REFERENCE_CM[rng.integers(len(REFERENCE_CM))]) if family == "height" else 0
    return Blueprint(family, labels[0], labels[1], relation, number=number)
