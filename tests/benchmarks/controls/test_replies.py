"""Replies of several weights: sampled once, kept by what decides them, whatever is killed in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bases import BASES

from valor_ray.benchmarks.controls import replies as module
from valor_ray.benchmarks.controls.replies import Wanted, sampled
from valor_ray.benchmarks.controls.source import BASE, TRAINED, Weights
from valor_ray.config.models import PolicyConfig
from valor_ray.config.tree import Config
from valor_ray.errors import PolicyError
from valor_ray.records import Query, Reply, Sampling

QUERIES = [Query(f"q{n}", f"question {n}") for n in range(5)]
POLICY = Config.load("local", BASES).policy


class Engine:
    """Replies say weights, temperature, question and number; fails at the batch `fails_at`."""

    def __init__(self) -> None:
        self.opened, self.carried, self.batches = 0, BASE, 0
        self.loaded: list[str] = []
        self.fails_at: int | None = None

    @asynccontextmanager
    async def open(self, config: PolicyConfig) -> AsyncIterator[Engine]:
        self.opened += 1
        self.carried = BASE
        yield self

    async def load_weights(self, folder: Path, version: str) -> None:
        self.carried = version
        self.loaded.append(version)

    async def sample(
        self, questions: Sequence[str], *, n: int, seed: int, sampling: Sampling
    ) -> list[list[Reply]]:
        self.batches += 1
        if self.batches == self.fails_at:
            raise PolicyError("the engine died")
        return [
            [
                Reply(f"{self.carried} {sampling.temperature:g} {question} {k}", (), (), "", "stop")
                for k in range(n)
            ]
            for question in questions
        ]


def weights(tmp_path: Path, name: str) -> Weights:
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_text(name)
    return Weights(name, str(folder))


def ask(
    wanted: list[Wanted],
    tmp_path: Path,
    engine: Engine,
    config: PolicyConfig = POLICY,
    say: Callable[[str], None] = lambda line: None,
    queries: Sequence[Query] = QUERIES,
) -> list:
    return asyncio.run(sampled(wanted, queries, config, tmp_path / "replies", say, engine.open))


@pytest.fixture
def both(tmp_path: Path) -> list[Wanted]:
    base, trained = weights(tmp_path, BASE), weights(tmp_path, TRAINED)
    return [Wanted(base, 0.7, 3), Wanted(base, 0.0, 1), Wanted(trained, 0.7, 3), Wanted(trained, 0.0, 1)]


def test_each_weights_are_loaded_once_and_nothing_is_sampled_twice(
    both: list[Wanted], tmp_path: Path
) -> None:
    engine = Engine()
    first = ask(both, tmp_path, engine)
    assert first[2]["q4"] == tuple(f"trained 0.7 question 4 {k}" for k in range(3))
    assert first[1]["q0"] == ("base 0 question 0 0",)
    assert (engine.opened, engine.loaded, engine.batches) == (1, [TRAINED], 4)
    assert ask(both, tmp_path, engine) == first
    assert engine.opened == 1


def test_equal_weights_under_another_name_share_their_replies(both: list[Wanted], tmp_path: Path) -> None:
    engine = Engine()
    first = ask(both[:1], tmp_path, engine)
    twin = tmp_path / "twin"
    twin.mkdir()
    (twin / "model.safetensors").write_text(BASE)
    (twin / "trainer_state.json").write_text("of a checkpoint, and no part of the model")
    assert ask([Wanted(Weights("twin", str(twin)), 0.7, 3)], tmp_path, engine) == first
    assert engine.batches == 1


def test_another_question_under_a_known_id_is_sampled_and_the_first_one_stays(
    both: list[Wanted], tmp_path: Path
) -> None:
    engine, others = Engine(), [Query("q1", "something else"), QUERIES[2]]
    (first,) = ask(both[:1], tmp_path, engine)
    (made,) = ask(both[:1], tmp_path, engine, queries=others)
    assert made["q1"][0] == "base 0.7 something else 0" and made["q2"] == first["q2"] and len(made) == 2
    assert ask(both[:1], tmp_path, engine) == [first] and engine.batches == 2


def test_fewer_samples_are_the_first_ones_and_more_are_sampled_anew(
    both: list[Wanted], tmp_path: Path
) -> None:
    engine = Engine()
    (three,) = ask(both[:1], tmp_path, engine)
    (two,) = ask([Wanted(both[0].weights, 0.7, 2)], tmp_path, engine)
    assert two["q1"] == three["q1"][:2] and engine.batches == 1
    (five,) = ask([Wanted(both[0].weights, 0.7, 5)], tmp_path, engine)
    assert len(five["q1"]) == 5 and engine.batches == 2


def test_settings_that_decide_replies_have_files_of_their_own(both: list[Wanted], tmp_path: Path) -> None:
    engine = Engine()
    ask(both[:1], tmp_path, engine)
    ask(both[:1], tmp_path, engine, POLICY.model_copy(update={"threads": 2, "replicas": 3}))
    assert engine.batches == 1
    ask(both[:1], tmp_path, engine, POLICY.model_copy(update={"top_p": 0.5}))
    assert engine.batches == 2


def test_how_far_it_is_is_said_after_each_batch_but_the_last(
    both: list[Wanted], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    said = list[str]()
    ask(both[:1], tmp_path, Engine(), say=said.append)
    assert said == [
        "base: replies to 5 questions, temperature 0.7, 3 each",
        "base: 2 of 5 questions",
        "base: 4 of 5 questions",
    ]


def test_what_was_sampled_before_an_end_is_kept(
    both: list[Wanted], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    engine = Engine()
    engine.fails_at = 3
    with pytest.raises(PolicyError, match="died"):
        ask(both[:1], tmp_path, engine)
    (file,) = (tmp_path / "replies").iterdir()
    with file.open("a") as torn:
        torn.write('{"query_id": "q4", "rep')  # a kill in mid-line
    engine.fails_at = None
    (made,) = ask(both[:1], tmp_path, engine)
    assert list(made) == [query.query_id for query in QUERIES]
    assert engine.batches == 4  # the third once more, no other
