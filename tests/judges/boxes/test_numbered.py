"""Numbers that can be read: plates apart from each other and inside the picture, colours that tell neighbours apart."""

from __future__ import annotations

import numpy as np
import pytest

from valor_ray.judges.boxes import numbered
from valor_ray.judges.boxes.numbered import draw_numbered


def plates_of(size: tuple[int, int], boxes: list) -> np.ndarray:
    """The plates of a drawing as whole px, in the order of the boxes."""
    seen: list[np.ndarray] = []
    rgb = np.full((size[1], size[0], 3), 128, np.uint8)
    draw = numbered._draw_plate

    def watch(rgb, plate, *rest):
        seen.append(plate.round())
        draw(rgb, plate, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numbered, "_draw_plate", watch)
        draw_numbered(rgb, boxes)
    return np.array(seen)


def random_boxes(count: int, size: tuple[int, int], seed: int) -> list:
    rng = np.random.default_rng(seed)
    corners = []
    for _ in range(count):
        wide, high = rng.uniform(12, 160, 2)
        x, y = rng.uniform(0, size[0] - wide), rng.uniform(0, size[1] - high)
        corners.append((x, y, x + wide, y + high))
    return corners


@pytest.mark.parametrize(("count", "size"), [(6, (768, 768)), (20, (768, 768)), (60, (1024, 768))])
def test_plates_lie_in_the_picture_and_on_no_other_plate(count: int, size: tuple[int, int]) -> None:
    for seed in range(5):
        plates = plates_of(size, random_boxes(count, size, seed))
        assert (plates[:, :2] >= 0).all() and (plates[:, 2:] <= np.array(size) + 1).all()
        common = numbered._common(plates, plates)
        np.fill_diagonal(common, 0)
        assert (common > 0).sum() == 0


def test_twenty_boxes_in_one_place_all_get_a_plate_of_their_own() -> None:
    boxes = [(300 - 4 * k, 300 - 4 * k, 340 + 4 * k, 340 + 4 * k) for k in range(20)]
    plates = plates_of((768, 768), boxes)
    common = numbered._common(plates, plates)
    np.fill_diagonal(common, 0)
    assert (common > 0).sum() == 0


def test_the_line_hides_nothing_of_what_it_frames() -> None:
    rgb = np.full((300, 300, 3), 128, np.uint8)
    draw_numbered(rgb, [(100, 100, 150, 140)])
    assert (rgb[100:140, 100:150] == 128).all()
    assert (rgb[96:100, 100:150] != 128).any() and (rgb[100:140, 150:154] != 128).any()


@pytest.mark.parametrize(
    "box", [(0, 0, 1, 1), (299, 299, 300, 300), (0, 0, 300, 300), (0, 150, 300, 151), (7.2, 7.2, 7.4, 7.4)]
)
def test_boxes_at_the_edges_and_of_a_pixel_are_drawn(box) -> None:
    rgb = np.full((300, 300, 3), 128, np.uint8)
    draw_numbered(rgb, [box])
    assert (rgb != 128).any(-1).sum() > 100


def test_neighbours_have_different_colours_and_no_box_that_of_what_it_frames() -> None:
    rgb = np.full((600, 600, 3), 128, np.uint8)
    rgb[100:200, 100:200] = (255, 40, 40)
    corners = np.array([(100, 100, 200, 200), (150, 150, 250, 250), (190, 90, 290, 190)], float)
    colours = numbered._colours(rgb, corners, near=28)
    assert len(set(colours)) == 3 and colours[0] != (255, 40, 40)


def test_no_box_leaves_the_picture_as_it_is() -> None:
    rgb = np.full((50, 50, 3), 9, np.uint8)
    draw_numbered(rgb, [])
    assert (rgb == 9).all()


def test_the_same_boxes_give_the_same_pixels() -> None:
    first, second = (np.full((400, 400, 3), 99, np.uint8) for _ in range(2))
    for rgb in (first, second):
        draw_numbered(rgb, random_boxes(20, (400, 400), 1))
    assert (first == second).all()
