"""Looks: the four of the question sets keep their pictures; the grounding loop's two change pixels only."""

import dataclasses
import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from valor_ray.tabletop import render as rendering
from valor_ray.tabletop.looks import LOOK_OF
from valor_ray.tabletop.render import render
from valor_ray.tabletop.scenes import ALL_LOOKS, GROUNDING_LOOKS, LOOKS, sample_scene

PICTURES = {
    "tiles": ["ec808bf6834e587a", "d02d35c716e2eed4"],
    "wood": ["7280e2048250fcc9", "51d8645757278d62"],
    "dusk": ["450ed4d16e7ca3cc", "95237ac35e85213d"],
    "loud": ["e14e4c6d95c4f531", "f0750d5a4e0454e4"],
}


def _digest(seed: int, look: str) -> str:
    return hashlib.sha256(render(sample_scene(seed, look), 96).rgb.tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("look", LOOKS)
def test_the_question_sets_looks_keep_their_pictures(look: str) -> None:
    assert [_digest(seed, look) for seed in (3, 2_000_007)] == PICTURES[look]


# An older CPU, for BLAS, numpy and OpenCV, which read these as they are imported.
OLDER = {
    "OPENBLAS_CORETYPE": "Nehalem",
    "NPY_DISABLE_CPU_FEATURES": "AVX2,FMA3,AVX512F,AVX512_SKX",
    "OPENCV_CPU_DISABLE": "AVX2,FMA3",
}
PRINT_DIGESTS = """
import hashlib
from valor_ray.tabletop.render import render
from valor_ray.tabletop.scenes import ALL_LOOKS, sample_scene

for look in ALL_LOOKS:
    made = render(sample_scene(7, look), 256)
    for array in (made.rgb, made.depth, made.ids):
        print(hashlib.sha256(array.tobytes()).hexdigest())
"""


def test_the_pixels_and_depths_are_the_same_on_every_cpu() -> None:
    """A cluster's nodes differ, and so do CI's machines: float32 products and powers went by the CPU once."""
    made = [
        subprocess.run(
            [sys.executable, "-c", PRINT_DIGESTS],
            env={**os.environ, **more},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for more in ({}, OLDER)
    ]
    assert made[0] == made[1]
    assert len(made[0]) == 3 * len(ALL_LOOKS)


def test_a_look_is_described_for_every_name_and_the_rotation_keeps_four() -> None:
    assert LOOKS == ("tiles", "wood", "dusk", "loud")
    assert set(LOOK_OF) == set(ALL_LOOKS) == {*LOOKS, *GROUNDING_LOOKS}
    assert len(ALL_LOOKS) == 6


@pytest.mark.parametrize("look", GROUNDING_LOOKS)
def test_grounding_looks_keep_objects_boxes_and_depth(look: str) -> None:
    for seed in range(4):
        plain = render(dataclasses.replace(sample_scene(seed, look), look="tiles"), 96)
        other = render(sample_scene(seed, look), 96)
        assert other.objects == plain.objects
        assert np.array_equal(other.depth, plain.depth)
        assert np.array_equal(other.ids, plain.ids)
        assert sample_scene(seed, look).solids == sample_scene(seed, "tiles").solids


@pytest.mark.parametrize(
    ("look", "change"),
    [
        ("lamp", {"pool": 0.0}),
        ("lamp", {"blur": 0.0}),
        ("quilt", {"paint": None}),
        ("quilt", {"hung": False}),
    ],
)
def test_each_extra_of_a_look_reaches_the_picture(
    look: str, change: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = sample_scene(3, look)
    quiet = dataclasses.replace(LOOK_OF[look], noise=0.0)
    monkeypatch.setitem(rendering.LOOK_OF, look, quiet)
    with_it = render(scene, 96).rgb
    monkeypatch.setitem(rendering.LOOK_OF, look, dataclasses.replace(quiet, **change))  # type: ignore[arg-type]
    assert (np.abs(with_it.astype(int) - render(scene, 96).rgb) > 0).mean() > 0.05


def test_the_pool_lights_its_middle_more_than_the_edge() -> None:
    points = np.array([[0.0, 1.8, 0.0], [1.5, 1.8, 0.0]])
    bright = rendering._pool(points, 0.6, np.random.default_rng(0))
    assert bright.shape == (2, 1)
    assert 0.25 <= bright[1, 0] < 0.3 < 0.6 < bright[0, 0] <= 1.2
