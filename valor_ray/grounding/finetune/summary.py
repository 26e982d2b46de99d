"""report.json of a fine-tuning run, put together from what the run folder holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valor_ray.grounding.finetune.folder import FinetuneFolder, read_object
from valor_ray.grounding.finetune.publish import current
from valor_ray.runs.record_file import read_records

_TOGETHER = "together"  # in evaluation.json: all looks of the grounding loop
_NOT_TRAINING = ("mine", "evaluate")  # stages that fine-tuning itself does not need
_AGAIN = "Remove that file: the same command makes it anew."


def finetune_report(folder: FinetuneFolder, replicas: int | None) -> dict[str, Any]:
    """The report of a run that has come to its end. AP and mAP in points; minutes of all starts, without mining and
    evaluation.

    replicas: that are known to carry what is published, of finetune.service where it is set; None: nothing is.
    """
    selection = read_object(folder.selection, _AGAIN)
    evaluation = read_object(folder.evaluation, _AGAIN) if folder.evaluation.exists() else {}
    learned, plan = read_object(folder.learned, _AGAIN), read_object(folder.plan, _AGAIN)
    general = selection.get("general") or {}
    models = evaluation.get("models") or {}
    gain = (
        next((_of(each, "sets", _TOGETHER) for each in evaluation.get("gains", ()) if _is_gain(each)), None)
        or {}
    )
    seconds = folder.seconds()
    losses = [record["loss"] for record in read_records(folder.metrics)]
    version, weights = (selection.get("passed") and current(folder)) or (None, None)
    return {
        "ap50_start": _of(models, "start", "sets", _TOGETHER, "ap50"),
        "ap50_end": _of(models, "end", "sets", _TOGETHER, "ap50"),
        "gain_ci": gain.get("ap50_ci"),
        "general_map_start": _of(general, "start", "map"),
        "general_map_end": _of(general, "end", "map"),
        "published": version,
        "minutes": round(sum(s for stage, s in seconds.items() if stage not in _NOT_TRAINING) / 60, 2),
        "gain": gain.get("ap50"),
        "passed": bool(selection.get("passed")),
        "verdict": selection.get("words"),
        "alpha": selection.get("alpha"),
        "held_back_ap50": selection.get("held_back"),
        "weights": None if weights is None else str(weights.resolve()),
        "replicas": replicas,
        **learned,
        "loss_end": losses[-1] if losses else None,
        "set": plan,
        "stages_s": seconds,
    }


def _is_gain(record: Mapping[str, Any]) -> bool:
    return record.get("model") == "end" and record.get("over") == "start"


def _of(record: Mapping[str, Any], *names: str) -> Any:
    """record[name][name]…; None where there is none."""
    value: Any = record
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
