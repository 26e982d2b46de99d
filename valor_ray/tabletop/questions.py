"""The question families: what can be asked about a scene, in which words, and in which part of the world.

A Blueprint says what is asked; `wording` turns it into English. The parts (training, development, held-out) have
wordings of their own (`wordings/`) and pairs of phrases of their own (`part_of`). Nothing here knows an answer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

FAMILIES = (
    "count", "existence", "attribute", "closer", "height", "ratio",
    "side", "order", "nested", "choice", "count_side", "more",
)  # fmt: skip

Part = Literal["training", "development", "held_out"]
PARTS: tuple[Part, ...] = ("training", "development", "held_out")

PLURALS = {"box": "boxes", "ball": "balls", "cylinder": "cylinders", "cone": "cones", "object": "objects"}
REFERENCE_CM = tuple(range(10, 65, 5))  # sizes that a question may give


@dataclass(frozen=True)
class Blueprint:
    """What is asked. Phrases are singular and lower-case: "red box", "box", "red object" or "object"."""

    family: str  # one of FAMILIES
    a: str
    b: str = ""
    relation: str = ""  # left, right, above, below, in front of, behind, leftmost, taller, ...
    target: str = ""  # colour or shape, for questions that ask for one
    number: int = 0  # the given height of `a` in centimetres, for family height


RELATIONS: dict[str, tuple[str, ...]] = {
    "closer": ("closer", "farther"),
    "side": ("left", "right", "above", "below"),
    "order": ("in front of", "behind"),
    "nested": ("leftmost", "rightmost", "closest", "farthest"),
    "choice": ("taller", "shorter"),
    "count_side": ("left", "right"),
    "more": ("more", "fewer"),
}


_HELD_OUT, _DEVELOPMENT = 64, 96  # of 256: a quarter is held out, the next eighth is development's
_SALT = "valor_ray tabletop 680"  # fixed for ever; the first with which small pools (4 shapes, 8 colours) split evenly


@cache
def part_of_pair(a: str, b: str) -> Part:
    """The part that alone may ask about the two phrases together, whatever their order."""
    first, second = sorted((a, b))
    byte = hashlib.sha256(f"{_SALT}|{first}|{second}".encode()).digest()[0]
    if byte < _HELD_OUT:
        return "held_out"
    return "development" if byte < _DEVELOPMENT else "training"


def part_of(blueprint: Blueprint) -> Part | None:
    """The part that a question's pair belongs to: of its two phrases, or of colour and shape of a full label that is
    counted or looked for. None for questions without a pair, which every part asks in its own words.
    """
    if blueprint.b:
        return part_of_pair(blueprint.a, blueprint.b)
    colour, _, noun = blueprint.a.rpartition(" ")
    if blueprint.family in ("count", "existence") and colour and noun != "object":
        return part_of_pair(colour, noun)
    return None


def belongs(blueprint: Blueprint, part: Part) -> bool:
    """May this part ask it?"""
    return part_of(blueprint) in (None, part)


def plural(phrase: str) -> str:
    """red box → red boxes"""
    *head, noun = phrase.split()
    return " ".join([*head, PLURALS[noun]])


_WHERE = {"left": "to the left of", "right": "to the right of"}
_COMPARED = {"more": ("larger", "more numerous"), "fewer": ("smaller", "less numerous")}


def where(relation: str) -> str:
    """left → to the left of; other relations are already phrases."""
    return _WHERE.get(relation, relation)


def _templates(family: str, part: Part) -> tuple[str, ...]:
    """Each part's module is read only when that part is asked for."""
    if part == "training":
        from valor_ray.tabletop.wordings.training import WORDINGS
    elif part == "development":
        from valor_ray.tabletop.wordings.development import WORDINGS
    else:
        from valor_ray.tabletop.wordings.held_out import WORDINGS
    return WORDINGS[family]


def wordings(blueprint: Blueprint, part: Part = "training") -> tuple[str, ...]:
    """All wordings that a part has for a question, the usual ones first."""
    filled = _blanks(blueprint)
    return tuple(template.format(**filled) for template in _templates(blueprint.family, part))


def varied_wording(blueprint: Blueprint, rng: np.random.Generator) -> str:
    """A wording of the grammar that pre-training alone reads."""
    from valor_ray.tabletop.wordings.pretraining import drawn

    filled = _blanks(blueprint)
    capitals = {name.capitalize(): str(value).capitalize() for name, value in filled.items()}
    return drawn(blueprint.family, rng).format(**filled | capitals)


def _blanks(blueprint: Blueprint) -> dict[str, object]:
    """What a template may leave open."""
    larger, more_numerous = _COMPARED.get(blueprint.relation, ("", ""))
    return {
        "a": blueprint.a,
        "an": "an" if blueprint.a[0] in "aeiou" else "a",
        "b": blueprint.b,
        "as_": plural(blueprint.a),
        "As_": plural(blueprint.a).capitalize(),
        "bs_": plural(blueprint.b) if blueprint.b else "",
        "relation": blueprint.relation,
        "compared": larger,
        "compared_in_number": more_numerous,
        "where": where(blueprint.relation),
        "off": "from" if blueprint.relation == "farther" else "to",
        "target": blueprint.target,
        "number": blueprint.number,
        "options": f"{{{blueprint.a}, {blueprint.b}}}",
    }


def wording(blueprint: Blueprint, rng: np.random.Generator, part: Part = "training") -> str:
    """One of the part's wordings of the question, drawn from the generator."""
    options = wordings(blueprint, part)
    return options[rng.integers(len(options))]
