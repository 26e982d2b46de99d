"""Whose turn it is, what a step trains on, what is too old."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from rollout_of import rollout_of

from valor_ray.config.tree import Config
from valor_ray.reasoning.curriculum import Learnability
from valor_ray.reasoning.learner.ports import Leave, StepBatch
from valor_ray.reasoning.training.buffer import RolloutBuffer
from valor_ray.reasoning.training.rollout import RolloutResult
from valor_ray.reasoning.training.schedule import Assignment
from valor_ray.records import Query, Rollout


def row(step: int, shard: int, group: int, fate: str = "used", version: int | None = None) -> Rollout:
    wrote = step - 1 if version is None else version
    return rollout_of(step, shard, group, fate=fate, versions=((f"step-{wrote:06d}", 5),))


def outcome(step: int, shard: int = 0, *rows: Rollout) -> RolloutResult:
    return RolloutResult(step, shard, list(rows) or [row(step, shard, 0)], [], 1.0, 2.0)


def assignment(step: int, shard: int = 0) -> Assignment:
    return Assignment(step, shard, 1, (Query("as planned", "?"),), seed=step)


def buffer(lag: int = 0, shards: int = 1, patience: float = 100) -> RolloutBuffer:
    return RolloutBuffer(lag, shards, groups=2, patience_s=patience)


async def pending(task: asyncio.Task[Any]) -> bool:
    await asyncio.sleep(0.01)
    return not task.done()


async def _turns(lag: int) -> list[int]:
    """The newest step that may start after each publication."""
    held, newest = buffer(lag), []
    turns = {step: asyncio.create_task(held.turn(assignment(step))) for step in range(1, 8)}
    for version in range(3):
        await held.published(version)
        await asyncio.sleep(0.01)
        newest.append(max(step for step, turn in turns.items() if turn.done()))
    await held.stop("enough")
    assert not all(await asyncio.gather(*turns.values()))  # those let go are told not to sample
    return newest


def test_on_policy_steps_wait_for_the_weights_before_them() -> None:
    assert asyncio.run(_turns(0)) == [1, 2, 3]


def test_lag_lets_so_many_steps_start_earlier() -> None:
    assert asyncio.run(_turns(2)) == [3, 4, 5]


def test_nothing_is_sampled_before_the_start_weights_are_published() -> None:
    async def check() -> None:
        held = buffer(lag=5)
        waiting = asyncio.create_task(held.turn(assignment(1)))
        assert await pending(waiting)
        await held.published(0)
        assert await waiting

    asyncio.run(check())


def test_step_waits_for_all_shards_and_keeps_their_order() -> None:
    async def check() -> None:
        held = buffer(shards=2)
        waiting = asyncio.create_task(held.batch(1))
        await held.put(outcome(1, 1))
        assert await pending(waiting)
        await held.put(outcome(1, 0))
        found = await waiting
        assert found is not None and [row.shard for row in found.rows] == [0, 1]
        assert found.counts["groups"] == 2 and found.lags == [0, 0]

    asyncio.run(check())


def test_samples_older_than_the_lag_leave_the_batch_and_are_counted() -> None:
    async def check() -> None:
        held = buffer(lag=1)
        await held.put(
            outcome(5, 0, row(5, 0, 0, version=4), row(5, 0, 1, version=3), row(5, 0, 2, version=2))
        )
        found = await held.batch(5)
        assert found is not None and found.lags == [0, 1]
        assert found.counts["dropped_stale"] == 1

    asyncio.run(check())


def test_oldest_span_of_a_sample_decides_its_age() -> None:
    async def check() -> None:
        held = buffer(lag=1)
        mixed = replace(row(5, 0, 0), versions=(("step-000002", 3), ("step-000004", 9)))
        await held.put(outcome(5, 0, mixed))
        found = await held.batch(5)
        assert found is not None and found.rows == [] and found.counts["dropped_stale"] == 1

    asyncio.run(check())


def test_useless_groups_are_counted_and_not_trained_on() -> None:
    async def check() -> None:
        held = buffer()
        rows = (row(1, 0, 0), row(1, 0, 1, "equal"), row(1, 0, 2, "missing"), row(1, 0, 3))
        await held.put(outcome(1, 0, *rows))
        found = await held.batch(1)
        assert found is not None
        assert [row.group for row in found.rows] == [0, 3] and len(found.all_rows) == 4
        assert found.counts == {
            "groups": 4, "equal_groups": 1, "refilled": 2, "useful_groups": 2, "dropped_missing": 1, "dropped_stale": 0,
        }  # fmt: skip

    asyncio.run(check())


def test_stuck_shard_does_not_freeze_the_learner_and_its_rows_are_late() -> None:
    async def check() -> None:
        held = buffer(shards=2, patience=0.05)
        await held.put(outcome(1, 0))
        found = await held.batch(1)
        assert found is not None and len(found.rows) == 1
        await held.checkpointed(1)
        await held.put(outcome(1, 1))
        for shard in (0, 1):
            await held.put(outcome(2, shard))
        after = await held.batch(2)
        assert after is not None and after.counts["dropped_stale"] == 1

    asyncio.run(check())


def test_learner_that_starts_again_gets_the_steps_since_its_checkpoint_again() -> None:
    async def check() -> None:
        held = buffer()
        for step in (1, 2, 3):
            await held.put(outcome(step))
        await held.checkpointed(1)
        for step in (2, 3, 2):
            found = await held.batch(step)
            assert found is not None and found.step == step

    asyncio.run(check())


def test_stop_lets_the_learner_go() -> None:
    async def check() -> None:
        held = buffer()
        waiting = asyncio.create_task(held.batch(1))
        assert await pending(waiting)
        await held.stop("judge refused the key")
        assert await waiting is None

    asyncio.run(check())


def test_every_learner_process_gets_the_same_step() -> None:
    async def check() -> None:
        held = buffer(shards=2, patience=0.05)
        await held.put(outcome(1, 0))
        first = await held.batch(1)  # does without the second shard
        await held.put(outcome(1, 1))
        await held.stop("in between")
        second = await held.batch(1)
        assert first is not None and second is first

    asyncio.run(check())


def test_samples_of_the_start_weights_are_replayed_at_any_step() -> None:
    async def check() -> None:
        held = RolloutBuffer(None, 1, groups=1, patience_s=1)
        await held.put(outcome(9, 0, rollout_of(9, versions=(("base", 5),))))
        found = await held.batch(9)
        assert found is not None and found.lags == [8] and found.counts["dropped_stale"] == 0

    asyncio.run(check())


def test_all_processes_of_a_start_leave_at_the_same_step_and_the_next_start_goes_on() -> None:
    async def check() -> None:
        held = buffer()
        await held.put(outcome(1))
        first = await held.batch(1, "one")
        await held.leave("one")
        assert await held.batch(1, "one") == first  # another process has it: nobody leaves before step 2
        await held.put(outcome(2))
        assert [await held.batch(2, "one") for _ in range(2)] == [Leave()] * 2
        again = await held.batch(2, "two")
        assert isinstance(again, StepBatch) and again.step == 2
        waiting = asyncio.create_task(held.batch(3, "two"))
        assert await pending(waiting)
        await held.leave("two")  # also who waits for rollouts
        assert await waiting == Leave()

    asyncio.run(check())


# with a curriculum

QUERIES = [Query(f"q{n}", f"How many balls are on table {n}?") for n in range(30)]


def choosing(lag: int = 0, shards: int = 2, patience: float = 100) -> RolloutBuffer:
    settings = ["grpo.prompts=2", "grpo.reserve=1", f"grpo.max_lag={lag}"]
    chooser = Learnability(QUERIES, Config.load("local", settings).grpo)
    return RolloutBuffer(lag, shards, groups=2, patience_s=patience, curriculum=chooser)


async def asked(held: RolloutBuffer, step: int) -> list[list[str]]:
    """The queries of each shard of two."""
    turns = [await held.turn(assignment(step, shard)) for shard in (0, 1)]
    return [[query.query_id for query in turn.queries] for turn in turns if turn is not None]


async def learnt(held: RolloutBuffer, step: int, shards: tuple[int, ...] = (0, 1)) -> StepBatch:
    """A step as it goes: its shards' groups come, the learner takes them and publishes."""
    for shard in shards:
        mine = await held.turn(assignment(step, shard))
        assert mine is not None
        rows = [
            replace(row(step, shard, 0), sample=n, query_id=mine.queries[0].query_id, value=float(n % 2))
            for n in range(4)
        ]
        await held.put(outcome(step, shard, *rows))
    batch = await held.batch(step)
    assert isinstance(batch, StepBatch)
    await held.published(step)
    return batch


def test_turn_gives_the_queries_that_the_curriculum_chooses() -> None:
    async def check() -> None:
        plain, held = buffer(), choosing()
        for each in (plain, held):
            await each.published(0)
        assert await plain.turn(assignment(1)) == assignment(1)
        first, second = await asked(held, 1)
        assert len(first) == len(second) == 2 and len({*first, *second}) == 4  # one and its reserve, each
        assert await asked(held, 1) == [first, second]  # a worker that died is given the same again
        turn = await held.turn(assignment(1, 1))
        assert turn is not None and turn.seed == 1 and turn.groups == 1
        await held.stop("enough")
        assert await held.turn(assignment(2)) is None

    asyncio.run(check())


def test_what_was_chosen_is_chosen_again_from_what_is_recorded() -> None:
    async def check() -> None:
        held, again = choosing(), choosing()
        await held.published(0)
        steps = {step: (await asked(held, step), await learnt(held, step)) for step in range(1, 9)}
        for _, batch in steps.values():
            await again.put(outcome(batch.step, 0, *(row for row in batch.all_rows if row.shard == 0)))
            await again.put(outcome(batch.step, 1, *(row for row in batch.all_rows if row.shard == 1)))
        for step, (queries, batch) in steps.items():
            await again.published(step - 1)
            assert await asked(again, step) == queries
            assert await again.batch(step) == batch  # its figures too

    asyncio.run(check())


def test_figures_of_a_step_say_what_was_chosen() -> None:
    async def check() -> None:
        held = choosing()
        await held.published(0)
        batches = [await learnt(held, step) for step in (1, 2, 3)]
        assert [batch.counts["visited"] for batch in batches][:2] == [0.0, round(2 / 30, 6)]
        expected = [batch.counts["learnability"] for batch in batches]
        assert expected[0] is None and all(value and 0 < value <= 0.4 for value in expected[1:])

    asyncio.run(check())


def test_shard_that_comes_late_changes_no_choice_of_this_start() -> None:
    async def check() -> None:
        held, without = choosing(patience=0.01), choosing(patience=0.01)
        for each in (held, without):
            await each.published(0)
            await learnt(each, 1, shards=(0,))
        late = [replace(row(1, 1, 0), sample=n, query_id="q7", value=0.0) for n in range(8)]
        await held.put(outcome(1, 1, *late))
        assert [await asked(held, 2)] == [await asked(without, 2)]

    asyncio.run(check())
