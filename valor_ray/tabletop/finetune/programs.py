"""Held-out questions with programs that are fixed once, so that only what tools see can change. For evaluation only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.errors import ConfigError
from valor_ray.images import from_array
from valor_ray.records import Picture
from valor_ray.runs.at_once import each
from valor_ray.runs.record_file import read_records, replace_text
from valor_ray.tabletop.dataset import QUESTIONS_PER_SCENE, items
from valor_ray.tabletop.replies.write import gold
from valor_ray.tabletop.scenes import GROUNDING_LOOKS
from valor_ray.wiring import policy

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

SEED = 0  # of the held-out set
_WRITES_WITH = (
    "model",
    "prompt",
    "max_tokens",
    "thinking",
)  # settings of the policy that decide a greedy reply
_AT_ONCE = 16  # that the policy writes side by side


@dataclass(frozen=True)
class Question:
    """A held-out question with its truth."""

    query_id: str
    question: str
    family: str
    look: str
    text: str  # "seen" in training or "unseen"
    truth: Any
    picture: Picture
    gold: str  # the right reply


def questions(count: int, looks: Sequence[str] = GROUNDING_LOOKS) -> list[Question]:
    """The first `count` questions of the held-out set in these looks, families in turn; renders two a scene."""
    made = []
    scenes = -(-count // QUESTIONS_PER_SCENE)
    for item in items(scenes, SEED, split="held_out", looks=tuple(looks)):
        picture = from_array(item.rendering.rgb)
        for number, ((words, asked), part) in enumerate(zip(item.questions, item.parts, strict=True)):
            made.append(
                Question(
                    f"{item.look}-{item.scene_seed}-q{number}",
                    words,
                    asked.blueprint.family,
                    item.look,
                    "seen" if part == "training" else "unseen",
                    asked.answer,
                    picture,
                    gold(asked.blueprint),
                )
            )
    return made[:count]


def greedy_replies(
    config: Config, asked: Sequence[Question], path: Path, say: Callable[[str], None]
) -> dict[str, str]:
    """Replies by query_id, of `config.policy` at temperature 0; from `path` where this policy's are there, else kept
    there, beside those of others.

    Raises ConfigError when the file is of other questions, PolicyError.
    """
    made_by = {name: getattr(config.policy, name) for name in _WRITES_WITH} | {"model": config.policy.writer}
    kept = list(read_records(path))
    known = {row["query_id"]: row for row in kept if row.get("policy") == made_by}
    for question in asked:
        row = known.get(question.query_id)
        if row is not None and row["question"] != question.question:
            raise ConfigError(f"{path} holds replies to other questions. Remove it: it is made anew.")
    todo = [question for question in asked if question.query_id not in known]
    if todo:
        say(f"{len(todo)} replies of {config.policy.writer}, once")
        texts = asyncio.run(_sampled(config, [question.question for question in todo], path.parent))
        rows = [
            {"query_id": question.query_id, "question": question.question, "policy": made_by, "reply": text}
            for question, text in zip(todo, texts, strict=True)
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        known |= {row["query_id"]: row for row in rows}
        replace_text(path, "".join(json.dumps(row) + "\n" for row in (*kept, *rows)))
    return {question.query_id: known[question.query_id]["reply"] for question in asked}


async def _sampled(config: Config, asked: Sequence[str], folder: Path) -> list[str]:
    greedy = config.policy.model_copy(update={"temperature": 0.0})
    texts = [""] * len(asked)
    async with policy(config.model_copy(update={"policy": greedy}), folder) as writes:

        async def one(place: int) -> None:
            texts[place] = (await writes.generate(asked[place], seed=SEED))[0].text

        await each(range(len(asked)), one, _AT_ONCE)
    return texts
