"""What a detection phrase names: colour and shape words, any-object words, articles. More than these is not read."""

from __future__ import annotations

import re
import unicodedata

from valor_ray.tabletop.judge.questions import ANY_OBJECT, COLOUR_WORDS, SHAPE_WORDS, Thing

_SHAPES = SHAPE_WORDS | {
    "cuboid": "box", "cuboids": "box", "cubic": "box",
    "spherical": "ball", "cylindrical": "cylinder", "conical": "cone",
}  # fmt: skip
_ANY = ANY_OBJECT | {"shape", "shapes", "one", "ones"}
# No size and no place among them: those are comparisons, which a look at one box does not settle.
_PLAIN = frozenset("a an the this that these those any all every each some colored coloured".split())


def read_phrase(phrase: str) -> Thing | None:
    """ "the red cubes" → Thing("red", "box"); None when a word is not known or colours or shapes contradict."""
    text = unicodedata.normalize("NFKC", phrase).casefold().strip().strip(".,;\"'")
    if not re.fullmatch(r"[a-z][a-z \t'-]*", text):
        return None
    words = re.findall(r"[a-z]+", text)
    naming = [word for word in words if word not in _PLAIN]
    if not naming or any(word not in COLOUR_WORDS | _SHAPES and word not in _ANY for word in naming):
        return None
    colours = {COLOUR_WORDS[word] for word in naming if word in COLOUR_WORDS}
    shapes = {_SHAPES[word] for word in naming if word in _SHAPES}
    if len(colours) > 1 or len(shapes) > 1:
        return None
    return Thing(next(iter(colours), None), next(iter(shapes), None))
