"""Windows on boxes, and that what is fitted is what the network reads."""

from __future__ import annotations

import numpy as np

from valor_ray.tabletop.judge.boxes import sight
from valor_ray.tabletop.judge.boxes.beliefs import believed
from valor_ray.tabletop.judge.boxes.fitting.crops import FIRST_SEED, make_boxes, truth
from valor_ray.tabletop.judge.boxes.fitting.fit import fit
from valor_ray.tabletop.render import render
from valor_ray.tabletop.scenes import SPLIT_SEEDS, sample_scene

PICTURE = np.full((100, 120, 3), 200, np.uint8)


def test_window_knows_the_picture_and_nothing_beyond_its_edge() -> None:
    inside = sight.window(PICTURE, (40, 40, 60, 50))
    assert (inside.pixels[..., 3] == 255).all() and inside.aspect == np.float32(np.log(2))
    corner = sight.window(PICTURE, (0, 0, 20, 20)).pixels
    assert corner[..., 3].sum() < 0.8 * 255 * sight.SIDE**2 and (corner[0, 0] == 0).all()
    assert (corner[-1, -1, :3] == 200).all()


def test_crop_fills_the_slot_alone() -> None:
    known = sight.crop_window(PICTURE).pixels[..., 3] == 255
    assert known.sum() == sight.SLOT**2 and known[sight.SIDE // 2, sight.SIDE // 2]


def test_boxes_of_one_pixel_at_the_edges_are_looked_at() -> None:
    boxes = [(119, 99, 120, 100), (0, 0, 1, 1), (0, 50, 120, 51), (0, 0, 120, 100)]
    assert all(np.isfinite(each.framed) and each.framed < 0.5 for each in believed(PICTURE, boxes))


def test_truth_of_a_box_is_its_best_object() -> None:
    rendering = render(sample_scene(FIRST_SEED, "tiles"))
    thing = rendering.objects[0]
    fit_of, edges, shape, colour = truth(thing.bbox, rendering.objects)
    assert fit_of == 1 and edges == (0, 0, 0, 0)
    assert (sight.SHAPES[shape], sight.COLOURS[colour]) == (thing.shape, thing.colour)
    nowhere, edges, shape, colour = truth((0.0, 0.0, 4.0, 4.0), rendering.objects)
    assert nowhere < 0.2 and np.isnan(edges).all() and (shape, colour) == (-1, -1)


def test_fitting_sees_the_train_split_and_gives_what_is_shipped() -> None:
    assert FIRST_SEED in SPLIT_SEEDS["train"] and FIRST_SEED + 100_000 in SPLIT_SEEDS["train"]
    framed = make_boxes(2)
    assert len(framed.shape) > 60 and 0.1 < np.mean(framed.overlap >= 0.5) < 0.6
    stored = fit(framed, 2)
    with np.load(sight.COEFFICIENTS) as shipped:
        assert {name: shipped[name].shape for name in shipped.files} == {
            name: array.shape for name, array in stored.items()
        }
