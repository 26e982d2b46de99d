"""Made-up scenes for a question: from the things that it names, without an answer, the same whenever asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from valor_ray.program.inside.scene_words import Language, Reading, singular, tokens
from valor_ray.reasoning.scenes.layout import PICTURE, PLANS, Ranks, draw, place
from valor_ray.records import NamedThing, QuestionThings, SceneObject, SymbolicScene

FEWEST, MOST = 3, 7  # objects of a scene
_MOST_THINGS = 6  # that a question names
_TRIES = 60  # at a scene
_KIND_NAMES = ("shape", "kind", "type", "name", "category", "sort", "object", "noun")
_KINDS_OF = frozenset(("kind", "type", "category", "sort"))  # only objects of a named noun have them
_PLAIN_NOUNS = ("box", "ball", "cylinder", "cone")  # of "object" where the judge named no others
_COLOURS = ("red", "blue", "green", "yellow")  # where the judge named fewer
_GENERIC = ("object", "thing", "item")
# Words for what boxes and depths say: never attributes of an object.
_MEASURED = (
    "position",
    "location",
    "place",
    "side",
    "distance",
    "depth",
    "height",
    "width",
    "size",
    "length",
)
_ALONE = (2, 0, 3, 1, 4, 2, 1, 3)  # of the one counted kind, by scene
_BESIDE = (
    2,
    2,
    3,
    3,
    0,
    1,
    4,
    3,
)  # of what stands beside something else; equal in a pair: only places differ
_EXISTS = (0, 1, 2, 0, 0, 3, 1, 0)
_PICKED_FROM = (3, 3, 2, 2, 4, 4, 3, 3)  # none or one would leave nothing to pick
_COUNTS_OF_TWO = ((1, 3), (2, 0), (1, 2), (3, 2))  # exchanged in the second scene of a pair
_PICKED_OF_TWO = ((1, 3), (2, 1), (3, 2), (1, 2))


def sample_scenes(question: str, things: QuestionThings, count: int = 8) -> tuple[SymbolicScene, ...]:
    """At most `count` scenes, in pairs 2k, 2k+1 of reversed ranks; fewer, or none, where things cannot be placed.

    Every thing with several=False is matched by exactly one object of each scene, by the detector's own reading.
    Pure: equal arguments give equal scenes. Never raises.
    """
    seed = hashlib.sha256(repr((question, _plain(things))).encode("utf-8", "replace")).digest()
    world = _World.of(things)
    if world is None:
        return ()
    scenes = [scene for at in range(count) if (scene := world.scene(at, seed)) is not None]
    language = Language(scenes)
    return tuple(scene for scene in scenes if _as_asked(scene, world.things, language))


def phrase_of(thing: NamedThing) -> str:
    """A detection phrase for it: "red box", "object"."""
    return " ".join([*thing.attributes.values(), thing.noun or "object"])


@dataclass(frozen=True)
class _World:
    """What scenes of one question draw from, cleaned."""

    things: tuple[NamedThing, ...]
    values: Mapping[str, tuple[str, ...]]  # attribute -> what it may be; kinds are nouns and not here
    kind: str | None  # the attribute whose value is the noun
    nouns: tuple[str, ...]  # of objects that only need to be something
    others: tuple[str, ...]
    answer: str
    language: Language
    readings: tuple[Reading, ...]  # of the things, in order

    @classmethod
    def of(cls, given: QuestionThings) -> _World | None:
        """None when there is nothing to make a scene for."""
        if not 0 < len(given.things) <= _MOST_THINGS:
            return None
        values = {_word(name): _words(options) for name, options in given.attributes.items()}
        values = {
            name: options for name, options in values.items() if name and options and name not in _MEASURED
        }
        nameless = any(_noun(thing) == "" for thing in given.things)
        kind = next((name for name in _KIND_NAMES if name in values), None) if nameless else None
        kinds = values.pop(kind) if kind else ()
        things = _without_repeats(_clean(thing, kind) for thing in given.things)
        for name, value in (pair for thing in things for pair in thing.attributes.items()):
            values[name] = tuple(dict.fromkeys((*values.get(name, ()), value)))
        for name in set(values) & {"colour", "color"}:
            values[name] = tuple(dict.fromkeys((*values[name], *_COLOURS)))[
                : max(len(values[name]), len(_COLOURS))
            ]
        named = [thing.noun for thing in things if thing.noun]
        others = tuple(dict.fromkeys(singular_noun(word) for word in given.others if _word(word)))
        others = tuple(word for word in others if word not in named and word not in _GENERIC)
        nouns = tuple(dict.fromkeys(map(singular_noun, kinds) if kinds else (*named, *others)))
        nouns = nouns or _PLAIN_NOUNS
        language = Language([_everything((*nouns, *named, *others), values, kind)])
        readings = [language.read(phrase_of(thing)) for thing in things]
        if any(reading is None for reading in readings):
            return None
        known = tuple(reading for reading in readings if reading is not None)
        return cls(things, values, kind, nouns, others, given.answer, language, known)

    def scene(self, at: int, seed: bytes) -> SymbolicScene | None:
        """The scene of that number. Both of a pair draw the same objects where their counts are equal."""
        pair, counts = at // 2 % 128, self._counts(at)
        plan = PLANS[pair % len(PLANS)]
        for attempt in range(_TRIES):
            rng = Random(seed + bytes([pair, attempt, *counts]))
            objects = self._objects(pair, counts, rng)
            if objects is None:
                continue
            ranks = draw(
                len(objects),
                Random(seed + bytes([pair, attempt, len(objects)])),
                plan,
                groups=self._picked_from(objects),
                twins=self._twins(objects) if self._counts(at ^ 1) == counts else (),
            )
            if attempt < _TRIES // 2 and not self._ends_differ(objects, ranks):
                continue
            ranks = ranks.reversed() if at % 2 else ranks
            placed = [
                replace(each, bbox=spot.bbox, depth_m=spot.depth_m, height=spot.height, width=spot.width)
                for each, spot in zip(objects, place(ranks, plan), strict=True)
            ]
            Random(seed + bytes([at % 256])).shuffle(placed)
            return SymbolicScene(PICTURE, tuple(placed))
        return None

    @property
    def _picks(self) -> bool:
        """Whether the question picks from what it counts, so that there must be something."""
        return self.answer in ("word", "number")

    def _picked_from(self, objects: Sequence[SceneObject]) -> list[list[int]]:
        several = [
            reading for thing, reading in zip(self.things, self.readings, strict=True) if thing.several
        ]
        groups = [[i for i, each in enumerate(objects) if reading.fits(each)] for reading in several]
        return [group for group in groups if len(group) > 1][:1] if self._picks else []

    def _twins(self, objects: Sequence[SceneObject]) -> list[tuple[int, int]]:
        """Of the first two single things: (its place, that of a distractor of the same noun)."""
        single = [thing for thing in self.things if not thing.several]
        if len(single) < 2:
            return []
        strangers = [i for i, each in enumerate(objects) if not any(r.fits(each) for r in self.readings)]
        twins = [[i for i in strangers if objects[i].noun == objects[first].noun] for first in (0, 1)]
        return [(first, own[0]) for first, own in enumerate(twins) if own]

    def _objects(self, pair: int, counts: Sequence[int], rng: Random) -> list[SceneObject] | None:
        """Objects without a place: what is one, what is counted, distractors. None: this draw does not fit."""
        objects: list[SceneObject] = []
        for i in sorted(range(len(self.things)), key=lambda i: self.things[i].several):
            have = sum(self.readings[i].fits(each) for each in objects)
            for number in range(have, counts[i]):
                made = self._made(i, pair, number, objects, rng)
                if made is None:
                    return None
                objects.append(made)
        strangers = max(sum(1 for thing in self.things if thing.attributes), 1) + pair % 2
        size = max(FEWEST, max(sum(self._counts(at)) for at in range(8)) + strangers)
        self._distract(objects, min(size, MOST), pair, rng)
        fits = [sum(reading.fits(each) for each in objects) for reading in self.readings]
        exact = all(n == 1 or thing.several for n, thing in zip(fits, self.things, strict=True))
        return objects if exact and FEWEST <= len(objects) <= MOST else None

    def _counts(self, at: int) -> list[int]:
        """How many objects each thing has in that scene."""
        several = [i for i, thing in enumerate(self.things) if thing.several]
        counts = [1] * len(self.things)
        room = MOST - len(self.things) + 1
        if len(several) == 1:
            beside = len(self.things) > 1
            table = _PICKED_FROM if self._picks else _BESIDE if beside else _ALONE
            if self.answer == "yes or no" and not beside:
                table = _EXISTS
            anything = _is_anything(self.things[several[0]])
            counts[several[0]] = min(table[at % len(table)] + (FEWEST if anything else 0), room)
        elif len(several) == 2:
            two = (_PICKED_OF_TWO if self._picks else _COUNTS_OF_TWO)[at // 2 % 4]
            counts[several[0]], counts[several[1]] = two[:: -1 if at % 2 else 1]
        else:
            for offset, i in enumerate(several):
                counts[i] = (at + offset) % 3
        return counts

    def _made(
        self, i: int, pair: int, number: int, objects: Sequence[SceneObject], rng: Random
    ) -> SceneObject | None:
        """One more object that fits thing i, and no other thing that is already complete."""
        thing = self.things[i]
        for attempt in range(20):
            noun = thing.noun or (rng.choice(self.nouns) if attempt else self._noun_in_turn(pair, number))
            values = {
                name: rng.choice(options) if attempt else self._in_turn(name, i, pair, number, objects)
                for name, options in self.values.items()
            }
            made = self._object(noun, {**values, **thing.attributes})
            if not self._spoils(made, i):
                return made
        return None

    def _noun_in_turn(self, pair: int, number: int) -> str:
        return self.nouns[(pair + number) % len(self.nouns)]

    def _in_turn(self, name: str, i: int, pair: int, number: int, objects: Sequence[SceneObject]) -> str:
        """Of a free attribute: different within a kind; for yes or no the first value in half of the pairs."""
        options = self.values[name]
        if self.things[i].several or self.answer != "yes or no":
            return options[(pair + number + 2 * i) % len(options)]
        if i and pair % 2 == 0 and objects:
            return objects[0].attributes.get(name, options[0])  # "are they of the same colour?"
        return options[0] if pair in (0, 3) and not i else options[(1 + pair + i) % len(options)]

    def _spoils(self, made: SceneObject, i: int | None) -> bool:
        """Whether it fits a thing that must stay the only one, or for a distractor (None) any that is counted."""
        return any(
            j != i and reading.fits(made) and (not thing.several or i is None)
            for j, (thing, reading) in enumerate(zip(self.things, self.readings, strict=True))
        )

    def _distract(self, objects: list[SceneObject], size: int, pair: int, rng: Random) -> None:
        """Until there are `size`: for each thing in turn same noun with another attribute, same attribute with another
        noun, another noun, while they fit. After the first way pairs go on differently."""
        anything = any(map(_is_anything, self.things))
        for turn in range(9):
            for thing in self.things:
                for _ in range(4):
                    if len(objects) >= size:
                        return
                    made = self._distractor(thing, (turn + (pair if turn else 0)) % 3, rng)
                    if not self._spoils(made, None) or (anything and len(objects) < FEWEST):
                        objects.append(made)
                        break

    def _distractor(self, thing: NamedThing, way: int, rng: Random) -> SceneObject:
        values = {name: rng.choice(options) for name, options in self.values.items()}
        if way == 0:
            return self._object(thing.noun or rng.choice(self.nouns), values)
        chosen = self.others if way == 2 and self.others else self.nouns
        pool = [noun for noun in (*self.nouns, *self.others, *_PLAIN_NOUNS) if noun != thing.noun]
        noun = rng.choice([noun for noun in chosen if noun != thing.noun] or pool)
        return self._object(noun, {**values, **thing.attributes} if way == 1 else values)

    def _object(self, noun: str, values: Mapping[str, str]) -> SceneObject:
        kind = {self.kind: noun} if self.kind else {}
        if noun not in {thing.noun for thing in self.things}:  # a lamp is no kind of animal
            values = {name: value for name, value in values.items() if name not in _KINDS_OF}
        return SceneObject(noun, {**values, **kind}, (0, 0, 0, 0), 0.0, 0.0, 0.0)

    def _ends_differ(self, objects: Sequence[SceneObject], ranks: Ranks) -> bool:
        """Whether the two ends of every axis differ in every free attribute, within each counted kind."""
        for thing, reading in zip(self.things, self.readings, strict=True):
            group = [i for i, each in enumerate(objects) if reading.fits(each)]
            if not thing.several or len(group) < 2 or self.answer != "word":
                continue
            free = [name for name in objects[group[0]].attributes if name not in thing.attributes]
            free = [name for name in free if name == self.kind or len(self.values[name]) > 1]
            for axis in ranks.by_axis:
                low, high = (pick(group, key=axis.__getitem__) for pick in (min, max))
                if any(
                    objects[low].attributes.get(name) == objects[high].attributes.get(name) for name in free
                ):
                    return False
        return True


def _without_repeats(things: Iterable[NamedThing]) -> tuple[NamedThing, ...]:
    """Things that a phrase cannot tell apart are one, as first named."""
    return tuple({phrase_of(thing): thing for thing in reversed(list(things))}.values())[::-1]


def _is_anything(thing: NamedThing) -> bool:
    """ "objects": every object of a scene fits."""
    return not thing.noun and not thing.attributes


def singular_noun(noun: str) -> str:
    """Lower case, the last word in the singular: "Coffee Tables" -> "coffee table"."""
    words = noun.casefold().split()
    return " ".join([*words[:-1], singular(words[-1])]) if words else ""


def _as_asked(scene: SymbolicScene, things: Sequence[NamedThing], language: Language) -> bool:
    """With the words of the scenes alone, as programs' phrases are read."""
    for thing in things:
        reading = language.read(phrase_of(thing))
        if reading is None:
            if thing.several:
                continue  # none of them in any scene that is left: programs' phrases are undecided too
            return False
        if not thing.several and sum(map(reading.fits, scene.objects)) != 1:
            return False
    return True


def _clean(thing: NamedThing, kind: str | None) -> NamedThing:
    attributes = {_word(name): _word(value) for name, value in thing.attributes.items()}
    noun = _noun(thing)
    if kind and not noun and kind in attributes:
        noun = singular_noun(attributes[kind])
    attributes = {
        name: value
        for name, value in attributes.items()
        if name and value and name not in _MEASURED and name != kind
    }
    return NamedThing(noun, attributes, bool(thing.several))


def _noun(thing: NamedThing) -> str:
    noun = singular_noun(thing.noun)
    return "" if noun in _GENERIC else noun


def _everything(
    nouns: Sequence[str], values: Mapping[str, tuple[str, ...]], kind: str | None
) -> SymbolicScene:
    """A scene of every word: what phrases are read with before there is one."""
    most = max([len(nouns), *(len(options) for options in values.values())])
    objects = [
        SceneObject(
            nouns[i % len(nouns)],
            {name: options[i % len(options)] for name, options in values.items()}
            | ({kind: nouns[i % len(nouns)]} if kind else {}),
            (0, 0, 0, 0),
            0.0,
            0.0,
            0.0,
        )
        for i in range(most)
    ]
    return SymbolicScene(PICTURE, tuple(objects))


def _words(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for text in texts if (word := _word(text))))


def _word(text: str) -> str:
    return " ".join(text.casefold().split()) if tokens(text) else ""


def _plain(things: QuestionThings) -> object:
    return (
        [(thing.noun, sorted(thing.attributes.items()), thing.several) for thing in things.things],
        sorted((name, tuple(values)) for name, values in things.attributes.items()),
        things.others,
        things.answer,
    )
