"""The boards: what TensorBoard shows of the event files, and when Weights & Biases is used."""

import math
import sys
from pathlib import Path

import pytest

from valor_ray.errors import ConfigError
from valor_ray.runs.board import FOLDER, Board, scalars

RECORD = {"step": 0, "time": 1e9, "reward": 0.5, "kl": None, "loss": math.nan, "heads": {"logic": 0.25}}


def shown(folder: Path) -> dict[str, dict[int, float]]:
    """{name: {step: value}} as TensorBoard reads it: files in the order of their names, purged at each start."""
    from tensorboardX.event_file_writer import event_pb2

    found: dict[str, dict[int, float]] = {}
    for path in sorted((folder / FOLDER).iterdir()):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            event = event_pb2.Event.FromString(data[12 : 12 + size])
            data = data[12 + size + 4 :]
            if event.WhichOneof("what") == "session_log" and event.session_log.status == 1:  # START
                found = {
                    name: {step: value for step, value in points.items() if step < event.step}
                    for name, points in found.items()
                }
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def test_numbers_and_nested_numbers_become_scalars() -> None:
    assert dict(scalars(RECORD)) == {"reward": 0.5, "heads/logic": 0.25}
    assert dict(scalars({"step": 1, "seconds": {"wait": 1, "time": 2}})) == {
        "seconds/wait": 1.0,
        "seconds/time": 2.0,
    }


def test_what_an_earlier_run_wrote_past_the_checkpoint_is_hidden_after_a_resume(tmp_path: Path) -> None:
    first = Board(tmp_path)
    for step in range(4):
        first.write(RECORD | {"step": step, "reward": step / 10})
    first.close()
    second = Board(tmp_path, purge_step=2)
    second.write(RECORD | {"step": 2, "reward": 0.9})
    second.close()
    assert len(list((tmp_path / FOLDER).iterdir())) == 2
    points = shown(tmp_path)
    assert set(points) == {"reward", "heads/logic"}
    assert points["reward"] == pytest.approx({0: 0.0, 1: 0.1, 2: 0.9})


def test_wandb_is_used_when_it_is_asked_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match="pip install wandb"):
        Board(tmp_path, wandb_project="valor")
    Board(tmp_path).close()

    class Wandb:
        """The four calls that are made of it."""

        Error = RuntimeError
        begun: list[dict] = []  # noqa: RUF012
        logged: list[dict] = []  # noqa: RUF012

        @classmethod
        def init(cls, **words) -> "Wandb":
            cls.begun.append(words)
            return cls()

        def define_metric(self, name: str, step_metric: str) -> None:
            assert (name, step_metric) == ("*", "step")

        def log(self, values: dict) -> None:
            self.logged.append(values)

        def finish(self) -> None:
            self.logged.append({})

    monkeypatch.setitem(sys.modules, "wandb", Wandb)
    for step in (3, 2):  # after a resume a step is written again
        board = Board(tmp_path, step, wandb_project="valor")
        board.write(RECORD | {"step": step})
        board.close()
    assert [values.get("step") for values in Wandb.logged] == [3, None, 2, None]
    assert Wandb.begun[0]["project"] == "valor" and Wandb.begun[0]["id"] == Wandb.begun[1]["id"]
