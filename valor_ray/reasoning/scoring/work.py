"""Before scoring: checks the file, finds what is still to do, and lays it out in small parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from valor_ray.errors import ConfigError
from valor_ray.reasoning.score_row import FIELDS, failure
from valor_ray.reasoning.scoring.folder import ScoreFolder
from valor_ray.reasoning.scoring.index import ScoreIndex, Standing
from valor_ray.reasoning.scoring.replies import NEEDS, BadRow, ReplyRow, read_replies
from valor_ray.runs.record_file import RecordFile, read_records

SHARD_ROWS = 512  # rows in memory while preparing; Ray Data cuts them into smaller pieces
SCHEMA = pa.schema([(name, pa.string()) for name in FIELDS])


@dataclass
class Counts:
    """Rows, as `prepare` has counted them."""

    replies: int = 0  # rows of the file
    todo: int = 0
    resumed: int = 0  # have a reward from an earlier run
    bad: int = 0
    canaries: int = 0


def prepare(
    replies: Path,
    limit: int | None,
    folder: ScoreFolder,
    index: ScoreIndex,
    failed: RecordFile,
    canaries: Iterator[Mapping[str, str]],
    audit_every: int,
) -> Counts:
    """Write the rows that have no reward yet to folder.work, and bad rows to `failed`. Memory: one shard.

    canaries: rows to slip in, one per `audit_every` replies (0: none).
    Raises ConfigError when no row can be scored, or when a row differs from what was scored under its id.
    """
    for record in read_records(folder.rewards):
        index.recorded(record["reply_id"], record["content"])
    counts, shard, first_error = Counts(), _Shards(folder.work), ""
    for row in islice(read_replies(replies), limit):
        counts.replies += 1
        named = _named(row, index)
        if isinstance(row, ReplyRow):
            standing = index.meet(named["reply_id"], row.content)
            if standing is Standing.CHANGED:
                raise ConfigError(_changed(replies, row, named["reply_id"], folder))
            if standing is Standing.TWICE:
                error = (
                    f"line {row.line}: reply_id {named['reply_id']!r} is there twice; the first one counts"
                )
                row = BadRow(row.line, named["reply_id"], row.query_id, error)
        if isinstance(row, BadRow):
            counts.bad += 1
            first_error = first_error or row.error
            failed.append(named | failure(row.error))
        elif standing is Standing.DONE:
            counts.resumed += 1
        else:
            shard.add(named)
            counts.todo += 1
            if audit_every and counts.todo % audit_every == 0:
                shard.add(next(canaries))
                counts.canaries += 1
    shard.flush()
    if counts.bad == counts.replies:
        problem = first_error or "it has no rows"
        raise ConfigError(f"--replies {replies}: nothing can be scored: {problem}. {NEEDS}")
    return counts


def _named(row: ReplyRow | BadRow, index: ScoreIndex) -> dict[str, str]:
    """The row's FIELDS; its id is its own, or its place among its query's replies, or its line."""
    place = index.nth(row.query_id) if row.query_id is not None else 0
    reply_id = row.reply_id or (f"{row.query_id}#{place}" if place else f"line:{row.line}")
    return {
        "reply_id": reply_id,
        "query_id": row.query_id or "",
        "content": row.content if isinstance(row, ReplyRow) else "",
        "question": row.question if isinstance(row, ReplyRow) else "",
        "reply": row.reply if isinstance(row, ReplyRow) else "",
        "canary": "",
    }


def _changed(replies: Path, row: ReplyRow, reply_id: str, folder: ScoreFolder) -> str:
    return (
        f"{replies} line {row.line}: reply {reply_id!r} has another text than the one that {folder.rewards} has a "
        "reward for. Give the changed file its own --out (verdicts that still fit are re-used with "
        f"--set judge.cache_dir={folder.cache}), or give its rows a reply_id."
    )


class _Shards:
    """Parquet files of at most SHARD_ROWS rows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: list[dict[str, str]] = []
        self._written = 0

    def add(self, row: Mapping[str, str]) -> None:
        self._rows.append(dict(row))
        if len(self._rows) >= SHARD_ROWS:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            path = self._folder / f"replies-{self._written:06d}.parquet"
            pq.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA), path)
            self._written += 1
            self._rows = []


def shard_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The prepared rows in order."""
    for path in sorted(folder.glob("replies-*.parquet")):
        yield from pq.read_table(path).to_pylist()
