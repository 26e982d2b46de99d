"""The demo's page and table, from outcomes made by hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from valor_ray.demo.page import write_page
from valor_ray.demo.questions import AskedQuestion, Question
from valor_ray.demo.report import rows
from valor_ray.report.kit.listing import listing
from valor_ray.report.kit.overlay import overlay

BOX = {"bbox": [2.0, 3.0, 20.0, 30.0], "label": "red <cube>"}
CALL = {
    "tool": "gd_detect",
    "args": {"prompt": "red <cube>"},
    "result": [BOX],
    "ms": 12.3,
    "line": 1,
    "error": None,
}
REPLY = {
    "answer": 1,
    "plan": "Count <them>.",
    "code": 'final_answer = len("a")',
    "trace": [CALL],
    "error": None,
}
FAILED = {
    "answer": None,
    "plan": "",
    "code": "",
    "trace": [],
    "error": "The policy's reply is malformed: <x>",
}


@pytest.fixture
def picture(tmp_path) -> Path:
    path = tmp_path / "scene.png"
    Image.new("RGB", (40, 30), "white").save(path)
    return path


def outcomes(picture: Path) -> list[AskedQuestion]:
    question = Question(picture, "How many <red> cubes?", 1, "count", "tiles")
    return [AskedQuestion(question, REPLY, 1.0), AskedQuestion(question, FAILED, 3.0)]


def test_page_shows_everything_and_needs_nothing_else(picture, tmp_path) -> None:
    depth = np.ones((30, 40), np.float32)
    depth[0, 0] = np.inf
    page = write_page(tmp_path / "new" / "index.html", outcomes(picture), {picture: depth}).read_text()
    for shown in (
        "Count &lt;them&gt;.",
        "final_answer",
        "gd_detect",
        "malformed: &lt;x&gt;",
        "1.00 to 1.00 m",
    ):
        assert shown in page
    assert 'class="big">1<small> of 2 right' in page
    assert page.count("data:image/png;base64,") == 4
    assert "<red>" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "src=" not in page.replace('src="data:', "")


def test_page_without_depth_maps_still_shows_the_pictures(picture, tmp_path) -> None:
    page = write_page(tmp_path / "index.html", outcomes(picture), {}).read_text()
    assert page.count("data:image/png;base64,") == 2


def test_boxes_are_drawn_in_the_pictures_pixels_with_their_labels(picture) -> None:
    drawn = overlay(picture, [CALL, CALL])
    assert 'viewBox="0 0 40 30"' in drawn
    assert drawn.count("<rect") == 1
    assert 'x="2.0" y="3.0" width="18.0" height="27.0"' in drawn
    assert "red &lt;cube&gt;" in drawn


def test_listing_colours_words_and_keeps_the_text() -> None:
    shown = listing("if a < 2:  # if\n    b = 'for'\n")
    assert '<span class="k">if</span> a &lt; <span class="n">2</span>' in shown
    assert '<span class="c"># if</span>' in shown
    assert '<span class="s">&#x27;for&#x27;</span>' in shown
    assert shown.count('class="row"') == 2


def test_table_has_a_row_a_question_and_the_totals(picture) -> None:
    table = list(rows(outcomes(picture)))
    assert len(table) == 4
    assert "right" in table[1]
    assert "(no answer)" in table[2]
    assert "2 questions: 1 right, 1 wrong (1 without an answer); median 2.00 s" in table[3]
