"""What was found out about replies, kept on disk: a record a question and reply, whoever wrote the reply."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from valor_ray.errors import ServiceError
from valor_ray.queries.gathering.measured import content
from valor_ray.records import Query
from valor_ray.runs.at_once import each as each_of
from valor_ray.runs.record_file import RecordFile, cut_torn_line, read_records

MOST_FAILED = 0.01  # share of what is asked that may fail for reasons of its own
_SAY_EVERY = 500

Found = Callable[
    [Query, str], Awaitable[Mapping[str, Any] | str]
]  # (query, reply) -> a record, or why there is none


def reply_key(query: Query, reply: str) -> str:
    """16 hex digits. Another set may ask something else, or about another picture, under the same id."""
    asked = [query.query_id, query.question, _picture(query.image), reply]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


@cache
def _picture(image: str) -> str:
    return content(Path(image).read_bytes()) if image else ""


def settings_key(settings: Mapping[str, Any]) -> str:
    """8 hex digits of settings that decide what is found out."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:8]


def known(path: Path) -> dict[str, dict[str, Any]]:
    """reply_key -> record."""
    cut_torn_line(path)
    return {row["key"]: row for row in read_records(path)}


async def find_out(
    path: Path,
    pairs: Sequence[tuple[Query, str]],
    found: Found,
    at_once: int,
    what: str,
    say: Callable[[str], None],
    most_failed: float = MOST_FAILED,
) -> None:
    """Ask about the pairs (query, reply) that `path` has nothing of, `at_once` at a time; each is kept as it comes.

    what: they are, for messages. Raises ServiceError when a larger share of `pairs` than `most_failed` gave nothing;
    the same command asks these again, as it does fewer, of which is said why. Raises StorageError.
    """
    held = known(path)
    todo = {key: pair for pair in pairs if (key := reply_key(*pair)) not in held}
    if not todo:
        return
    say(f"{len(todo)} {what}")
    path.parent.mkdir(parents=True, exist_ok=True)
    done, failed = 0, Counter[str]()
    with closing(RecordFile(path, keep=True)) as file:

        async def one(item: tuple[str, tuple[Query, str]]) -> None:
            nonlocal done
            key, pair = item
            record = await found(*pair)
            done += 1
            if isinstance(record, str):
                failed[record] += 1
            else:
                file.append({"key": key, **record})
            if done % _SAY_EVERY == 0:
                say(f"{done} of {len(todo)} {what}")

        await each_of(todo.items(), one, at_once)
    if not failed:
        return
    reason = f"{failed.total()} of {len(todo)} {what} failed ({failed.most_common(1)[0][0]})"
    if failed.total() > most_failed * len({reply_key(*pair) for pair in pairs}):
        raise ServiceError(f"{reason}. The same command asks these again.")
    say(reason)
