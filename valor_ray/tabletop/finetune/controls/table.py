"""The control table: rows, what they say of the verifier in words, and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from valor_ray.tabletop.finetune.controls.runs import SECOND, VERIFIED, Trained
from valor_ray.tabletop.finetune.held_out import START, TOGETHER

TITLES = {
    START: "start",
    VERIFIED: "verified boxes",
    "two_rounds": "two rounds",
    "self_training": "self-training, .35",
    "random_verifier": "random verifier",
    "replay_only": "replay only",
    "true_boxes": "true boxes",
    "without_coarse": "without coarse check",
    "without_crop": "without crops",
    "without_duplicates": "without duplicate check",
    "without_negatives": "without negatives",
    "without_replay": "without replay",
    "replay_of_boxes": "replay of boxes",
}
GOALS = {"replay_only": 10.0, "self_training": 5.0}  # points that the verified way should be above
_STAGES = {
    "without_coarse": "coarse check",
    "without_crop": "crop check",
    "without_duplicates": "duplicate check",
}
_KINDS = {
    "without_negatives": "learning from negatives",
    "without_replay": "replay",
    "replay_of_boxes": "rehearsal by distillation",
}
_COLUMNS = (  # of the text: title, key, decimals
    ("AP50", "ap50", 1), ("gain", "gain", 1), ("over verified", "over_verified", 1), ("general mAP", "general_map", 2),
    ("alpha", "alpha", 2), ("pictures", "pictures", 0), ("boxes", "boxes", 0), ("steps", "steps", 0),
)  # fmt: skip


def table_record(
    ways: Sequence[Trained], held_out: Mapping[str, Any], looks: Sequence[str], own: bool, steps: int
) -> dict[str, Any]:
    """controls.json as the page reads it (report/finetuning/controls.py): {"rows", "note"}; AP and mAP in points.

    own: whether the verified way is the run itself; steps: that the run has made.
    """
    rows = [_start_row(ways[0], held_out, looks)]
    for way in ways:
        row = _row(way, held_out, looks)
        row["note"] = " ".join(part for part in (_origin(way, own, steps), row["note"]) if part)
        rows.append(row)
    but = "the start and two rounds" if any(way.name == SECOND for way in ways) else "the start"
    return {
        "rows": rows,
        "note": f"AP on {held_out['scenes']} held-out scenes in each of {', '.join(looks)}. Intervals: 95 %, bootstrap "
        f"over scenes. Every row but {but} has the verified way's steps and pictures a step. over verified: AP50 "
        f"less that of the verified boxes.",
    }


def _origin(way: Trained, own: bool, steps: int) -> str:
    """Of which training the weights are, where it is another than a reader would think; "" else."""
    if way.name == VERIFIED:
        return "" if own else f"Trained anew for this table; the run itself made {steps} steps."
    if way.name == SECOND:
        of = "" if own else ", which is not this table's verified way"
        return f"{way.steps} steps after the run's {steps}{of}: {steps + way.steps} in all, more than any other row."
    return ""


def _start_row(main: Trained, held_out: Mapping[str, Any], looks: Sequence[str]) -> dict[str, Any]:
    general = main.general.get(START) or {}
    return {
        "name": TITLES[START],
        "control": START,
        **_figures(START, held_out, looks),
        "general_map": general.get("map"),
        **_over(START, held_out),
    }


def _row(way: Trained, held_out: Mapping[str, Any], looks: Sequence[str]) -> dict[str, Any]:
    gain = _gain(way.name, START, held_out)
    over = {} if way.name == VERIFIED else _over(way.name, held_out)
    said = "" if way.name == VERIFIED else words(way.name, over["over_verified"], over["over_verified_ci"])
    refused = "" if way.passed else "No share of the new weights was chosen; these are the averaged ones."
    if not way.passed and over and over["over_verified_ci"][0] > 0:
        said = "Better than verified boxes only in weights that would not be published."
    return {
        "name": TITLES[way.name],
        "control": way.name,
        **_figures(way.name, held_out, looks),
        "gain": gain["ap50"],
        "gain_ci": gain["ap50_ci"],
        **over,
        "general_map": _general_map(way),
        "alpha": way.alpha,
        "pictures": way.pictures,
        "boxes": way.boxes,
        "steps": way.steps,
        "minutes": way.minutes,
        "note": " ".join(part for part in (said, refused) if part),
    }


def _general_map(way: Trained) -> float | None:
    """Of the row's weights; where none passed, of the averaged ones (alpha 1), if the gate has looked at them."""
    measured: Mapping[str, float] = way.general.get("end") or way.general.get("1") or {}
    return measured.get("map")


def _figures(name: str, held_out: Mapping[str, Any], looks: Sequence[str]) -> dict[str, Any]:
    sets = held_out["models"][name]["sets"]
    by_look = {
        f"{kind} {look}": sets[look][key]
        for look in looks
        for kind, key in (("AP50", "ap50"), ("mAP", "map"))
    }
    return {"ap50": sets[TOGETHER]["ap50"], "map": sets[TOGETHER]["map"], **by_look}


def _over(name: str, held_out: Mapping[str, Any]) -> dict[str, Any]:
    gain = _gain(name, VERIFIED, held_out)
    return {"over_verified": gain["ap50"], "over_verified_ci": gain["ap50_ci"]}


def _gain(name: str, other: str, held_out: Mapping[str, Any]) -> Mapping[str, Any]:
    made = next(each for each in held_out["gains"] if (each["model"], each["over"]) == (name, other))
    gains: Mapping[str, Any] = made["sets"][TOGETHER]
    return gains


def words(name: str, over: float, interval: Sequence[float]) -> str:
    """A line on what a row says of the verified way; "" where there is nothing to say.

    over: the row's AP50 less the verified way's, points.
    """
    low, high = interval
    if name in _STAGES:
        return _of_part(f"The {_STAGES[name]}", low, high)
    if name in _KINDS:
        return _of_part(_KINDS[name].capitalize(), low, high)
    if name == "true_boxes":
        return (
            "" if low > 0 else "Not surely better than verified boxes: the verifier costs nothing that shows."
        )
    if name == "two_rounds":
        return "" if low > 0 else "The second round shows no sure gain over the first."
    if low > 0:
        return "Better than verified boxes: against this the verifier does not earn its place."
    if high >= 0:
        return "Not told apart from verified boxes: against this the verifier has not shown its worth."
    goal = GOALS.get(name)
    return (
        ""
        if goal is None or -over >= goal
        else f"Verified boxes are surely above, by less than the goal of {goal:g}."
    )


def _of_part(part: str, low: float, high: float) -> str:
    if low > 0:
        return f"{part} does harm here."
    return f"{part} shows no sure worth here." if high >= 0 else ""


def table_text(record: Mapping[str, Any], columns: Sequence[tuple[str, str, int]] = _COLUMNS) -> str:
    """For a terminal; a change with its interval. columns: title, key, decimals."""
    rows = [["", *(title for title, _, _ in columns)]]
    rows += [
        [row["name"], *(_cell(row, key, digits) for _, key, digits in columns)] for row in record["rows"]
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    ]
    notes = [f"{row['name']}: {row['note']}" for row in record["rows"] if row.get("note")]
    return "\n".join([*lines, "", *notes, record["note"]]) + "\n"


def _cell(row: Mapping[str, Any], key: str, digits: int) -> str:
    value, interval = row.get(key), row.get(f"{key}_ci")
    if value is None:
        return "–"
    sign = "+" if key == "gain" or key.startswith("over_") else ""
    said = f"{value:{sign}.{digits}f}"
    return (
        said if not interval else f"{said} [{interval[0]:{sign}.{digits}f}, {interval[1]:{sign}.{digits}f}]"
    )
