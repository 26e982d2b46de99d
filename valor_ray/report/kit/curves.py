"""Curves over the steps of a run as SVG text, in the frame and the colours of every plot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from valor_ray.report.kit.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, frame, short

Points = Sequence[tuple[float, float | None]]  # (step, value); None leaves a gap
NOTHING = Markup('<p class="soft">nothing recorded yet</p>')
_MOST = 800  # points that are drawn of a line
_COLUMNS = 160  # of bars, and of the texts that a mouse finds
_DOTS = 60  # up to so many points each has a dot


@dataclass(frozen=True)
class Line:
    name: str
    points: Points
    band: Sequence[tuple[float, float, float]] = ()  # step, low, high: an interval around the line


def chart(
    lines: Sequence[Line],
    up: str,
    *,
    span: tuple[float, float] | None = None,
    log: bool = False,
    alarm: float | None = None,
) -> Markup:
    """Lines over steps. span: ends of the upright axis where they are not those of the values, with 0.

    log: values of 0 and below have no point. alarm: a dashed line at this value.
    """
    lines = [Line(line.name, _thin(_drawable(line.points, log)), line.band) for line in lines]
    known = [value for line in lines for _, value in line.points if value is not None]
    known += [end for line in lines for _, *ends in line.band for end in ends]
    if not known:
        return NOTHING
    reach = [*known, *([alarm] if alarm is not None else [])]
    y_axis = Axis(*span) if span else _upright(reach, log)
    steps = [step for line in lines for step, _ in line.points]
    x_axis = Axis(min(steps), max(max(steps), min(steps) + 1), whole=True)
    parts = []
    for n, line in enumerate(lines):
        if line.band:
            parts.append(_band(line, n, x_axis, y_axis))
        parts.append(_path(line, n, x_axis, y_axis))
    if alarm is not None:
        y = y_axis.y(alarm)
        beside = y - 4 if y > TOP + 12 else y + 12
        parts.append(f'<path class="alarm-line" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(
            f'<text class="soft" x="{WIDTH - RIGHT}" y="{beside:.1f}" text-anchor="end">alarm {short(alarm)}</text>'
        )
    parts.append(_hover(lines, x_axis))
    return _legend([line.name for line in lines]) + frame("step", up, x_axis, y_axis, "".join(parts))


def stacked(parts: Mapping[str, Points], up: str) -> Markup:
    """Bars over steps, one part on the other. All parts have the same steps; where they are many, bars are means."""
    steps = [step for step, _ in next(iter(parts.values()))]
    table = [[value or 0.0 for _, value in points] for points in parts.values()]
    size = max(1, math.ceil(len(steps) / _COLUMNS))
    bars = [
        (steps[at], [sum(row[at : at + size]) / len(row[at : at + size]) for row in table])
        for at in range(0, len(steps), size)
    ]
    top = max((sum(values) for _, values in bars), default=0.0)
    if top <= 0:
        return NOTHING
    x_axis, y_axis = Axis(steps[0] - 0.5, steps[-1] + size - 0.5, whole=True), Axis(0, top)
    drawn = []
    for step, values in bars:
        left, right = x_axis.x(step - 0.5), x_axis.x(step + size - 0.5)
        under = 0.0
        for n, value in enumerate(values):
            y = y_axis.y(under + value)
            drawn.append(
                f'<rect class="fill c{n}" x="{left:.1f}" y="{y:.1f}" width="{max(right - left - 0.6, 0.4):.1f}" '
                f'height="{y_axis.y(under) - y:.1f}"/>'
            )
            under += value
    lines = [Line(name, [(step, values[n]) for step, values in bars]) for n, name in enumerate(parts)]
    drawn.append(_hover(lines, x_axis))
    return _legend(list(parts)) + frame("step", up, x_axis, y_axis, "".join(drawn))


def running_total(points: Points) -> list[tuple[float, float | None]]:
    """Each step's sum of everything up to it."""
    sums: list[tuple[float, float | None]] = []
    total = 0.0
    for step, value in points:
        total += value or 0.0
        sums.append((step, total))
    return sums


def _drawable(points: Points, log: bool) -> Points:
    return [(step, None if log and (value or 0) <= 0 else value) for step, value in points]


def _thin(points: Points) -> Points:
    """The least and the greatest of every few points, so that peaks stay."""
    if len(points) <= _MOST:
        return points
    size = math.ceil(2 * len(points) / _MOST)
    kept: list[tuple[float, float | None]] = []
    for at in range(0, len(points), size):
        known = [(value, step) for step, value in points[at : at + size] if value is not None]
        ends = sorted({min(known), max(known)}, key=lambda item: item[1]) if known else []
        kept += [(step, value) for value, step in ends] or [(points[at][0], None)]
    return kept


def _upright(values: Sequence[float], log: bool) -> Axis:
    low, high = min(values), max(values)
    if log:
        low, high = 10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high))
        return Axis(low, high if high > low else 10 * low, log=True)
    low, high = min(low, 0.0), max(high, 0.0)
    return Axis(low, high if high > low else low + 1.0)


def _path(line: Line, n: int, x_axis: Axis, y_axis: Axis) -> str:
    drawn, pen = [], "M"
    for step, value in line.points:
        if value is not None:
            drawn.append(f"{pen}{x_axis.x(step):.1f} {y_axis.y(value):.1f}")
        pen = "M" if value is None else "L"
    dots = ""
    if len(line.points) <= _DOTS:
        dots = "".join(
            f'<circle class="fill c{n}" cx="{x_axis.x(step):.1f}" cy="{y_axis.y(value):.1f}" r="2.5"/>'
            for step, value in line.points
            if value is not None
        )
    return f'<path class="curve c{n}" d="{"".join(drawn)}"/>{dots}'


def _band(line: Line, n: int, x_axis: Axis, y_axis: Axis) -> str:
    upper = [f"{x_axis.x(step):.1f},{y_axis.y(high):.1f}" for step, _, high in line.band]
    lower = [f"{x_axis.x(step):.1f},{y_axis.y(low):.1f}" for step, low, _ in reversed(line.band)]
    whiskers = "".join(
        f"M{x_axis.x(step):.1f} {y_axis.y(low):.1f}V{y_axis.y(high):.1f}" for step, low, high in line.band
    )
    area = " ".join(upper + lower)
    return f'<polygon class="band c{n}" points="{area}"/><path class="curve thin c{n}" d="{whiskers}"/>'


def _hover(lines: Sequence[Line], x_axis: Axis) -> str:
    """Invisible columns whose title has the numbers of a step."""
    table: dict[float, list[str]] = {}
    for line in lines:
        for step, value in line.points:
            if value is not None:
                table.setdefault(step, []).append(f"{line.name} {value:.4g}")
    steps = sorted(table)
    return "".join(_columns(steps[:: max(1, math.ceil(len(steps) / _COLUMNS))], table, x_axis))


def _columns(steps: Sequence[float], table: Mapping[float, list[str]], x_axis: Axis) -> Iterator[str]:
    places = [x_axis.x(step) for step in steps]
    for n, step in enumerate(steps):
        left = (places[n - 1] + places[n]) / 2 if n else LEFT
        right = (places[n] + places[n + 1]) / 2 if n + 1 < len(steps) else WIDTH - RIGHT
        yield (
            f'<rect class="hover" x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{HEIGHT - TOP - BOTTOM}">'
            f"<title>step {step:g}: {escape(', '.join(table[step]))}</title></rect>"
        )


def _legend(names: Sequence[str]) -> Markup:
    if len(names) < 2:
        return Markup()
    marks = "".join(f'<span><i class="c{n}"></i>{escape(name)}</span>' for n, name in enumerate(names))
    return Markup(f'<div class="legend">{marks}</div>')
