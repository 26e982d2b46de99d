"""Boxes drawn over a picture."""

from pathlib import Path

from PIL import Image

from valor_ray.report.kit.overlay import overlay

BOX = {"bbox": [2.0, 3.0, 20.0, 30.0], "label": "red <cube>"}
CALL = {"tool": "gd_detect", "result": [BOX]}


def test_boxes_are_drawn_in_the_pictures_pixels_with_their_labels(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "white").save(tmp_path / "scene.png")
    drawn = overlay(tmp_path / "scene.png", [CALL, CALL])
    assert 'viewBox="0 0 40 30"' in drawn
    assert drawn.count("<rect") == 1
    assert 'x="2.0" y="3.0" width="18.0" height="27.0"' in drawn
    assert "red &lt;cube&gt;" in drawn
