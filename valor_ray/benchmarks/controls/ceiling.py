"""The ceiling: the one right program of each held-out question, which only what the tools see can make wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from valor_ray.errors import ConfigError
from valor_ray.records import Query
from valor_ray.runs.record_file import read_records, replace_text
from valor_ray.tabletop.dataset import QUESTIONS_PER_SCENE, items, rows
from valor_ray.tabletop.replies.write import gold
from valor_ray.tabletop.scenes import ALL_LOOKS, set_of_scene


def gold_replies(
    queries: Sequence[Query], path: Path, say: Callable[[str], None]
) -> dict[str, tuple[str, ...]]:
    """query_id -> the right reply, alone; kept in `path`, as the scenes have to be rendered to draw their questions.

    Raises ConfigError when the questions are not those of a set that `write_dataset` renders in the looks in turn, or
    in one.
    """
    known = {row["query_id"]: row for row in read_records(path)}
    if any(query.query_id not in known for query in queries):
        say(f"the right programs of {len(queries)} questions, once")
        known = {row["query_id"]: row for row in _drawn(queries)}
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


def _drawn(queries: Sequence[Query]) -> list[dict[str, str]]:
    """Rows of the set that the first question's scene belongs to; none when its id names no scene."""
    named = [re.fullmatch(r"([a-z]+)-(\d+)-q\d+", query.query_id) for query in queries]
    scenes = [(found[1], int(found[2])) for found in named if found]
    if not scenes or len(scenes) < len(queries) or not {look for look, _ in scenes} <= set(ALL_LOOKS):
        return []
    split, seed = set_of_scene(scenes[0][1])
    looks = tuple(dict.fromkeys(look for look, _ in scenes))
    made = []
    for item in items(-(-len(queries) // QUESTIONS_PER_SCENE), seed, split=split, looks=looks):
        written = rows(item, f"{item.look}-{item.scene_seed}.png")
        for (query, _), (words, asked) in zip(written, item.questions, strict=True):
            made.append({"query_id": query["query_id"], "question": words, "reply": gold(asked.blueprint)})
    return made
