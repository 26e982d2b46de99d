"""The question families: what can be asked about a scene, and in which words.

A Blueprint says what is asked; `wording` turns it into English. Nothing here knows an answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FAMILIES = (
    "count", "existence", "attribute", "closer", "height", "ratio",
    "side", "order", "nested", "choice", "count_side", "more",
)  # fmt: skip

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


def plural(phrase: str) -> str:
    """red box → red boxes"""
    *head, noun = phrase.split()
    return " ".join([*head, PLURALS[noun]])


_WORDINGS: dict[str, tuple[str, ...]] = {
    "count": (
        "How many {as_} are there?",
        "How many {as_} can you see?",
        "Count the {as_} in the picture.",
        "What is the number of {as_} on the table?",
    ),
    "existence": (
        "Is there {an} {a} in the picture?",
        "Can you see {an} {a}?",
        "Is {an} {a} on the table?",
        "Does the picture show {an} {a}?",
    ),
    "attribute": (
        "What {target} is the {a}?",
        "What is the {target} of the {a}?",
        "Tell me the {target} of the {a}.",
        "Which {target} does the {a} have?",
    ),
    "closer": (
        "Which is {relation} to the camera, the {a} or the {b}?",
        "Of the {a} and the {b}, which is {relation} to the camera?",
        "Which one is {relation} to us: the {a} or the {b}?",
    ),
    "height": (
        "If the {a} is {number} cm tall, how tall is the {b} in cm?",
        "The {a} is {number} cm tall. How many cm tall is the {b}?",
        "Given that the {a} has a height of {number} cm, what is the height of the {b} in cm?",
    ),
    "ratio": (
        "How many times taller is the {a} than the {b}?",
        "What is the ratio of the height of the {a} to the height of the {b}?",
        "The height of the {a} is how many times the height of the {b}?",
    ),
    "side": (
        "Is the {a} {where} the {b}?",
        "In the picture, is the {a} {where} the {b}?",
        "Can the {a} be seen {where} the {b}?",
    ),
    "order": (
        "Is the {a} {relation} the {b}?",
        "Does the {a} stand {relation} the {b}?",
        "Seen from the camera, is the {a} {relation} the {b}?",
    ),
    "nested": (
        "What {target} is the {relation} {a}?",
        "What is the {target} of the {relation} {a}?",
        "Tell me the {target} of the {relation} {a}.",
    ),
    "choice": (
        "Which is {relation}, the {a} or the {b}? Options: {{{a}, {b}}}",
        "Choose the {relation} one. Options: {{{a}, {b}}}",
        "Which of these two is {relation}? Options: {{{a}, {b}}}",
    ),
    "count_side": (
        "How many {as_} are {where} the {b}?",
        "Count the {as_} {where} the {b}.",
        "What is the number of {as_} {where} the {b}?",
    ),
    "more": (
        "Are there {relation} {as_} than {bs_}?",
        "Does the picture show {relation} {as_} than {bs_}?",
        "Can you see {relation} {as_} than {bs_}?",
    ),
}

_WHERE = {"left": "to the left of", "right": "to the right of"}


def where(relation: str) -> str:
    """left → to the left of; other relations are already phrases."""
    return _WHERE.get(relation, relation)


def wordings(blueprint: Blueprint) -> tuple[str, ...]:
    """All wordings of a question, the usual ones first."""
    blanks = {
        "a": blueprint.a,
        "an": "an" if blueprint.a[0] in "aeiou" else "a",
        "b": blueprint.b,
        "as_": plural(blueprint.a),
        "bs_": plural(blueprint.b) if blueprint.b else "",
        "relation": blueprint.relation,
        "where": where(blueprint.relation),
        "target": blueprint.target,
        "number": blueprint.number,
    }
    return tuple(template.format(**blanks) for template in _WORDINGS[blueprint.family])


def wording(blueprint: Blueprint, rng: np.random.Generator) -> str:
    """One of the question's wordings, drawn from the generator."""
    options = wordings(blueprint)
    return options[rng.integers(len(options))]


RELATIONS: dict[str, tuple[str, ...]] = {
    "closer": ("closer", "farther"),
    "side": ("left", "right", "above", "below"),
    "order": ("in front of", "behind"),
    "nested": ("leftmost", "rightmost", "closest", "farthest"),
    "choice": ("taller", "shorter"),
    "count_side": ("left", "right"),
    "more": ("more", "fewer"),
}
