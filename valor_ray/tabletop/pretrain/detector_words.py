"""Words of the tabletop detector: its small vocabulary, and which objects a phrase names."""

from __future__ import annotations

import string
from collections.abc import Sequence

import numpy as np

from valor_ray.tabletop.scenes import COLOURS, SHAPES

# What people call each shape; the first is what the question families say.
SHAPE_WORDS = {
    "box": ("cube", "box", "block"),
    "ball": ("ball", "sphere"),
    "cylinder": ("cylinder",),
    "cone": ("cone",),
}
ANY_WORDS = ("object", "thing", "item", "solid", "shape")  # name every solid
OTHER_COLOURS = (
    "pink",
    "black",
    "grey",
    "gray",
    "brown",
    "silver",
    "gold",
)  # never on the table: always absent
ARTICLES = ("a", "an", "the")
# Everyday nouns that are never on the table, spelt in letter pieces: asking for them must find nothing.
ABSENT_NOUNS = tuple(
    "person dog cat chair car cup bottle book lamp plant phone laptop keyboard shoe hat bird horse tree sofa couch bed "
    "bus train boat bicycle clock vase spoon fork knife bowl apple banana cake pizza door window star ring "
    "pyramid mug plate bag pen camera coffee toy robot hand wheel".split()
)


def plural(word: str) -> str:
    return word + ("es" if word.endswith("x") else "s")


def vocabulary() -> dict[str, int]:
    """Token ids by word. The places that GroundingDINO's code hard-wires keep BERT's numbers."""
    fixed = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
    singular = [word for words in SHAPE_WORDS.values() for word in words] + list(ANY_WORDS)
    words = [*COLOURS, *OTHER_COLOURS, *ARTICLES, *singular, *map(plural, singular)]
    pieces = list(string.ascii_lowercase + string.digits) + [
        f"##{c}" for c in string.ascii_lowercase + string.digits
    ]
    marks = list("!\"#$%&'()*+,-/:;<=>@[]^_`{|}~")
    learnt = [word for word in dict.fromkeys(words + pieces + marks) if word not in fixed]
    tokens = dict(fixed)
    tokens.update({word: place for place, word in enumerate(learnt, start=104)})
    taken = set(tokens.values())
    tokens.update({f"[unused{place}]": place for place in range(1030) if place not in taken})
    return tokens


def matches(phrase: str, colour: str, shape: str) -> bool:
    """Does the phrase name an object of this colour and shape?"""
    words = [word for word in phrase.split() if word not in ARTICLES]
    if len(words) == 2 and words[0] != colour:
        return False
    noun = words[-1]
    names = (*SHAPE_WORDS[shape], *ANY_WORDS)
    return noun in names or noun in map(plural, names)


def _noun(rng: np.random.Generator, singular: Sequence[str]) -> str:
    # The canonical word comes half the time.
    word = singular[0] if rng.random() < 0.5 else singular[int(rng.integers(len(singular)))]
    return plural(word) if rng.random() < 0.2 else word


def _pair(rng: np.random.Generator, colour: str, shape: str) -> str:
    return f"{colour} {_noun(rng, SHAPE_WORDS[shape])}"


def _absent(rng: np.random.Generator) -> str:
    if rng.random() < 0.5:
        return ABSENT_NOUNS[int(rng.integers(len(ABSENT_NOUNS)))]
    return (
        f"{OTHER_COLOURS[int(rng.integers(len(OTHER_COLOURS)))]} {_noun(rng, SHAPE_WORDS[_any(rng, SHAPES)])}"
    )


def _any(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]


def every_class() -> list[str]:
    return [f"{colour} {SHAPE_WORDS[shape][0]}" for colour in COLOURS for shape in SHAPES]


STYLES = ("many", "few", "all", "shapes", "colours", "anything")
STYLE_SHARES = (0.38, 0.22, 0.12, 0.14, 0.08, 0.06)


def sample_prompt(rng: np.random.Generator, style: str, present: Sequence[tuple[str, str]]) -> list[str]:
    """Phrases of one training caption in random order; `present` are the (colour, shape) pairs in the picture.

    Styles: many/few classes with present and absent ones, all 32, shape words alone, colour + "object", "object".
    """
    if style == "many":
        phrases = [_pair(rng, *pair) for pair in sorted(set(present)) if rng.random() < 0.9]
        while len(phrases) < 10:
            phrases.append(
                _absent(rng) if rng.random() < 0.1 else _pair(rng, _any(rng, COLOURS), _any(rng, SHAPES))
            )
    elif style == "few":
        count = int(rng.integers(1, 4))
        pairs = [present[int(i)] for i in rng.permutation(len(present))[:count]]
        phrases = [_pair(rng, *pair) if rng.random() < 0.7 else _near_miss(rng, *pair) for pair in pairs]
        if rng.random() < 0.15:
            phrases.append(_absent(rng))
    elif style == "all":
        phrases = [_pair(rng, colour, shape) for colour in COLOURS for shape in SHAPES]
    elif style == "shapes":
        chosen = rng.permutation(len(SHAPES))[: int(rng.integers(1, 5))]
        phrases = [_noun(rng, SHAPE_WORDS[SHAPES[int(i)]]) for i in chosen]
    elif style == "colours":
        chosen = rng.permutation(len(COLOURS))[: int(rng.integers(1, 5))]
        named = [COLOURS[int(i)] for i in chosen]
        if rng.random() < 0.7:
            named.append(present[int(rng.integers(len(present)))][0])
        phrases = [f"{colour} {_noun(rng, ANY_WORDS)}" for colour in named]
    else:
        phrases = [_noun(rng, ANY_WORDS)]
        if rng.random() < 0.3:
            phrases.append(_absent(rng))
    phrases = list(dict.fromkeys(phrases))
    if rng.random() < 0.08:
        phrases = [f"the {phrase}" for phrase in phrases]
    return [phrases[int(i)] for i in rng.permutation(len(phrases))]


def _near_miss(rng: np.random.Generator, colour: str, shape: str) -> str:
    """A phrase that differs from a present object in colour or shape: the hard kind of absence."""
    if rng.random() < 0.5:
        return _pair(rng, _any(rng, COLOURS), shape)
    return _pair(rng, colour, _any(rng, SHAPES))
