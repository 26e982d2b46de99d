"""What a training run came to, in numbers. Evaluation results are read as plain rows: nothing here knows a truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from valor_ray.measure.holm import SURE, holm
from valor_ray.measure.intervals import paired_difference
from valor_ray.measure.paired import mcnemar
from valor_ray.report.kit.rows import column, number
from valor_ray.report.reasoning.records import Marks, TrainRecords, best_evaluation
from valor_ray.report.reasoning.rollouts import Browsed

_ENDS = 5  # steps at either end that a mean is taken over, at most
_PLAN = ("steps", "epochs", "prompts")  # settings that the number of steps follows from
_STAGES_IN_A_ROW = ("wait", "learn", "publish")  # of the learner; sampling and judging go on beside them


def summarise(run: TrainRecords, browsed: Browsed) -> dict[str, Any]:
    """The numbers of a run; null where there is nothing yet."""
    steps, evaluations = run.metrics, run.evaluations
    start, end = both_ends(steps)
    first = evaluations[0] if evaluations else {}
    last = evaluations[-1] if len(evaluations) > 1 else {}
    gain, gain_ci = _gain(run)
    summary = {
        "steps": len(steps),
        "planned_steps": _planned(run),
        "reward_start": _mean(start, "reward"),
        "reward_end": _mean(end, "reward"),
        "all_heads_start": _mean(start, "all_heads"),
        "all_heads_end": _mean(end, "all_heads"),
        "accuracy_start": number(first, "accuracy"),
        "accuracy_end": number(last, "accuracy"),
        "gain": gain,
        "gain_ci": gain_ci,
        "well_formed": number(last or first, "well_formed"),
        "cut": _mean(steps, "cut"),
        "dropped_missing": _total(steps, "dropped_missing"),
        "dropped_stale": _total(steps, "dropped_stale"),
        "equal_groups": _total(steps, "equal_groups"),
        "refilled": _total(steps, "refilled"),
        "max_logprob_gap": _largest(steps, "logprob_gap"),
        "max_logprob_gap_mean": _largest(steps, "logprob_gap_mean"),
        "max_lag": _whole(_largest(steps, "lag_max")),
        "judge_calls": _total(steps, "judge_calls"),
        "judge_calls_per_reply": _mean(steps, "judge_calls_per_reply"),
        "scenes_left_out": _mean(steps, "scenes_left_out"),
        "scenes_missing": _mean(steps, "scenes_missing"),
        "judge_cost_usd": _total(steps, "judge_cost_usd", digits=6),
        "minutes": _minutes(run),
        "rollouts": dict(browsed.counts),
        "by_family": _families(run),
        "judge_truth": _judge_truth(run),
        "audit": browsed.audit,
        "take": run.take,
    }
    if summary["well_formed"] is None:
        summary["well_formed"] = _mean(steps[-_ENDS:], "well_formed")
    return summary


def both_ends(steps: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The first and the last steps, as many and no step in both: a change between them is one of the run."""
    size = min(_ENDS, len(steps) // 2)
    return steps[:size], steps[len(steps) - size :]


def _planned(run: TrainRecords) -> int | None:
    """Steps that the run was to make; None where its settings or its queries are not known."""
    from valor_ray.config.training import GrpoConfig

    grpo = run.config.get("grpo")
    known = grpo if isinstance(grpo, Mapping) else {}
    try:
        config = GrpoConfig(**{name: known[name] for name in _PLAN if name in known})
    except ValueError:
        return None
    return config.number_of_steps(run.queries) if config.steps or run.queries else None


def _gain(run: TrainRecords) -> tuple[float | None, list[float] | None]:
    """Change of the held-out accuracy, last evaluation against first, and its interval over the same questions."""
    if len(run.evaluations) < 2:
        return None, None
    then, now = _paired(run.first, run.last)
    if then:
        return _change(then, now), _interval(then, now)
    start, end = number(run.evaluations[0], "accuracy"), number(run.evaluations[-1], "accuracy")
    return None if start is None or end is None else round(end - start, 4), None


def _families(run: TrainRecords) -> dict[str, Any]:
    """Each family before and after. Worse is one whose change is a loss that Holm's correction for all leaves sure."""
    families = {}
    recorded = run.evaluations[0].get("by_family") if run.evaluations else None
    shares = recorded if isinstance(recorded, Mapping) else {}
    for family in sorted({family for family, _ in run.first.values()} | set(shares)):
        then, now = _paired(run.first, run.last, family)
        if then:
            families[family] = _family(then, now)
            continue
        n, right = number(shares, family, "n"), number(shares, family, "right")
        families[family] = {
            "n": _whole(n),
            "start": round(right / n, 4) if n and right is not None else None,
        } | dict.fromkeys(("end", "gain", "gain_ci", "p", "p_holm", "significantly_worse"))
    tested = [family for family in families.values() if family["p"] is not None]
    for family, p in zip(tested, holm([family["p"] for family in tested]), strict=True):
        family["p_holm"] = float(f"{p:.3g}")
        family["significantly_worse"] = family["gain"] < 0 and p < SURE
    return families


def _family(then: Sequence[bool], now: Sequence[bool]) -> dict[str, Any]:
    """p: McNemar's exact test, of this family alone."""
    fixed, broken = (
        sum(a is not b and b is side for a, b in zip(then, now, strict=True)) for side in (True, False)
    )
    return {
        "n": len(then),
        "start": round(sum(then) / len(then), 4),
        "end": round(sum(now) / len(now), 4),
        "gain": _change(then, now),
        "gain_ci": _interval(then, now),
        "p": float(f"{mcnemar(fixed, broken):.3g}"),
    }


def _judge_truth(run: TrainRecords) -> dict[str, Any]:
    """The judges' view of the training samples beside the true accuracy, at each evaluation.

    A point's reward is the mean over the steps nearest to the evaluation, as many as `both_ends` takes. `parted`: since
    the best evaluation the reward has risen and the accuracy has surely fallen, as when the policy learns to please the
    judges; None where that cannot be told.
    """
    size = len(both_ends(run.metrics)[0])
    points = []
    for row in run.evaluations:
        near = sorted(run.metrics, key=lambda step: abs(step["step"] - row["step"]))[:size]
        points.append(
            {
                "step": row["step"],
                "reward": _mean(near, "reward"),
                "all_heads": _mean(near, "all_heads"),
                "accuracy": number(row, "accuracy"),
            }
        )
    gains: dict[str, float | None] = dict.fromkeys(("reward", "all_heads", "accuracy"))
    for name in gains if len(points) > 1 else ():
        start, end = points[0][name], points[-1][name]
        gains[name] = None if start is None or end is None else round(end - start, 4)
    best = best_evaluation(run.evaluations)
    rewards = {point["step"]: point["reward"] for point in points}
    then = rewards[best["step"]] if best else None
    now = points[-1]["reward"] if len(points) > 1 else None
    fell = _interval(*marks) if (marks := _paired(run.best, run.last))[0] else None
    return {
        "points": points,
        **{f"{name}_gain": gain for name, gain in gains.items()},
        "best_step": best["step"] if best else None,
        "best_accuracy": best["accuracy"] if best else None,
        "since_best_ci": fell,
        "parted": None if then is None or now is None or fell is None else now > then and fell[1] < 0,
    }


def _paired(first: Marks, last: Marks, family: str | None = None) -> tuple[list[bool], list[bool]]:
    """Marks before and after of the questions that both evaluations have asked."""
    both = [name for name in first if name in last and family in (None, first[name][0])]
    return [first[name][1] for name in both], [last[name][1] for name in both]


def _change(then: Sequence[bool], now: Sequence[bool]) -> float:
    return round((sum(now) - sum(then)) / len(then), 4)


def _interval(then: Sequence[bool], now: Sequence[bool]) -> list[float]:
    return [round(end, 4) for end in paired_difference(then, now)]


def _numbers(steps: list[dict[str, Any]], name: str) -> list[float]:
    return [value for _, value in column(steps, name) if value is not None]


def _mean(steps: list[dict[str, Any]], name: str) -> float | None:
    values = _numbers(steps, name)
    return round(sum(values) / len(values), 4) if values else None


def _total(steps: list[dict[str, Any]], name: str, digits: int | None = None) -> float | None:
    values = _numbers(steps, name)
    return round(sum(values), digits) if values else None


def _largest(steps: list[dict[str, Any]], name: str) -> float | None:
    return max(_numbers(steps, name), default=None)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _minutes(run: TrainRecords) -> float | None:
    """The learner's time and that of the evaluations; breaks between a kill and the next start are not in it."""
    values = [number(row, "seconds", stage) for row in run.metrics for stage in _STAGES_IN_A_ROW]
    values += [number(row, "seconds") for row in run.evaluations]
    known = [value for value in values if value is not None]
    return round(sum(known) / 60, 2) if known else None
