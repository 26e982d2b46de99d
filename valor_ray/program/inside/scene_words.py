"""What a phrase means in symbolic scenes: head noun and attributes, read with the words that the scenes know.

Loaded in the sandbox, and by the driver for the fork path. Nothing here looks at where an object is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valor_ray.records import SceneObject, SymbolicScene

# fmt: off
_SYNONYMS = tuple(tuple(group.split(", ")) for group in (
    "sofa, couch, settee, loveseat", "cube, block, box, cuboid", "sphere, ball, globe, orb", "tube, cylinder",
    "cone, pyramid", "violet, purple", "gray, grey", "wood, wooden", "metal, metallic, steel", "plastic, rubber",
    "tv, television, tv screen, television set", "monitor, screen, display", "cup, mug", "glass, tumbler",
    "bike, bicycle", "motorcycle, motorbike", "car, automobile", "lorry, truck", "airplane, plane, aeroplane",
    "phone, cell phone, mobile phone, cellphone, smartphone", "fridge, refrigerator", "trash can, garbage can, bin",
    "picture, painting, photo", "carpet, rug", "plant, potted plant, houseplant", "lamp, light",
    "dog, puppy", "cat, kitten", "cushion, pillow",
    "cupboard, cabinet, closet", "bookshelf, bookcase, shelf", "stool, bar stool", "colour, color", "drape, curtain",
    "kind, type, sort, category, class", "cyan, turquoise, teal", "pink, magenta", "leather, leathern",
))
# One way only: a man is a person, a person no man.
_KINDS = {
    "person": "man, woman, child, boy, girl, baby, human", "child": "boy, girl", "human": "person, man, woman, child",
    "animal": "dog, cat, horse, cow, sheep, bird, elephant, bear, zebra, giraffe", "chair": "armchair, stool",
    "vehicle": "car, truck, bus, motorcycle, bicycle, van", "table": "desk", "light": "lamp",
}  # fmt: skip
GENERIC = frozenset("object thing item one entity anything something everything stuff element".split())
_IRREGULAR = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "feet": "foot", "teeth": "tooth",
    "mice": "mouse", "geese": "goose", "shoes": "shoe", "buses": "bus", "gases": "gas", "leaves": "leaf",
    "shelves": "shelf", "bookshelves": "bookshelf", "knives": "knife", "loaves": "loaf", "wolves": "wolf",
    "halves": "half", "scarves": "scarf", "wives": "wife", "lenses": "lens", "canoes": "canoe", "movies": "movie",
    "cookies": "cookie", "colors": "colour", "color": "colour", "colours": "colour",
}
# Said of no object in particular: articles, numbers, quantities, verbs of being.
_PASSED = frozenset(
    "a an the this that these those each every all any some both other another single individual visible present "
    "of with which is are was were there it its two three four five six seven eight entire whole "
    "colour coloured colored shaped made "
    # place and comparison in front of a noun: a detector does not decide them
    "leftmost rightmost left right top bottom most topmost bottommost uppermost lowermost closest nearest farthest "
    "furthest closer nearer farther further frontmost rearmost foremost backmost hindmost front back rear tallest "
    "shortest taller shorter biggest largest smallest bigger larger smaller widest wider narrowest narrower highest "
    "higher lowest lower longest longer thickest thinnest middle central centre center first second third last hand "
    "side upper".split()
)
# Behind a noun they end what names the object: with all that follows they are passed over.
_OPENERS = frozenset(
    "to on in at from by near nearby behind above below under underneath beneath over beside besides between among "
    "next close closest nearest closer nearer farthest furthest farther further far away left right leftmost rightmost "
    "topmost front frontmost higher lower highest lowest taller shorter tallest shortest bigger larger smaller biggest "
    "largest smallest wider narrower widest narrowest around against inside within outside across past beyond along "
    "relative compared than whose where facing standing sitting lying placed located seen shown having".split()
)
_WEARING = frozenset(("in", "with", "wearing", "having"))
_PREPOSITIONS = frozenset("to on in at from by near behind above below under beneath over beside between than".split())
# fmt: on
_WORD = re.compile(r"[^\W_]+")
_REMEMBERED = 500  # phrases
LONGEST_PHRASE = 200  # characters of a phrase that may mean something; a longer one is undecided


def singular(word: str) -> str:
    """boxes -> box, shelves -> shelf, berries -> berry, glass -> glass. The same on both sides of a comparison."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("shes", "ches", "xes", "sses", "zzes", "toes")):
        return word[:-2]
    return (
        word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word
    )


def tokens(text: str) -> tuple[str, ...]:
    """Lower-case words, each in the singular; punctuation and hyphens part them."""
    return tuple(map(singular, _WORD.findall(text.casefold())))


def _synonyms() -> dict[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    groups = [tuple(map(tokens, group)) for group in _SYNONYMS]
    alike = {word: tuple(other for other in group if other != word) for group in groups for word in group}
    return alike | {tokens(word): tuple(map(tokens, kinds.split(", "))) for word, kinds in _KINDS.items()}


_ALIKE = _synonyms()


@dataclass(frozen=True)
class Reading:
    """What a phrase asks for: any of the alternatives."""

    nouns: tuple[str, ...]  # as scenes spell them; with `generic` any
    generic: bool
    values: tuple[tuple[str, ...], ...]  # each: values of which the object must have one
    also: tuple[Reading, ...] = ()  # further readings, by the judge's word

    def fits(self, thing: SceneObject) -> bool:
        own = {value.casefold() for value in (*thing.attributes.values(), thing.noun)}
        mine = (self.generic or thing.noun in self.nouns) and all(own & set(values) for values in self.values)
        return mine or any(other.fits(thing) for other in self.also)


NOTHING = Reading((), False, ())


class Language:
    """The words of a set of scenes, and what phrases mean in them. Remembers what it has read."""

    def __init__(
        self, scenes: Iterable[SymbolicScene], words: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """words: phrase, case-folded -> phrases with known words that mean the same; empty: nothing of these scenes."""
        self.nouns: dict[tuple[str, ...], set[str]] = {}
        self.values: dict[tuple[str, ...], set[str]] = {}
        self.attributes: dict[tuple[str, ...], str] = {}
        for thing in (thing for scene in scenes for thing in scene.objects):
            self.nouns.setdefault(tokens(thing.noun), set()).add(thing.noun)
            for name, value in thing.attributes.items():
                self.attributes[tokens(name)] = name
                self.values.setdefault(tokens(value), set()).add(value.casefold())
        self._words = words or {}
        self._named_words = {word for key in self.attributes for word in key}  # of attributes: "shirt colour"
        self._read: dict[str, Reading | None] = {}
        # hypernyms: "table" means every noun that ends with it
        ends: dict[tuple[str, ...], set[str]] = {}
        for noun, spelled in self.nouns.items():
            for start in range(len(noun)):
                ends.setdefault(noun[start:], set()).update(spelled)
        self._ends = ends

    def read(self, phrase: str) -> Reading | None:
        """None: the scenes do not know its noun, or a word that tells which object is meant."""
        if phrase not in self._read:
            if len(self._read) >= _REMEMBERED:
                self._read.clear()
            self._read[phrase] = self._reading(phrase)
        return self._read[phrase]

    def noun_of(self, words: tuple[str, ...]) -> set[str]:
        """Scene nouns that these words name: as they stand, as the end of a longer noun, else by a synonym."""
        return _look_up(self._ends, words)

    def value_of(self, words: tuple[str, ...]) -> set[str]:
        """Attribute values, as scenes spell them."""
        return _look_up(self.values, words)

    def named(self, phrase: str) -> tuple[str, ...]:
        """The words of a phrase, up to where it says where the object is."""
        words = tokens(phrase)
        names = False
        for at, word in enumerate(words):
            rest = words[at + 1 :]
            if at and word in _WEARING and any(self.value_of((other,)) for other in rest):
                return words[:at] + rest  # "in the blue shirt" tells which, "in the picture" where
            if names and word == "of" and any(self.noun_of((other,)) for other in rest):
                return words[:at]
            if at and (word in _PREPOSITIONS or (names and word in _OPENERS)):
                return words[:at]
            known = word in _PASSED or (self.value_of((word,)) and not self.noun_of((word,)))
            names = names or not known
        return words

    def _reading(self, phrase: str) -> Reading | None:
        if len(phrase) > LONGEST_PHRASE:
            return None
        own = self._own_reading(self.named(phrase))
        judged = self._words.get(" ".join(phrase.casefold().split()))
        if own is not None or judged is None:
            return own
        values = self._values_in(self.named(phrase))
        readings = [self._own_reading(self.named(other)) for other in judged]
        alternatives = tuple(self._filtered(each, values) for each in readings if each is not None)
        if readings and not alternatives:
            return None
        return Reading((), False, (), alternatives)

    def _filtered(self, reading: Reading, values: tuple[tuple[str, ...], ...]) -> Reading:
        return Reading(reading.nouns, reading.generic, reading.values or values)

    def _own_reading(self, words: tuple[str, ...]) -> Reading | None:
        """The last longest noun is the head; every other word is a known value or says nothing."""
        start, end = self._head(words)
        generic = start == end or (words[start:end][-1] in GENERIC and not self.noun_of(words[start:end]))
        if not words or (start == end and not any(map(self._value_at(words), range(len(words))))):
            return None
        nouns = tuple(sorted(self.noun_of(words[start:end]))) if start < end else ()
        values: list[tuple[str, ...]] = []
        for part in (words[:start], words[end:]):
            read = self._all_values(part)
            if read is None:
                return None
            values += read
        return Reading(nouns, generic, tuple(values))

    def _head(self, words: tuple[str, ...]) -> tuple[int, int]:
        """Where the head noun stands; (n, n): there is none."""
        for end in range(len(words), 0, -1):
            for start in range(max(end - 4, 0), end):
                part = words[start:end]
                if self.noun_of(part) or (len(part) == 1 and part[0] in GENERIC):
                    # "orange" at the end of "box orange" is a value, a box stands before it
                    if self.value_of(part) and self._head(words[:start]) != (start, start):
                        continue
                    return start, end
        return len(words), len(words)

    def _value_at(self, words: tuple[str, ...]) -> Callable[[int], bool]:
        return lambda at: any(self.value_of(words[at : at + size]) for size in (3, 2, 1))

    def _all_values(self, words: tuple[str, ...]) -> list[tuple[str, ...]] | None:
        values: list[tuple[str, ...]] = []
        at = 0
        while at < len(words):
            size = next(
                (n for n in (3, 2, 1) if at + n <= len(words) and self.value_of(words[at : at + n])), 0
            )
            if size:
                values.append(tuple(sorted(self.value_of(words[at : at + size]))))
            elif words[at] not in _PASSED and words[at] not in self._named_words:
                return None
            at += size or 1
        return values

    def _values_in(self, words: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        single = (self.value_of((word,)) for word in words)
        return tuple(tuple(sorted(values)) for values in single if values)


def _look_up(table: Mapping[tuple[str, ...], set[str]], words: tuple[str, ...]) -> set[str]:
    if words in table:
        return table[words]
    return set().union(*(table.get(other, ()) for other in _ALIKE.get(words, ())))


def scene_from_json(value: Mapping[str, Any]) -> SymbolicScene:
    """What `scene_to_json` gave."""
    objects = tuple(
        SceneObject(o["noun"], o["attributes"], tuple(o["bbox"]), o["depth_m"], o["height"], o["width"])
        for o in value["objects"]
    )
    return SymbolicScene((value["size"][0], value["size"][1]), objects)


def scene_to_json(scene: SymbolicScene) -> dict[str, Any]:
    """As it goes to a worker."""
    return {
        "size": list(scene.image_size),
        "objects": [{**vars(o), "attributes": dict(o.attributes)} for o in scene.objects],
    }
