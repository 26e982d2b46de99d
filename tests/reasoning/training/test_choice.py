"""The checkpoint to take: chosen before the truth is asked, gone on with after a kill, also of a run that stops."""

from __future__ import annotations

from pathlib import Path

from scripted_run import start


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
