"""What a training run would do, without doing it: `valor train reasoning --dry-run`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from valor_ray.judges.gateway.answers import Taken
from valor_ray.placement.nodes import Node, records
from valor_ray.placement.training import placement
from valor_ray.reasoning.learner.learn import check_shape
from valor_ray.reasoning.planning.memory import memory_plan
from valor_ray.reasoning.planning.sizing.splits import step_seconds
from valor_ray.reasoning.training.schedule import assignments, shards_of
from valor_ray.records import Query

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

_TOKENS_IN, _TOKENS_OUT = 1200, 80  # of a judge call on a real reply; for the estimate only
_SCENE_CALLS = (
    3  # a question: what it names, and its answers twice; phrases that the scenes do not know come on top
)


def plan(
    config: Config,
    queries: Sequence[Query],
    *,
    memory: bool = True,
    nodes: Sequence[Node] | None = None,
    taken: Taken | None = None,
) -> dict[str, Any]:
    """What a run would do, without doing it. Raises ConfigError as the run would.

    memory: also what it takes of memory and disk, for which transformers is imported; a run that cannot fit is refused.
    taken: what this judge's answers really took, where there are some, for the cost.
    nodes: where it would run: also who sits on which GPU, refused where they do not fit.
    """
    check_shape(config.grpo)
    grpo = config.grpo
    steps = grpo.number_of_steps(len(queries))
    todo = list(assignments(queries, grpo, shards_of(config), config.reward.audit_every))
    replies = steps * grpo.prompts * grpo.samples
    most = sum(len(assignment.queries) for assignment in todo) * grpo.samples
    heads, scene_calls = len(config.reward.judged()), _SCENE_CALLS * (config.reward.scenes > 0)
    calls, judge = heads * replies + scene_calls * steps * grpo.prompts, config.judge
    canaries = sum(assignment.canaries for assignment in todo)
    priced = judge.base_url is None or judge.price_in > 0 or judge.price_out > 0
    tokens_in, tokens_out = (
        (taken.prompt_tokens, taken.completion_tokens) if taken else (_TOKENS_IN, _TOKENS_OUT)
    )
    cost = calls * (tokens_in * judge.price_in + tokens_out * judge.price_out) / 1e6
    assumed = f"{tokens_in:.0f} + {tokens_out:.0f} tokens a call, at judge.price_in and judge.price_out"
    if taken:
        assumed += f"; what {taken.answers} answers of this judge took"
    if judge.max_cost_usd is not None and cost > judge.max_cost_usd:
        assumed += f"; more than judge.max_cost_usd={judge.max_cost_usd:g}: the run would end there"
    return {
        "queries": len(queries),
        "steps": steps,
        "epochs": round(steps * grpo.prompts / len(queries), 2),
        "replies": replies,
        "replies_with_reserve": most,
        # null: as many as the replies' lengths make
        "micro_batches_per_step": grpo.prompts * grpo.samples // (grpo.micro_batch * grpo.workers)
        if grpo.micro_batch_tokens is None
        else None,
        "judge_calls": calls,
        "judge_calls_at_most": heads * (most + canaries) + scene_calls * (most // grpo.samples + canaries),
        "judge_cost_usd": round(cost, 2) if priced else None,
        "cost_assumes": assumed if priced else "no price: set judge.price_in and judge.price_out",
        "checkpoints": -(-steps // grpo.save_every),
        "policy_replicas": config.policy.replicas,
        "learner_processes": grpo.workers,
        **(memory_plan(config, steps) | step_seconds(config) if memory else {}),
        **({} if nodes is None else {"placement": records(placement(config, nodes))}),
    }
