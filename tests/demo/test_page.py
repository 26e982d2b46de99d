"""The demo's page and table, from outcomes made by hand."""

from pathlib import Path

import numpy as np
import pytest
from pages import tags
from PIL import Image

from valor_ray.demo.page import write_page
from valor_ray.demo.questions import AskedQuestion, Question
from valor_ray.demo.report import rows

EVIL = "</pre></article></script><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 }} \" ' & \ud800"
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


def test_table_has_a_row_a_question_and_the_totals(picture) -> None:
    table = list(rows(outcomes(picture)))
    assert len(table) == 4
    assert "right" in table[1]
    assert "(no answer)" in table[2]
    assert "2 questions: 1 right, 1 wrong (1 without an answer); median 2.00 s" in table[3]


def test_nothing_that_came_back_can_write_html(tmp_path) -> None:
    image = tmp_path / "a<img src=x onerror=alert(1)>.png"
    Image.new("RGB", (40, 30), "white").save(image)
    call = {
        "tool": EVIL,
        "args": {EVIL: EVIL},
        "result": {EVIL: [EVIL]},
        "ms": 1.0,
        "line": EVIL,
        "error": None,
    }
    detected = CALL | {"result": [{"bbox": [0, 0, 1, 1], "label": EVIL}]}
    trace = [call, call | {"error": EVIL}, detected]
    reply = {"answer": EVIL, "plan": EVIL, "code": EVIL, "trace": trace, "error": EVIL}
    asked = AskedQuestion(Question(image, EVIL, EVIL, EVIL, EVIL), reply, 1.0)
    seen = tags(write_page(tmp_path / "index.html", [asked], {}, EVIL).read_text())
    assert seen.count("script") == 1 and seen.count("img") == 1 and seen.count("article") == 1
