"""The checkpoint to take: chosen before the truth is asked, gone on with after a kill, also of a run that stops."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from scripted_run import Engine, start

from valor_ray.errors import CheckpointError
from valor_ray.reasoning.training.host import TrainWork
from valor_ray.runs.checkpoints import MERGED

SHARDED = ("grpo.fsdp=true", "grpo.steps=8")


def test_the_checkpoint_to_take_is_chosen_before_the_truth_is_asked(tmp_path: Path) -> None:
    report, host = start(tmp_path, "grpo.eval_every=2", "stopping.every=4", best=4)
    assert host.log == [
        "start", "signals 0", "evaluate 0", "learn", "carry 2", "signals 2", "carry 4", "signals 4", "carry 6",
        "signals 6", "choose among [0, 2, 4, 6]",
        "carry 2", "evaluate 2", "carry 4", "evaluate 4", "carry 6", "evaluate 6", "end",
    ]  # fmt: skip
    assert report is not None and (report["take"]["step"], report["take"]["weights"]) == (4, "chosen")
    assert [row["kl"] for row in report["take"]["signals"]] == [None, 0.0125, 0.0125, 0.0125]
    files = {path.name: path.read_text() for path in (tmp_path / "chosen").iterdir()}
    assert files == {
        "model.safetensors": "model.safetensors 4",
        "config.json": "config.json 4",
        "step": "4\n",
    }
    assert "Which checkpoint to take" in (tmp_path / "report.html").read_text()


def test_a_choice_that_was_killed_goes_on_and_one_that_is_made_is_not_made_again(tmp_path: Path) -> None:
    settled = ("stopping.every=2", "grpo.eval_questions=0")
    assert start(tmp_path, *settled, evaluate=False, best=2, signals_die_at=4)[0] is None
    _, host = start(tmp_path, *settled, evaluate=False, best=2)
    assert host.log == [
        "start",
        "carry 4",
        "signals 4",
        "carry 6",
        "signals 6",
        "choose among [0, 2, 4, 6]",
        "end",
    ]
    report, host = start(tmp_path, *settled, evaluate=False, best=2)
    assert host.log == [] and report is not None and report["take"]["step"] == 2


def test_a_run_that_stops_before_its_end_has_a_checkpoint_to_take(tmp_path: Path) -> None:
    report, host = start(tmp_path, "stopping.every=2", best=0, stop_at=3)
    assert host.log[-4:] == ["carry 2", "signals 2", "choose among [0, 2]", "end"]
    assert report is not None and report["stopped"] and report["take"]["weights"] is None
    assert not (tmp_path / "chosen").exists()


def test_a_sharded_run_that_stops_is_measured_where_it_has_a_model_and_says_why_it_stopped(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    report, host = start(tmp_path, *SHARDED, "stopping.every=4", best=4, stop_at=7, sharded=True, said=said)
    assert host.log[-4:] == ["carry 4", "signals 4", "choose among [0, 4]", "end"]
    assert report is not None and report["stopped"] == "the loss of step 3 is nan" and report["steps"] == 6
    assert (tmp_path / "chosen" / "model.safetensors").read_text() == "model.safetensors 4"
    assert (
        len([line for line in said if line.startswith("the checkpoint of step 6 is for going on alone")]) == 1
    )


def test_a_sharded_run_without_any_model_says_why_it_stopped(tmp_path: Path) -> None:
    report, host = start(tmp_path, *SHARDED, best=0, stop_at=7, sharded=True)
    assert host.log == ["start", "signals 0", "evaluate 0", "learn", "end"]
    assert report is not None and report["stopped"] and not (tmp_path / "take.json").exists()


def test_a_sharded_run_that_is_made_shorter_ends_without_figures_of_its_last_step(tmp_path: Path) -> None:
    assert start(tmp_path, *SHARDED, best=0, kill_at=7, sharded=True)[0] is None
    said: list[str] = []
    for _ in range(2):
        report, host = start(tmp_path, SHARDED[0], "grpo.steps=4", best=0, sharded=True, said=said)
        assert host.log == [] and report is not None and report["steps"] == 6
    assert "all 6 steps have been made by an earlier run" in said
    assert any("for going on alone" in line for line in said)


def test_checkpoints_of_a_sharded_run_that_were_not_to_be_measured_are_not(tmp_path: Path) -> None:
    start(tmp_path, "grpo.fsdp=true", best=6, sharded=True)
    later = ("grpo.fsdp=true", "stopping.every=2", "grpo.eval_every=2")
    report, host = start(tmp_path, *later, best=6, sharded=True)
    assert host.log == [] and report is not None and report["take"]["step"] == 6


@pytest.mark.parametrize("first", [0, 6])
def test_a_version_whose_checkpoint_is_gone_is_chosen_no_more_unless_it_is_the_chosen_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    start(tmp_path, best=first)
    made = Engine._step

    def forgets(self: Engine, work: TrainWork, step: int) -> None:
        made(self, work, step)
        if step == 8:
            shutil.rmtree(work.folder.checkpoints.checkpoint(6))

    monkeypatch.setattr(Engine, "_step", forgets)
    _, host = start(tmp_path, "grpo.steps=8", best=first or 8)
    known = [0, 6, 8] if first else [0, 8]
    assert f"choose among {known}" in host.log
    assert (tmp_path / "chosen" / "model.safetensors").read_text() == f"model.safetensors {first or 8}"


def test_a_checkpoint_without_weights_does_not_take_the_place_of_what_was_chosen(tmp_path: Path) -> None:
    start(tmp_path, best=6)
    (tmp_path / "checkpoints" / "step-000004" / MERGED).mkdir()
    with pytest.raises(CheckpointError, match=rf"{MERGED} has no weights .* step 4 is the one to take"):
        start(tmp_path, "stopping.every=2", best=4)
    assert (tmp_path / "chosen" / "model.safetensors").read_text() == "model.safetensors 6"
