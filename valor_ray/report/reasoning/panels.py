"""The curves of a training run, each in its panel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from valor_ray.records import Head
from valor_ray.report.kit.curves import NOTHING, Line, chart, running_total, stacked
from valor_ray.report.kit.rows import column, number
from valor_ray.report.reasoning.records import TrainRecords

if TYPE_CHECKING:
    from markupsafe import Markup

STAGES = ("wait", "learn", "publish", "sample", "judge")
_SHARE = (0.0, 1.0)


@dataclass(frozen=True)
class Panel:
    title: str
    plot: Markup  # SVG with its legend, or that there is nothing yet
    note: str = ""  # what stands below


def panels(run: TrainRecords, summary: Mapping[str, Any]) -> Iterator[Panel]:
    """Each panel of curves, in the order of the page. One without data says so."""
    yield Panel(
        "Reward of the training samples",
        _curves(run, {"reward": "reward", "all_heads": "all heads yes"}, "mean, share", span=_SHARE),
    )
    heads = [Line(head.value, column(run.metrics, "heads", head.value)) for head in Head]
    known = [
        line for line in heads if any(value is not None for _, value in line.points)
    ]  # a weight of 0: none
    yield Panel("The heads", chart(known, "share of yes", span=_SHARE))
    yield from _scene_tests(run)
    yield Panel("Held-out accuracy, with 95 % interval", _accuracy(run))
    yield _judge_truth(summary["judge_truth"])
    yield from _learning(run)
    yield from _effort(run)


def _scene_tests(run: TrainRecords) -> Iterator[Panel]:
    """Where the run asked for scenes."""
    names = {
        "scenes_left_out": "groups that they do not apply to",
        "scenes_missing": "replies without a verdict",
    }
    if any(number(row, name) for row in run.metrics for name in names) or any(
        number(row, "heads", Head.SCENES.value) is not None for row in run.metrics
    ):
        yield Panel("Scene tests: left out and missing", _curves(run, names, "share", span=_SHARE))
        per_reply = {"judge_calls_per_reply": "calls"}
        yield Panel("Judge calls per reply", _curves(run, per_reply, "calls a reply"))


def _learning(run: TrainRecords) -> Iterator[Panel]:
    """What the learner measures of itself and of its samples."""
    yield Panel("Divergence from the start policy", _curves(run, {"kl": "KL"}, "KL (k3)"))
    yield Panel("Loss", _curves(run, {"loss": "loss"}, "loss"))
    yield Panel("Gradient norm", _curves(run, {"grad_norm": "norm"}, "norm"))
    yield Panel("Entropy", _curves(run, {"entropy": "entropy"}, "nats a token"))
    yield Panel("Age of the samples", _curves(run, {"lag_mean": "mean", "lag_max": "largest"}, "steps"))
    gaps = {"logprob_gap_mean": "mean", "logprob_gap_p99": "99th percentile", "logprob_gap": "largest"}
    alarm = _above_0(run, "gap_alarm")
    yield Panel("Engine against learner", _curves(run, gaps, "log-probability", log=True, alarm=alarm))
    ratios = {"ratio_mean": "mean", "ratio_max": "largest", "clip_share": "share clipped"}
    yield Panel("Importance ratio", _curves(run, ratios, "ratio"))


def _effort(run: TrainRecords) -> Iterator[Panel]:
    """Time, tokens and judge calls, and what they did not serve."""
    stages = {stage: column(run.metrics, "seconds", stage) for stage in STAGES}
    note = "The learner waits, learns and publishes in turn; sampling and judging go on beside it."
    bars = stacked(stages, "seconds") if run.metrics else NOTHING
    yield Panel("Time by stage", bars, note if run.metrics else "")
    yield Panel("Length of replies", _curves(run, {"reply_tokens": "tokens"}, "tokens, mean"))
    yield Panel("Replies cut at the token limit", _curves(run, {"cut": "cut"}, "share", span=_SHARE))
    calls = {"judge_calls": "calls", "cache_hits": "from the cache"}
    yield Panel("Judge calls", _curves(run, calls, "a step"))
    cost = Line("cost", running_total(column(run.metrics, "judge_cost_usd")))
    yield Panel("Judge cost so far", chart([cost], "US$"))
    left_out = {
        "dropped_missing": "dropped: no verdict",
        "dropped_stale": "dropped: too old",
        "equal_groups": "groups without variance",
        "refilled": "groups replaced",
    }
    totals = [Line(title, running_total(column(run.metrics, name))) for name, title in left_out.items()]
    yield Panel("What was not trained on, so far", chart(totals, "number"))


def _curves(
    run: TrainRecords,
    names: Mapping[str, str],
    up: str,
    *,
    span: tuple[float, float] | None = None,
    log: bool = False,
    alarm: float | None = None,
) -> Markup:
    """Figures of the metrics over the steps; names: figure -> what its curve is called. The rest is `chart`'s."""
    lines = [Line(title, column(run.metrics, name)) for name, title in names.items()]
    return chart(lines, up, span=span, log=log, alarm=alarm)


def _accuracy(run: TrainRecords) -> Markup:
    band = []
    for row in run.evaluations:
        ends = row.get("ci")
        if isinstance(ends, list) and len(ends) == 2 and all(isinstance(end, int | float) for end in ends):
            band.append((float(row["step"]), float(ends[0]), float(ends[1])))
    accuracy = Line("accuracy", column(run.evaluations, "accuracy"), band)
    well_formed = Line("well formed", column(run.evaluations, "well_formed"))
    return chart([accuracy, well_formed], "share", span=_SHARE)


def _judge_truth(views: Mapping[str, Any]) -> Panel:
    """Reward beside accuracy at each evaluation, and in words whether they part."""
    title = "The judges' view and the truth"
    names = {"reward": "reward", "all_heads": "all heads yes", "accuracy": "true accuracy"}
    lines = [Line(said, column(views["points"], name)) for name, said in names.items()]
    plot = chart(lines, "mean, share", span=_SHARE)
    gains = [views[f"{name}_gain"] for name in names]
    if None in gains:
        return Panel(title, plot)
    reward, heads, accuracy = gains
    note = (
        f"From the first evaluation to the last: reward {reward:+.3f}, all heads {heads:+.3f}, true accuracy "
        f"{accuracy:+.3f}. Where the reward rises and the accuracy does not, the policy learns what the judges like."
    )
    return Panel(title, plot, note)


def _above_0(run: TrainRecords, name: str) -> float | None:
    value = number(run.config, "grpo", name)
    return value if value and value > 0 else None
