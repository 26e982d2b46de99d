"""Replies of several policies to the held-out questions, kept on disk by weights, so that many rows share them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from valor_ray.benchmarks.controls.source import BASE, Weights
from valor_ray.config.models import resolve_model
from valor_ray.records import Query, Reply, Sampling
from valor_ray.runs.record_file import RecordFile, cut_torn_line, read_records

if TYPE_CHECKING:
    from valor_ray.config.models import PolicyConfig

    Say = Callable[[str], None]

_AT_ONCE = 64  # questions of a batch: what a kill can lose
_WRITES_WITH = ("prompt", "max_tokens", "max_model_len", "thinking", "dtype", "top_p", "top_k", "min_p")


class Engine(Protocol):
    """The policy's engine: models.vllm.policy.VllmPolicy."""

    async def sample(
        self, questions: Sequence[str], *, n: int, seed: int, sampling: Sampling
    ) -> list[list[Reply]]: ...

    async def load_weights(self, folder: Path, version: str) -> None: ...


OpenEngine = Callable[["PolicyConfig"], AbstractAsyncContextManager[Engine]]


@dataclass(frozen=True)
class Wanted:
    """Replies that rows need."""

    weights: Weights
    temperature: float
    n: int  # of a question


Replies = Mapping[str, tuple[str, ...]]  # query_id -> texts, in the order of sampling


@asynccontextmanager
async def vllm(config: PolicyConfig) -> AsyncIterator[Engine]:
    """In this process, as it is started by `config`."""
    from valor_ray.models.vllm.policy import VllmPolicy

    policy = VllmPolicy(config)
    try:
        await policy.start()
        yield policy
    finally:
        policy.close()


async def sampled(
    wanted: Sequence[Wanted],
    queries: Sequence[Query],
    config: PolicyConfig,
    folder: Path,
    say: Say,
    open_engine: OpenEngine = vllm,
) -> list[Replies]:
    """The replies of each, in order; what `folder` has none of is sampled first, each batch kept before the next.

    An engine is opened only then, once for all weights. The seed of a question's samples is its own, the same for all
    weights. Raises PolicyError, CheckpointError, StorageError.
    """
    lacking = [(each, todo) for each in wanted if (todo := _lacking(each, queries, config, folder))]
    if lacking:
        async with open_engine(config) as engine:
            carried = BASE
            for each, todo in lacking:
                if each.weights.name != carried:
                    await engine.load_weights(Path(resolve_model(each.weights.model)), each.weights.name)
                    carried = each.weights.name
                say(_said(each, len(todo)))
                await _sample(each, todo, engine, config, _file(each, config, folder), say)
    return [_known(each, queries, config, folder) for each in wanted]


def _lacking(each: Wanted, queries: Sequence[Query], config: PolicyConfig, folder: Path) -> list[Query]:
    known = _known(each, queries, config, folder)
    return [query for query in queries if len(known.get(query.query_id, ())) < each.n]


async def _sample(
    each: Wanted, queries: Sequence[Query], engine: Engine, config: PolicyConfig, path: Path, say: Say
) -> None:
    sampling = Sampling(
        each.temperature, config.top_p, config.max_tokens, top_k=config.top_k, min_p=config.min_p
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(RecordFile(path, keep=True)) as file:
        for start in range(0, len(queries), _AT_ONCE):
            batch = queries[start : start + _AT_ONCE]
            seed = int(hashlib.sha256(batch[0].query_id.encode()).hexdigest()[:8], 16) % 2**31
            replies = await engine.sample(
                [query.question for query in batch], n=each.n, seed=seed, sampling=sampling
            )
            file.append_all(
                [
                    {"query_id": query.query_id, "question": query.question, "replies": [r.text for r in own]}
                    for query, own in zip(batch, replies, strict=True)
                ]
            )
            if (done := start + len(batch)) < len(queries):
                say(f"{each.weights.name}: {done} of {len(queries)} questions")


def _known(
    each: Wanted, queries: Sequence[Query], config: PolicyConfig, folder: Path
) -> dict[str, tuple[str, ...]]:
    """Of two rows of a question the last counts; no more than are wanted. Another set of questions may have had the
    same ids."""
    path = _file(each, config, folder)
    cut_torn_line(path)
    rows = {(row["query_id"], row["question"]): row["replies"] for row in read_records(path)}
    held = {query.query_id: rows.get((query.query_id, query.question)) for query in queries}
    return {query_id: tuple(replies[: each.n]) for query_id, replies in held.items() if replies is not None}


def _file(each: Wanted, config: PolicyConfig, folder: Path) -> Path:
    """By what decides the replies."""
    how: dict[str, Any] = {name: getattr(config, name) for name in _WRITES_WITH}
    key = hashlib.sha256(json.dumps([each.temperature, how], sort_keys=True).encode()).hexdigest()[:8]
    return folder / f"{each.weights.digest}-{each.temperature:g}-{key}.jsonl"


def _said(each: Wanted, count: int) -> str:
    way = "greedy" if each.temperature == 0 else f"temperature {each.temperature:g}, {each.n} each"
    return f"{each.weights.name}: replies to {count} questions, {way}"
