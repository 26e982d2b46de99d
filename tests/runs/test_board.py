"""The board: what TensorBoard shows of the event files, and what the other trackers are told."""

import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.runs.board import FOLDER, Board, scalars
from valor_ray.runs.trackers import check_trackers

RECORD = {"step": 0, "time": 1e9, "reward": 0.5, "kl": None, "loss": math.nan, "heads": {"logic": 0.25}}


def shown(folder: Path) -> dict[str, dict[int, float]]:
    """{name: {step: value}} as TensorBoard reads it: files in the order of their names, purged at each start."""
    from tensorboardX.event_file_writer import event_pb2

    curves: dict[str, dict[int, float]] = {}
    for path in sorted((folder / FOLDER).iterdir()):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            event = event_pb2.Event.FromString(data[12 : 12 + size])
            data = data[12 + size + 4 :]
            if event.WhichOneof("what") == "session_log" and event.session_log.status == 1:  # START
                curves = {
                    name: {step: value for step, value in points.items() if step < event.step}
                    for name, points in curves.items()
                }
            for value in event.summary.value:
                curves.setdefault(value.tag, {})[event.step] = value.simple_value
    return curves


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


class Package:
    """A tracker's package: what accelerate calls of it, written down. One object is module, run and client."""

    __version__ = "3.58.8"

    def __init__(self) -> None:
        self.begun: list[dict[str, Any]] = []
        self.logged: list[tuple[dict[str, float], int | None]] = []
        self.ended = 0
        self.fails = False

    def init(self, **options: Any) -> Any:  # wandb, trackio
        self.begun.append(options)
        return self

    def start(self, **options: Any) -> Any:  # comet_ml
        return self.init(**options)

    def define_metric(self, name: str, step_metric: str) -> None:
        assert (name, step_metric) == ("*", "step")

    def log(self, values: dict[str, float], step: int | None = None) -> None:
        if self.fails:
            raise ConnectionError("no route")
        self.logged.append((values, step))

    def finish(self) -> None:
        self.ended += 1

    end = finish

    def set_step(self, step: int) -> None:
        pass

    def log_metric(self, name: str, value: float, step: int) -> None:
        self.log({name: value}, step)

    # mlflow

    info = SimpleNamespace(run_id="made by the server")

    def search_experiments(self, filter_string: str) -> list[Any]:
        assert filter_string == "name = 'valor'"
        return [SimpleNamespace(experiment_id="7")]

    def start_run(self, **options: Any) -> Any:
        return self.init(**options)

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        self.log(values, step)

    end_run = finish


@pytest.fixture
def package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Package:
    made = Package()
    monkeypatch.setitem(sys.modules, request.param, made)
    return made


@pytest.mark.parametrize(
    ("package", "name"), [(name, name) for name in ("wandb", "mlflow", "trackio", "comet_ml")], indirect=["package"]
)  # fmt: skip
def test_tracker_gets_every_step_in_one_run_over_all_starts(
    tmp_path: Path, package: Package, name: str
) -> None:
    for step in (3, 2):  # after a resume a step is written again
        board = Board(tmp_path, step, {name: "valor"})
        board.write(RECORD | {"step": step})
        board.close()
    steps = [values.get("step", step) for values, step in package.logged]
    assert steps == sorted(steps, reverse=True) and set(steps) == {3, 2}
    values = {key: value for values, _ in package.logged for key, value in values.items()}
    assert values["reward"] == 0.5 and values["heads/logic"] == 0.25 and "kl" not in values
    first, second = package.begun
    (key,) = {"id", "run_id", "name", "experiment_key"} & set(first)
    assert package.ended == 2 and second[key] == (tmp_path / f"{name}_id").read_text()
    assert first[key] == (None if name == "mlflow" else second[key])  # mlflow names a run itself
    assert name == "mlflow" or "valor" in (first.get("project"), first.get("project_name"))


@pytest.mark.parametrize("package", ["trackio"], indirect=True)
def test_tracker_that_fails_stops_no_run_and_is_told_of_once(tmp_path: Path, package: Package) -> None:
    said: list[str] = []
    board = Board(tmp_path, trackers={"trackio": "valor"}, say=said.append)
    for step, fails in enumerate((True, True, False, True)):
        package.fails = fails
        board.write(RECORD | {"step": step})
    board.close()
    assert [line.partition(" (")[0] for line in said] == [
        "trackio has not taken step 0",
        "trackio has not taken step 3",
    ]
    assert "no route" in said[0] and [step for _, step in package.logged] == [2]
    assert set(shown(tmp_path)["reward"]) == {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["wandb", "mlflow", "trackio", "comet_ml"])
def test_missing_package_is_named_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=f"pip install {name}"):
        check_trackers({name: "valor"})
    with pytest.raises(ConfigError, match=f"pip install {name}"):
        Board(tmp_path, trackers={name: "valor"})


@pytest.mark.parametrize("package", ["wandb"], indirect=True)
def test_tracker_that_does_not_start_says_what_to_do(
    tmp_path: Path, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**options: Any) -> None:
        raise RuntimeError("No API key configured.")

    monkeypatch.setattr(package, "init", refuse)
    with pytest.raises(ConfigError, match=r"grpo\.wandb_project.*No API key.*Log in.*wandb_id"):
        Board(tmp_path, trackers={"wandb": "valor"})


def test_board_joins_no_group_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """accelerate would, where a scheduler has set these: and wait for the others for ever."""
    from accelerate.state import PartialState

    monkeypatch.setattr(PartialState, "_shared_state", {})
    monkeypatch.setenv("WORLD_SIZE", "2")
    board = Board(tmp_path)
    board.write(RECORD)
    board.close()
    assert PartialState._shared_state == {} and shown(tmp_path)["reward"] == {0: 0.5}


@pytest.mark.parametrize(
    ("overrides", "projects"),
    [
        ([], {}),
        (["grpo.wandb_project=mine"], {"wandb": "mine"}),
        (["grpo.trackers=[mlflow,wandb]"], {"mlflow": "valor", "wandb": "valor"}),
        (["grpo.trackers=[wandb]", "grpo.wandb_project=mine"], {"wandb": "mine"}),
    ],
)
def test_settings_name_the_trackers(overrides: list[str], projects: dict[str, str]) -> None:
    assert Config.load("local", overrides).grpo.tracker_projects() == projects


def test_unknown_tracker_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"grpo\.trackers.*'comet_ml'"):
        Config.load("local", ["grpo.trackers=[clearml]"])
