"""Whether a program is right: it answers a question correctly in several scenes that ask it clearly, with true tools.

For evaluation only; a program that is right in one scene may be right by luck. `SceneShelf` holds scenes by
what is asked; for a question about a red box and a blue ball it takes scenes that ask the same about another pair
and gives their colours and shapes other names throughout, which changes no box, no depth and no relation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from valor_ray.measure.answers import is_right
from valor_ray.program.sandbox import Sandbox
from valor_ray.tabletop.dataset import PICTURE_SIDE
from valor_ray.tabletop.gold_check import TrueTools
from valor_ray.tabletop.questions import FAMILIES, PLURALS, REFERENCE_CM, RELATIONS, Blueprint, Part, wordings
from valor_ray.tabletop.render import Geometry, cast
from valor_ray.tabletop.sample_questions import AnsweredQuestion, Truth, ask, matches
from valor_ray.tabletop.scenes import COLOURS, LOOKS, SHAPES, sample_scene, set_seeds

SCENES = 20  # in which a right program is right: fewer let pixels without depth pass by luck
_MOST_SCENES = 400  # looked at for one kind of question
_ASKED_EACH = 4  # questions of a family drawn about one scene

Names = Mapping[str, str]
Key = tuple[str, ...]


@dataclass(frozen=True)
class TrueScene:
    """A scene with a question that it asks clearly, and the answer."""

    geometry: Geometry
    answer: Truth


class PatientTools(TrueTools):
    """True tools that also read plurals and American spelling, as the models behind real tools do."""

    async def __call__(self, tool: str, args: dict[str, Any]) -> Any:
        if tool == "vqa":
            return await super().__call__(
                tool, {**args, "prompt": args["prompt"].lower().replace("color", "colour")}
            )
        if tool != "gd_detect":
            return await super().__call__(tool, args)
        boxes = []
        for phrase in args["prompt"].split(","):
            if phrase.strip():
                seen = await super().__call__(tool, {**args, "prompt": _singular(phrase)})
                boxes += [{**box, "label": " ".join(phrase.split())} for box in seen]
        return boxes


def _singular(phrase: str) -> str:
    singulars = {many: one for one, many in PLURALS.items()}
    return " ".join(singulars.get(word, word) for word in phrase.lower().split())


async def is_right_everywhere(code: str, scenes: Sequence[TrueScene], sandbox: Sandbox) -> bool:
    """Run `code` in the scenes, one after the other, up to the first wrong answer. True when all are right.

    Raises ValueError when there are no scenes: nothing would be shown.
    """
    if not scenes:
        raise ValueError("no scenes: a program cannot be shown to be right in none")
    for scene in scenes:
        result = await sandbox.run(code, PatientTools(scene.geometry), (PICTURE_SIDE, PICTURE_SIDE))
        if result.error is not None or not is_right(result.answer, scene.answer):
            return False
    return True


class SceneShelf:
    """Scenes of one split by what is asked, cast as they are needed (about 20 ms each)."""

    def __init__(self, split: str = "val", seed: int = 0) -> None:
        self._seeds = iter(set_seeds(split, seed))
        self._rng = np.random.default_rng([seed, 31])
        self._seen: list[Geometry] = []
        self._looked: dict[str, int] = defaultdict(int)  # family -> scenes that were asked for it
        self._asked: dict[Key, list[tuple[Geometry, AnsweredQuestion]]] = defaultdict(list)
        self._ready: dict[Blueprint, tuple[TrueScene, ...]] = {}

    def scenes(self, blueprint: Blueprint, wanted: int = SCENES) -> tuple[TrueScene, ...]:
        """Up to `wanted` scenes that ask the blueprint's question, of as many different answers as there are.

        Blocks while it casts them. None come back for what no scene asks clearly ("balls left of the red ball").
        """
        if blueprint not in self._ready:
            key = _key(blueprint)
            while len(self._asked[key]) < 3 * wanted and self._looked[blueprint.family] < _MOST_SCENES:
                self._look(blueprint.family)
            fitted = [_renamed(geometry, asked, blueprint) for geometry, asked in self._asked[key]]
            fitted.sort(key=lambda scene: _traps(scene, blueprint))
            mixed = enumerate(_mixed(fitted))
            self._ready[blueprint] = tuple(_trapped(scene, blueprint, place) for place, scene in mixed)
        return self._ready[blueprint][:wanted]

    def _look(self, family: str) -> None:
        """Asks the family's questions about one more scene."""
        place = self._looked[family]
        self._looked[family] += 1
        if place == len(self._seen):
            look = LOOKS[place % len(LOOKS)]
            self._seen.append(cast(sample_scene(next(self._seeds), look), PICTURE_SIDE).geometry)
        geometry, keys = self._seen[place], set()
        for _ in range(_ASKED_EACH):
            asked = ask(geometry, family, self._rng)
            if asked is not None and (key := _key(asked.blueprint)) not in keys:
                keys.add(key)
                self._asked[key].append((geometry, asked))


def blueprint_of(question: str, part: Part = "training") -> Blueprint | None:
    """What a question of the tabletop asks, in whatever of a part's wordings; None for any other text."""
    return _by_wording(part).get(_plain(question))


def _plain(question: str) -> str:
    return " ".join(question.lower().split())


@cache
def _by_wording(part: Part) -> dict[str, Blueprint]:
    """Every question that a part can ask, about a second of work."""
    return {_plain(text): blueprint for blueprint in _blueprints() for text in wordings(blueprint, part)}


def _blueprints() -> Iterator[Blueprint]:
    labels = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
    loose = [*SHAPES, *(f"{colour} object" for colour in COLOURS), "object"]
    for family in FAMILIES:
        relations = RELATIONS.get(family, ("",))
        targets = ("colour", "shape") if family in ("attribute", "nested") else ("",)
        numbers = REFERENCE_CM if family == "height" else (0,)
        first = labels if family in _OF_LABELS else [*loose, *labels]
        second = [""] if family in _OF_ONE else loose if family == "more" else labels
        for a in first:
            for b in second:
                for relation in relations:
                    for target in targets:
                        yield from (Blueprint(family, a, b, relation, target, n) for n in numbers if a != b)


_OF_LABELS = ("closer", "height", "ratio", "side", "order", "choice")
_OF_ONE = ("count", "existence", "attribute", "nested")


def _parts(phrase: str) -> tuple[str, str]:
    """Colour and shape that a phrase names, "" for what it leaves open."""
    *colour, noun = phrase.split()
    return (colour[0] if colour else ""), ("" if noun == "object" else noun)


def _key(b: Blueprint) -> Key:
    """What two questions must have in common for a scene of one to do for the other."""
    (colour, shape), (colour_b, shape_b) = _parts(b.a), _parts(b.b) if b.b else ("", "")
    named = "".join("-x"[bool(word)] for word in (colour, shape, colour_b, shape_b))
    same = f"{bool(colour) and colour == colour_b} {bool(shape) and shape == shape_b}"
    return b.family, b.relation, b.target, named, same


def _renaming(names: tuple[str, ...], pairs: list[tuple[str, str]]) -> Names:
    """A bijection on `names` that holds the pairs; the rest keeps its order."""
    fixed = {old: new for old, new in pairs if old}
    rest = [name for name in names if name not in fixed.values()]
    return {**dict(zip([n for n in names if n not in fixed], rest, strict=True)), **fixed}


def _renamed(geometry: Geometry, asked: AnsweredQuestion, wanted: Blueprint) -> TrueScene:
    """The scene under other names: as if it had been asked what is wanted."""
    old = asked.blueprint
    pairs = [(_parts(x), _parts(y)) for x, y in ((old.a, wanted.a), (old.b, wanted.b)) if x]
    colours = _renaming(COLOURS, [(x[0], y[0]) for x, y in pairs])
    shapes = _renaming(SHAPES, [(x[1], y[1]) for x, y in pairs])
    things = tuple(replace(t, colour=colours[t.colour], shape=shapes[t.shape]) for t in geometry.objects)
    answer = asked.answer
    if isinstance(answer, str):
        answer = " ".join(colours.get(word, shapes.get(word, word)) for word in answer.split())
    elif wanted.number:
        answer = answer * wanted.number / old.number
    return TrueScene(replace(geometry, objects=things), answer)


def _traps(scene: TrueScene, blueprint: Blueprint) -> int:
    """How many things share colour or shape, but not both, with one that is asked about."""
    named = [_parts(phrase) for phrase in (blueprint.a, blueprint.b) if phrase]
    return sum((t.colour == c) != (t.shape == s) for t in scene.geometry.objects for c, s in named)


def _trapped(scene: TrueScene, blueprint: Blueprint, place: int) -> TrueScene:
    """The scene where one thing that nobody asks about is called like an asked one, but for its colour.

    Of two labels that are asked about, scenes at even places trap the first, the others the second. No box and no
    depth changes, and no answer: a program that asks for any box in place of the red box is wrong here.
    """
    if blueprint.family == "existence" and scene.answer == "yes":
        return _with_one(scene, blueprint.a)
    phrases = [phrase for phrase in (blueprint.a, blueprint.b) if phrase]
    colour, shape = _parts(phrases[place % len(phrases)])
    things = list(scene.geometry.objects)
    others = [i for i, thing in enumerate(things) if not any(matches(thing, phrase) for phrase in phrases)]
    if not colour or not shape or not others:
        return scene
    for name in COLOURS:
        trap = replace(things[others[place // 2 % len(others)]], colour=name, shape=shape)
        if not any(matches(trap, phrase) for phrase in phrases):
            things[others[place // 2 % len(others)]] = trap
            return replace(scene, geometry=replace(scene.geometry, objects=tuple(things)))
    return scene


def _with_one(scene: TrueScene, phrase: str) -> TrueScene:
    """The scene where only the first thing that fits the phrase still does: one is enough for "is there"."""
    colour, shape = _parts(phrase)
    other_colour = next(c for c in COLOURS if c != colour)
    other_shape = next(s for s in SHAPES if s != shape)
    things, met = [], False
    for thing in scene.geometry.objects:
        fits = matches(thing, phrase)
        if fits and met:
            thing = replace(thing, colour=other_colour) if colour else replace(thing, shape=other_shape)
        things.append(thing)
        met = met or fits
    return replace(scene, geometry=replace(scene.geometry, objects=tuple(things)))


def _mixed(scenes: list[TrueScene]) -> Iterator[TrueScene]:
    """One of each answer in turn, the last ones first: the first few hold yes and no, or many numbers."""
    by_answer: dict[Truth, list[TrueScene]] = defaultdict(list)
    for scene in scenes:
        by_answer[scene.answer].append(scene)
    while by_answer:
        for answer in list(by_answer):
            yield by_answer[answer].pop()
            if not by_answer[answer]:
                del by_answer[answer]
