"""Samples replies from the policy for `valor score`: n per question, appended to a JSONL file as they come.

    python -m jobs.sample_replies --queries scenes/queries.jsonl --n 4 --out replies.jsonl
    python -m jobs.sample_replies --queries q.jsonl --n 8 --out r.jsonl --set policy.temperature=1

In: what training reads (JSON lines, parquet, a folder with queries.jsonl, ...); `valor tabletop render` writes such
a folder. Out: reply_id, query_id, question, reply, policy_version, finish_reason. Needs no Ray. Killed, the same
command goes on.

Exit code 0: all replies are there; 1: the policy failed; 2: wrong usage or settings; 130: Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from valor_ray.commands.options import (
    add_profile,
    exit_code,
    interrupt_on_signals,
    load_training_config,
    local_path,
    positive,
    show,
)
from valor_ray.errors import ConfigError, QuestionError
from valor_ray.runs.at_once import each
from valor_ray.runs.progress import Pace
from valor_ray.runs.record_file import RecordFile, read_records

if TYPE_CHECKING:
    from valor_ray.ports import Policy
    from valor_ray.records import Query, Reply

_HEAD = b'{"reply_id": '  # how a file of ours begins
SAY_EVERY_S = 5.0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m jobs.sample_replies", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--queries", required=True, metavar="SOURCE", help="query_id, question a row")
    parser.add_argument("--n", type=positive, default=4, help="replies per question (4)")
    parser.add_argument("--out", type=local_path, required=True, metavar="FILE", help="JSONL that grows")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N questions")
    parser.add_argument(
        "--concurrency", type=positive, default=16, metavar="N", help="questions at a time (16)"
    )
    add_profile(parser)
    return parser


def open_replies(out: Path) -> tuple[RecordFile, Counter[str]]:
    """The file, open to go on, and how many replies it has per query. Raises ConfigError when it is somebody else's."""
    foreign = f"--out {out} holds something other than the replies of this job. Give another file."
    have: Counter[str] = Counter()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.touch()
        with out.open("rb") as file:
            if not _HEAD.startswith(file.read(len(_HEAD))):
                raise ConfigError(foreign)
        replies_file = RecordFile(out, keep=True)
    except OSError as error:
        raise ConfigError(f"--out {out}: {error}. Give a file that can be written.") from error
    for record in read_records(out):
        if not isinstance(record, dict) or not isinstance(record.get("query_id"), str):
            raise ConfigError(foreign)
        have[record["query_id"]] += 1
    return replies_file, have


async def sample(
    policy: Policy,
    queries: Sequence[Query],
    n: int,
    replies_file: RecordFile,
    have: Counter[str],
    concurrency: int,
) -> int:
    """Write what is missing; returns the number of replies written. Raises PolicyError, QuestionError, StorageError."""
    pace = Pace(sum(n - have[query.query_id] for query in queries))
    pace.count(0)

    async def one(query: Query) -> None:
        first = have[query.query_id]
        try:
            replies = await policy.generate(query.question, n=n - first)
        except QuestionError as error:
            raise QuestionError(f"query {query.query_id}: {error}") from error
        replies_file.append_all([_row(query, first + i, reply) for i, reply in enumerate(replies, start=1)])
        pace.count(len(replies))
        if pace.due(SAY_EVERY_S):
            _say(pace.line("replies"))

    await each(queries, one, concurrency)
    return pace.done


def _row(query: Query, number: int, reply: Reply) -> dict[str, str]:
    return {
        "reply_id": f"{query.query_id}#{number}",
        "query_id": query.query_id,
        "question": query.question,
        "reply": reply.text,
        "policy_version": reply.policy_version,
        "finish_reason": reply.finish_reason,
    }


async def run(args: argparse.Namespace) -> int:
    """Replies written. Settings and files are looked at before the host is started."""
    from valor_ray.queries.read import read_queries

    config = load_training_config(args, _say)
    queries = read_queries(args.queries, args.limit)
    replies_file, have = open_replies(args.out)
    with closing(replies_file):
        todo = [query for query in queries if have[query.query_id] < args.n]
        if not todo:
            return 0
        from valor_ray.wiring import policy

        async with policy(config, args.out.parent) as writes:
            return await sample(writes, todo, args.n, replies_file, have, args.concurrency)


def main() -> int:
    args = build_parser().parse_args()
    interrupt_on_signals()
    return exit_code(
        "sample_replies", lambda: _work(args), interrupted="interrupted; the same command goes on"
    )


def _work(args: argparse.Namespace) -> int:
    wrote = asyncio.run(run(args))
    _say(f"wrote {wrote} replies to {args.out}")
    return 0


def _say(line: str) -> None:
    show(f"sample_replies: {line}", file=sys.stderr, flush=True)
