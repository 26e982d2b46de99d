"""A whole rollout for tests that care for a few of its fields."""

from __future__ import annotations

from typing import Any

from valor_ray.records import Rollout


def rollout_of(step: int = 1, shard: int = 0, group: int = 0, sample: int = 0, **others: Any) -> Rollout:
    """Of three tokens, written by the weights before its step, with all verdicts yes; `others`: fields that differ."""
    fields = {
        "rollout_id": f"s{step:06d}-{shard}-{group:02d}-{sample}",
        "query_id": f"q{group}",
        "question": f"How many balls are on table {group}?",
        "reply": f"reply {sample}",
        "prompt_ids": (7, 8),
        "token_ids": (1, 2, 3),
        "logprobs": (-0.1, -0.2, -0.3),
        "versions": ((f"step-{step - 1:06d}", 3),),
        "finish_reason": "stop",
        "value": 1.0,
        **dict.fromkeys(("format", "syntax", "logic", "attribute", "spatial", "adherence"), True),
        "reasons": {"logic": "every step follows"},
        "by": {"logic": "a judge"},
        "calls": 4,
        "cache_hits": 0,
        "prompt_tokens": 400,
        "completion_tokens": 40,
        "cost_usd": 0.01,
        "latency_s": {"logic": 0.25},
        "seconds": 0.5,
        "fate": "used",
        "advantage": 0.0,
    }
    return Rollout(step=step, shard=shard, group=group, sample=sample, **fields | others)
