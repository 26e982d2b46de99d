"""Accuracies in their order, and gains, as points with their 95 % intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from markupsafe import Markup

from valor_ray.report.kit.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, short

_CAP = 6.0  # half the width of an interval's ends
_ROW = 34.0  # height of a gain


def accuracy_plot(points: Sequence[Mapping[str, Any]]) -> Markup:
    """points: place, accuracy, ci (shares 0..1), those that are measured, in order."""
    ends = [end for point in points for end in point["ci"]]
    low, high = max(0.0, min(ends) - 0.05), min(1.0, max(ends) + 0.05)
    axis = Axis(100 * low, 100 * high)
    lines = []
    for value in axis.ticks():
        y = axis.y(value)
        lines.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{short(value)} %</text>')
    wide = (WIDTH - LEFT - RIGHT) / len(points)
    for number, point in enumerate(points):
        x = LEFT + wide * (number + 0.5)
        bottom, top = (axis.y(100 * end) for end in point["ci"])
        y = axis.y(100 * point["accuracy"])
        lines.append(
            f'<path class="whisker" d="M{x - _CAP} {top:.1f}h{2 * _CAP}M{x - _CAP} {bottom:.1f}h{2 * _CAP}"/>'
        )
        lines.append(f'<path class="whisker" d="M{x:.1f} {top:.1f}V{bottom:.1f}"/>')
        lines.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        lines.append(f'<text x="{x + 11:.1f}" y="{y + 4:.1f}">{point["accuracy"]:.1%}</text>')
        lines.append(
            f'<text class="soft" x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">'
            f"{escape(_short(point['place']))}</text>"
        )
    return _svg(HEIGHT, lines)


def gain_plot(gains: Mapping[str, Mapping[str, Any]]) -> Markup:
    """gains: by name, gain and ci (shares); zero is marked."""
    ends = [100 * end for gain in gains.values() for end in gain["ci"]]
    axis = Axis(min(*ends, 0.0) - 2, max(*ends, 0.0) + 2)
    left, bottom = LEFT + 90, TOP + _ROW * len(gains)

    def x(value: float) -> float:
        return left + (WIDTH - RIGHT - left) * axis.share(value)

    lines = []
    for value in axis.ticks():
        lines.append(f'<path class="grid" d="M{x(value):.1f} {TOP}V{bottom:.1f}"/>')
        lines.append(
            f'<text x="{x(value):.1f}" y="{bottom + 15:.1f}" text-anchor="middle">{short(value)}</text>'
        )
    lines.append(f'<path class="ideal" d="M{x(0):.1f} {TOP}V{bottom:.1f}"/>')
    for number, (name, gain) in enumerate(gains.items()):
        y = TOP + _ROW * (number + 0.6)
        low, high = (x(100 * end) for end in gain["ci"])
        lines.append(f'<text x="{left - 10:.1f}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        lines.append(
            f'<path class="whisker" d="M{low:.1f} {y - _CAP}v{2 * _CAP}M{high:.1f} {y - _CAP}v{2 * _CAP}"/>'
        )
        lines.append(f'<path class="whisker" d="M{low:.1f} {y:.1f}H{high:.1f}"/>')
        at = x(100 * gain["gain"])
        lines.append(f'<circle class="dot" cx="{at:.1f}" cy="{y:.1f}" r="5"/>')
        lines.append(
            f'<text x="{at:.1f}" y="{y - 9:.1f}" text-anchor="middle">{100 * gain["gain"]:+.1f}</text>'
        )
    middle = (left + WIDTH - RIGHT) / 2
    lines.append(
        f'<text class="soft" x="{middle}" y="{bottom + 32:.1f}" text-anchor="middle">points, paired</text>'
    )
    return _svg(bottom + 40, lines)


def _short(place: str) -> str:
    """As it fits below a point: "round-2/reasoning" as "2 +reasoning"."""
    return place.removeprefix("round-").replace("/", " +")


def _svg(height: float, lines: Sequence[str]) -> Markup:
    return Markup(f'<svg viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img">{"".join(lines)}</svg>')
