"""Answers of replies' programs on the held-out pictures, with the run's live tools; kept by question and reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray import images
from valor_ray.asking.question import ask
from valor_ray.benchmarks.controls.kept import find_out, known, reply_key, settings_key
from valor_ray.benchmarks.controls.source import EVALUATION
from valor_ray.benchmarks.held_out import chain_of
from valor_ray.benchmarks.results.row import AnswerRow, Sample
from valor_ray.benchmarks.truth import Truth
from valor_ray.config.judging import JudgeConfig
from valor_ray.errors import ServiceError
from valor_ray.ports import Turn
from valor_ray.records import Query, Reply
from valor_ray.tabletop.finetune.detections import weights_of
from valor_ray.wiring import eyes

if TYPE_CHECKING:
    from collections.abc import Callable

    from valor_ray.benchmarks.controls.replies import Replies
    from valor_ray.config.tree import Config
    from valor_ray.wiring import OpenEyes

    Say = Callable[[str], None]

_AT_ONCE = 48  # most of them wait for tools


@dataclass(frozen=True)
class _Says:
    """ports.Policy with one reply, which is known."""

    text: str

    async def generate(
        self, question: str, *, n: int = 1, seed: int | None = None, turns: Sequence[Turn] = ()
    ) -> list[Reply]:
        return [Reply(self.text, (), (), "", "stop")] * n


async def answered(
    replies: Sequence[Replies],
    queries: Sequence[Query],
    config: Config,
    run: Path,
    say: Say,
    open_eyes: OpenEyes | None = None,
) -> Mapping[str, Sample]:
    """What each reply to `queries` answers, by kept.reply_key; equal replies to a question are run once.

    run: the run folder. Models are loaded only where something is to be run. Raises ServiceError when tools failed for
    too many, ConfigError, CheckpointError, StorageError.
    """
    path = run / "controls" / "answers" / f"{_seen_with(config)}.jsonl"
    pairs = [(query, text) for each in replies for query in queries for text in each[query.query_id]]
    held = known(path)
    if any(reply_key(*pair) not in held for pair in pairs):
        opened = open_eyes or (lambda: eyes(config))
        async with chain_of(config, run / EVALUATION, _Says(""), opened, {}) as chain:

            async def found(query: Query, text: str) -> dict[str, Any] | str:
                picture = images.load(Path(query.image), config.images)
                try:
                    said = await ask(query.question, picture, replace(chain, policy=_Says(text)), seed=0)
                except ServiceError as error:
                    return str(error)
                return {"answer": said["answer"], "status": said["status"]}

            await find_out(path, pairs, found, _AT_ONCE, "replies to be run", say)
        held = known(path)
    failed = Sample(None, "unasked")
    made = {key: Sample(row["answer"], row["status"]) for key, row in held.items()}
    return {key: made.get(key, failed) for pair in pairs for key in (reply_key(*pair),)}


def answer_row(query: Query, truth: Truth, samples: Sequence[Sample]) -> AnswerRow:
    """A question with all its samples, each an answer of its own, marked."""
    return AnswerRow.of(query, truth, samples=tuple(samples)).marked()


def _seen_with(config: Config) -> str:
    """What decides an answer of a program that is given."""
    asks = set(JudgeConfig.model_fields) & {"base_url", "model", "noise", "extra"}
    return settings_key(
        {
            "detector": weights_of(config.detector),
            **{name: getattr(config.detector, name) for name in ("box_threshold", "text_threshold")},
            "sides": [config.detector.image_side, config.depth.image_side],
            "depth": config.depth.model,
            "vlm": {name: getattr(config.vlm, name) for name in sorted(asks)},
        }
    )
