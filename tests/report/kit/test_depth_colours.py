"""Depth maps as pictures."""

from __future__ import annotations

import numpy as np

from valor_ray.report.kit.depth_colours import colour_depth


def test_near_is_warm_far_is_cool_and_masked_is_grey() -> None:
    depth = np.linspace(1, 5, 100, dtype=np.float32)[None].repeat(4, axis=0)
    depth[0, :] = np.inf
    picture = colour_depth(depth)
    assert picture.shape == (4, 100, 3) and picture.dtype == np.uint8
    near, far = picture[1, 0].astype(int), picture[1, -1].astype(int)
    assert near[0] > near[2] and far[2] > far[0]
    assert len(np.unique(picture[0], axis=0)) == 1


def test_maps_without_any_depth_or_of_one_depth_are_drawn() -> None:
    for value in (np.inf, np.nan, 0.0, 2.0):
        assert colour_depth(np.full((3, 3), value, dtype=np.float32)).shape == (3, 3, 3)
