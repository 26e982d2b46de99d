"""Where the objects of symbolic scenes stand: ranks in permutations, and the boxes, depths and sizes made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from itertools import pairwise, permutations
from math import log
from random import Random

from valor_ray.records import BBox

PICTURE = (1000, 800)  # px
_FILLS = 0.86  # of its column and row, by the widest and the highest box
_DEPTHS = (1.1, 4.0)  # m of the nearest; farthest over nearest at most
_CLOSE_STEP, _CLOSE_M = 1.22, 0.24  # of a close depth ladder; the first two are at most so far apart
_CLOSE_PX = 36  # centres of two overlapping columns or rows, at most
_CLEAR = 6.0  # that two objects so close have at least this part of the largest box
_TRIES = 400
_AXES = 5  # column, row, depth, height, width
_HARD = 20  # weight of what must hold of the first two


class Nearer(Enum):
    """What the nearer of the first two is like in height or width."""

    LOOKS_SMALLER = "smaller in pixels, and in fact"
    MISLEADS = "smaller in fact, larger in pixels"
    IS_LARGER = "larger in fact, and in pixels"


@dataclass(frozen=True)
class Plan:
    """How the first two objects stand to each other in a pair of scenes."""

    height: Nearer
    width: Nearer
    near_is_low: bool
    near_is_left: bool
    close_in: (
        int | None
    )  # neighbours along that axis: 0, 1 overlapping columns or rows; 2 a small gap of depth


# In half of them the nearer looks smaller; no quantity of the first two goes with another one in all.
PLANS = (
    Plan(Nearer.MISLEADS, Nearer.IS_LARGER, near_is_low=True, near_is_left=True, close_in=0),
    Plan(Nearer.LOOKS_SMALLER, Nearer.LOOKS_SMALLER, near_is_low=True, near_is_left=False, close_in=2),
    Plan(Nearer.IS_LARGER, Nearer.MISLEADS, near_is_low=False, near_is_left=False, close_in=None),
    Plan(Nearer.LOOKS_SMALLER, Nearer.LOOKS_SMALLER, near_is_low=False, near_is_left=True, close_in=1),
)


@dataclass(frozen=True)
class Ranks:
    """Five permutations of 0..n-1, by object: column, row, depth, real height, real width."""

    by_axis: tuple[tuple[int, ...], ...]

    def reversed(self) -> Ranks:
        """Every comparison turned round, every extreme at the other end."""
        last = len(self.by_axis[0]) - 1
        return Ranks(tuple(tuple(last - rank for rank in axis) for axis in self.by_axis))


@dataclass(frozen=True)
class Place:
    bbox: BBox
    depth_m: float
    height: float  # px x m, of the box as rounded
    width: float


def draw(
    count: int,
    rng: Random,
    plan: Plan,
    *,
    groups: Sequence[Sequence[int]] = (),
    twins: Sequence[tuple[int, int]] = (),
) -> Ranks:
    """Ranks in which the first two objects stand as planned, as far as many tries find them.

    groups: objects whose extremes along different axes should be different ones.
    twins: (first or second object, one easily taken for it): the other of the first two should lie between them.
    """
    best, best_score = None, -1
    looks = plan.height is Nearer.LOOKS_SMALLER
    enough = 3 * _HARD + (9 if looks else 3) * len(groups) + (_AXES - 1) * len(twins)
    for _ in range(_TRIES):
        ranks = _drawn(count, rng, plan)
        pixels = _log_pixels(ranks, plan)
        score = _HARD * _pair_score(ranks, pixels, plan) if count > 1 else 0
        if score + _HARD <= best_score:
            continue
        score += sum(_apart(ranks, group) for group in groups)
        score += sum(_looks_apart(ranks, pixels, group) for group in groups) if looks else 0
        score += sum(_across(ranks, *pair) for pair in twins)
        if score > best_score:
            best, best_score = ranks, score
        if best_score >= enough:
            break
    assert best is not None
    return best


def place(ranks: Ranks, plan: Plan) -> tuple[Place, ...]:
    """Boxes alone in their column and row, but for the first two along the axis where they overlap; none intersects
    another. Pixels are real size over depth."""
    columns, rows, depths, heights, widths = ranks.by_axis
    far, high = _steps(len(columns), plan)
    near = _DEPTHS[0]
    if plan.close_in == 2 and len(columns) > 1:
        near = min(near, _CLOSE_M / abs(far ** depths[0] - far ** depths[1]))
    depth = [round(near * far**rank, 2) for rank in depths]
    tall = [high**rank / metres for rank, metres in zip(heights, depth, strict=True)]
    wide = [high**rank / metres for rank, metres in zip(widths, depth, strict=True)]
    across = _spans(columns, wide, PICTURE[0], plan.close_in == 0)
    down = _spans(rows, tall, PICTURE[1], plan.close_in == 1)
    places = []
    for (x1, x2), (y1, y2), metres in zip(across, down, depth, strict=True):
        box = (round(x1, 1), round(y1, 1), round(x2, 1), round(y2, 1))
        height, width = (box[3] - box[1]) * metres, (box[2] - box[0]) * metres
        places.append(Place(box, metres, round(height, 3), round(width, 3)))
    return tuple(places)


def misleads(a: Place, b: Place) -> bool:
    """Whether pixels say the opposite of which is higher."""
    return (a.height > b.height) != (a.bbox[3] - a.bbox[1] > b.bbox[3] - b.bbox[1])


def _spans(
    order: Sequence[int], apparent: Sequence[float], length: int, overlap: bool
) -> list[tuple[float, float]]:
    """(start, end) in px along one axis for each object; overlap: those of the first two share pixels there."""
    count = len(order)
    if not overlap or count < 2:
        scale = _FILLS * length / count / max(apparent)
        middles = [(rank + 0.5) * length / count for rank in order]
    else:
        scale, middles = _overlapping(order, apparent, length)
    return [
        (at - size * scale / 2, at + size * scale / 2) for at, size in zip(middles, apparent, strict=True)
    ]


def _overlapping(order: Sequence[int], apparent: Sequence[float], length: int) -> tuple[float, list[float]]:
    """Scale and middles. The first two stand half the larger one's size apart, which keeps their orders by first edge,
    middle and last edge equal; the others are disjoint, with equal spaces between."""
    in_order = sorted(range(len(order)), key=order.__getitem__)
    steps, free = [apparent[in_order[0]] / 2], [1]  # from the picture's edge to the first middle, and on
    for one, other in pairwise(in_order):
        together = {one, other} == {0, 1}
        both = (apparent[one], apparent[other])
        steps.append(max(both) / 2 if together else sum(both) / 2)
        free.append(0 if together else 1)
    taken = sum(steps) + apparent[in_order[-1]] / 2
    scale = min(_FILLS * length / taken, 2 * _CLOSE_PX / max(apparent[:2]))
    space = (length - scale * taken) / (sum(free) + 1)
    at, middles = 0.0, [0.0] * len(order)
    for i, step, spaces in zip(in_order, steps, free, strict=True):
        at += step * scale + spaces * space
        middles[i] = at
    return scale, middles


def _ratio(count: int, least: float, most: float, whole: float) -> float:
    """Of neighbours on a ladder of `count` rungs that spans `whole` where the bounds allow it."""
    return float(min(max(whole ** (1 / max(count - 1, 1)), least), most))


@cache
def _steps(count: int, plan: Plan) -> tuple[float, float]:
    """Ratios of neighbouring depths, and of neighbouring real sizes."""
    far = _CLOSE_STEP if plan.close_in == 2 else _ratio(count, 1.205, 1.55, _DEPTHS[1])
    return far, _ratio(count, 1.275, 1.5, 5.0)


def _drawn(count: int, rng: Random, plan: Plan) -> Ranks:
    """Permutations; the first two are neighbours where they are to be, and stand in the picture as planned."""
    orders = _orders(count)
    axes: list[Sequence[int]] = [rng.choice(orders) for _ in range(_AXES)]
    if count > 1:
        if plan.close_in is not None:
            axes[plan.close_in] = _with_neighbours(axes[plan.close_in], rng)
        first_near = axes[2][0] < axes[2][1]
        for axis, near_is_first in ((0, plan.near_is_left), (1, not plan.near_is_low)):
            if ((axes[axis][0] < axes[axis][1]) == first_near) != near_is_first:
                axes[axis] = [count - 1 - rank for rank in axes[axis]]
    return Ranks(tuple(map(tuple, axes)))


@cache
def _orders(count: int) -> tuple[tuple[int, ...], ...]:
    """All permutations: to choose of them is ten times as fast as to make one, and scenes are tried by the hundred."""
    return tuple(permutations(range(count)))


def _with_neighbours(axis: Sequence[int], rng: Random) -> list[int]:
    """The same order, but the second object next to the first."""
    order = sorted((i for i in range(len(axis)) if i != 1), key=axis.__getitem__)
    order.insert(order.index(0) + rng.randrange(2), 1)
    return [order.index(i) for i in range(len(axis))]


def _log_pixels(ranks: Ranks, plan: Plan) -> tuple[list[float], list[float]]:
    """Logarithms of heights and widths in pixels, but for a constant: of reversed ranks they change the sign."""
    far, high = (log(step) for step in _steps(len(ranks.by_axis[0]), plan))
    _, _, depths, heights, widths = ranks.by_axis
    tall = [high * size - far * depth for size, depth in zip(heights, depths, strict=True)]
    return tall, [high * size - far * depth for size, depth in zip(widths, depths, strict=True)]


def _pair_score(ranks: Ranks, pixels: tuple[list[float], list[float]], plan: Plan) -> int:
    """How many of three hold: heights, widths, and boxes large enough to overlap clearly."""
    _, _, depths, heights, widths = ranks.by_axis
    near, other = (0, 1) if depths[0] < depths[1] else (1, 0)
    clear = True
    if plan.close_in in (0, 1):
        sizes = pixels[1 - plan.close_in]
        room = log(_CLEAR)
        clear = max(sizes) - min(sizes[:2]) <= room and max(sizes[:2]) - min(sizes) <= room
    return (
        (_like(heights[near] - heights[other], pixels[0][near] - pixels[0][other]) is plan.height)
        + (_like(widths[near] - widths[other], pixels[1][near] - pixels[1][other]) is plan.width)
        + clear
    )


def _like(in_fact: float, in_pixels: float) -> Nearer:
    if in_fact > 0:
        return Nearer.IS_LARGER
    return Nearer.MISLEADS if in_pixels > 0 else Nearer.LOOKS_SMALLER


def _apart(ranks: Ranks, group: Sequence[int]) -> int:
    """How many of column and depth, column and row, depth and height have different objects at their low end."""
    lowest = [min(group, key=axis.__getitem__) for axis in ranks.by_axis]
    return (lowest[0] != lowest[2]) + (lowest[0] != lowest[1]) + (lowest[2] != lowest[3])


def _looks_apart(ranks: Ranks, pixels: tuple[list[float], list[float]], group: Sequence[int]) -> int:
    """Of height, width and area in pixels: at how many ends of the depths stands another than at that of pixels."""
    depths, areas = ranks.by_axis[2], [a + b for a, b in zip(*pixels, strict=True)]
    nearest, farthest = (end(group, key=depths.__getitem__) for end in (min, max))
    return sum(
        (max(group, key=sizes.__getitem__) != nearest) + (min(group, key=sizes.__getitem__) != farthest)
        for sizes in (*pixels, areas)
    )


def _across(ranks: Ranks, thing: int, twin: int) -> int:
    """Along how many axes the other of the first two lies between a thing and its twin."""
    other = 1 - thing
    return sum((axis[thing] < axis[other]) != (axis[twin] < axis[other]) for axis in ranks.by_axis)
