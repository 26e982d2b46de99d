"""Scores replies on Ray: the engine behind `valor score`, and the same thing as a job.

    valor score --replies replies.jsonl --out runs/score
    ray job submit -- python -m jobs.score --replies /shared/replies.jsonl --out /shared/runs/score

Takes the options of `valor score`. On a cluster, OUT must be a folder that all nodes see.

Ray Data streams: it reads the prepared rows, cuts them into small blocks, and hands each block to an actor that has
several in work at a time; it reads no faster than blocks are scored. The driver writes what comes back.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from valor_ray.config.tree import Config
from valor_ray.errors import JudgeError, ServiceError
from valor_ray.judges.audit import Audit
from valor_ray.reasoning.scoring.host import Work

if TYPE_CHECKING:
    from ray.data import Dataset

BLOCK_ROWS = 16  # rows that come back together: a task of the actor
BLOCKS_IN_WORK = 8  # per actor
_READ_BYTES = 4 * 2**20  # largest block while reading
_FATAL = "fatal"  # key of a record that ends the run


class ScoreReplies:
    """A worker of the pool: syntax by the node's sandbox, judges by the Serve gateway."""

    def __init__(self, config: Config, folder: str) -> None:
        """folder: where the answers are kept, which names the gateway."""
        from ray import serve

        from deployments.actors.sandbox_pool import RemoteSyntax, open_pool
        from deployments.app import judging_name
        from deployments.ports import RemoteJudge
        from valor_ray.reasoning.reward import Rewarder

        judge = RemoteJudge(serve.get_deployment_handle("judge", judging_name(folder)))
        self._rewarder = Rewarder(RemoteSyntax(open_pool(config.sandbox)), judge, config.reward)

    async def __call__(self, rows: pa.Table) -> pa.Table:
        """A table with one column, `record`: JSON."""
        from valor_ray.reasoning.scoring.step import score_row

        try:
            records = await asyncio.gather(*(score_row(row, self._rewarder) for row in rows.to_pylist()))
        except JudgeError as error:  # told to the driver in a row: Ray Data would wrap it beyond recognition
            records = [{_FATAL: str(error)}]
        return pa.table({"record": [json.dumps(record) for record in records]})


class RayScoreHost:
    """scoring.host.ScoreHost on this machine's own Ray, or on the cluster of RAY_ADDRESS."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._judge: Any = None

    def rows(self, work: Work) -> Generator[dict[str, Any], None, None]:
        os.environ.setdefault(
            "RAY_BACKEND_LOG_LEVEL", "fatal"
        )  # Ray Data's actors make it print a false alarm
        from deployments.serving import judging

        assert work.config.judge.cache_dir is not None
        config = _roomy(work.config)
        with judging(config, Path(work.config.judge.cache_dir), self._say) as self._judge:
            self._say("scoring")
            agreement = AuditGauge(config)
            try:
                for record in _records(work):
                    agreement.add(record)
                    yield record
            finally:
                self._judge = None

    def trouble(self) -> str:
        from deployments.ports import judge_trouble

        judge = self._judge
        return "" if judge is None else judge_trouble(judge)


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


def _records(work: Work) -> Generator[dict[str, Any], None, None]:
    """The records of the actors. Raises JudgeError when the judge refuses every call, ServiceError when Ray fails."""
    from ray.exceptions import RayError

    try:
        for batch in dataset(work).iter_batches(batch_size=None, batch_format="pyarrow"):
            for text in batch["record"].to_pylist():
                record = json.loads(text)
                if _FATAL in record:
                    raise JudgeError(record[_FATAL])
                yield record
    except RayError as error:
        cause = str(error).strip().splitlines()[-1]
        raise ServiceError(
            f"Ray could not go on: {type(error).__name__}: {cause} Logs: /tmp/ray/session_latest/logs. "
            "The same command goes on where this one stopped."
        ) from error


def dataset(work: Work) -> Dataset:
    """The prepared rows, streaming through the actors."""
    import ray.data
    from ray.data import ActorPoolStrategy, DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = _READ_BYTES
    context.execution_no_progress_timeout_s = -1  # a judge may be down for hours
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    files = [str(path) for path in sorted(work.shards.glob("*.parquet"))]
    rows = ray.data.read_parquet(files, num_cpus=0.25)
    # without this step a block is a whole file, and one map task would have all its rows in work at a time
    return rows.repartition(target_num_rows_per_block=BLOCK_ROWS).map_batches(
        ScoreReplies,
        fn_constructor_args=(work.config, str(Path(work.config.judge.cache_dir or ""))),
        batch_size=None,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(
            size=work.config.judge.replicas, max_concurrent_calls_per_actor=BLOCKS_IN_WORK
        ),
        num_cpus=0.25,
    )


def _roomy(config: Config) -> Config:
    """Ray counts CPUs to place work; ours waits for judges, so there may be more of it than cores."""
    if config.ray.num_cpus is not None:
        return config
    cpus = max(os.cpu_count() or 1, 4 + config.judge.replicas)
    return config.model_copy(update={"ray": config.ray.model_copy(update={"num_cpus": cpus})})
