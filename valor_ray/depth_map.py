"""Reading a depth map: one finite Python float for a box or a point, all that a program ever gets of a map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

import numpy as np

from valor_ray.errors import ToolError
from valor_ray.records import DepthMap

_PIXELS_AT_ONCE = 2**16  # of a map that are searched: 40 megapixels together would take a gigabyte


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ToolError(f"depth: {name} must be a number, not {type(value).__name__}")
    number = float(value)
    if not math.isfinite(number):
        raise ToolError(f"depth: {name} must be finite, not {number}")
    return number


def _corners(bbox: object) -> tuple[float, float, float, float]:
    if isinstance(bbox, str) or not isinstance(bbox, Sequence | np.ndarray) or len(bbox) != 4:
        raise ToolError(f"depth: bbox must be four numbers [x1, y1, x2, y2], not {bbox!r:.80}")
    x1, y1, x2, y2 = (_number(value, f"bbox[{index}]") for index, value in enumerate(bbox))
    if x2 < x1 or y2 < y1:
        raise ToolError(f"depth: bbox must have x1 <= x2 and y1 <= y2, got [{x1:g}, {y1:g}, {x2:g}, {y2:g}]")
    if x2 == x1 or y2 == y1:
        raise ToolError(f"depth: bbox has no area: [{x1:g}, {y1:g}, {x2:g}, {y2:g}]")
    return x1, y1, x2, y2


def _span(low: float, high: float, size: int) -> tuple[int, int]:
    """Pixels [first, end) whose area meets low..high; at least one, inside the picture."""
    first = min(max(math.floor(low), 0), size - 1)
    return first, min(max(math.ceil(high), first + 1), size)


def _nearest_finite(depth: np.ndarray, x: float, y: float) -> float | None:
    """The finite depth of the pixel nearest to (x, y) (array coordinates), None when there is none; of several as near,
    the first in reading order."""
    height, width = depth.shape
    across = (np.arange(width) + 0.5 - x) ** 2
    down = (np.arange(height) + 0.5 - y) ** 2
    rows = max(1, _PIXELS_AT_ONCE // width)
    least, found = math.inf, None
    for top in range(0, height, rows):
        part, below = depth[top : top + rows], down[top : top + rows]
        if below.min() >= least:
            continue
        away = np.where(np.isfinite(part), across + below[:, None], np.inf)
        nearest = int(away.argmin())
        if away.flat[nearest] < least:
            least, found = float(away.flat[nearest]), float(part.flat[nearest])
    return found


def _anywhere(depth: np.ndarray, x: float, y: float) -> float:
    value = _nearest_finite(depth, x, y)
    if value is None:
        raise ToolError("depth: the model found no depth anywhere in this picture")
    return value


def depth_at(depth_map: DepthMap, bbox: object) -> float:
    """Depth of a box [x1, y1, x2, y2] (pixels) in metres: the median over its central half.

    The box is clipped to the picture first. Masked pixels never count: if the centre has none but masked ones, the
    finite depth nearest to the centre stands in, first from within the box, then from the whole picture.
    Raises ToolError, naming the argument, for anything but a box that meets the picture.
    """
    depth = depth_map.depth
    height, width = depth.shape
    x1, y1, x2, y2 = _corners(bbox)
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        raise ToolError(
            f"depth: bbox [{x1:g}, {y1:g}, {x2:g}, {y2:g}] lies outside the {width}x{height} picture"
        )
    x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    left, right = _span(x - (x2 - x1) / 4, x + (x2 - x1) / 4, width)
    top, bottom = _span(y - (y2 - y1) / 4, y + (y2 - y1) / 4, height)
    centre = depth[top:bottom, left:right]
    finite = centre[np.isfinite(centre)]
    if len(finite):
        return float(np.median(finite))
    left, right = _span(x1, x2, width)
    top, bottom = _span(y1, y2, height)
    inside = _nearest_finite(depth[top:bottom, left:right], x - left, y - top)
    return inside if inside is not None else _anywhere(depth, x, y)


def depth_at_point(depth_map: DepthMap, x: object, y: object) -> float:
    """Depth in metres at a pixel (the paper's DEPTH(image, x, y)); the nearest finite one if that pixel is masked.

    Raises ToolError, naming the argument, for a point that is not finite or outside the picture.
    """
    height, width = depth_map.depth.shape
    column, row = _number(x, "x"), _number(y, "y")
    if not 0 <= column <= width:
        raise ToolError(f"depth: x = {column:g} lies outside the picture, which is {width} px wide")
    if not 0 <= row <= height:
        raise ToolError(f"depth: y = {row:g} lies outside the picture, which is {height} px high")
    value = float(depth_map.depth[min(int(row), height - 1), min(int(column), width - 1)])
    return value if math.isfinite(value) else _anywhere(depth_map.depth, column, row)
