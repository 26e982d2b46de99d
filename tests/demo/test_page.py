"""The demo's page and table, from outcomes made by hand."""

from pathlib import Path

import numpy as np
import pytest
from pages import tags
from PIL import Image

from valor_ray.demo import page as page_of_the_demo
from valor_ray.demo.page import write_page
from valor_ray.demo.questions import AskedQuestion, DemoTurn, Question
from valor_ray.demo.report import change, rows, worth

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
    "width": 20,
    "height": 15,
}
FAILED = {
    "answer": None,
    "plan": "",
    "code": "",
    "trace": [],
    "error": "The policy's reply is malformed: <x>",
    "width": 20,
    "height": 15,
}


@pytest.fixture
def picture(tmp_path) -> Path:
    path = tmp_path / "scene.png"
    Image.new("RGB", (40, 30), "white").save(path)
    return path


def alone(picture: Path) -> list[DemoTurn]:
    question = Question(picture, "How many <red> cubes?", 1, "count", "tiles")
    return [DemoTurn("", (AskedQuestion(question, REPLY, 1.0), AskedQuestion(question, FAILED, 3.0)))]


def both(picture: Path) -> list[DemoTurn]:
    """Four questions, base and trained: right both times, fixed, broken, wrong both times."""
    question = Question(picture, "How many <red> cubes?", 1, "count", "tiles")
    then, now = (REPLY, FAILED, REPLY, FAILED), (REPLY, REPLY, FAILED, REPLY | {"answer": 2})
    return [
        DemoTurn(name, tuple(AskedQuestion(question, reply, 1.0) for reply in replies))
        for name, replies in (("base", then), ("trained", now))
    ]


def test_page_shows_everything_and_needs_nothing_else(picture, tmp_path) -> None:
    depth = np.ones((30, 40), np.float32)
    depth[0, 0] = np.inf
    page = write_page(tmp_path / "new" / "index.html", alone(picture), {picture: depth}).read_text()
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
    page = write_page(tmp_path / "index.html", alone(picture), {}).read_text()
    assert page.count("data:image/png;base64,") == 2


def test_boxes_are_drawn_in_the_pixels_that_the_server_saw(picture, tmp_path) -> None:
    page = write_page(tmp_path / "index.html", alone(picture), {}).read_text()  # the file has 40 x 30 px
    assert page.count('viewBox="0 0 20 15"') == 2


def test_table_has_a_row_a_question_and_the_totals(picture) -> None:
    table = list(rows(alone(picture)))
    assert len(table) == 4
    assert "right" in table[1]
    assert "(no answer)" in table[2]
    assert "2 questions: 1 right, 1 wrong (1 without an answer); median 2.00 s" in table[3]


def test_nothing_that_came_back_can_write_html(tmp_path, monkeypatch) -> None:
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
    reply = REPLY | {"answer": EVIL, "plan": EVIL, "code": EVIL, "trace": trace, "error": EVIL}
    asked = AskedQuestion(Question(image, EVIL, EVIL, EVIL, EVIL), reply, 1.0)
    seen = tags(write_page(tmp_path / "index.html", [DemoTurn("", (asked,))], {}, EVIL).read_text())
    assert seen.count("script") == 1 and seen.count("img") == 1 and seen.count("article") == 1
    monkeypatch.setattr(page_of_the_demo, "_results", lambda path: "")  # the one link, to a file of ours
    turns = [DemoTurn(EVIL, (asked,)), DemoTurn(EVIL, (asked,))]
    seen = tags(write_page(tmp_path / "index.html", turns, {}, EVIL, EVIL).read_text())
    assert seen.count("script") == 1 and seen.count("img") == 2 and seen.count("article") == 1


def test_the_page_of_two_turns_shows_both_answers_of_each_question_and_what_they_prove(
    picture, tmp_path
) -> None:
    page = write_page(tmp_path / "index.html", both(picture), {}, "", worth(0.7)).read_text()
    assert page.count("data:image/png;base64,") == 8
    for mark in ("right", "fixed", "broken", "wrong"):
        assert page.count(f'<article class="{mark}">') == 1 and f'data-show="{mark}"' in page
    assert page.count('class="big">2<small> of 4 right') == 2 and "2 → 2 of 4" in page
    assert "base → trained: 2 → 2 of 4 right (1 wrong before and right now, 1 the other way)" in page
    assert "no figure for a report" in page and 'docs/results.md">' in page
    assert page.count('<section class="told right">') == page.count('<section class="told wrong">') == 4


def test_the_table_of_two_turns_has_both_answers_and_marks(picture) -> None:
    table = list(rows(both(picture)))
    assert len(table) == 1 + 4 + 2
    assert [line.split()[-4:-1] for line in table[1:5]] == [
        ["right", "→", "right"], ["wrong", "→", "right"], ["right", "→", "wrong"], ["wrong", "→", "wrong"],
    ]  # fmt: skip
    assert table[5].startswith("base: 4 questions: 2 right, 2 wrong (2 without an answer)")
    assert table[6].startswith("trained: 4 questions: 2 right, 2 wrong (1 without an answer)")
    assert change(*both(picture)).startswith("base → trained: 2 → 2 of 4 right")
    assert "temperature 0.7" in worth(0.7) and "docs/results.md" in worth(0.7)
