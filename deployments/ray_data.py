"""Rows through a pool of actors by Ray Data, for whatever runs for hours: scoring, rollouts.

Ray Data reads no faster than the workers take blocks, and hands results to the driver as they come. A worker that dies
is replaced and its blocks are given out again; an error of ours that no further row can escape travels as a row and is
raised in the driver.
"""

from __future__ import annotations

import logging
import os
import pickle
from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from deployments.failures import ray_goes_on
from valor_ray.config.tree import Config
from valor_ray.errors import ValorError

if TYPE_CHECKING:
    from ray.data import DataContext, Dataset

RESULTS = pa.schema([("result", pa.binary()), ("error", pa.binary())])  # one of the two, the other null
WORKER_CPUS = 0.25  # logical: a worker waits for models and judges that are elsewhere


class PoolWorker(ABC):
    """A worker of the pool, an actor: turns the rows of a block into results, several blocks at a time.

    Ray Data calls it; `results_of` gives the driver what it returns. It waits for whatever its `work` waits for.
    """

    @abstractmethod
    async def work(self, rows: pa.Table) -> list[bytes]:
        """The results of a block; their number is free. A ValorError raised here ends the whole run."""
        ...

    async def __call__(self, rows: pa.Table) -> pa.Table:
        try:
            told = [{"result": result} for result in await self.work(rows)]
        except ValorError as error:  # in a row: Ray Data would wrap it beyond recognition
            told = [{"error": pickle.dumps(type(error)(str(error)))}]
        return pa.Table.from_pylist(told, schema=RESULTS)


@dataclass(frozen=True)
class Pool:
    """Who works on the rows."""

    worker: type[PoolWorker]
    arguments: tuple[Any, ...]  # of its constructor, made anew in each actor
    size: int  # actors
    blocks_at_once: int  # in the work of an actor
    blocks_held: int | None = None  # by an actor, those that wait for their turn included; None: Ray's choice


def data_context() -> DataContext:
    """Ray Data's settings in this process, without its bars and warnings: a judge may be down for hours."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    return context


def through_pool(rows: Dataset, pool: Pool) -> Dataset:
    """The rows' results, a block of results for each block of rows."""
    from ray.data import ActorPoolStrategy

    return rows.map_batches(
        pool.worker,
        fn_constructor_args=pool.arguments,
        batch_size=None,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(
            size=pool.size,
            max_tasks_in_flight_per_actor=pool.blocks_held,
            max_concurrent_calls_per_actor=pool.blocks_at_once,
        ),
        num_cpus=WORKER_CPUS,
    )


def results_of(dataset: Dataset) -> Generator[bytes, None, None]:
    """The results of `through_pool` as they come. Raises the ValorError of a worker, ServiceError when Ray fails."""
    with ray_goes_on():
        # Without prefetching: it holds each block back until the next one is there, which may be waiting for what the
        # driver makes of this one.
        for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in block.to_pylist():
                if row["error"] is not None:
                    raise pickle.loads(row["error"])
                yield row["result"]


def roomy(config: Config, parts: int) -> Config:
    """Ray counts CPUs to place work; ours waits for judges, so there may be more of it than cores.

    parts: actors and replicas that are to find a place.
    """
    if config.ray.num_cpus is not None:
        return config
    cpus = max(os.cpu_count() or 1, parts)
    return config.model_copy(update={"ray": config.ray.model_copy(update={"num_cpus": cpus})})


def arrow_filesystem(url: str) -> tuple[str, Any]:
    """Path and filesystem of a URL, as Ray Data and Ray Train take them: with credentials as fsspec finds them."""
    import fsspec
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    files, path = fsspec.core.url_to_fs(url)
    return path, PyFileSystem(FSSpecHandler(files))
