"""What an endpoint's gateway did, as Prometheus metrics through Ray: by part and head, and for its controllers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ray.util.metrics import Counter, Gauge, Histogram

from valor_ray.config.judging import Part
from valor_ray.judges.gateway.gateway import CallEvent

_LATENCIES_S = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100]


class JudgeMetrics:
    """One a replica; Ray adds the replica's own tags. All carry the part, so that each account is seen alone."""

    def __init__(self, part: Part | Literal["policy"]) -> None:
        self._part = {"part": part}
        self._answers = Counter(
            "valor_judge_answers", "Finished judge requests.", tag_keys=("part", "head", "outcome", "verdict")
        )
        by_head = ("part", "head")
        self._latency = Histogram(
            "valor_judge_latency_seconds",
            "From asking to answer, waiting included; cached answers are left out.",
            boundaries=_LATENCIES_S,
            tag_keys=by_head,
        )
        self._tries = Counter("valor_judge_tries", "HTTP requests sent, hedges included.", tag_keys=by_head)
        self._throttled = Counter("valor_judge_throttled", "Tries that got 429.", tag_keys=by_head)
        self._tokens = Counter("valor_judge_tokens", "Tokens paid for.", tag_keys=(*by_head, "kind"))
        self._cost = Counter("valor_judge_cost_usd", "US dollars, by the prices set.", tag_keys=by_head)
        self._state = Gauge(
            "valor_judge_state", "Limit, calls in flight, breaker.", tag_keys=("part", "what")
        )

    def observe(self, event: CallEvent) -> None:
        head = {**self._part, "head": event.head}
        self._answers.inc(1, {**head, "outcome": event.outcome, "verdict": event.verdict})
        usage = event.usage
        if usage.cached:
            return
        self._latency.observe(usage.latency_s, head)
        counts = {self._tries: usage.tries, self._throttled: event.throttled, self._cost: usage.cost_usd}
        for counter, amount in counts.items():
            if amount:
                counter.inc(amount, head)
        for kind, tokens in (("prompt", usage.prompt_tokens), ("completion", usage.completion_tokens)):
            if tokens:
                self._tokens.inc(tokens, {**head, "kind": kind})

    def state(self, gauges: Mapping[str, float]) -> None:
        for what in ("limit", "in_flight", "breaker_open"):
            self._state.set(gauges[what], {**self._part, "what": what})
