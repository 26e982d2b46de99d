"""Samples replies from the policy for `valor score`: n per question, appended to a JSONL file as they come.

    python -m jobs.sample_replies --queries scenes/queries.jsonl --n 4 --out replies.jsonl
    python -m jobs.sample_replies --queries q.jsonl --n 8 --out r.jsonl --set policy.temperature=1

In: JSON lines with query_id and question (`valor tabletop render` writes such a file). Out: reply_id, query_id,
question, reply, policy_version, finish_reason. Needs no Ray. Killed, the same command goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.commands.options import add_profile, load_config, positive
from valor_ray.errors import ConfigError, ValorError

if TYPE_CHECKING:
    from valor_ray.models.vllm_policy import VllmPolicy

SAY_EVERY_S = 5.0


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(prog="python -m jobs.sample_replies", description=__doc__)
    words.formatter_class = argparse.RawDescriptionHelpFormatter
    words.add_argument(
        "--queries", type=Path, required=True, metavar="FILE", help="query_id, question a line"
    )
    words.add_argument("--n", type=positive, default=4, help="replies per question (4)")
    words.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSONL that grows")
    words.add_argument("--limit", type=positive, metavar="N", help="only the first N questions")
    words.add_argument(
        "--concurrency", type=positive, default=16, metavar="N", help="questions at a time (16)"
    )
    add_profile(words)
    return words


def queries(path: Path, limit: int | None) -> Iterator[tuple[str, str]]:
    """(query_id, question) of each line. Raises ConfigError naming the line."""
    if not path.is_file():
        raise ConfigError(
            f"{path} does not exist. `valor tabletop render --out scenes/` writes scenes/queries.jsonl."
        )
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if limit is not None and number > limit:
                return
            try:
                row = json.loads(line)
                yield str(row["query_id"]), str(row["question"])
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError(
                    f"{path} line {number}: needs query_id and question as JSON ({error!r})."
                ) from error


def written(path: Path) -> Counter[str]:
    """How many replies the file has per query; cuts off a last line that a kill has torn."""
    have: Counter[str] = Counter()
    if not path.exists():
        return have
    end = 0
    with path.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                break
            have[json.loads(line)["query_id"]] += 1
            end += len(line)
    os.truncate(path, end)
    return have


async def sample(policy: VllmPolicy, args: argparse.Namespace) -> int:
    """Write what is missing; returns the number of replies written."""
    have = written(args.out)
    todo = [item for item in queries(args.queries, args.limit) if have[item[0]] < args.n]
    wanted = sum(args.n - have[query_id] for query_id, _ in todo)
    waiting, done, start, said = iter(todo), 0, time.monotonic(), 0.0
    with args.out.open("ab", buffering=0) as file:

        async def work() -> None:
            nonlocal done, said
            for query_id, question in waiting:
                first = have[query_id]
                # no seed: vLLM 0.32 on CPU dies of a seeded request whose prompt is prefilled in two steps
                replies = await policy.generate(question, n=args.n - first)
                rows = [
                    {
                        "reply_id": f"{query_id}#{first + n}",
                        "query_id": query_id,
                        "question": question,
                        "reply": reply.text,
                        "policy_version": reply.policy_version,
                        "finish_reason": reply.finish_reason,
                    }
                    for n, reply in enumerate(replies, start=1)
                ]
                file.write(b"".join(_line(row) for row in rows))
                done += len(rows)
                if time.monotonic() - said > SAY_EVERY_S or done == wanted:
                    said = time.monotonic()
                    left = (wanted - done) * (said - start) / done
                    print(f"sample_replies: {done}/{wanted} replies, {left:.0f} s left", file=sys.stderr)

        async with asyncio.TaskGroup() as group:
            for _ in range(args.concurrency):
                group.create_task(work())
    return done


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


async def run(args: argparse.Namespace) -> int:
    from valor_ray.models.vllm_policy import VllmPolicy

    policy = VllmPolicy(load_config(args).policy)
    await policy.start()
    try:
        return await sample(policy, args)
    finally:
        policy.close()
        gc.collect()  # vLLM's engine is a cycle, and complains when the interpreter's end finds it


def main() -> int:
    args = parser().parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        wrote = asyncio.run(run(args))
    except ValorError as error:
        print(f"sample_replies: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        print("sample_replies: interrupted; the same command goes on", file=sys.stderr)
        return 130
    print(f"sample_replies: wrote {wrote} replies to {args.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
