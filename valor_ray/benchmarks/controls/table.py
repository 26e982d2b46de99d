"""The control table of a reasoning run: rows, what they say of the run in words, and as text. Figures in points."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from valor_ray.measure.bootstrap import Marked, interval
from valor_ray.measure.paired import paired_marks

BASE, GREEDY, TRAINED = "base", "base_greedy", "trained"  # rows that others are held against
_OVER = {"over_base": BASE, "over_greedy": GREEDY, "over_trained": TRAINED}
COLUMNS = (  # of the text: title, key, decimals
    ("right", "right", 1), ("over base", "over_base", 1), ("over greedy base", "over_greedy", 1),
    ("over trained", "over_trained", 1), ("seen", "seen", 1), ("unseen", "unseen", 1),
    ("well formed", "well_formed", 1), ("judge calls", "calls", 2),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A way to answer all questions."""

    control: str
    name: str  # for a reader
    marks: Sequence[float]  # 0..1, of each question; of several samples their mean
    well_formed: float  # share of the answers that count
    calls: float | None = None  # of judges, a question, to choose an answer; None: nothing is chosen
    words: str = ""  # what a reader must know of it
    more: Mapping[str, Any] = field(default_factory=dict)  # figures of its training, for the JSON


@dataclass(frozen=True)
class Asked:
    """The questions of a table."""

    pictures: Sequence[Hashable]
    families: Sequence[str]
    looks: Sequence[str]
    texts: Sequence[str]  # "seen", "unseen" in training, ""


def table_record(rows: Sequence[Row], asked: Asked, note: str) -> dict[str, Any]:
    """controls.json as the page reads it (report/finetuning/controls.py): {"rows", "note"}."""
    by = {row.control: row for row in rows}
    return {"rows": [_record(row, by, asked) for row in rows], "note": note}


def _record(row: Row, by: Mapping[str, Row], asked: Asked) -> dict[str, Any]:
    over: dict[str, Any] = {}
    for key, other in _OVER.items():
        if row.control != other and other in by:
            change = paired_marks(by[other].marks, row.marks, asked.pictures)
            over |= {key: _points(change.gain), f"{key}_ci": [_points(end) for end in change.ci]}
    own = interval(Marked(row.marks, asked.pictures))
    said = " ".join(part for part in (words(row.control, over), row.words) if part)
    return {
        "name": row.name,
        "control": row.control,
        "right": _points(sum(row.marks) / len(row.marks)),
        "right_ci": [_points(end) for end in own],
        **over,
        **{name: share for name, share in _by(row, asked.texts).items() if name in ("seen", "unseen")},
        "well_formed": _points(row.well_formed),
        **({} if row.calls is None else {"calls": round(row.calls, 2)}),
        "note": said,
    }


def parts(rows: Sequence[Row], asked: Asked) -> dict[str, Any]:
    """Of each row the shares by family, look and wording, and what its training took."""
    return {
        row.control: {
            "by_family": _by(row, asked.families),
            "by_look": _by(row, asked.looks),
            "by_text": _by(row, asked.texts),
            **row.more,
        }
        for row in rows
    }


def by_look(row: Row, asked: Asked) -> str:
    """ "tiles 97.6, wood 96.8": of the ceiling, which looks decide."""
    return ", ".join(f"{look} {share:.1f}" for look, share in _by(row, asked.looks).items())


def _by(row: Row, groups: Sequence[str]) -> dict[str, float]:
    made = {}
    for group in sorted(set(groups) - {""}):
        marks = [mark for mark, own in zip(row.marks, groups, strict=True) if own == group]
        made[group] = _points(sum(marks) / len(marks))
    return made


def words(control: str, over: Mapping[str, Any]) -> str:
    """A line on what a row says of the run; "" where there is nothing to say. over: _OVER's keys with intervals."""
    base, greedy, trained = (over.get(f"{key}_ci") for key in _OVER)
    if control == TRAINED and greedy is not None:
        if greedy[0] > 0:
            return ""
        return "Not surely above the greedy base: what it gains at its temperature may be sharpening alone."
    if control == "random_rewards" and base is not None and base[0] > 0:
        return "Gains by rewards that mean nothing: so much of the run's gain is not the judges' doing."
    if control == "ceiling" or trained is None:
        return ""
    what = {
        "sft_full_reward": "fine-tuning on full-reward samples",
        "random_rewards": "training on random rewards",
    }
    if control in what:
        if trained[0] > 0:
            return f"Surely above the run: {what[control]} does more."
        return f"Not told apart from the run by {what[control]}." if trained[1] >= 0 else ""
    if control.startswith("base_") and trained[0] > 0:
        return "Without any training surely above single answers of the trained policy."
    return ""


def _points(share: float) -> float:
    return round(100 * share, 2)
