"""AP before and after, in all looks together, in each look, and for each label, shape and colour: where truth is known.

evaluation.json is what `tabletop.finetune.held_out.held_out_ap` returns, in points:
{"scenes": n in each look, "sets": {SET: [look, …]}, "models": {"start": MODEL, "end": MODEL}, "gains": [GAIN, …]}
SET: "together" = all held-out looks, "seen" = all looks that the start weights have seen, then each look alone
MODEL = {"sets": {SET: FIGURES}, "by_label": {label: FIGURES}, "by_shape": {…}, "by_colour": {…}}
FIGURES = {"objects": n, "ap50", "map"}; null where no such object occurs
GAIN = {"model": "end", "over": "start", "sets": {SET: CHANGE}, "by_label": {label: CHANGE}}
CHANGE = {"ap50", "ap50_ci": [low, high], "map", "map_ci"}
Any further "by_…" of a model becomes a table. Without a gain the change is the difference, and has no interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from valor_ray.report.finetuning.headline import kind_of, points
from valor_ray.report.finetuning.records import Record, interval, part, rows
from valor_ray.report.kit.rows import number
from valor_ray.report.kit.templates import cut

MOST = 60  # rows of a table
_FEW = 7  # rows up to which a table keeps the order of the evaluation
_WIDE = 200.0  # of a drawn interval, in the units of its SVG
_START, _END = "start", "end"  # models of the evaluation
_SETS = "sets"
_POOLS = {  # names and notes of sets that are not a look
    "together": ("held-out looks together", ""),
    "seen": ("looks seen before, together", "to watch what is forgotten"),
}


@dataclass(frozen=True)
class Whisker:
    """A change with its interval on the scale of its table, in the units of an SVG that is _WIDE wide."""

    zero: float
    at: float
    low: float | None  # None where there is no interval
    high: float | None
    kind: str


@dataclass(frozen=True)
class Figure:
    """AP50 or mAP before and after."""

    before: str
    after: str
    change: str
    interval: str
    kind: str  # colour of the change


@dataclass(frozen=True)
class PartRow:
    name: str
    note: str
    objects: str
    ap50: Figure
    map: Figure
    whisker: Whisker | None  # of AP50


@dataclass(frozen=True)
class PartTable:
    what: str  # of its first column
    rows: tuple[PartRow, ...]
    more: int  # rows that are not shown
    open: bool  # shown at once


@dataclass(frozen=True)
class Change:
    before: float | None
    after: float | None
    gain: float | None
    ends: tuple[float, float] | None


@dataclass(frozen=True)
class _Part:
    name: str
    note: str
    objects: float | None
    ap50: Change
    map: Change


def part_tables(evaluation: Record) -> Iterator[PartTable]:
    """Looks first, then labels and whatever else; of many parts those that gained most come first."""
    models = _both(evaluation)
    looks = [
        _part(*_POOLS.get(name, (name, "")), [part(each, _SETS, name) for each in models])
        for name in dict.fromkeys(str(name) for each in models[:2] for name in part(each, _SETS))
    ]
    if looks:
        yield _table("look", looks, shown=True)
    groups = dict.fromkeys(str(name) for each in models[:2] for name in each if str(name).startswith("by_"))
    for group in groups:
        names = dict.fromkeys(name for each in models[:2] for name in part(each, group))
        parts = [_part(str(name), "", [part(each, group, name) for each in models]) for name in names]
        if len(parts) > _FEW:
            parts.sort(key=lambda each: (each.ap50.gain is None, -(each.ap50.gain or 0.0)))
        if parts:
            what = group.removeprefix("by_").replace("_", " ")
            yield _table(what, parts, shown=group == "by_label")


def whiskers(changes: Sequence[tuple[float | None, tuple[float, float] | None]]) -> list[Whisker | None]:
    """Changes with their intervals on one scale that has 0 in it."""
    reach = [0.0, *(change for change, _ in changes if change is not None)]
    reach += [end for change, ends in changes if ends and change is not None for end in ends]
    low, high = min(reach), max(reach)
    room = (high - low) * 0.04 or 1.0
    low, high = low - room, high + room

    def x(value: float) -> float:
        return _WIDE * (value - low) / (high - low)

    return [
        None
        if change is None
        else Whisker(
            x(0.0), x(change), x(ends[0]) if ends else None, x(ends[1]) if ends else None, kind_of(ends)
        )
        for change, ends in changes
    ]


def _both(evaluation: Record) -> tuple[Record, Record, Record]:
    """Figures of the start and of the new weights, and what these gained."""
    models = part(evaluation, "models")
    gains = (
        each for each in rows(evaluation, "gains") if each.get("model") == _END and each.get("over") == _START
    )
    return part(models, _START), part(models, _END), next(gains, {})


def _table(what: str, parts: Sequence[_Part], *, shown: bool) -> PartTable:
    return PartTable(what, tuple(_rows(parts[:MOST])), max(0, len(parts) - MOST), shown)


def _part(name: str, note: str, models: Sequence[Record]) -> _Part:
    """models: figures of both, and the gain."""
    start, end, gain = models
    objects = number(end, "objects")
    return _Part(
        cut(name),
        note,
        number(start, "objects") if objects is None else objects,
        _change("ap50", start, end, gain),
        _change("map", start, end, gain),
    )


def _change(figure: str, start: Record, end: Record, gain: Record) -> Change:
    before, after, known = number(start, figure), number(end, figure), number(gain, figure)
    if known is None and before is not None and after is not None:
        known = after - before
    return Change(before, after, known, interval(gain, f"{figure}_ci"))


def _rows(parts: Sequence[_Part]) -> Iterator[PartRow]:
    drawn = whiskers([(each.ap50.gain, each.ap50.ends) for each in parts])
    for each, whisker in zip(parts, drawn, strict=True):
        objects = "–" if each.objects is None else f"{each.objects:,.0f}"
        yield PartRow(each.name, each.note, objects, _figure(each.ap50), _figure(each.map), whisker)


def _figure(change: Change) -> Figure:
    ends = change.ends
    return Figure(
        points(change.before),
        points(change.after),
        "–" if change.gain is None else f"{change.gain:+.1f}",
        f"{ends[0]:+.1f} … {ends[1]:+.1f}" if ends else "",
        kind_of(ends),
    )
