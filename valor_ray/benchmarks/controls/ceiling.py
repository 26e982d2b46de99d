"""The ceiling: the one right program of each held-out question, which only what the tools see can make wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from valor_ray.benchmarks.data.tabletop import SEED
from valor_ray.errors import ConfigError
from valor_ray.records import Query
from valor_ray.runs.record_file import read_records, replace_text
from valor_ray.tabletop.dataset import QUESTIONS_PER_SCENE, items, rows
from valor_ray.tabletop.replies.write import gold


def gold_replies(
    queries: Sequence[Query], path: Path, say: Callable[[str], None]
) -> dict[str, tuple[str, ...]]:
    """query_id -> the right reply, alone; kept in `path`, as the scenes have to be rendered to draw their questions.

    Raises ConfigError when the questions are not those of the held-out scenes that are rendered here.
    """
    known = {row["query_id"]: row for row in read_records(path)}
    if any(query.query_id not in known for query in queries):
        say(f"the right programs of {len(queries)} questions, once")
        known = {row["query_id"]: row for row in _drawn(len(queries))}
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, "".join(json.dumps(row) + "\n" for row in known.values()))
    for query in queries:
        row = known.get(query.query_id)
        if row is None or row["question"] != query.question:
            raise ConfigError(
                f"The control ceiling needs right programs, which only rendered scenes have: {query.query_id!r} is no "
                "question of theirs. Leave it out (--only)."
            )
    return {query.query_id: (known[query.query_id]["reply"],) for query in queries}


def _drawn(count: int) -> list[dict[str, str]]:
    made = []
    for item in items(-(-count // QUESTIONS_PER_SCENE), SEED, split="held_out"):
        named = rows(item, f"{item.look}-{item.scene_seed}.png")
        for (query, _), (words, asked) in zip(named, item.questions, strict=True):
            made.append({"query_id": query["query_id"], "question": words, "reply": gold(asked.blueprint)})
    return made
