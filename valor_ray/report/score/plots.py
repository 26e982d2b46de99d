"""The plots of the score report as SVG text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from markupsafe import Markup

from valor_ray.report.kit.plots import BOTTOM, HEIGHT, LEFT, RIGHT, WIDTH, Axis, frame


def histogram(counts: Sequence[int]) -> Markup:
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
) -> Markup:
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


def heads(rates: Mapping[str, Mapping[str, Any]]) -> Markup:
    """One bar a head with its 95 % interval; how many verdicts there are stands beside it."""
    row, left, right = 30.0, 92.0, 150.0
    span = WIDTH - left - right
    parts = []
    for n, (name, head) in enumerate(rates.items()):
        y = 8 + n * row
        rate, (low, high) = head["rate"], head["ci95"]
        missing = f", {head['missing']:d} missing" if head["missing"] else ""
        missing += f", {head['left_out']:d} left out" if head.get("left_out") else ""
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
            f"{head['yes'] + head['no']:d}{missing}</tspan></text>"
        )
    height = 12 + row * len(rates)
    return Markup(f'<svg viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img">{"".join(parts)}</svg>')
