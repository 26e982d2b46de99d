"""What the page of a job shows of the questions that changed: all counted, a few shown, chosen by nobody."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

from valor_ray.report.improve.changed import MOST, changed


def evaluation(folder: Path, marks: str, **more: Any) -> dict[str, Any]:
    """marks: "1" right, "0" wrong, of q0, q1, …; the families take turns."""
    folder.mkdir()
    rows = [
        {
            "query_id": f"q{number}",
            "question": f"Number {number}?",
            "family": "ab"[number % 2],
            "truth": 59.000290487421516,
            "answer": None if mark == "e" else int(mark),
            "error": "The program ended with status error" if mark == "e" else None,
            "right": mark == "1",
            "mark": float(mark == "1"),
            "picture": str(folder.parent / "picture.png"),
            **more,
        }
        for number, mark in enumerate(marks)
    ]
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"place": folder.name, "folder": str(folder)}


def test_steps_show_what_they_fixed_and_broke_with_every_answer_given(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), "red").save(tmp_path / "picture.png")
    points = [
        evaluation(tmp_path / name, marks)
        for name, marks in {"base": "0001e1", "reasoned": "1110e1", "grounded": "111111"}.items()
    ]
    (first, counted, shown), (second, counted_then, shown_then) = changed(points)
    assert (first, counted) == ("reasoned", {"fixed": 3, "broken": 1})
    assert (second, counted_then) == ("grounded", {"fixed": 2, "broken": 0})
    # of each family one before the second of any
    assert [(each.kind, each.question) for each in shown] == [
        ("fixed", "Number 0?"),
        ("fixed", "Number 1?"),
        ("fixed", "Number 2?"),
        ("broken", "Number 3?"),
    ]
    broken = shown[-1]
    assert broken.answers == [("base", "1", True), ("reasoned", "0", False), ("grounded", "1", True)]
    assert broken.picture.startswith("data:image/jpeg;base64,") and broken.truth == "59"
    assert shown_then[-1].answers[0] == ("base", "The program ended with status error", False)


def test_at_most_a_few_are_shown_and_a_picture_that_is_gone_is_left_out(tmp_path: Path) -> None:
    points = [
        evaluation(tmp_path / "base", "0" * 12 + "1" * 12),
        evaluation(tmp_path / "after", "1" * 12 + "0" * 12),
    ]
    ((_, counted, shown),) = changed(points)
    assert counted == {"fixed": 12, "broken": 12}
    assert [each.kind for each in shown] == ["fixed"] * MOST["fixed"] + ["broken"] * MOST["broken"]
    assert not any(each.picture for each in shown)


def test_questions_with_several_answers_or_in_one_run_alone_are_left_out(tmp_path: Path) -> None:
    samples = {"samples": [{"answer": 1}], "answer": None}
    several = [evaluation(tmp_path / name, marks, **samples) for name, marks in (("a", "0"), ("b", "1"))]
    longer = [evaluation(tmp_path / "c", "0"), evaluation(tmp_path / "d", "11")]
    assert [list(changed(each)) for each in (several, longer[:1])] == [
        [("b", {"fixed": 0, "broken": 0}, [])],
        [],
    ]
    ((_, counted, _),) = changed(longer)
    assert counted == {"fixed": 1, "broken": 0}
