"""What a stage's end means for the job: is it done, which models has it made, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from valor_ray.improve.child import Ended
from valor_ray.improve.stages import Kind, Stage
from valor_ray.report.kit.rows import rows_of
from valor_ray.runs.weight_channel import newest_weights

_LIMIT = "max_cost_usd"  # what a gateway says when a limit is reached holds the setting's name


@dataclass(frozen=True)
class Outcome:
    done: bool
    note: str = ""  # for the user, where it is done
    why: str = ""  # for the user, where it is not
    out_of_money: bool = False
    models: Mapping[str, str] = field(default_factory=dict)  # for later stages, and which these are


def outcome_of(stage: Stage, ended: Ended, rows: Sequence[Mapping[str, Any]]) -> Outcome:
    """rows: of the journal, earlier ends of this stage among them."""
    result = ended.result
    if result is None or ended.code not in (0, 1):
        why = ended.message or f"ended with exit code {ended.code}"
        return Outcome(False, why=why, out_of_money=_LIMIT in why)
    if stage.kind is Kind.REASONING:
        if ended.code:
            return Outcome(False, why=f"stopped: {ended.message}", out_of_money=_LIMIT in ended.message)
        policy, which = trained_policy(stage, result)
        return Outcome(True, f"later stages take {which}", models={"policy": policy, "policy_is": which})
    if stage.kind is Kind.GROUNDING:
        detector, which = trained_detector(stage, result)
        return Outcome(
            True, f"later stages take {which}", models={"detector": detector, "detector_is": which}
        )
    if ended.code == 0:
        return Outcome(True)
    if stage.kind is Kind.EVALUATE:
        return _unasked(stage, result, rows)
    if stage.kind is Kind.QUESTIONS and not result.get("written", 0) + result.get("before", 0):
        return Outcome(False, why="no picture has got a question")
    return Outcome(True, "some pictures were left out (see above): the job goes on with the others")


def trained_policy(stage: Stage, report: Mapping[str, Any]) -> tuple[str, str]:
    """The policy that a training run hands on, as policy.model takes it; which one it is."""
    take = report.get("take")
    if take and take.get("weights"):
        chosen = stage.folder / take["weights"]
        return str(chosen), f"the policy of step {take['step']}, chosen without labels"
    if take:
        return stage.models.policy, "the policy that it started from: the choice without labels took step 0"
    newest = newest_weights(stage.folder)
    if newest is None:
        return stage.models.policy, "the policy that it started from: no weights were published"
    return str(newest), f"the last weights ({newest.name}): no choice was made"


def trained_detector(stage: Stage, report: Mapping[str, Any]) -> tuple[str, str]:
    """The detector that fine-tuning hands on, as detector.model takes it; which one it is."""
    if not report.get("published") or not report.get("weights"):
        return (
            stage.models.detector,
            f"the detector that it started from: {report.get('verdict') or 'none was published'}",
        )
    weights = stage.folder / "weights" / Path(report["weights"]).name
    return str(weights), f"the published detector ({weights.name})"


def _unasked(stage: Stage, report: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Outcome:
    """Questions without a reply are asked again by the next start; what that cannot ask either counts as wrong."""
    unasked, total = report.get("unasked", 0), report.get("n", 0)
    why = f"{unasked} of {total} questions were not asked (see above)"
    if _limited(stage.folder / "answers.jsonl"):
        return Outcome(False, why=why, out_of_money=True)
    earlier = [
        row["result"]["unasked"] for row in rows if _is_end(row, stage) and "unasked" in (row["result"] or {})
    ]
    if earlier and earlier[-1] == unasked < total:
        return Outcome(True, f"{why}, by an earlier start neither: they count as wrong")
    return Outcome(False, why=why)


def _is_end(row: Mapping[str, Any], stage: Stage) -> bool:
    return row["event"] == "ended" and row["stage"] == stage.name


def _limited(answers: Path) -> bool:
    """Whether a question's last answer failed as a limit was reached."""
    latest = {row.get("query_id"): row for row in rows_of(answers)}
    return any(_LIMIT in str(row.get("error") or "") for row in latest.values())
