"""Scenes of the judge's own: things that carry the phrases a program looks for, and tools that answer from them.

Positions, sizes and depths are drawn once and are independent of one another, so that a program which goes by another
measurement than it should gives itself away. Things stand in cells of a grid: their order along an axis is the same by
edges and by centres.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from valor_ray.tabletop.judge.text.english import COLOURS, has, normal_phrase
from valor_ray.tabletop.judge.text.run.limits import Unreadable
from valor_ray.tools import SPELLINGS, split_phrases

_SIDE = 1200  # pixels of the picture
_CELLS = 12
_GENERIC = frozenset("object thing item solid shape".split())
_SHAPES = ("box", "ball", "cylinder", "cone")
_PALETTE = ("red", "green", "blue", "yellow", "purple", "orange", "cyan", "white", "black", "pink")
_TARGETS = (("colour", "colour"), ("shape|kind|type|what (?:is|object)|name|class|category", "noun"))

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Thing:
    colour: str
    noun: str  # every other word of the phrase that it carries
    box: Box
    depth: float  # metres

    def called(self, phrase: str) -> bool:
        """Does a phrase in normal form name it?"""
        mine = {self.colour, *self.noun.split()}
        return all(word in mine or word in _GENERIC for word in phrase.split())

    @lru_cache(maxsize=8192)  # noqa: B019, things are small and frozen
    def measure(self, quantity: str) -> float:
        """x and y of the centre, height and width in pixels, depth; times depth for real sizes."""
        x1, y1, x2, y2 = self.box
        plain = {
            "x": (x1 + x2) / 2,
            "y": (y1 + y2) / 2,
            "height": y2 - y1,
            "width": x2 - x1,
            "depth": self.depth,
        }
        if quantity in plain:
            return plain[quantity]
        sizes = {"real height": y2 - y1, "real width": x2 - x1, "area": (x2 - x1) * (y2 - y1)}
        return sizes[quantity] * (1.0 if quantity == "area" else self.depth)


@dataclass(frozen=True)
class World:
    things: tuple[Thing, ...]
    _named: dict[str, list[Thing]] = field(default_factory=dict, compare=False, repr=False)

    def named(self, phrase: str) -> list[Thing]:
        if phrase not in self._named:
            self._named[phrase] = [thing for thing in self.things if thing.called(phrase)]
        return self._named[phrase]


@cache
def _places(seed: int, wide: bool) -> tuple[tuple[Box, float], ...]:
    """Boxes and depths of one layout, all measurements apart and unrelated.

    wide: boxes reach into the next two columns and rows; edges of one side keep the order of centres.
    """
    rng = random.Random(seed)
    cell = _SIDE / _CELLS
    columns, rows, near = (rng.sample(range(_CELLS), _CELLS) for _ in range(3))
    least, more = (2.4 * cell, 4.0) if wide else (28, 5.5)
    widths, heights = ([least + more * i for i in rng.sample(range(_CELLS), _CELLS)] for _ in range(2))
    places = []
    for i in range(_CELLS):
        x, y = (columns[i] + 0.5) * cell, (rows[i] + 0.5) * cell
        w, h = widths[i] / 2, heights[i] / 2
        places.append(((x - w, y - h, x + w, y + h), 0.8 * 1.21 ** near[i]))
    return tuple(places)


def make_world(seed: int, counts: Mapping[str, int], wide: bool = False) -> World:
    """A scene that holds so many things of each phrase, and others that share its colour or its noun only.

    The detector's order is not that of the phrases.
    """
    rng = random.Random(seed)
    kinds = [kind for phrase, count in counts.items() for kind in _carriers(phrase, count, seed, counts)]
    kinds += _distractors(counts, seed)[: _CELLS - len(kinds)]
    things = [
        Thing(colour, noun, *place) for (colour, noun), place in zip(kinds, _places(seed, wide), strict=False)
    ]
    rng.shuffle(things)
    return World(tuple(things))


def _split(phrase: str) -> tuple[str, str]:
    words = phrase.split()
    colour = next((word for word in words if word in COLOURS), "")
    return colour, " ".join(word for word in words if word != colour and word not in _GENERIC)


def _carriers(phrase: str, count: int, seed: int, counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """What the phrase leaves open differs from one to the next, and makes nothing another phrase's."""
    colour, noun = _split(phrase)
    others = [_split(other) for other in counts if other != phrase]
    colours = [c for c in _PALETTE if c not in {o[0] for o in others}]
    nouns = [n for n in _SHAPES if n not in {o[1] for o in others}] or ["cone"]
    return [
        (colour or colours[(seed + i) % len(colours)], noun or nouns[(seed + i) % len(nouns)])
        for i in range(count)
    ]


def _distractors(counts: Mapping[str, int], seed: int) -> list[tuple[str, str]]:
    kinds = []
    taken = [_split(phrase) for phrase in counts]
    colours = [c for c in _PALETTE if c not in {t[0] for t in taken}]
    nouns = [n for n in _SHAPES if n not in {t[1] for t in taken}] or ["stool"]
    for number, (colour, noun) in enumerate(taken):
        if colour and noun:
            kinds += [
                (colours[(seed + number) % len(colours)], noun),
                (colour, nouns[(seed + number) % len(nouns)]),
            ]
    free = [(c, n) for c in colours for n in nouns if all(t[0] or t[1] for t in taken)]
    return [
        kind
        for kind in [*kinds, *free[seed % 3 : seed % 3 + 1]]
        if not any(all((not c or c == kind[0], not n or n == kind[1])) for c, n in taken)
    ]


class Tools:
    """The program's tools in one world, and the phrases that it asked for."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.prompts: list[str] = []  # as asked
        self.asked: list[tuple[bool, str]] = []  # vqa: whether about a box, and the prompt

    def defined(self) -> dict[str, Any]:
        """The names that a program is given."""
        answer = {"gd_detect": self._detect, "depth": self._depth, "vqa": self._vqa}
        tools = {name: _bound(answer[tool.name], names) for name, (tool, names) in SPELLINGS.items()}
        return {"img_pth": "image.png", "image": "image.png", **tools}

    def _detect(self, args: Mapping[str, Any]) -> list[dict[str, Any]]:
        if not isinstance(args["prompt"], str) or not args["prompt"].strip(" ,"):
            raise ValueError("gd_detect: the prompt must be a text")
        seen = []
        for phrase in split_phrases(args["prompt"]):
            self.prompts.append(phrase)
            seen += [
                {"bbox": list(thing.box), "label": phrase}
                for thing in self.world.named(normal_phrase(phrase))
            ]
        return seen

    def _depth(self, args: Mapping[str, Any]) -> float:
        box = args["bbox"] if "bbox" in args else [args["x"], args["y"], args["x"], args["y"]]
        thing = self._at(box)
        return thing.depth if thing is not None else 9.75

    def _vqa(self, args: Mapping[str, Any]) -> str:
        box = args.get("bbox")
        prompt = args.get("prompt", args.get("question"))
        if not isinstance(prompt, str):
            raise ValueError("vqa: the prompt must be a text")
        if "crop" in args:
            raise Unreadable("a crop of the picture")
        thing = self._at(box) if box is not None else None
        self.asked.append((thing is not None, prompt))
        if thing is None:
            return "cannot tell"
        return _look(thing, prompt.lower().replace("color", "colour"))

    def _at(self, box: Any) -> Thing | None:
        """The thing in whose box the middle of the given one lies. Raises ValueError for what is no box."""
        if (
            not isinstance(box, list | tuple)
            or len(box) != 4
            or not all(isinstance(v, int | float) for v in box)
        ):
            raise ValueError("a box is four numbers")
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        wide, tall = abs(box[2] - box[0]), abs(box[3] - box[1])
        near = [
            thing
            for thing in self.world.things
            if thing.box[0] <= x <= thing.box[2]
            and thing.box[1] <= y <= thing.box[3]
            and wide <= 2 * (thing.box[2] - thing.box[0])
            and tall <= 2 * (thing.box[3] - thing.box[1])
        ]
        return min(
            near, key=lambda thing: abs(thing.measure("x") - x) + abs(thing.measure("y") - y), default=None
        )


def _bound(answer: Any, names: Sequence[str]) -> Any:
    def call(*args: Any, **named: Any) -> Any:
        given = {**dict(zip(names, args, strict=False)), **named}
        if len(args) > len(names) or set(given) != set(names) or len(args) + len(named) != len(names):
            raise TypeError(f"the tool takes {', '.join(names)}")
        return answer(given)

    return call


def _look(thing: Thing, prompt: str) -> str:
    for pattern, attribute in _TARGETS[:1]:
        if has(pattern, prompt):
            return str(getattr(thing, attribute))
    if has(r"^\W*(?:is|are|does|has)", prompt):
        words = set(normal_phrase(prompt).split())
        named = words & (set(_PALETTE) | COLOURS | set(_SHAPES))
        return "yes" if named and all(word in {thing.colour, *thing.noun.split()} for word in named) else "no"
    if has(_TARGETS[1][0], prompt) or has("|".join(_SHAPES), prompt):
        return thing.noun
    if has(r"how many|count", prompt):
        return "1"
    return f"{thing.colour} {thing.noun}"
