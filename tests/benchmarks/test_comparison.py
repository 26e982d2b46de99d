"""`valor compare`: differences of runs on the same rows, and which runs are refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from valor_ray.benchmarks.results.row import AnswerRow
from valor_ray.cli import main


def run(folder: Path, answers: Sequence[object], benchmark: str = "tallyqa", **more: object) -> Path:
    """A folder of `valor eval`: questions about two pictures each, truth 1."""
    folder.mkdir(parents=True)
    metric = "mra" if benchmark == "omni3d" else "int"
    rows = [
        AnswerRow(
            f"q{n}", f"question {n}", "count", "", 1, answer, False, None, False, 0.0,
            metric=metric, rule="int_or_zero", picture=f"{n // 2}.png",
        )
        for n, answer in enumerate(answers)
    ]  # fmt: skip
    records = [asdict(row.marked()) | more for row in rows]
    (folder / "run.json").write_text('{"kind": "eval"}')
    (folder / "benchmark.json").write_text(json.dumps({"benchmark": benchmark, "wording": "clean"}))
    (folder / "answers.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


BEFORE, AFTER = [0] * 30 + [1] * 70, [1] * 28 + [0] * 4 + [1] * 68


def test_two_runs_of_one_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, other = run(tmp_path / "base", BEFORE), run(tmp_path / "other", AFTER)
    assert main(["compare", str(base), str(other), "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert (one["n"], one["pictures"], one["before"], one["after"], one["gain"]) == (100, 50, 0.7, 0.96, 0.26)
    assert (one["fixed"], one["broken"], one["test"]) == (28, 2, "mcnemar") and one["p"] < 1e-6
    assert one["p_holm"] == one["p"] and one["ci"][0] > 0 and 0.1 < one["visible"] < 0.3
    assert one["paper"] == [0.7, 0.96]
    assert main(["compare", str(base), str(other)]) == 0
    out = capsys.readouterr().out
    assert "visible" in out and "+26.0" in out


def test_folders_of_benchmarks_are_paired_by_name_and_corrected_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, marks in (("base", BEFORE), ("other", AFTER)):
        run(tmp_path / name / "one", marks)
        run(tmp_path / name / "two", [0.9, *marks[1:]], "omni3d")
    run(tmp_path / "other" / "three", [1], "vsr")
    assert main(["compare", str(tmp_path / "base"), str(tmp_path / "other"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {one["benchmark"]: one["test"] for one in result["comparisons"]} == {
        "tallyqa": "mcnemar", "omni3d": "bootstrap",
    }  # fmt: skip
    assert all(one["p_holm"] >= one["p"] for one in result["comparisons"])
    assert result["not_compared"] == [f"vsr, in {tmp_path / 'other'} only"]


@pytest.mark.parametrize(
    ("answers", "benchmark", "more", "words"),
    [
        (AFTER[:99], "tallyqa", {}, "1 questions are in one of them alone (the first: 'q99'"),
        (
            AFTER,
            "tallyqa",
            {"question": "Which?"},
            "the question is 'question 0' in one and 'Which?' in the other",
        ),
        (AFTER, "tallyqa", {"truth": 2}, "the truth is '1' in one and '2'"),
        (AFTER, "vsr", {}, "No benchmark is in two of these runs"),
    ],
)
def test_runs_on_different_rows_are_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    answers: list[object],
    benchmark: str,
    more: dict[str, object],
    words: str,
) -> None:
    base, other = run(tmp_path / "base", BEFORE), run(tmp_path / "other", answers, benchmark, **more)
    assert main(["compare", str(base), str(other)]) == 2
    assert words in capsys.readouterr().err


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = run(tmp_path / "base", BEFORE)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "run.json").write_text('{"kind": "mine"}')
    (tmp_path / "empty").mkdir()
    for words, said in (
        ([str(base)], "give two runs or more"),
        ([str(base), str(tmp_path / "none")], "is no folder"),
        ([str(base), str(tmp_path / "empty")], "holds no run of `valor eval`"),
        ([str(base), str(tmp_path / "mine")], "is a folder of `valor mine`"),
    ):
        assert main(["compare", *words]) == 2
        assert said in capsys.readouterr().err


def test_runs_that_were_answered_otherwise_are_compared_and_say_how(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, other = run(tmp_path / "base", BEFORE), run(tmp_path / "other", AFTER)
    told = json.loads((other / "benchmark.json").read_text())
    settings = {"samples": 8, "select": "judge", "seed": 0, "settings": {"policy.model": "mine"}}
    (other / "benchmark.json").write_text(json.dumps(told | settings))
    assert main(["compare", str(base), str(other)]) == 0
    assert "answered otherwise: samples 1 -> 8; select None -> judge" in capsys.readouterr().out
    assert main(["compare", str(base), str(base)]) == 0
    assert "otherwise" not in capsys.readouterr().out


def test_runs_of_several_answers_a_question_are_compared_by_their_means(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = run(tmp_path / "base", BEFORE)
    both = [{"answer": 1, "status": "ok", "score": None}, {"answer": 0, "status": "ok", "score": None}]
    other = run(tmp_path / "other", BEFORE, samples=both)
    assert main(["compare", str(base), str(other), "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert (one["after"], one["gain"], one["test"]) == (0.5, -0.2, "bootstrap")


def test_marks_are_made_anew_from_the_raw_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, other = (
        run(tmp_path / "base", BEFORE),
        run(tmp_path / "other", BEFORE, mark=0.0, right=False, paper=0.0),
    )
    assert main(["compare", str(base), str(other), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["comparisons"][0]["gain"] == 0


def test_methods_are_named_and_published_figures_stand_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, other = run(tmp_path / "base", BEFORE), run(tmp_path / "other", AFTER)
    settings = {"benchmark": "tallyqa", "wording": "clean", "method": "direct"}
    (other / "benchmark.json").write_text(json.dumps(settings))
    assert main(["compare", str(base), str(other), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["comparisons"][0]["methods"] == ["valor", "direct"]
    assert result["comparisons"][0]["differs"] == "method valor -> direct"
    table = result["methods"]["tallyqa"]
    measured = {one["method"]: one["accuracy"] for one in table["measured"]}
    assert measured["valor"] == 0.7 and measured["direct"] == 0.96
    assert measured["viper"] is measured["visprog"] is measured["vadar"] is None
    assert {one["n"] for one in table["published"]} == {"491"}
    assert main(["compare", str(base), str(other)]) == 0
    out = capsys.readouterr().out
    assert "not measured" in out and "51.0%  491; VALOR's project page" in out
