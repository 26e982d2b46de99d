"""The section "Scene tests" of the reports: which questions and replies it shows, and that its texts stay texts."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from pages import tags

from valor_ray.reasoning.scenes.record import SceneTest
from valor_ray.reasoning.scenes.sample import sample_scenes
from valor_ray.records import Head, NamedThing, QuestionThings, SceneObject, SymbolicScene
from valor_ray.report.kit.scene_drawing import draw_scene
from valor_ray.report.kit.scene_tests import QUESTIONS, REPLIES, SceneTestRows, rule_based
from valor_ray.report.score.page import write_page
from valor_ray.report.score.summary import Summary

EVIL = "</td><script>alert(1)</script><img src=x onerror=alert(1)>\" ' &"
THINGS = QuestionThings(
    (NamedThing("box", {"colour": "red"}, False), NamedThing("ball", {}, False)),
    {"colour": ("red", "blue", "green")},
    ("cone",),
    "yes or no",
)
ANSWERS = (("yes", "no") * 4, ("yes", "no", "yes", "yes", *("yes", "no") * 2))
KEPT = (1, 2, 3, 5, 6, 7, 8)
AUDIT: dict[str, Any] = {"heads": {}, "kinds": {}, "alarm": ""}


def row(
    reply: str = "reply",
    scenes: bool | None = True,
    marks: str = "+++++++",
    question: str = "Is the red box left of the ball?",
    **others: Any,
) -> dict[str, Any]:
    test = SceneTest(THINGS, ANSWERS, KEPT, ("yes",) * len(marks), marks)
    verdicts = {head.value: True for head in Head} | {"scenes": scenes}
    fields = {
        "reply_id": f"id of {reply}", "question": question, "reply": reply, "value": 1.0, **verdicts,
        "left_out": [], "reasons": dict.fromkeys(verdicts, "because"), "calls": 1, "cost_usd": 0.0,
        "scene_test": test.as_json(),
    }  # fmt: skip
    return fields | others


def shown(*rows: dict[str, Any]):
    tests = SceneTestRows()
    for each in rows:
        tests.add(each)
    return tests.shown()


def page(tmp_path: Path, *rows: dict[str, Any]) -> str:
    summary = Summary()
    for each in rows:
        summary.add(each)
    report = {
        "replies": len(rows), "scored": summary.scored, "missing": summary.missing, "failed": 0, "calls": 4,
        "cache_hits": 0, "cost_usd": 0.1, "mean_reward": summary.mean_reward, "seconds": 2.0,
        "heads": summary.heads_json(), "histogram": summary.histogram, "audit": AUDIT, **summary.scenes_json(),
    }  # fmt: skip
    return write_page(tmp_path, report, summary).read_text()


def test_question_shows_its_scenes_the_answers_and_what_each_program_gave() -> None:
    (question,), cards = shown(row("right"), row("wrong", False, "+-++++?"))
    assert "the red box; the ball — asks for: yes or no" in question.names and question.why == ""
    assert [scene.number for scene in question.scenes] == list(range(1, 9))
    assert [scene.kept for scene in question.scenes] == [True, True, True, False, True, True, True, True]
    assert question.scenes[3].answers == ("no", "yes")
    right, wrong = question.replies
    assert [cell.said for cell in right.cells] == ["✓ yes"] * 3 + ["–"] + ["✓ yes"] * 4
    assert [cell.kind for cell in wrong.cells] == ["yes", "no", "yes", "", "yes", "yes", "yes", "none"]
    assert (wrong.kind, wrong.said, wrong.name) == ("no", "no", "id of wrong")
    assert [card["anchor"] for card in cards] == [right.anchor, wrong.anchor]


def test_long_answers_and_fractions_are_short_in_a_cell() -> None:
    long = SceneTest(
        THINGS, ANSWERS, KEPT, (185.67340067340072, "x" * 70, None, 3, True, [1], "no"), "-------"
    )
    (question,), _ = shown(row(scene_test=long.as_json()))
    said = [cell.said for cell in question.replies[0].cells]
    assert said[:3] == ["✗ 185.7", f"✗ {'x' * 19}…", "✗"] and said[4:] == ["✗ 3", "✗ True", "✗ [1]", "✗ no"]


def test_questions_whose_replies_differ_come_first_and_those_without_scenes_last() -> None:
    left_out = SceneTest(THINGS, ANSWERS, (1,), why="the two answers agree in 1 of 8 scenes")
    questions, _ = shown(
        row(question="left out", scenes=None, scene_test=left_out.as_json(), left_out=["scenes"]),
        row(question="all right"),
        row(question="all wrong", scenes=False),
        row(question="differ"),
        row("other", question="differ", scenes=False),
    )
    assert [each.question for each in questions] == ["differ", "all wrong", "all right", "left out"]
    assert "agree in 1 of 8" in questions[-1].why
    assert questions[-1].replies == () and len(questions[-1].scenes) == 8


def test_memory_and_page_stay_small_and_keep_what_differs() -> None:
    rows = [row(f"reply {n % 40}", n % 40 != 39, question=f"question {n // 40}") for n in range(40 * 300)]
    tests = SceneTestRows()
    for each in rows:
        tests.add(each)
    questions, cards = tests.shown()
    assert len(questions) == QUESTIONS and len(cards) == QUESTIONS * REPLIES
    assert all({reply.said for reply in each.replies} == {"yes", "no"} for each in questions)
    assert len(tests._groups) <= 200


def test_records_without_scenes_or_of_another_version_show_nothing() -> None:
    odd = ["", None, 3, "{", "[]", '{"things": 3}', json.dumps({"things": None})]
    assert shown(*(row(scene_test=text) for text in odd)) == ([], [])
    bad = row("later", scene_test='{"things": 3}')
    (question,), cards = shown(row(), bad)
    assert len(question.replies) == len(cards) == 1


def test_page_links_each_program_to_its_reply_and_draws_the_scenes(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("judge: {base_url: null}\n")
    text = page(tmp_path, row("right"), row("wrong", False, "+-+++++"))
    seen = tags(text)
    assert "the rule-based oracle" in text and "oracle: no · yes" in text
    links = _Links()
    links.feed(text)
    assert len(links.targets) == 2 and set(links.targets) <= set(links.ids)
    assert text.count('class="scene"') == 8 and seen.count("figure") == 8
    assert "scenes: missing" in text


def test_hosted_judge_is_not_called_rule_based(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("judge: {base_url: 'https://host/v1'}\n")
    assert "rule-based" not in page(tmp_path, row()) and not rule_based(tmp_path)
    assert not rule_based(tmp_path / "nothing")


def test_page_without_scenes_has_no_such_section(tmp_path: Path) -> None:
    unasked = row(scene_test="", scenes=None)
    unasked["reasons"].pop("scenes")
    text = page(tmp_path, unasked)
    assert "Scene tests" not in text and "scenes: missing" not in text and ">scenes<" not in text


def test_texts_of_judges_and_programs_cannot_write_html(tmp_path: Path) -> None:
    things = QuestionThings((NamedThing(EVIL, {EVIL: EVIL}, True),), {EVIL: (EVIL,)}, (EVIL,), "word")
    evil = SceneTest(things, ((EVIL,) * 8,) * 2, KEPT, (EVIL,) * 7, "+++++++", EVIL)
    text = page(tmp_path, row(EVIL, question=EVIL, reply_id=EVIL, scene_test=evil.as_json()))
    seen = tags(text)
    assert seen.count("script") == 1 and "img" not in seen


def test_nouns_in_a_drawing_are_escaped_and_it_stays_in_its_frame() -> None:
    thing = SceneObject(EVIL, {"colour": EVIL}, (600.0, 440.0, 640.0, 480.0), 2.0, 1.0, 1.0)
    drawn = draw_scene(SymbolicScene((640, 480), (thing,)))
    seen = tags(str(drawn))
    assert "script" not in seen and "img" not in seen
    for scene in sample_scenes("q", THINGS):
        parser = _Heights()
        parser.feed(str(draw_scene(scene)))
        assert parser.ys and 0 <= min(parser.ys) and max(parser.ys) <= scene.image_size[1]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a":
            self.targets.append(str(given["href"]).removeprefix("#"))
        if given.get("id"):
            self.ids.append(str(given["id"]))


class _Heights(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ys: list[float] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ys += [float(value or 0) for name, value in attrs if name == "y"]
