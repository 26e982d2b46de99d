"""The plots of the score report, and the frame of every plot, as SVG text; colours come from report.css."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

WIDTH, HEIGHT = 560.0, 210.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 14.0, 12.0, 36.0  # margins of the frame
_TICKS = 5  # at most so many intervals


@dataclass(frozen=True)
class Axis:
    """low < high; on a logarithmic axis both are above 0."""

    low: float
    high: float
    log: bool = False
    whole: bool = False  # of counted things: no ticks in between

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the high one; values outside stay at the ends."""
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            at = (math.log10(max(value, self.low)) - low) / (high - low)
        else:
            at = (value - self.low) / (self.high - self.low)
        return min(max(at, 0.0), 1.0)

    def ticks(self) -> list[float]:
        """Round numbers within the ends."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**n for n in range(first, last + 1, max(1, -(-(last - first) // _TICKS)))]
        raw = (self.high - self.low) / _TICKS
        size = 10.0 ** math.floor(math.log10(raw))
        step = size * next(factor for factor in (1, 2, 5, 10) if factor * size >= raw * (1 - 1e-9))
        step = max(step, 1.0) if self.whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [n * step for n in range(first, last + 1)]

    def x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * self.share(value)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * self.share(value)


def histogram(counts: Sequence[int]) -> str:
    """Rewards from 0 to 1 in bins of equal width."""
    across, up = Axis(0, 1), Axis(0, max(*counts, 1), whole=True)
    width = (WIDTH - LEFT - RIGHT) / len(counts)
    bars = []
    for n, count in enumerate(counts):
        x, y = LEFT + n * width, up.y(count)
        low, high = n / len(counts), (n + 1) / len(counts)
        bars.append(
            f'<rect class="bar" x="{x + 1.5:.1f}" y="{y:.1f}" width="{width - 3:.1f}" '
            f'height="{HEIGHT - BOTTOM - y:.1f}"><title>{low:.1f} to {high:.1f}: {count} replies</title></rect>'
        )
    return frame("reward", "replies", across, up, "".join(bars))


def curve(
    points: Sequence[tuple[float, float]], across: str, up: str, ideal: Sequence[tuple[float, float]] = ()
) -> str:
    """A line through the points; `ideal` is drawn dashed. Both axes start at 0."""
    x_axis = Axis(0, max([x for x, _ in (*points, *ideal)] + [1e-9]))
    y_axis = Axis(0, max([y for _, y in (*points, *ideal)] + [1e-9]))

    def path(line: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{x_axis.x(x):.1f},{y_axis.y(y):.1f}" for x, y in line)

    inside = f'<polyline class="ideal" points="{path(ideal)}"/>' if ideal else ""
    inside += f'<polyline class="line" points="{path(points)}"/>'
    if len(points) <= 20:
        inside += "".join(
            f'<circle class="dot" cx="{x_axis.x(x):.1f}" cy="{y_axis.y(y):.1f}" r="3.5">'
            f"<title>{x:g}: {y:.3g}</title></circle>"
            for x, y in points
        )
    return frame(across, up, x_axis, y_axis, inside)


def heads(rates: Mapping[str, Mapping[str, Any]]) -> str:
    """One bar a head with its 95 % interval; how many verdicts there are stands beside it."""
    row, left, right = 30.0, 92.0, 150.0
    span = WIDTH - left - right
    parts = []
    for n, (name, head) in enumerate(rates.items()):
        y = 8 + n * row
        rate, (low, high) = head["rate"], head["ci95"]
        missing = f", {head['missing']} missing" if head["missing"] else ""
        parts.append(f'<text x="{left - 10}" y="{y + 14}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect class="rail" x="{left}" y="{y + 3}" width="{span}" height="14" rx="3"/>')
        if rate is None:
            parts.append(f'<text class="soft" x="{left + span + 10}" y="{y + 14}">no verdict{missing}</text>')
            continue
        parts.append(
            f'<rect class="bar" x="{left}" y="{y + 3}" width="{span * rate:.1f}" height="14" rx="3"/>'
        )
        parts.append(
            f'<path class="whisker" d="M{left + span * low:.1f} {y + 10}H{left + span * high:.1f}'
            f'M{left + span * low:.1f} {y + 6}v8M{left + span * high:.1f} {y + 6}v8"/>'
        )
        parts.append(
            f'<text x="{left + span + 10}" y="{y + 14}">{rate:.1%} <tspan class="soft">of '
            f"{head['yes'] + head['no']}{missing}</tspan></text>"
        )
    height = 12 + row * len(rates)
    return f'<svg viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img">{"".join(parts)}</svg>'


def frame(across: str, up: str, x_axis: Axis, y_axis: Axis, inside: str) -> str:
    """`inside` (SVG placed by the axes) with ticks, grid lines and the names of both axes."""
    lines = []
    for value in y_axis.ticks():
        y = y_axis.y(value)
        lines.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{short(value)}</text>')
    for value in x_axis.ticks():
        lines.append(
            f'<text x="{x_axis.x(value):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{short(value)}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    lines.append(
        f'<text class="soft" x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{escape(across)}</text>'
    )
    lines.append(
        f'<text class="soft" transform="translate(11 {HEIGHT / 2 - 10}) rotate(-90)" text-anchor="middle">'
        f"{escape(up)}</text>"
    )
    return f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img">{"".join(lines)}{inside}</svg>'


def short(value: float) -> str:
    """A number in few characters: 0.25, 1500, 12k, 2e-5."""
    if 0 < abs(value) < 1e-3:
        digits, power = f"{value:.1e}".split("e")
        return f"{digits.removesuffix('.0')}e{int(power)}"
    return f"{value / 1000:.4g}k" if abs(value) >= 10_000 else f"{value:.4g}"
