"""The plots of the score report as SVG text; colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 560.0, 210.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 14.0, 12.0, 36.0
_TICKS = 4


def histogram(counts: Sequence[int]) -> str:
    """Rewards from 0 to 1 in bins of equal width."""
    top = max(*counts, 1)
    width = (WIDTH - _LEFT - _RIGHT) / len(counts)
    bars = []
    for n, count in enumerate(counts):
        x, y = _LEFT + n * width, _y(count, top)
        low, high = n / len(counts), (n + 1) / len(counts)
        bars.append(
            f'<rect class="bar" x="{x + 1.5:.1f}" y="{y:.1f}" width="{width - 3:.1f}" '
            f'height="{HEIGHT - _BOTTOM - y:.1f}"><title>{low:.1f} to {high:.1f}: {count} replies</title></rect>'
        )
    return _frame("reward", "replies", (0, 1), top, "".join(bars))


def curve(
    points: Sequence[tuple[float, float]], across: str, up: str, ideal: Sequence[tuple[float, float]] = ()
) -> str:
    """A line through the points; `ideal` is drawn dashed. Both axes start at 0."""
    right = max([x for x, _ in (*points, *ideal)] + [1e-9])
    top = max([y for _, y in (*points, *ideal)] + [1e-9])

    def path(line: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{_x(x, right):.1f},{_y(y, top):.1f}" for x, y in line)

    inside = f'<polyline class="ideal" points="{path(ideal)}"/>' if ideal else ""
    inside += f'<polyline class="line" points="{path(points)}"/>'
    if len(points) <= 20:
        inside += "".join(
            f'<circle class="dot" cx="{_x(x, right):.1f}" cy="{_y(y, top):.1f}" r="3.5">'
            f"<title>{x:g}: {y:.3g}</title></circle>"
            for x, y in points
        )
    return _frame(across, up, (0, right), top, inside)


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


def _frame(across: str, up: str, span: tuple[float, float], top: float, inside: str) -> str:
    lines = []
    for n in range(_TICKS + 1):
        value = top * n / _TICKS
        y = _y(value, top)
        lines.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
        lines.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>')
        x = _LEFT + (WIDTH - _LEFT - _RIGHT) * n / _TICKS
        at = span[0] + (span[1] - span[0]) * n / _TICKS
        lines.append(
            f'<text x="{x:.1f}" y="{HEIGHT - _BOTTOM + 15}" text-anchor="middle">{_short(at)}</text>'
        )
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    lines.append(
        f'<text class="soft" x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{escape(across)}</text>'
    )
    lines.append(
        f'<text class="soft" transform="translate(11 {HEIGHT / 2 - 10}) rotate(-90)" text-anchor="middle">'
        f"{escape(up)}</text>"
    )
    return f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img">{"".join(lines)}{inside}</svg>'


def _x(value: float, right: float) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * value / right


def _y(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _BOTTOM - _TOP) * value / top


def _short(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    return f"{value:.0f}" if value == 0 or math.log10(value) >= 1 else f"{value:.2g}"
