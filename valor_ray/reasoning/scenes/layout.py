"""Where the objects of symbolic scenes stand: ranks in permutations, and the boxes, depths and sizes made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from valor_ray.records import BBox

PICTURE = (1000, 800)  # px
_FILLS = 0.86  # of its column and row, by the widest and the highest box
_DEPTHS = (1.1, 4.0)  # m of the nearest; farthest over nearest at most
_TRIES = 400
_AXES = 5  # column, row, depth, height, width


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
    *,
    mislead: bool,
    low_is_near: bool,
    wide_is_high: bool,
    groups: Sequence[Sequence[int]] = (),
    twins: Sequence[tuple[int, int]] = (),
) -> Ranks:
    """Ranks in which the first two objects are as told, as far as many tries find them.

    mislead: the higher of the two has fewer pixels. low_is_near: the lower in the picture is the nearer. wide_is_high:
    the wider is the higher. groups: objects whose extremes along different axes should be different ones.
    twins: (first or second object, one easily taken for it): the other of the first two should lie between them.
    """
    best, best_score = None, -1
    for _ in range(_TRIES):
        ranks = Ranks(tuple(tuple(rng.sample(range(count), count)) for _ in range(_AXES)))
        score = 20 * _pair_score(ranks, mislead, low_is_near, wide_is_high) if count > 1 else 0
        score += sum(_apart(ranks, group) for group in groups)
        score += sum(_across(ranks, *pair) for pair in twins)
        if score > best_score:
            best, best_score = ranks, score
        if best_score >= 60 + 3 * len(groups) + _AXES * len(twins):
            break
    assert best is not None
    return best


def place(ranks: Ranks) -> tuple[Place, ...]:
    """Boxes alone in their column and row; pixels are real size over depth."""
    count = len(ranks.by_axis[0])
    columns, rows, depths, heights, widths = ranks.by_axis
    far, high = _steps(count)
    depth = [round(_DEPTHS[0] * far**rank, 2) for rank in depths]
    cell = (PICTURE[0] / count, PICTURE[1] / count)
    tall = _pixels([high**rank for rank in heights], depth, cell[1])
    wide = _pixels([high**rank for rank in widths], depth, cell[0])
    places = []
    for i in range(count):
        x, y = (columns[i] + 0.5) * cell[0], (rows[i] + 0.5) * cell[1]
        box = (
            round(x - wide[i] / 2, 1),
            round(y - tall[i] / 2, 1),
            round(x + wide[i] / 2, 1),
            round(y + tall[i] / 2, 1),
        )
        height, width = (box[3] - box[1]) * depth[i], (box[2] - box[0]) * depth[i]
        places.append(Place(box, depth[i], round(height, 3), round(width, 3)))
    return tuple(places)


def misleads(a: Place, b: Place) -> bool:
    """Whether pixels say the opposite of which is higher."""
    return (a.height > b.height) != (a.bbox[3] - a.bbox[1] > b.bbox[3] - b.bbox[1])


def _ratio(count: int, least: float, most: float, whole: float) -> float:
    """Of neighbours on a ladder of `count` rungs that spans `whole` where the bounds allow it."""
    return float(min(max(whole ** (1 / max(count - 1, 1)), least), most))


def _pixels(real: Sequence[float], depth: Sequence[float], room: float) -> list[float]:
    apparent = [size / metres for size, metres in zip(real, depth, strict=True)]
    return [_FILLS * room * each / max(apparent) for each in apparent]


def _pair_score(ranks: Ranks, mislead: bool, low_is_near: bool, wide_is_high: bool) -> int:
    _, rows, depths, heights, widths = ranks.by_axis
    far, high = _steps(len(rows))
    pixels = [high ** heights[i] / far ** depths[i] for i in (0, 1)]
    higher = heights[0] > heights[1]
    return (
        ((higher != (pixels[0] > pixels[1])) == mislead)
        + (((rows[0] > rows[1]) == (depths[0] < depths[1])) == low_is_near)
        + (((widths[0] > widths[1]) == higher) == wide_is_high)
    )


def _steps(count: int) -> tuple[float, float]:
    """Ratios of neighbouring depths, and of neighbouring real sizes."""
    return _ratio(count, 1.205, 1.55, _DEPTHS[1]), _ratio(count, 1.275, 1.5, 5.0)


def _apart(ranks: Ranks, group: Sequence[int]) -> int:
    """How many of column and depth, column and row, depth and height have different objects at their low end."""
    lowest = [min(group, key=lambda i, axis=axis: axis[i]) for axis in ranks.by_axis]  # type: ignore[misc]
    return (lowest[0] != lowest[2]) + (lowest[0] != lowest[1]) + (lowest[2] != lowest[3])


def _across(ranks: Ranks, thing: int, twin: int) -> int:
    """Along how many axes the other of the first two lies between a thing and its twin."""
    other = 1 - thing
    return sum((axis[thing] < axis[other]) != (axis[twin] < axis[other]) for axis in ranks.by_axis)
