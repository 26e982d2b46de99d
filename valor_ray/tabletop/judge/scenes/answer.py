"""A question's answer in a scene, from the listing's numbers; "cannot tell" where the judge is told to say so."""

from __future__ import annotations

from collections.abc import Sequence

from valor_ray.tabletop.judge.scenes.listing import Listed
from valor_ray.tabletop.judge.scenes.mentions import Mention
from valor_ray.tabletop.judge.scenes.question import Asked, Kind
from valor_ray.tabletop.judge.scenes.relations import Relation

CANNOT_TELL = "cannot tell"
_CLOSE_PLACE = 1.0  # % of the picture: nearer centres are too close to call
_CLOSE_RATIO = 1.03  # of distances or sizes


class _CannotTell(Exception):
    """The listing does not decide the question."""


def answer(asked: Asked, scene: Sequence[Listed]) -> str:
    """As the judge of the scene tests answers: yes or no, digits, a word, an option, or "cannot tell"."""
    try:
        return _answer(asked, scene)
    except _CannotTell:
        return CANNOT_TELL


def _answer(asked: Asked, scene: Sequence[Listed]) -> str:
    if asked.kind is Kind.COUNT:
        return str(_count(asked, scene))
    if asked.kind is Kind.EXISTS:
        return _yes(bool(_all(asked.subject, scene)))
    if asked.kind is Kind.ATTRIBUTE:
        return _attribute(asked, scene)
    assert asked.other is not None
    if asked.kind is Kind.COUNTS:
        difference = len(_all(asked.subject, scene)) - len(_all(asked.other, scene))
        return _yes(difference == 0 if asked.sign == 0 else difference * asked.sign > 0)
    one, two = _only(asked.subject, scene), _only(asked.other, scene)
    if asked.kind in (Kind.SIZE, Kind.RATIO):
        ratio = _value(one, asked.measures[0]) / _value(two, asked.measures[1])
        return f"{ratio * (asked.number if asked.kind is Kind.SIZE else 1):.6g}"
    assert asked.relation is not None
    holds = _holds(asked.relation, one, two)
    if asked.kind is Kind.HOLDS:
        return _yes(holds)
    return (asked.subject if holds else asked.other).text


def _all(mention: Mention, scene: Sequence[Listed]) -> list[Listed]:
    return [thing for thing in scene if fits(mention, thing)]


def fits(mention: Mention, thing: Listed) -> bool:
    if mention.noun and thing.noun != mention.noun:
        return False
    return not mention.colour or thing.attributes.get("colour") == mention.colour


def _only(mention: Mention, scene: Sequence[Listed]) -> Listed:
    things = _all(mention, scene)
    if len(things) != 1:
        raise _CannotTell
    return things[0]


def _count(asked: Asked, scene: Sequence[Listed]) -> int:
    things = _all(asked.subject, scene)
    if asked.other is None or asked.relation is None:
        return len(things)
    anchor = _only(asked.other, scene)
    return sum(_holds(asked.relation, thing, anchor) for thing in things if thing is not anchor)


def _attribute(asked: Asked, scene: Sequence[Listed]) -> str:
    if asked.relation is None:
        thing = _only(asked.subject, scene)
    else:
        thing = _extreme(asked.relation, _all(asked.subject, scene))
    value = thing.noun if asked.target == "shape" else thing.attributes.get(asked.target)
    if not value:
        raise _CannotTell
    return value


def _extreme(relation: Relation, things: list[Listed]) -> Listed:
    """The thing that has the relation to all others."""
    if not things:
        raise _CannotTell
    first = max(things, key=lambda thing: relation.sign * _value(thing, relation.measure))
    for thing in things:
        if thing is not first:
            _holds(relation, first, thing)
    return first


def _holds(relation: Relation, one: Listed, two: Listed) -> bool:
    """Has one the relation to two? Raises _CannotTell where it is too close to call."""
    first, second = _value(one, relation.measure), _value(two, relation.measure)
    if relation.measure in ("x", "y"):
        close = abs(first - second) < _CLOSE_PLACE
    else:
        close = max(first, second) < _CLOSE_RATIO * min(first, second)
    if close:
        raise _CannotTell
    return (first - second) * relation.sign > 0


def _value(thing: Listed, measure: str) -> float:
    value = float(getattr(thing, measure))
    if measure in ("distance", "height", "width") and value <= 0:
        raise _CannotTell
    return value


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
