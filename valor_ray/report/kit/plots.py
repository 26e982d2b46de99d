"""The frame and the axes of every plot as SVG text; colours come from style.css."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

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


def frame(across: str, up: str, x_axis: Axis, y_axis: Axis, inside: str) -> Markup:
    """`inside` (SVG placed by the axes; it is not escaped) with ticks, grid lines and the names of both axes."""
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
    return Markup(f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img">{"".join(lines)}{inside}</svg>')


def short(value: float) -> str:
    """A number in few characters: 0.25, 1500, 12k, 2e-5."""
    if 0 < abs(value) < 1e-3:
        digits, power = f"{value:.1e}".split("e")
        return f"{digits.removesuffix('.0')}e{int(power)}"
    return f"{value / 1000:.4g}k" if abs(value) >= 10_000 else f"{value:.4g}"
