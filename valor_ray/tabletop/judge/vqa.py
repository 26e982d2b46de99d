"""Visual questions answered by looking: short lower-case strings, "cannot tell" when not understood or not seen."""

from __future__ import annotations

import numpy as np

from valor_ray.tabletop.judge.questions import Ask, Intent, Thing, describe, read_question
from valor_ray.tabletop.judge.scene import Seen, find_objects
from valor_ray.tabletop.judge.sight import COLOURS, SHAPES, Sight, look_at

CANNOT_TELL = "cannot tell"
_SMALLEST = 4  # px; a thinner picture shows nothing
_SURE = 0.5  # belief from which a claim about one object is granted


def answer(rgb: np.ndarray, question: str, allowed: tuple[str, ...] = ()) -> str:
    """Answer a question about uint8 pixels (height, width, 3); `allowed` restricts the answer to one of these."""
    intent = read_question(question, allowed)
    if intent is None or min(rgb.shape[:2]) < _SMALLEST:
        return CANNOT_TELL
    if intent.ask is Ask.COUNT:
        return _pick(str(len(_matching(find_objects(rgb), intent.thing))), intent.options)
    if intent.ask is Ask.EXISTS:
        return _pick(_yes(_exists(rgb, intent.thing)), intent.options)
    sight = _subject(rgb, intent.subject)
    if sight is None:
        return CANNOT_TELL
    return _about(sight, intent)


def _about(sight: Sight, intent: Intent) -> str:
    """The answer to a question about one object."""
    if intent.ask is Ask.IS_IT:
        return _pick(_yes(likelihood(sight, intent.thing) > _SURE), intent.options)
    if intent.options:
        things = [describe(option) for option in intent.options]
        likely = [0.0 if thing is None else likelihood(sight, thing) for thing in things]
        return intent.options[int(np.argmax(likely))] if max(likely) > 0 else CANNOT_TELL
    colour = COLOURS[int(np.argmax(sight.colour))]
    shape = SHAPES[int(np.argmax(sight.shape[:-1]))]
    if intent.ask is Ask.COLOUR:
        return colour
    return shape if intent.ask is Ask.SHAPE else f"{colour} {shape}"


def likelihood(sight: Sight, thing: Thing) -> float:
    """Probability that the object seen fits the description, given that there is one."""
    chance = 1.0
    if thing.colour is not None:
        chance *= float(sight.colour[COLOURS.index(thing.colour)])
    if thing.shape is not None:
        shapes = sight.shape[:-1] / max(float(sight.shape[:-1].sum()), 1e-6)
        chance *= float(shapes[SHAPES.index(thing.shape)])
    return chance


def _matching(seen: list[Seen], thing: Thing) -> list[Seen]:
    return [one for one in seen if likelihood(one.sight, thing) > _SURE]


def _subject(rgb: np.ndarray, subject: Thing) -> Sight | None:
    """The object meant: the one that the picture frames; else the best fit in it; else the one nearest its centre."""
    sight = look_at([rgb])[0]
    if sight.framed > _SURE:
        return sight
    seen = find_objects(rgb)
    if subject != Thing():
        fitting = _matching(seen, subject)
        return fitting[0].sight if fitting else None
    return min(seen, key=lambda one: _off_centre(one, rgb)).sight if seen else sight


def _off_centre(one: Seen, rgb: np.ndarray) -> float:
    """Distance from the picture's centre, in long sides of the picture."""
    scale = 256 / max(rgb.shape[:2])
    x, y = (one.bbox[0] + one.bbox[2]) / 2, (one.bbox[1] + one.bbox[3]) / 2
    return float(np.hypot(x - rgb.shape[1] * scale / 2, y - rgb.shape[0] * scale / 2) / 256)


def _exists(rgb: np.ndarray, thing: Thing) -> bool:
    sight = look_at([rgb])[0]
    if sight.framed > _SURE and likelihood(sight, thing) > _SURE:
        return True
    return bool(_matching(find_objects(rgb), thing))


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _pick(said: str, options: tuple[str, ...]) -> str:
    """The answer, unless options are given and it is none of them."""
    return said if not options or said in options else CANNOT_TELL
