"""`valor controls`: what it asks for, and what it refuses."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import pytest

from valor_ray.benchmarks.controls import compare as reasoning
from valor_ray.benchmarks.controls import source
from valor_ray.commands.evaluate import controls as command
from valor_ray.errors import ConfigError
from valor_ray.tabletop.finetune.controls import compare
from valor_ray.tabletop.finetune.controls.runs import ABLATIONS, CONTROLS


def parsed(*words: str) -> Namespace:
    parser = ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(words)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text('{"kind": "grounding"}')
    (folder / "controls.txt").write_text("the table\n")
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []

    def controls(folder: Path, what: Any, say: Any, overrides: Any) -> dict[str, Any]:
        print("a library prints")
        calls.append((folder, what, overrides))
        return {"rows": []}

    monkeypatch.setattr(compare, "controls", controls)
    return calls


def test_json_is_alone_on_stdout(run: Path, asked: list[Any], capsys: pytest.CaptureFixture) -> None:
    assert command.run(parsed("--run", str(run), "--json", "--set", "finetune.threads=2")) == 0
    assert json.loads(capsys.readouterr().out) == {"rows": []}
    ((folder, what, overrides),) = asked
    assert (folder, overrides) == (run, ["finetune.threads=2"])
    assert (what.names, what.minutes, what.scenes, what.questions) == (CONTROLS, None, 300, 0)


def test_some_controls_and_all_ablations(run: Path, asked: list[Any], capsys: pytest.CaptureFixture) -> None:
    words = ("--only", "true_boxes", "without_crop", "--ablations", "--minutes", "3", "--second", "other")
    assert command.run(parsed("--run", str(run), *words)) == 0
    what = asked[0][1]
    assert what.names == (
        "true_boxes",
        "without_crop",
        *(name for name in ABLATIONS if name != "without_crop"),
    )
    assert (what.minutes, what.second) == (3, Path("other"))
    assert capsys.readouterr().out.startswith("the table\n")


def test_a_name_that_is_no_control(run: Path, asked: list[Any]) -> None:
    with pytest.raises(ConfigError, match="No control 'selftraining'"):
        command.run(parsed("--run", str(run), "--only", "selftraining"))
    assert asked == []


@pytest.fixture
def of_reasoning(run: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Calls for the controls of `run`, which `valor train reasoning` has made."""
    (run / "run.json").write_text('{"kind": "reasoning"}')
    calls: list[Any] = []
    monkeypatch.setattr(source, "Source", lambda *arguments: arguments)
    monkeypatch.setattr(reasoning, "controls", lambda *arguments: calls.append(arguments) or {"rows": []})
    return calls


def test_the_kind_of_run_decides_which_controls_there_are(run: Path, of_reasoning: list[Any]) -> None:
    assert command.run(parsed("--run", str(run), "--json", "--set", "policy.threads=2")) == 0
    ((asked_of, wishes, _),) = of_reasoning
    assert asked_of == (run, ["policy.threads=2"], None, None)
    assert (wishes.names, wishes.samples) == (reasoning.CONTROLS, 4)


def test_what_is_asked_of_a_reasoning_run(run: Path, of_reasoning: list[Any]) -> None:
    words = (
        "--only",
        "vote",
        "ceiling",
        "vote",
        "--samples",
        "2",
        "--questions",
        "30",
        "--eval-data",
        "mine",
    )
    assert command.run(parsed("--run", str(run), *words)) == 0
    ((asked_of, wishes, _),) = of_reasoning
    assert asked_of == (run, [], Path("mine"), 30)
    assert (wishes.names, wishes.samples) == (("vote", "ceiling"), 2)


def test_controls_and_options_of_the_other_kind_are_refused(
    run: Path, of_reasoning: list[Any], asked: list[Any]
) -> None:
    with pytest.raises(ConfigError, match="No control 'true_boxes' of a reasoning run"):
        command.run(parsed("--run", str(run), "--only", "true_boxes"))
    for words in (("--minutes", "3"), ("--ablations",), ("--scenes", "5"), ("--second", "other")):
        with pytest.raises(
            ConfigError, match=f"{words[0]} is for another kind of run: .* `valor train reasoning`"
        ):
            command.run(parsed("--run", str(run), *words))
    (run / "run.json").write_text('{"kind": "grounding"}')
    for words in (("--samples", "3"), ("--eval-data", "mine")):
        with pytest.raises(
            ConfigError, match=f"{words[0]} is for another kind of run: .* `valor train grounding`"
        ):
            command.run(parsed("--run", str(run), *words))
    assert of_reasoning == asked == []


@pytest.mark.parametrize(("kind", "said"), [("mine", "valor mine"), ("eval", "valor eval")])
def test_runs_of_another_kind_have_no_controls(run: Path, kind: str, said: str) -> None:
    (run / "run.json").write_text(json.dumps({"kind": kind}))
    with pytest.raises(ConfigError, match=f"is a folder of `{said}`"):
        command.run(parsed("--run", str(run)))


def test_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no run folder"):
        command.run(parsed("--run", str(tmp_path / "nothing")))


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf", "x"])
def test_minutes_are_above_nought(minutes: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        parsed("--run", "r", "--minutes", minutes)
    assert "no number of minutes" in capsys.readouterr().err
