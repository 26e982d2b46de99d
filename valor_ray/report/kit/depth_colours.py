"""Depth maps as pictures: near is warm, far is cool, what the model masks is dark grey."""

from __future__ import annotations

import numpy as np

_STOPS = np.array(  # far -> near, picked by eye to stay apart for the common colour-vision deficiencies
    [
        [30, 20, 80],
        [40, 80, 170],
        [40, 150, 170],
        [120, 200, 120],
        [240, 210, 80],
        [250, 130, 50],
        [200, 40, 40],
    ],
    dtype=np.float64,
)
_MASKED = (60, 60, 60)


def colour_depth(depth: np.ndarray) -> np.ndarray:
    """Metres (height, width), inf where masked -> uint8 (height, width, 3).

    The scale runs over inverse depth between the 2nd and 98th percentile, as differences nearby matter more.
    """
    seen = np.isfinite(depth) & (depth > 0)
    picture = np.full((*depth.shape, 3), _MASKED, dtype=np.uint8)
    if not seen.any():
        return picture
    nearness = 1 / depth[seen].astype(np.float64)
    low, high = np.percentile(nearness, (2, 98))
    place = np.clip((nearness - low) / max(high - low, 1e-12), 0, 1) * (len(_STOPS) - 1)
    picture[seen] = np.stack(
        [np.interp(place, np.arange(len(_STOPS)), _STOPS[:, channel]) for channel in range(3)], axis=-1
    ).round()
    return picture
