"""What a VQA question asks for: English in, an Intent out. Questions that need more than a look are not understood."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

COLOUR_WORDS = {
    **{c: c for c in ("red", "green", "blue", "yellow", "purple", "orange", "cyan", "white")},
    "violet": "purple", "magenta": "purple", "turquoise": "cyan", "teal": "cyan", "aqua": "cyan",
}  # fmt: skip
SHAPE_WORDS = {
    "box": "box", "boxes": "box", "cube": "box", "cubes": "box", "block": "box", "blocks": "box",
    "ball": "ball", "balls": "ball", "sphere": "ball", "spheres": "ball",
    "cylinder": "cylinder", "cylinders": "cylinder", "tube": "cylinder", "tubes": "cylinder",
    "cone": "cone", "cones": "cone",
}  # fmt: skip
ANY_OBJECT = {
    "object", "objects", "thing", "things", "item", "items", "something", "anything", "solid", "solids",
}  # fmt: skip
# Words that carry no condition; any other word means that the question asks for more than a look.
_PLAIN_WORDS = """
a an the this that these those it its is are was there any some of on in at to i we you one do does did can
could see show shows seen visible contain contains appear appears have has here picture image photo scene
table crop view which what how many much number count tell me kind type sort look looks like please answer
with only single word and or be been being shown depicted total all exist exists present whether if so yes
no color colored colour coloured colours colors shape shapes shaped name say give just
"""
_PLAIN = frozenset(_PLAIN_WORDS.split())

_ONE = r"(?:an? |the )?([\w-]+(?: [\w-]+)?)"  # one or two words, without their article
_CLOSING_OR = re.compile(rf"(?:^|[,:] |\b(?:it|this|that|object) ){_ONE},? or {_ONE}\?*$")


class Ask(StrEnum):
    COLOUR = "colour"
    SHAPE = "shape"
    NAME = "name"  # colour and shape: "what is this?"
    COUNT = "count"
    EXISTS = "exists"  # anywhere in the picture
    IS_IT = "is it"  # of the object at the centre, or of the subject named
    CHOICE = "choice"  # one of the things in `options`


@dataclass(frozen=True)
class Thing:
    """A description: None leaves colour or shape open."""

    colour: str | None = None
    shape: str | None = None


@dataclass(frozen=True)
class Intent:
    ask: Ask
    thing: Thing = Thing()  # what is counted, looked for, or claimed of the object
    subject: Thing = Thing()  # which object is meant, when the question names it
    options: tuple[str, ...] = ()  # as they were written, lower-case


def read_question(text: str, allowed: tuple[str, ...] = ()) -> Intent | None:
    """The intent of a question, None when it is not understood. `allowed` are options given from outside."""
    text = re.sub(r"\s+", " ", text.strip().lower()).strip("\"' ")
    text = text.rpartition("question:")[2].strip()
    text, options = _split_options(text)
    options = tuple(option.lower() for option in allowed) or options
    words = re.findall(r"[a-z0-9-]+", text)
    if not words or any(not _known(word) for word in words):
        return None
    intent = _intent(words)
    if intent is None and len(options) > 1 and all(describe(option) for option in options):
        intent = Intent(Ask.CHOICE)
    if intent is None or not options:
        return intent
    if intent.ask is Ask.IS_IT and not {"yes", "no"} & set(options):
        intent = Intent(Ask.CHOICE)
    return Intent(intent.ask, intent.thing, intent.subject, options)


def describe(words: str) -> Thing | None:
    """ "the red cube" → Thing("red", "box"); None when the words describe nothing known."""
    parts = re.findall(r"[a-z0-9-]+", words.lower())
    if not parts or any(not _known(part) for part in parts):
        return None
    return _thing(parts) if any(_names_something(part) for part in parts) else None


def _split_options(text: str) -> tuple[str, tuple[str, ...]]:
    """The question without its options, and the options of `Options: {a, b}` or of a closing `a or b?`."""
    head, heading, tail = text.partition("options:")
    if heading:
        inside = tail.strip(" .?{}[]()")
        return head, tuple(
            part.strip(" '\"") for part in re.split(r",|;|\bor\b", inside) if part.strip(" '\"")
        )
    closing = _CLOSING_OR.search(text)
    if closing is None or describe(closing[1]) is None or describe(closing[2]) is None:
        return text, ()
    return text[: closing.start(1)], (closing[1], closing[2])


def _known(word: str) -> bool:
    return word in _PLAIN or _names_something(word) or word.isdigit()


def _names_something(word: str) -> bool:
    return word in COLOUR_WORDS or word in SHAPE_WORDS or word in ANY_OBJECT


def _thing(words: list[str]) -> Thing:
    colours = [COLOUR_WORDS[word] for word in words if word in COLOUR_WORDS]
    shapes = [SHAPE_WORDS[word] for word in words if word in SHAPE_WORDS]
    return Thing(colours[-1] if colours else None, shapes[-1] if shapes else None)


def _several(words: list[str]) -> bool:
    """More than one description in a row: "the red ball and the blue cube"."""
    return sum(word in COLOUR_WORDS for word in words) > 1 or sum(word in SHAPE_WORDS for word in words) > 1


def _intent(words: list[str]) -> Intent | None:
    thing = _thing(words)
    said = set(words)
    if "how" in said or "count" in said or "number" in said:
        counts = words[:2] == ["how", "many"] or "count" in said or "number" in said
        return Intent(Ask.COUNT, thing) if counts and not _several(words) else None
    if words[0] in ("is", "are", "do", "does", "can", "could", "was"):
        return _yes_no(words)
    if said & {"colour", "color", "colours", "colors"}:
        return Intent(Ask.COLOUR, subject=thing) if not _several(words) else None
    if said & {"shape", "shapes", "shaped"}:
        return Intent(Ask.SHAPE, subject=thing) if not _several(words) else None
    if said & {"kind", "type", "sort"}:
        return Intent(Ask.SHAPE, subject=thing)
    if words[0] in ("what", "which", "name"):
        return Intent(Ask.NAME, subject=thing)
    return None


def _yes_no(words: list[str]) -> Intent | None:
    """Existence, or a claim: "is this (object) (a) red (cube)?", "is the ball red?"."""
    rest = words[1:]
    if "there" in rest[:1] or words[0] in ("do", "does", "can", "could") or _somewhere(rest):
        named = any(_names_something(word) for word in rest)
        return Intent(Ask.EXISTS, _thing(rest)) if named and not _several(rest) else None
    if rest[:1] in (["this"], ["it"], ["that"]):
        claim = rest[1:] if rest[1:2] and rest[1] in ANY_OBJECT else rest
        named = any(_names_something(word) for word in claim)
        return Intent(Ask.IS_IT, _thing(claim)) if named and not _several(claim) else None
    nouns = [place for place, word in enumerate(rest) if word in SHAPE_WORDS or word in ANY_OBJECT]
    if rest[:1] == ["the"] and nouns and len(rest) > nouns[0] + 1:
        subject, claim = rest[: nouns[0] + 1], rest[nouns[0] + 1 :]
        if any(_names_something(word) for word in claim) and not _several(claim):
            return Intent(Ask.IS_IT, _thing(claim), _thing(subject))
    return None


def _somewhere(rest: list[str]) -> bool:
    """ "a red ball on the table", "any cones visible"."""
    return rest[:1] in (["a"], ["an"], ["any"]) and bool(
        set(rest)
        & {"table", "picture", "image", "photo", "scene", "visible", "shown", "seen", "here", "present"}
    )
