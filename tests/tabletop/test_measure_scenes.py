"""The error table of the scene tests: its cases, its noise, and that it finds what is wrong."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from valor_ray.errors import ConfigError
from valor_ray.judges.scene_questions import answers_request
from valor_ray.records import SceneObject, SymbolicScene
from valor_ray.tabletop.measure_scenes import OracleJudge, Outcome, measure, table
from valor_ray.tabletop.questions import FAMILIES, Blueprint
from valor_ray.tabletop.replies.measured import Case, drawn_cases, file_cases, run_cases
from valor_ray.tabletop.replies.write import gold

QUESTION = "Is the red box to the left of the blue ball?"
SIDE = Blueprint("side", "red box", "blue ball", "left")
BOX = SceneObject("box", {"colour": "red"}, (10, 10, 50, 50), 2.0, 1.0, 1.0)
BALL = SceneObject("ball", {"colour": "blue"}, (110, 110, 150, 150), 3.0, 2.0, 2.0)
SCENES = (SymbolicScene((200, 200), (BOX, BALL)),) * 40


def said(judge: OracleJudge, question: str = QUESTION) -> list[dict[int, str]]:
    """Answers of both askings by scene."""
    replies = asyncio.run(judge.ask([answers_request(question, SCENES, asking) for asking in (0, 1)]))
    contents = [reply.content for reply in replies]
    assert contents[0] is not None and contents[1] is not None
    return [
        {entry["scene"]: entry["answer"] for entry in content["scenes"]} for content in contents if content
    ]


def test_noise_is_of_the_kind_that_is_asked_for() -> None:
    assert said(OracleJudge()) == [dict.fromkeys(range(1, 41), "yes")] * 2
    first, second = said(OracleJudge(0.3))
    assert first != second and 4 <= list(first.values()).count("no") <= 24
    for kind, keep in (("repeated", False), ("independent", True)):
        first, second = said(OracleJudge(0.3, kind, keep))
        assert first == second and len(set(first.values())) == 2
    readings = [said(OracleJudge(0.3, "systematic", seed=seed)) for seed in range(30)]
    assert all(first == second and len(set(first.values())) == 1 for first, second in readings)
    assert 2 <= [first[1] for first, _ in readings].count("no") <= 18


def test_drawn_cases_are_half_flawed_in_all_families() -> None:
    cases = list(drawn_cases(96, 2, 0))
    assert {case.family for case in cases} == set(FAMILIES)
    assert 0.3 < sum(case.kind == "right" for case in cases) / 96 < 0.65
    assert all(
        first.question == second.question for first, second in zip(cases[::2], cases[1::2], strict=True)
    )
    assert cases == list(drawn_cases(96, 2, 0))


def test_replies_of_a_file_are_filled_in(tmp_path: Path) -> None:
    rows = tmp_path / "replies.jsonl"
    row = {
        "family": "count_side",
        "relation": "left",
        "kind": "odd",
        "style": "new",
        "reply": "@as@ by @b@, @number@",
    }
    rows.write_text(json.dumps(row) + "\n\n")
    cases = list(file_cases(rows, 3, 0))
    assert len(cases) == 3 and {case.blueprint.relation for case in cases} == {"left"}
    assert all("@" not in case.reply and case.blueprint.b in case.reply for case in cases)
    assert {(case.kind, case.style) for case in cases} == {("odd", "new")}
    for line in ('{"family": "count"}', "[]", "nonsense", json.dumps({**row, "relation": "above"})):
        rows.write_text(line)
        with pytest.raises(ConfigError):
            list(file_cases(rows, 1, 0))


def test_rollouts_of_a_run_are_cases(tmp_path: Path) -> None:
    rows = [
        {"step": 3, "question": QUESTION, "reply": "x"},
        {"step": 45, "question": "Who won?", "reply": "y"},
    ]
    (tmp_path / "rollouts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run_cases(tmp_path, 9, 0) == [Case(QUESTION, "x", SIDE, "steps 0 to 19", "rollout")]


def test_the_table_counts_what_is_told_and_what_is_not() -> None:
    def outcome(right: bool, verdict: bool | None, applies: bool = True) -> Outcome:
        return Outcome(Case(QUESTION, "", SIDE, "flat + loose"), right, verdict, applies, "")

    told = (
        [outcome(True, True)] * 8
        + [outcome(True, False)] * 2
        + [outcome(False, True)]
        + [outcome(False, False)] * 3
    )
    rows = table([*told, outcome(False, None), outcome(True, None, applies=False)])
    shares = {name: value.split()[0] for name, value in rows[0].items() if isinstance(value, str)}
    assert shares == {
        "group": "all", "false_no": "0.200", "false_yes": "0.250", "missing": "0.067",
        "missing_when_wrong": "0.200", "not_applicable": "0.062",
    }  # fmt: skip
    assert {row["group"] for row in rows} == {"all", "family side", "kind flat", "kind loose", "style "}


def test_right_and_wrong_programs_are_told_apart() -> None:
    reply = gold(SIDE)
    turned = reply.replace(" < ", " > ")
    assert turned != reply
    cases = [Case(QUESTION, reply, SIDE), Case(QUESTION, turned, SIDE), Case(QUESTION, "no tags", SIDE)]
    outcomes, left_out = asyncio.run(measure(cases, OracleJudge()))
    assert [(each.right, each.verdict) for each in outcomes] == [(True, True), (False, False)]
    assert left_out == 1
