"""Rows through a pool of actors: results as they come, errors of ours as themselves, dead workers replaced."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from deployments.ray_data import RESULTS, Pool, PoolWorker, data_context, results_of, roomy, through_pool
from valor_ray.config.tree import Config
from valor_ray.errors import JudgeError, ServiceError, StorageError


class Doubling(PoolWorker):
    """Doubles numbers; -1 is an error of ours, -2 one that nobody has foreseen."""

    async def work(self, rows: pa.Table) -> list[bytes]:
        numbers = rows["number"].to_pylist()
        if -1 in numbers:
            raise StorageError("the disk is full")
        if -2 in numbers:
            raise KeyError("unforeseen")
        return [str(2 * number).encode() for number in numbers]


def made(*numbers: int) -> pa.Table:
    return asyncio.run(Doubling()(pa.table({"number": list(numbers)})))


def test_worker_gives_a_row_for_each_result_and_none_for_none() -> None:
    assert made(1, 2).to_pylist() == [{"result": b"2", "error": None}, {"result": b"4", "error": None}]
    assert made().num_rows == 0 and made().schema == RESULTS == made(-1).schema


def test_worker_lets_what_is_unforeseen_out() -> None:
    with pytest.raises(KeyError, match="unforeseen"):
        made(-2)


class Blocks:
    """A Ray Data set that has been computed."""

    def __init__(self, *blocks: pa.Table) -> None:
        self._blocks = blocks

    def iter_batches(self, **options: object) -> Iterator[pa.Table]:
        assert options["prefetch_batches"] == 0
        yield from self._blocks


def test_results_before_an_error_are_given_out_and_then_it_is_raised_as_itself() -> None:
    results = results_of(Blocks(made(1, 2), made(-1), made(3)))  # type: ignore[arg-type]
    assert [next(results), next(results)] == [b"2", b"4"]
    with pytest.raises(StorageError, match=r"^the disk is full$"):
        next(results)


def test_roomy_counts_parts_where_the_settings_name_no_number() -> None:
    config = Config.load("local", ["ray.num_cpus=null"])
    assert roomy(config, 1000).ray.num_cpus == 1000
    assert roomy(config, 1).ray.num_cpus == os.cpu_count()
    assert roomy(Config.load("local", ["ray.num_cpus=3"]), 1000).ray.num_cpus == 3


class Following(PoolWorker):
    """Waits, with each number, for the driver to have had the number before; the first one of 13 dies."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    async def work(self, rows: pa.Table) -> list[bytes]:
        (number,) = rows["number"].to_pylist()
        while number and not (self._folder / str(number - 1)).exists():
            await asyncio.sleep(0.01)
        if number == 13:
            dead = self._folder / "dead"
            if not dead.exists():
                dead.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if number == 20:
            raise JudgeError("no key")
        return [str(number).encode()]


@pytest.fixture(scope="module")
def ray_runs() -> Iterator[None]:
    from deployments.serving import running_ray

    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with running_ray(Config.load("local"), lambda line: None):
        data_context()
        yield


@pytest.mark.timeout(400)
def test_rows_that_wait_for_the_driver_get_through_and_a_dead_worker_is_replaced(
    ray_runs: None, tmp_path: Path
) -> None:
    """Prefetching would wait for ever; the blocks of a worker that dies are given out again."""
    import ray.data

    blocks = [pa.table({"number": [number]}) for number in range(25)]
    pool = Pool(Following, (str(tmp_path),), size=2, blocks_at_once=4, blocks_held=4)
    seen = []
    with pytest.raises(JudgeError, match=r"^no key$"):
        for result in results_of(through_pool(ray.data.from_arrow(blocks), pool)):
            seen.append(int(result))
            (tmp_path / result.decode()).touch()
    assert seen == list(range(20)) and (tmp_path / "dead").exists()


@pytest.mark.timeout(400)
def test_failure_that_is_not_ours_is_a_service_error_with_what_to_do(ray_runs: None) -> None:
    import ray.data

    rows = ray.data.from_arrow([pa.table({"number": [-2]})])
    with pytest.raises(
        ServiceError, match=r"^Ray could not go on: .*: KeyError: 'unforeseen' Logs: .* goes on"
    ):
        list(results_of(through_pool(rows, Pool(Doubling, (), size=1, blocks_at_once=1))))
