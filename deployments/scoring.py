"""Scores replies on Ray: what carries `valor score`, and the same thing as a job.

    valor score --replies replies.jsonl --out runs/score
    ray job submit -- python -m jobs.score --replies /shared/replies.jsonl --out /shared/runs/score

Takes the options of `valor score`. On a cluster, OUT must be a folder that all nodes see, or a URL.

Ray Data streams: it reads the prepared rows, cuts them into small blocks, and hands each block to an actor that has
several in work at a time; it reads no faster than blocks are scored. The driver writes what comes back.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from deployments.actors.rewarding import remote_rewarder
from deployments.ray_data import (
    Pool,
    PoolWorker,
    arrow_filesystem,
    data_context,
    results_of,
    roomy,
    through_pool,
)
from valor_ray.config.tree import Config
from valor_ray.judges.audit import Audit
from valor_ray.reasoning.score_row import score_row
from valor_ray.reasoning.scoring.host import Work
from valor_ray.runs.store.place import objects_of

if TYPE_CHECKING:
    from ray.data import Dataset

BLOCK_ROWS = 16  # rows that come back together: a task of the actor
BLOCKS_IN_WORK = 8  # per actor
_READ_BYTES = 4 * 2**20  # largest block while reading
_OTHER_PARTS = 4  # that want room beside the judge's replicas


class ScoreReplies(PoolWorker):
    """A worker of the pool: programs run in the node's sandbox, judges are asked through the Serve gateway."""

    def __init__(self, config: Config, folder: str) -> None:
        """folder: where the answers are kept, which names the gateway."""
        self._rewarder = remote_rewarder(config, folder)

    async def work(self, rows: pa.Table) -> list[bytes]:
        """A record for each row, JSON. Raises JudgeError when every further row must fail too."""
        records = await asyncio.gather(*(score_row(row, self._rewarder) for row in rows.to_pylist()))
        return [json.dumps(record).encode() for record in records]


class RayScoreHost:
    """scoring.host.ScoreHost on this machine's own Ray, or on the cluster of RAY_ADDRESS.

    `valor score` makes one. `rows` starts gateway and workers, waits for each next record, and ends them when it is
    closed; `trouble` waits two seconds at most for the gateway to say how it is.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._judge: Any = None

    def rows(self, work: Work) -> Generator[dict[str, Any], None, None]:
        # Ray Data's actors make it print a false alarm
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        from deployments.serving import judging

        assert work.config.judge.cache_dir is not None
        config = roomy(work.config, _OTHER_PARTS + work.config.judge.replicas)
        with judging(config, Path(work.config.judge.cache_dir), self._say) as self._judge:
            self._say("scoring")
            agreement = AuditGauge(config)
            try:
                for text in results_of(dataset(work)):
                    record = json.loads(text)
                    agreement.add(record)
                    yield record
            finally:
                self._judge = None
                if (objects := objects_of(work.shards)) is not None:
                    objects.remove(objects.names())

    def trouble(self) -> str:
        if (judge := self._judge) is None:
            return ""  # and nothing imported: the main thread may be at it, and two importing Ray break each other
        from deployments.parts.judge_watch import judge_trouble

        return judge_trouble(judge)


class AuditGauge:
    """How often the judges agree with canaries in this run, by head, as a Prometheus metric through Ray."""

    def __init__(self, config: Config) -> None:
        from ray.util.metrics import Gauge

        self._audit = Audit(config.reward)
        self._gauge = Gauge("valor_audit_agreement", "Share of canaries judged as known.", tag_keys=("head",))

    def add(self, record: Mapping[str, Any]) -> None:
        if record["canary"]:
            self._audit.add(dict(record))
            for head, counts in self._audit.report()["heads"].items():
                if counts["asked"]:
                    self._gauge.set(counts["agreed"] / counts["asked"], {"head": head})


def dataset(work: Work) -> Dataset:
    """The prepared rows, streaming through the actors."""
    import ray.data

    data_context().target_max_block_size = _READ_BYTES
    files, filesystem = _prepared(work.shards)
    # without cutting a block is a whole file, and one map task would have all its rows in work at a time
    rows = ray.data.read_parquet(files, filesystem=filesystem, num_cpus=0.25).repartition(
        target_num_rows_per_block=BLOCK_ROWS
    )
    arguments = (work.config, str(Path(work.config.judge.cache_dir or "")))
    return through_pool(rows, Pool(ScoreReplies, arguments, work.config.judge.replicas, BLOCKS_IN_WORK))


def _prepared(shards: Path) -> tuple[list[str], Any]:
    """The files of rows, and the filesystem that every machine reads them from (None: a disk that all see)."""
    files, objects = sorted(shards.glob("*.parquet")), objects_of(shards)
    if objects is None:
        return [str(path) for path in files], None
    for path in files:
        objects.upload(path, path.name)
    root, filesystem = arrow_filesystem(objects.url)
    return [f"{root}/{path.name}" for path in files], filesystem
