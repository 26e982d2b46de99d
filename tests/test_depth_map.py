"""depth_at and depth_at_point: what a program gets from a depth map."""

import numpy as np
import pytest

from valor_ray.depth_map import _nearest_finite, depth_at, depth_at_point
from valor_ray.errors import ToolError
from valor_ray.records import DepthMap


def _map(depth: np.ndarray) -> DepthMap:
    return DepthMap(depth.astype(np.float32), focal_px=100.0)


def _columns(width: int = 20, height: int = 10) -> np.ndarray:
    """Depth equal to the column number + 1."""
    return np.tile(np.arange(1.0, width + 1), (height, 1))


def test_box_gives_the_median_of_its_central_half_as_a_python_float():
    depth = np.full((20, 20), 9.0)
    depth[5:15, 5:15] = 2.0
    depth[9, 9] = 50.0
    value = depth_at(_map(depth), [0, 0, 20, 20])
    assert value == 2.0
    assert type(value) is float


def test_box_is_clipped_to_the_picture_before_its_centre_is_taken():
    assert depth_at(_map(_columns()), [-20, -5, 4, 30]) == depth_at(_map(_columns()), [0, 0, 4, 10]) == 2.5


def test_numpy_numbers_and_tuples_are_boxes_too():
    box = (np.float32(0), np.int64(0), 4.0, 10)
    assert depth_at(_map(_columns()), box) == depth_at(_map(_columns()), np.array([0, 0, 4, 10])) == 2.5


def test_box_smaller_than_a_pixel_reads_that_pixel():
    assert depth_at(_map(_columns()), [7.2, 3.2, 7.4, 3.4]) == 8.0


def test_masked_pixels_do_not_count_in_the_median():
    depth = np.full((8, 8), 3.0)
    depth[2:6, 2:5] = np.inf
    depth[3, 3] = np.nan
    assert depth_at(_map(depth), [0, 0, 8, 8]) == 3.0


def test_masked_centre_falls_back_to_the_nearest_finite_depth_inside_the_box():
    depth = np.full((20, 20), 7.0)
    depth[2:18, 2:18] = np.inf
    depth[2, 10] = 4.0
    assert depth_at(_map(depth), [2, 2, 18, 18]) == 4.0


def test_masked_box_falls_back_to_the_nearest_finite_depth_of_the_picture():
    depth = np.full((10, 30), np.inf)
    depth[5, 0], depth[5, 29] = 1.0, 2.0
    assert depth_at(_map(depth), [20, 2, 28, 8]) == 2.0


def test_picture_without_any_depth_is_a_tool_error():
    with pytest.raises(ToolError, match="no depth anywhere"):
        depth_at(_map(np.full((4, 4), np.inf)), [0, 0, 4, 4])
    with pytest.raises(ToolError, match="no depth anywhere"):
        depth_at_point(_map(np.full((4, 4), np.inf)), 1, 1)


@pytest.mark.parametrize(
    ("bbox", "message"),
    [
        ([30, 0, 40, 5], "outside the 20x10 picture"),
        ([-9, 0, 0, 5], "outside the 20x10 picture"),
        ([5, 5, 5, 9], "no area"),
        ([9, 0, 5, 5], "x1 <= x2"),
        ([0, 9, 5, 5], "y1 <= y2"),
        ([0, 0, float("nan"), 5], r"bbox\[2\] must be finite"),
        ([0, float("inf"), 5, 5], r"bbox\[1\] must be finite"),
        ([0, 0, "5", 5], r"bbox\[2\] must be a number, not str"),
        ([True, 0, 5, 5], r"bbox\[0\] must be a number, not bool"),
        ([0, 0, 5], "bbox must be four numbers"),
        ("0055", "bbox must be four numbers"),
        (None, "bbox must be four numbers"),
        ({"x1": 0, "y1": 0, "x2": 5, "y2": 5}, "bbox must be four numbers"),
    ],
)
def test_bad_box_is_a_tool_error_that_names_the_argument(bbox: object, message: str):
    with pytest.raises(ToolError, match=message):
        depth_at(_map(_columns()), bbox)


def test_point_gives_the_depth_of_its_pixel_as_a_python_float():
    value = depth_at_point(_map(_columns()), 3.9, 2)
    assert value == 4.0
    assert type(value) is float
    assert depth_at_point(_map(_columns()), 20, 10) == 20.0


def test_masked_point_gives_the_nearest_finite_depth():
    depth = np.full((5, 5), np.inf)
    depth[0, 0], depth[4, 4] = 1.0, 2.0
    assert depth_at_point(_map(depth), 3, 3) == 2.0


@pytest.mark.parametrize("at_once", [1, 7, 30, 10**6])
def test_the_nearest_finite_depth_is_that_of_all_pixels_together_ties_included(
    monkeypatch: pytest.MonkeyPatch, at_once: int
):
    """By the plain way: all distances in reading order, the first of the least."""
    monkeypatch.setattr("valor_ray.depth_map._PIXELS_AT_ONCE", at_once)
    draw = np.random.default_rng(at_once)
    for _ in range(300):
        height, width = draw.integers(1, 10, 2)
        depth = draw.random((height, width))
        depth[draw.random((height, width)) < draw.choice([0.2, 0.8, 0.95, 1.0])] = np.inf
        x, y = draw.integers(-4, 24, 2) / 2  # pixels' centres and edges: many are as near as others
        rows, columns = np.nonzero(np.isfinite(depth))
        far = (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2
        wanted = depth[rows[far.argmin()], columns[far.argmin()]] if len(far) else None
        assert _nearest_finite(depth, x, y) == wanted


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (-1, 2, "x = -1 lies outside"),
        (3, 11, "y = 11 lies outside"),
        (float("nan"), 2, "x must be finite"),
        (3, None, "y must be a number"),
    ],
)
def test_bad_point_is_a_tool_error_that_names_the_argument(x: object, y: object, message: str):
    with pytest.raises(ToolError, match=message):
        depth_at_point(_map(_columns()), x, y)
