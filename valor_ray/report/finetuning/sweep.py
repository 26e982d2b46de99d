"""WiSE-FT on the page: for each share α of the new weights AP50 on held-back verified boxes, and general mAP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from valor_ray.report.finetuning.records import FinetuneRecords, Record, part, rows
from valor_ray.report.kit.curves import NOTHING
from valor_ray.report.kit.plots import LEFT, RIGHT, TOP, WIDTH, Axis, frame
from valor_ray.report.kit.rows import number

if TYPE_CHECKING:
    from markupsafe import Markup

NEAR = 1e-6  # α that differ by less are one
_X = Axis(0.0, 1.0)


@dataclass(frozen=True)
class Candidate:
    alpha: float  # 0 = start weights
    ap50: float | None  # on held-back verified boxes
    map: float | None
    general: float | None  # mAP on the gate's set, where measured
    lost: float | None  # of general mAP against what the gate compares with
    chosen: bool
    refused: bool  # lost more than the gate lets go


def candidates(run: FinetuneRecords) -> list[Candidate]:
    """By α, each once."""
    chosen, general, limit = chosen_alpha(run.selection), _general_by_alpha(run), limit_of(run)
    baseline = baseline_of(run)
    by_alpha = {}
    for row in rows(run.selection, "held_back"):
        alpha = number(row, "alpha")
        if alpha is None or not 0 <= alpha <= 1:
            continue
        measured = _at(general, alpha)
        lost = None if measured is None or baseline is None else baseline - measured
        is_chosen = chosen is not None and abs(alpha - chosen) < NEAR
        refused = alpha > NEAR and lost is not None and limit is not None and lost > limit
        by_alpha[alpha] = Candidate(
            alpha, number(row, "ap50"), number(row, "map"), measured, lost, is_chosen, refused
        )
    return [by_alpha[alpha] for alpha in sorted(by_alpha)]


def chosen_alpha(selection: Record) -> float | None:
    return number(selection, "alpha")


def limit_of(run: FinetuneRecords) -> float | None:
    """mAP points that the general set may lose."""
    known = number(run.selection, "limit")
    return number(run.settings, "gate_limit") if known is None else known


def baseline_of(run: FinetuneRecords) -> float | None:
    """General mAP that the gate compares with: of the first start of all, which in a further round is not its own."""
    known = number(run.selection, "general", "baseline_map")
    return _at(_general_by_alpha(run), 0.0) if known is None else known


def least_of(run: FinetuneRecords) -> float | None:
    """General mAP from which the gate lets weights pass."""
    baseline, limit = baseline_of(run), limit_of(run)
    return None if baseline is None or limit is None else baseline - limit


def said_alpha(alpha: float) -> str:
    return f"{alpha:.4g}"


def held_back_plot(swept: Sequence[Candidate]) -> Markup:
    return _plot([(each.alpha, each.ap50, each.chosen) for each in swept], "AP50, held back")


def general_plot(swept: Sequence[Candidate], least: float | None) -> Markup:
    """With a dashed line at the least mAP that the gate lets pass."""
    return _plot([(each.alpha, each.general, each.chosen) for each in swept], "general mAP", least)


def _general_by_alpha(run: FinetuneRecords) -> dict[float, float]:
    general = part(run.selection, "general")
    names = {"start": 0.0, "end": chosen_alpha(run.selection)}
    measured = {}
    for row in rows(run.selection, "held_back"):
        alpha, known = number(row, "alpha"), number(row, "general_map")
        if alpha is not None and known is not None:
            measured[alpha] = known
    for name in general:
        alpha, known = names.get(name, _float(name)), number(general, name, "map")
        if alpha is not None and known is not None:
            measured[alpha] = known
    return measured


def _float(name: str) -> float | None:
    try:
        return number({"alpha": float(name)}, "alpha")
    except (TypeError, ValueError):
        return None


def _at(measured: dict[float, float], alpha: float) -> float | None:
    return next((value for at, value in measured.items() if abs(at - alpha) < NEAR), None)


def _plot(dots: Sequence[tuple[float, float | None, bool]], up: str, least: float | None = None) -> Markup:
    """dots: α, value, whether chosen. The upright axis begins near the smallest value, as its ticks say."""
    known = [(alpha, value, chosen) for alpha, value, chosen in dots if value is not None]
    if not known:
        return NOTHING
    reach = [value for _, value, _ in known] + ([least] if least is not None else [])
    room = max(0.15 * (max(reach) - min(reach)), 0.5)
    low = min(reach) - room
    y_axis = Axis(max(low, 0.0) if min(reach) >= 0 else low, max(reach) + room)
    return frame("α: share of the new weights", up, _X, y_axis, "".join(_shapes(known, y_axis, least)))


def _shapes(known: Sequence[tuple[float, float, bool]], y_axis: Axis, least: float | None) -> Iterator[str]:
    places = [(_X.x(alpha), y_axis.y(value)) for alpha, value, _ in known]
    if least is not None:
        y = y_axis.y(least)
        beside = y - 5 if y > TOP + 14 else y + 13
        yield f'<path class="alarm-line" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        said = f"the gate: at least {least:.1f}"
        early = any(alpha < 0.5 and value < least for alpha, value, _ in known)
        at, anchor = (WIDTH - RIGHT, "end") if early else (LEFT + 6, "start")  # away from the curve
        yield f'<text class="soft" x="{at}" y="{beside:.1f}" text-anchor="{anchor}">{said}</text>'
    yield f'<path class="curve c0" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in places)}"/>'
    for (x, y), (alpha, value, chosen) in zip(places, known, strict=True):
        if chosen:
            yield f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="8"/>'
        told = f"<title>α {alpha:g}: {value:.2f}</title>"
        yield f'<circle class="fill c0" cx="{x:.1f}" cy="{y:.1f}" r="4">{told}</circle>'
        inside = min(max(x, LEFT + 22), WIDTH - RIGHT - 14)
        above = y - 13 if y > TOP + 24 else y + 20
        bold = "value strong" if chosen else "value"
        yield f'<text class="{bold}" x="{inside:.1f}" y="{above:.1f}" text-anchor="middle">{value:.1f}</text>'
