"""The curves of a training run, each in its panel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from valor_ray.records import Head
from valor_ray.report.kit.curves import NOTHING, Line, chart, running_total, stacked
from valor_ray.report.kit.html import audit_table, panel
from valor_ray.report.kit.rows import column, number
from valor_ray.report.reasoning.records import TrainRecords

STAGES = ("wait", "learn", "publish", "sample", "judge")
_SHARE = (0.0, 1.0)


def panels(run: TrainRecords, summary: Mapping[str, Any]) -> Iterator[str]:
    """HTML of each panel. A panel without data says so."""
    steps = run.metrics

    def lines(names: Mapping[str, str]) -> list[Line]:
        return [Line(title, column(steps, name)) for name, title in names.items()]

    yield panel(
        "Reward of the training samples",
        chart(lines({"reward": "reward", "all_heads": "all six heads yes"}), "mean, share", span=_SHARE),
    )
    heads = [Line(head.value, column(steps, "heads", head.value)) for head in Head]
    yield panel("The six heads", chart(heads, "share of yes", span=_SHARE))
    yield panel("Held-out accuracy, with 95 % interval", _accuracy(run))
    yield panel("The judges' view and the truth", _judge_truth(summary["judge_truth"]))
    yield panel("Divergence from the start policy", chart(lines({"kl": "KL"}), "KL (k3)"))
    yield panel("Loss", chart(lines({"loss": "loss"}), "loss"))
    yield panel("Gradient norm", chart(lines({"grad_norm": "norm"}), "norm"))
    yield panel("Entropy", chart(lines({"entropy": "entropy"}), "nats a token"))
    yield panel(
        "Age of the samples",
        chart(lines({"lag_mean": "mean", "lag_max": "largest"}), "steps"),
    )
    gap = chart(lines({"logprob_gap": "gap"}), "log-probability", log=True, alarm=_above_0(run, "gap_alarm"))
    yield panel("Engine against learner: largest gap", gap)
    yield panel(
        "Importance ratio",
        chart(lines({"ratio_mean": "mean", "ratio_max": "largest", "clip_share": "share clipped"}), "ratio"),
    )
    stages = {stage: column(steps, "seconds", stage) for stage in STAGES}
    note = "<p class='soft'>The learner waits, learns and publishes in turn; sampling and judging go on beside it.</p>"
    yield panel("Time by stage", (stacked(stages, "seconds") + note) if steps else NOTHING)
    yield panel("Length of replies", chart(lines({"reply_tokens": "tokens"}), "tokens, mean"))
    yield panel(
        "Judge calls", chart(lines({"judge_calls": "calls", "cache_hits": "from the cache"}), "a step")
    )
    cost = Line("cost", running_total(column(steps, "judge_cost_usd")))
    yield panel("Judge cost so far", chart([cost], "US$"))
    left_out = {
        "dropped_missing": "dropped: no verdict",
        "dropped_stale": "dropped: too old",
        "equal_groups": "groups without variance",
        "refilled": "groups replaced",
    }
    totals = [Line(title, running_total(column(steps, name))) for name, title in left_out.items()]
    yield panel("What was not trained on, so far", chart(totals, "number"))
    audit = summary["audit"]
    yield panel("Audit: canaries with known verdicts", audit_table(audit) if audit["kinds"] else NOTHING)


def _accuracy(run: TrainRecords) -> str:
    band = []
    for row in run.evaluations:
        ends = row.get("ci")
        if isinstance(ends, list) and len(ends) == 2 and all(isinstance(end, int | float) for end in ends):
            band.append((float(row["step"]), float(ends[0]), float(ends[1])))
    accuracy = Line("accuracy", column(run.evaluations, "accuracy"), band)
    well_formed = Line("well formed", column(run.evaluations, "well_formed"))
    return chart([accuracy, well_formed], "share", span=_SHARE)


def _judge_truth(found: Mapping[str, Any]) -> str:
    """Reward beside accuracy at each evaluation, and in words whether they part."""
    names = {"reward": "reward", "all_heads": "all six heads yes", "accuracy": "true accuracy"}
    lines = [Line(title, column(found["points"], name)) for name, title in names.items()]
    drawn = chart(lines, "mean, share", span=_SHARE)
    gains = [found[f"{name}_gain"] for name in names]
    if None in gains:
        return drawn
    reward, heads, accuracy = gains
    return (
        f'{drawn}<p class="soft">From the first evaluation to the last: reward {reward:+.3f}, all six heads '
        f"{heads:+.3f}, true accuracy {accuracy:+.3f}. Where the reward rises and the accuracy does not, the policy "
        "learns what the judges like.</p>"
    )


def _above_0(run: TrainRecords, name: str) -> float | None:
    value = number(run.config, "grpo", name)
    return value if value and value > 0 else None
