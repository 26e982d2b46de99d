"""Boxes drawn over a picture."""

from valor_ray.report.kit.overlay import overlay

BOX = {"bbox": [2.0, 3.0, 20.0, 30.0], "label": "red <cube>"}
CALL = {"tool": "gd_detect", "args": {"prompt": "red <cube>"}, "result": [BOX]}


def test_boxes_are_drawn_in_the_pictures_pixels_with_their_labels() -> None:
    drawn = overlay([CALL, CALL], 40, 30)
    assert 'viewBox="0 0 40 30"' in drawn
    assert drawn.count("<rect") == 1
    assert 'x="2.0" y="3.0" width="18.0" height="27.0"' in drawn
    assert "red &lt;cube&gt;" in drawn


def test_boxes_found_in_a_part_of_the_picture_are_drawn_where_the_part_is() -> None:
    part = CALL | {"args": {"prompt": "red <cube>", "image_bbox": [10.0, 5.0, 35.0, 30.0]}}
    assert 'x="12.0" y="8.0" width="18.0" height="27.0"' in overlay([part], 40, 30)
