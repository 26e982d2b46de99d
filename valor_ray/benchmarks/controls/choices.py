"""Which of a question's replies is taken: by votes, by the judges, by scenes; their scores are kept by reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.benchmarks.controls.kept import find_out, known, reply_key, settings_key
from valor_ray.benchmarks.results.gain import choice
from valor_ray.benchmarks.results.row import Sample
from valor_ray.program.sandbox import Sandbox
from valor_ray.reasoning.local_rewarder import local_rewarder
from valor_ray.reasoning.reward import lasting
from valor_ray.records import Query
from valor_ray.selecting.select import Select, reward_for
from valor_ray.wiring import judging

if TYPE_CHECKING:
    from collections.abc import Callable

    from valor_ray.benchmarks.controls.replies import Replies
    from valor_ray.config.tree import Config

    Say = Callable[[str], None]

OF = 8  # replies that are chosen among
_AT_ONCE = 96
_MOST_MISSING = (
    0.1  # share of the replies that may have no score: a judge may decline, and they come after all others
)
Scores = Mapping[str, Mapping[str, Any]]  # reply_key -> {"score": 0..1 or None, "calls", "cost_usd"}


async def scored(
    select: Select,
    replies: Sequence[Replies],
    queries: Sequence[Query],
    config: Config,
    run: Path,
    say: Say,
) -> Scores:
    """What judge or scenes say of the first OF replies to each question; of a vote nothing.

    Asked as `valor ask --select` asks; nothing is paid twice. Raises ServiceError when too many have no verdict,
    JudgeError, StorageError.
    """
    weights = reward_for(select, config.reward)
    if weights is None:
        return {}
    judge = {name: getattr(config.judge, name) for name in ("base_url", "model", "noise", "extra")}
    key = settings_key({"reward": weights.model_dump(mode="json"), "judge": judge})
    path = run / "controls" / "scores" / f"{select.value}-{key}.jsonl"
    pairs = [(query, text) for each in replies for query in queries for text in each[query.query_id][:OF]]
    held = known(path)
    if any(reply_key(*pair) not in held for pair in pairs):
        async with (
            judging(config.judge, run / "controls" / "judge_cache") as judges,
            Sandbox(config.sandbox) as sandbox,
        ):
            rewarding = local_rewarder(weights, judges, sandbox)

            async def found(query: Query, text: str) -> dict[str, Any] | str:
                said = await rewarding(query.question, text)
                if not lasting(said):
                    return next(one.reason for one in said.verdicts.values() if one.value is None)
                used = said.usage.values()
                calls, cost = sum(one.tries for one in used), sum(one.cost_usd for one in used)
                return {"score": said.value, "calls": calls, "cost_usd": cost}

            what = f"replies to be scored by {select.value}"
            await find_out(path, pairs, found, _AT_ONCE, what, say, _MOST_MISSING)
        held = known(path)
    return held


def taken(
    select: Select, replies: Replies, queries: Sequence[Query], answers: Mapping[str, Sample], scores: Scores
) -> list[Sample]:
    """Of each question the answer that is taken."""
    chosen = []
    for query in queries:
        keys = [reply_key(query, text) for text in replies[query.query_id][:OF]]
        samples = [replace(answers[key], score=scores.get(key, {}).get("score")) for key in keys]
        chosen.append(samples[choice(samples, select)])
    return chosen


def calls_a_question(replies: Replies, queries: Sequence[Query], scores: Scores) -> float:
    """Judge calls, on average: equal replies are asked about once."""
    keys = {reply_key(query, text) for query in queries for text in replies[query.query_id][:OF]} & set(
        scores
    )
    return sum(scores[key]["calls"] for key in keys) / len(queries)
