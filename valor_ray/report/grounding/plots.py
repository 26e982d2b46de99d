"""The plots of the mining page as SVG text: a bar a stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from markupsafe import Markup

from valor_ray.records import BoxStage
from valor_ray.report.kit.plots import WIDTH
from valor_ray.report.kit.rows import number

STAGES = {
    BoxStage.CANDIDATES: "candidates",
    BoxStage.COARSE: "after coarse",
    BoxStage.CROPS: "after crops",
    BoxStage.DUPLICATES: "kept",
}
NO_TRUTH = Markup('<p class="soft">No truth: nobody knows here which boxes are right.</p>')
_ROW, _LEFT, _RIGHT = 30.0, 98.0, 214.0


def funnel(stages: Iterable[tuple[BoxStage, int, int, int]]) -> Markup:
    """Boxes that are left after each stage; rows as of MiningSummary.stages."""
    rows = list(stages)
    most = max((there for _, there, _, _ in rows), default=0)
    parts = []
    for n, (stage, there, dropped, missing) in enumerate(rows):
        share = there / most if most else 0.0
        said = f"{there:,}"
        lost = [f"−{dropped:,}"] if dropped else []
        lost += [f"{missing:,} missing"] if missing else []
        parts.append(_bar(n, STAGES[stage], share, said, " · ".join([f"{share:.0%}", *lost]) if most else ""))
    return _svg(parts)


def shares(
    by_stage: Mapping[str, Any], intervals: Mapping[str, Any], rows: Mapping[BoxStage, str] = STAGES
) -> Markup:
    """Shares 0..1 with their 95 % intervals, a bar a stage; a stage without a number says so."""
    parts = []
    for n, (stage, title) in enumerate(rows.items()):
        share = number(by_stage, stage.value)
        ends = intervals.get(stage.value)
        if share is None:
            parts.append(_bar(n, title, 0.0, "–", "nothing to measure"))
            continue
        low, high = _ends(ends)
        said = f"{low:.1%} – {high:.1%}" if high > low else ""
        parts.append(_bar(n, title, share, f"{share:.1%}", said) + _whisker(n, low, high))
    return _svg(parts)


def _ends(ends: Any) -> tuple[float, float]:
    """An interval of a report; (0, 0), which is not drawn, where there is none."""
    if isinstance(ends, Sequence) and len(ends) == 2 and all(isinstance(end, int | float) for end in ends):
        return min(max(float(ends[0]), 0.0), 1.0), min(max(float(ends[1]), 0.0), 1.0)
    return 0.0, 0.0


def _bar(n: int, title: str, share: float, said: str, more: str) -> str:
    y, span = 8 + n * _ROW, WIDTH - _LEFT - _RIGHT
    share = min(max(share, 0.0), 1.0)
    return (
        f'<text x="{_LEFT - 10}" y="{y + 14}" text-anchor="end">{escape(title)}</text>'
        f'<rect class="rail" x="{_LEFT}" y="{y + 3}" width="{span}" height="14" rx="3"/>'
        f'<rect class="bar" x="{_LEFT}" y="{y + 3}" width="{span * share:.1f}" height="14" rx="3"/>'
        f'<text x="{_LEFT + span + 10}" y="{y + 14}">{escape(said)} <tspan class="soft">{escape(more)}</tspan></text>'
    )


def _whisker(n: int, low: float, high: float) -> str:
    if high <= low:
        return ""
    y, span = 8 + n * _ROW, WIDTH - _LEFT - _RIGHT
    return (
        f'<path class="whisker" d="M{_LEFT + span * low:.1f} {y + 10}H{_LEFT + span * high:.1f}'
        f'M{_LEFT + span * low:.1f} {y + 6}v8M{_LEFT + span * high:.1f} {y + 6}v8"/>'
    )


def _svg(parts: Sequence[str]) -> Markup:
    return Markup(
        f'<svg viewBox="0 0 {WIDTH:.0f} {12 + _ROW * len(parts):.0f}" role="img">{"".join(parts)}</svg>'
    )
