"""Commands that train or measure training begin with the bases of shipped trained weights, and say so in one line."""

import json
from pathlib import Path

import pytest
from bases import BASES
from shipped import LINE, TRAINED, ship_trained

from valor_ray import wiring
from valor_ray.cli import main
from valor_ray.commands.train import grounding, improve, mine, reasoning, sample_replies
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError, ValorError
from valor_ray.models.shipped import on_bases
from valor_ray.reasoning.training.folder import TrainFolder

SETS = [word for setting in TRAINED for word in ("--set", setting)]
COMMANDS = {
    ("train", "reasoning"): (reasoning, "_work"),
    ("train", "grounding"): (grounding, "_plan"),
    ("mine",): (mine, "_plan"),
    ("improve",): (improve, "_job"),
}  # and what is first given the settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return ship_trained(tmp_path / "checkpoints", monkeypatch)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_plan_is_of_the_bases_and_the_line_is_on_stderr_once(
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made: list[Config] = []

    def stop(*args: object, **more: object) -> int:
        made.append(next(each for each in args if isinstance(each, Config)))
        raise ValorError("far enough")

    module, first = COMMANDS[command]
    monkeypatch.setattr(module, "interrupt_on_signals", lambda: None)
    monkeypatch.setattr(module, first, stop)
    assert main([*command, "--run", str(tmp_path / "run"), "--dry-run", *SETS]) == 1
    assert (made[0].policy.model, made[0].detector.model) == ("tabletop:policy", "tabletop:detector")
    assert capsys.readouterr().err.count(LINE) == 1


def test_replies_are_sampled_from_the_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[Config] = []

    def stop(config: Config, folder: Path) -> None:
        made.append(config)
        raise ValorError("far enough")

    queries = tmp_path / "q.jsonl"
    queries.write_text(json.dumps({"query_id": "a", "question": "How many?"}) + "\n")
    monkeypatch.setattr(wiring, "policy", stop)
    monkeypatch.setattr(sample_replies, "interrupt_on_signals", lambda: None)
    words = ["sample_replies", "--queries", str(queries), "--out", str(tmp_path / "r.jsonl"), *SETS]
    monkeypatch.setattr("sys.argv", words)
    assert sample_replies.main() == 1
    assert made[0].policy.model == "tabletop:policy" and capsys.readouterr().err.count(LINE) == 1


def test_a_run_that_began_before_trained_weights_shipped_goes_on(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    run = TrainFolder(tmp_path / "run")
    run.prepare(Config.load("local", BASES))
    now, line = on_bases(Config.load("local", TRAINED))
    run.check(now)
    assert line == LINE
    with pytest.raises(ConfigError, match=r"policy\.model tabletop:policy -> tabletop:trained-policy"):
        run.check(Config.load("local", TRAINED))
