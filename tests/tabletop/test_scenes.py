"""Scenes: reproducible, split without overlap, the same solids in every look, boxes and depth that fit the picture."""

import itertools

import numpy as np
import pytest

from valor_ray.tabletop.render import render
from valor_ray.tabletop.scenes import (
    ALL_LOOKS,
    COLOURS,
    SHAPES,
    SPLIT_SEEDS,
    WALL_Y,
    Scene,
    Solid,
    sample_scene,
    set_of_scene,
    set_seeds,
)


def test_the_same_seed_gives_the_same_pixels() -> None:
    first, second = (render(sample_scene(5, "dusk"), 96) for _ in range(2))
    assert np.array_equal(first.rgb, second.rgb)
    assert np.array_equal(first.depth, second.depth)


def test_splits_never_share_a_scene() -> None:
    for one, other in itertools.combinations(SPLIT_SEEDS.values(), 2):
        assert one.stop <= other.start or other.stop <= one.start


def test_data_sets_of_all_seeds_and_splits_never_share_a_scene() -> None:
    seeds = [*range(120), 10**6, 2**32, 2**64]
    blocks = sorted(
        (set_seeds(split, seed) for seed in seeds for split in SPLIT_SEEDS), key=lambda b: b.start
    )
    assert all(one.stop <= other.start for one, other in itertools.pairwise(blocks))
    assert all(block.stop - block.start == 20_000 for block in blocks)
    for seed, split in itertools.product(seeds, SPLIT_SEEDS):
        block = set_seeds(split, seed)
        assert set_of_scene(block.start) == set_of_scene(block.stop - 1) == (split, seed)


def test_small_seeds_stay_inside_their_split_and_large_ones_outside_all() -> None:
    end = max(split.stop for split in SPLIT_SEEDS.values())
    for name, split in SPLIT_SEEDS.items():
        assert [set_seeds(name, seed).start for seed in (0, 49)] == [split.start, split.stop - 20_000]
        assert set_seeds(name, 50).start >= end


def test_scene_seeds_of_any_size_give_different_scenes() -> None:
    seeds = (5, 2**32 + 5, 7 * 2**32 + 5, 2**64 + 5, 2**128 + 5)
    assert len({sample_scene(seed, "tiles").solids for seed in seeds}) == len(seeds)


def test_looks_change_pixels_and_not_the_objects() -> None:
    renders = {look: render(sample_scene(11, look), 96) for look in ALL_LOOKS}
    solids = {look: sample_scene(11, look).solids for look in ALL_LOOKS}
    assert len(set(solids.values())) == 1
    assert len({r.rgb.tobytes() for r in renders.values()}) == len(ALL_LOOKS)


def test_an_unknown_look_names_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="tiles, wood, dusk, loud, lamp, quilt"):
        sample_scene(0, "snow")


def test_boxes_are_tight_around_visible_pixels() -> None:
    for seed in range(8):
        r = render(sample_scene(seed, "tiles"), 128)
        for thing in r.objects:
            rows, columns = np.nonzero(r.ids == thing.index)
            assert thing.bbox == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert 0 < thing.visible <= 1
            assert thing.colour in COLOURS and thing.shape in SHAPES


def test_depth_is_finite_everywhere_and_ends_at_the_wall() -> None:
    r = render(sample_scene(3, "wood"), 128)
    assert np.isfinite(r.depth).all()
    assert 0.3 < r.depth.min() and r.depth.max() < WALL_Y * 1.3


def test_a_ball_has_the_depth_and_size_of_its_geometry() -> None:
    camera = sample_scene(0, "tiles").camera
    ball = Solid("ball", "red", 0.0, 1.8, 0.15, 0.15, 0.3, 0.0)
    r = render(Scene(0, "tiles", camera, (ball,), ()), 512)
    (seen,) = r.objects
    forward, drop = 1.8, camera.height - 0.15
    centre_depth = forward * np.cos(camera.pitch) + drop * np.sin(camera.pitch)
    nearest = r.depth[r.ids == 0].min()
    assert centre_depth - 0.15 == pytest.approx(nearest, abs=0.01)
    assert (seen.bbox[3] - seen.bbox[1]) * centre_depth / r.focal_px == pytest.approx(0.3, rel=0.04)


def test_a_hidden_solid_has_a_smaller_visible_share() -> None:
    camera = sample_scene(0, "tiles").camera
    front = Solid("box", "blue", 0.0, 1.4, 0.1, 0.1, 0.2, 0.0)
    back = Solid("cone", "red", 0.0, 2.2, 0.1, 0.1, 0.3, 0.0)
    r = render(Scene(0, "tiles", camera, (front, back), ()), 256)
    shares = {thing.shape: thing.visible for thing in r.objects}
    assert shares["box"] == 1.0
    assert shares["cone"] < 0.9
