"""Which checkpoint to take: the highest score of signals that need no label. Nothing is fitted (docs: stopping.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from valor_ray.measure.paired import paired_marks

if TYPE_CHECKING:
    from valor_ray.config.judging import RewardConfig

NEAR = 0.01  # versions whose scores differ by no more are told apart by their divergence
_PLACE = {"agreement": 0, "scenes": 1, "text": 2}  # in a record's `questions`
_SHOWN = ("agreement", "scenes", "text", "reward", "well_formed", "answered")


def choose(
    records: Sequence[Mapping[str, Any]],
    kl: Mapping[int, float | None],
    alarm: str,
    reward: RewardConfig,
    pictures: Sequence[str],
) -> dict[str, Any]:
    """The choice as report.json has it: {step, why, score, by, over_last, signals}.

    records: of signals.jsonl, of one set of questions, one at least, in order of steps. kl: divergence by step. alarm:
    of the audit; "": none. pictures: of each question, in the records' order.
    """
    by = counted(reward, alarm)
    scores = {row["step"]: _scores(row, by) for row in records}
    means = {step: sum(values) / len(values) for step, values in scores.items()}
    best = max(means.values())
    near = [step for step, mean in means.items() if mean >= best - NEAR]
    step = min(near, key=lambda one: (_divergence(one, kl), one))
    last = max(means)
    over = paired_marks(scores[last], scores[step], pictures)
    change = {"gain": round(over.gain, 4), "ci": [round(end, 4) for end in over.ci]}
    return {
        "step": step,
        "why": _why(step, last, means, near, by, change, alarm),
        "score": round(means[step], 4),
        "by": list(by),
        "over_last": change,
        "signals": [
            {
                "step": row["step"],
                "score": round(means[row["step"]], 4),
                **{name: row.get(name) for name in _SHOWN},
                "kl": 0.0 if row["step"] == 0 else kl.get(row["step"]),
            }
            for row in records
        ],
    }


def counted(reward: RewardConfig, alarm: str) -> tuple[str, ...]:
    """The signals that make the score: agreement, and a judge that the reward does not ask, unless none is believed."""
    if alarm:
        return ("agreement",)
    return ("agreement", "text" if reward.scenes and not reward.judged() else "scenes")


def _scores(record: Mapping[str, Any], by: Sequence[str]) -> list[float]:
    """Of each question: the mean of what is known of it; 0 where nothing is."""
    scores = []
    for row in record["questions"]:
        known = [row[_PLACE[name]] for name in by if row[_PLACE[name]] is not None]
        scores.append(sum(known) / len(known) if known else 0.0)
    return scores


def _divergence(step: int, kl: Mapping[int, float | None]) -> float:
    """Where it is not known, later steps are taken to be further away."""
    if step == 0:
        return 0.0
    known = kl.get(step)
    return float("inf") if known is None else known


def _why(
    step: int,
    last: int,
    means: Mapping[int, float],
    near: Sequence[int],
    by: Sequence[str],
    change: Mapping[str, Any],
    alarm: str,
) -> str:
    names = {"agreement": "agreement of the answers", "scenes": "scene tests", "text": "text heads"}
    signals = " and ".join(names[name] for name in by)
    said = f"score {means[step]:.3f} by {signals}, "
    if len(means) == 1:
        said += "the only version there is"
    elif len(near) == 1:
        said += f"the highest of {len(means)} versions"
    else:
        said += (
            f"the least diverged of {len(near)} within {NEAR:.0%} of the highest, of {len(means)} versions"
        )
    if step != last:
        low, high = change["ci"]
        said += f"; {change['gain']:+.3f} [{low:+.3f}, {high:+.3f}] over step {last}, the last one"
    return said + ("; the audit has raised an alarm, so no judge counts" if alarm else "")
