"""The control table of a run of either training, one row a control.

controls.json: {"rows": [ROW, …], "note": str}; "rows" may be an object of named rows, the whole file a bare list.
Of `valor train grounding`:
ROW = {"name": str, "ap50", "ap50_ci": [low, high],          # on the held-out scenes, points
       "gain", "gain_ci": [low, high],                       # of AP50 over the start weights, paired
       "over_verified", "over_verified_ci": [low, high],     # AP50 less that of the run's own way, paired
       "map", "general_map", "alpha", "pictures", "boxes", "steps", "minutes", "seeds", "note": str}
Of `valor train reasoning` (shares of right answers, points):
ROW = {"name": str, "right", "right_ci", "over_base", "over_base_ci", "over_greedy", "over_greedy_ci", "over_trained",
       "over_trained_ci", "seen", "unseen", "well_formed", "calls", "note": str}
Any number, short text or list of numbers under another name becomes a column too; NAME_ci is the interval of NAME.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valor_ray.report.finetuning.headline import kind_of
from valor_ray.report.finetuning.records import Record, interval
from valor_ray.report.finetuning.records import rows as objects
from valor_ray.report.finetuning.tables import Whisker, whiskers
from valor_ray.report.kit.rows import number
from valor_ray.report.kit.templates import as_text, cut

MOST_ROWS, _MOST_COLUMNS = 40, 14
_TITLES = {  # in this order, then others
    "right": "right, %",
    "over_base": "over base",
    "over_greedy": "over greedy base",
    "over_trained": "over trained",
    "seen": "seen wordings",
    "unseen": "unseen wordings",
    "well_formed": "well formed, %",
    "calls": "judge calls a question",
    "ap50": "AP50",
    "gain": "gain",
    "over_verified": "over verified",
    "map": "mAP",
    "general_map": "general mAP",
    "alpha": "α",
    "held_back_ap50": "AP50, held back",
    "pictures": "pictures",
    "boxes": "boxes",
    "steps": "steps",
    "minutes": "minutes",
    "seeds": "seeds",
    "seed": "seed",
}
_CHANGES = {"gain", "over_verified", "over_base", "over_greedy", "over_trained"}
_POINTS = {"ap50", "map", "general_map", "held_back_ap50", "right", "seen", "unseen", "well_formed"}
_CONSTANT = {"steps", "minutes", "seed", "seeds"}  # said once where all agree
_NONE = "–"
_NAMES = ("name", "control")
_NOTES = ("note", "notes", "words")


@dataclass(frozen=True)
class Cell:
    said: str
    interval: str = ""
    kind: str = ""  # of a change


@dataclass(frozen=True)
class ControlRow:
    name: str
    note: str
    cells: tuple[Cell, ...]
    whisker: Whisker | None  # of the gain


@dataclass(frozen=True)
class ControlTable:
    columns: tuple[str, ...]  # titles of the cells
    rows: tuple[ControlRow, ...]
    note: str
    same: str  # what all rows have in common, in words; ""
    drawn: bool  # whether any row has a whisker


def control_table(controls: Record) -> ControlTable:
    """No rows where there are none."""
    listed = _named(controls)[:MOST_ROWS]
    names = _columns(listed)
    same = [name for name in names if name in _CONSTANT and _is_same(listed, name)]
    names = [name for name in names if name not in same][:_MOST_COLUMNS]
    drawn = whiskers([(number(row, "gain"), interval(row, "gain_ci")) for row in listed])
    rows = tuple(
        ControlRow(_name(row), _note(row), tuple(_cell(row, name) for name in names), whisker)
        for row, whisker in zip(listed, drawn, strict=True)
    )
    in_common = ", ".join(f"{_TITLES[name]} {_values(listed, name)[0]}" for name in same)
    return ControlTable(
        tuple(_TITLES.get(name, cut(name.replace("_", " "))) for name in names),
        rows,
        _note(controls),
        f"The same in every row: {in_common}." if same else "",
        any(row.whisker for row in rows),
    )


def _is_same(listed: Sequence[Record], name: str) -> bool:
    """Whether the rows that say it, all but the start weights as a rule, say one thing."""
    said = _values(listed, name)
    return len(said) > 1 and len(set(said)) == 1


def _values(listed: Sequence[Record], name: str) -> list[str]:
    return [cell.said for row in listed if (cell := _cell(row, name)).said != _NONE]


def _named(controls: Record) -> list[Record]:
    listed = controls.get("rows")
    if isinstance(listed, Mapping):
        return [{"name": name, **row} for name, row in listed.items() if isinstance(row, Mapping)]
    return objects(controls, "rows")


def _columns(listed: Sequence[Record]) -> list[str]:
    """Those that any row has something for."""
    other = (str(name) for row in listed for name in row)
    names = [name for name in dict.fromkeys([*_TITLES, *other]) if name not in (*_NAMES, *_NOTES)]
    shown = [name for name in names if any(_cell(row, name).said != _NONE for row in listed)]
    return [name for name in shown if not (name.endswith("_ci") and name.removesuffix("_ci") in shown)]


def _cell(row: Record, name: str) -> Cell:
    value = row.get(name)
    known = None if isinstance(value, bool) else number(row, name)
    if known is None:
        return Cell(_text(value))
    ends = interval(row, f"{name}_ci")
    if name in _CHANGES:
        sure = f"{ends[0]:+.1f} … {ends[1]:+.1f}" if ends else ""
        return Cell(f"{known:+.1f}", sure, kind_of(ends))
    said = (
        f"{known:.1f}"
        if name in _POINTS or name.startswith(("AP", "mAP"))
        else f"{known:.4g}"
        if known != int(known)
        else f"{known:,.0f}"
    )
    return Cell(said, f"{ends[0]:.1f} – {ends[1]:.1f}" if ends else "")


def _text(value: Any) -> str:
    """A short text, a list of numbers ("61.2, 60.8"), yes or no; "–" for what a cell cannot hold."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and value and all(isinstance(each, int | float) for each in value):
        return ", ".join(f"{each:.4g}" for each in value[:6])
    return cut(value)[:200] if isinstance(value, str) and value else _NONE


def _name(row: Record) -> str:
    return next((cut(row[name]) for name in _NAMES if row.get(name)), "–")


def _note(record: Record) -> str:
    return next((cut(as_text(record[name])) for name in _NOTES if record.get(name)), "")
