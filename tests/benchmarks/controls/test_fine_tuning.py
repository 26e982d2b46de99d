"""Fine-tuning on full-reward samples: what is gathered for which calls, and what the learner is given."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tiny_run as tiny
from rollout_of import rollout_of

from valor_ray.benchmarks.controls import fine_tuning
from valor_ray.benchmarks.controls.fine_tuning import Examples, chosen, fine_tune
from valor_ray.benchmarks.controls.source import Source
from valor_ray.errors import ConfigError, JudgeError
from valor_ray.reasoning.training.folder import Recorder, TrainFolder
from valor_ray.reasoning.training.host import TrainWork
from valor_ray.reasoning.training.rollout import RolloutResult
from valor_ray.records import Query
from valor_ray.runs.record_file import read_records

QUERIES = [Query(f"q{n}", f"How many balls are on table {n}?") for n in range(8)]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture
def run(tmp_path: Path, policy: Path) -> Path:
    """A run of three steps as it is left: 3 x 8 samples of 4 calls each."""
    path = tmp_path / "run"
    folder = TrainFolder(path)
    with folder.locked():
        folder.prepare(tiny.settings(policy))
        folder.keep_queries(QUERIES)
    recorder = Recorder(folder)
    for step in (1, 2, 3):
        recorder.record(outcome(step))
    recorder.close()
    (folder.checkpoints.folder / "step-000003").mkdir()
    data = path / "evaluation" / "data"
    data.mkdir(parents=True)
    (data / "a.png").write_bytes(b"")
    row = {"query_id": "e1", "image": "a.png", "question": "Is it red?"}
    (data / "queries.jsonl").write_text(json.dumps(row))
    (data / "truth.jsonl").write_text('{"query_id": "e1", "answer": "yes", "family": "existence"}')
    return path


def outcome(step: int, shard: int = 0, calls: int = 4) -> RolloutResult:
    """Two groups of four; the first two samples of each have full reward."""
    rows = [
        rollout_of(
            step, shard, group, sample, value=1.0 if sample < 2 else 0.5, calls=calls,
            prompt_ids=(5, 6), token_ids=(11 + sample, 12, 2),
        )
        for group in range(2)
        for sample in range(4)
    ]  # fmt: skip
    return RolloutResult(step, shard, rows, [], 0.0, 0.0)


class Host:
    """host.TrainHost whose judges take `calls` a sample, and refuse after `dies_after` assignments."""

    def __init__(self, calls: int = 4, dies_after: int = 1000) -> None:
        self.calls, self.left, self.steps = calls, dies_after, []
        self.policy: Any = None

    @contextmanager
    def running(self, config: Any, folder: Any, say: Any) -> Iterator[Any]:
        yield self

    def learn(self, work: TrainWork) -> Any:
        assert not work.learner and max(each.step for each in work.assignments) <= work.steps
        for assignment in work.assignments:
            if not self.left:
                raise JudgeError("refused")
            self.left -= 1
            self.steps.append(assignment.step)
            work.record(outcome(assignment.step, assignment.shard, self.calls))


def quiet(line: str) -> None:
    pass


def test_samples_are_gathered_until_the_runs_calls_are_spent(run: Path) -> None:
    host = Host(calls=8)  # twice as many a sample: half as many samples, and what goes over is left out
    source = Source(run)
    assert source.spent.calls == 3 * 8 * 4
    weights, made = fine_tune(source, quiet, host)
    assert host.steps == [1, 2] and made["judged"] == 8 and made["calls"] == 64
    assert (made["examples"], made["steps"], made["epochs"]) == (4, 3, 6.0)
    assert weights.model.endswith("controls/sft_full_reward/checkpoints/step-000003")
    assert (Path(weights.model) / "model.safetensors").exists()


def test_cheaper_samples_are_gathered_beyond_the_runs_steps(run: Path) -> None:
    host = Host(calls=2)
    _, made = fine_tune(Source(run), quiet, host)
    assert made["calls"] == 96 and made["judged"] == 48 and sorted(host.steps) == [1, 2, 3, 4, 5, 6]


def test_a_kill_while_gathering_pays_for_nothing_twice(run: Path) -> None:
    dying, going_on = Host(dies_after=2), Host()
    with pytest.raises(JudgeError):
        fine_tune(Source(run), quiet, dying)
    _, made = fine_tune(Source(run), quiet, going_on)
    assert sorted(dying.steps + going_on.steps) == [1, 2, 3] and made["calls"] == 96
    nobody = Host(dies_after=0)
    assert fine_tune(Source(run), quiet, nobody)[1] == made  # all is done: neither judged nor learnt again
    assert len(list(read_records(run / "controls" / "sft_full_reward" / "metrics.jsonl"))) == 3


def test_learning_makes_the_examples_likelier(run: Path, policy: Path) -> None:
    weights, _ = fine_tune(Source(run), quiet, Host())
    before, after = tiny.model_in(policy), tiny.model_in(Path(weights.model))
    for first in (11, 12):  # of the replies with full reward
        likely = [sum(tiny.logprobs_of(model, [5, 6], [first, 12, 2])) for model in (before, after)]
        assert likely[1] > likely[0]
    for record in read_records(run / "controls" / "sft_full_reward" / "metrics.jsonl"):
        assert record["ratio_max"] == pytest.approx(1) and record["clip_share"] == 0


def test_a_run_that_went_on_since_refuses_its_old_controls(run: Path) -> None:
    fine_tune(Source(run), quiet, Host())
    folder = TrainFolder(run)
    recorder = Recorder(folder)
    recorder.record(outcome(4))
    recorder.close()
    (folder.checkpoints.folder / "step-000004").mkdir()
    with pytest.raises(ConfigError, match=r"was another \(steps 3 -> 4; .*Remove that folder"):
        fine_tune(Source(run), quiet, Host())


def test_no_divergence_estimated_on_other_samples_is_held_against_it(run: Path) -> None:
    """With a weight of it one token of the start's, become unlikely, was a gradient of 1e5."""
    assert Source(run).config.grpo.kl > 0
    fine_tune(Source(run), quiet, Host())
    records = list(read_records(run / "controls" / "sft_full_reward" / "metrics.jsonl"))
    assert len(records) == 3 and all(record["kl"] is None for record in records)


def test_learning_that_stops_at_once_says_why(run: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("valor_ray.reasoning.learner.grpo_trainer._EXPLODED", 0.0)
    with pytest.raises(
        ConfigError, match=r"nothing before its first checkpoint: the gradient of step 1.*--only"
    ):
        fine_tune(Source(run), quiet, Host())


def test_without_full_reward_there_is_nothing_to_learn_from(run: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(fine_tuning, "_FULL", 1.5)
    with pytest.raises(ConfigError, match=r"None of 24 samples.*--only"):
        fine_tune(Source(run), quiet, Host())


def test_examples_are_all_seen_before_one_comes_again(run: Path) -> None:
    gathered = chosen(TrainFolder(run), 10_000)
    assert all(row.advantage == 1 and row.logprobs == () for row in gathered.examples)
    source = Examples(gathered.examples, rows=8, seed=3)
    seen = Counter(row.rollout_id for step in (1, 2, 3) for row in source.batch(step).rows)
    assert len(seen) == 12 and set(seen.values()) == {2}
    assert source.batch(2) == source.batch(2) != Examples(gathered.examples, 8, 4).batch(2)
    assert source.batch(3).lags == [2] * 8
