"""The tables that set the end of a run beside its start, with intervals: in all, and by family of questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from valor_ray.measure.holm import SURE
from valor_ray.measure.intervals import wilson
from valor_ray.report.kit.rows import number
from valor_ray.report.reasoning.records import TrainRecords
from valor_ray.report.reasoning.summary import both_ends

_UNKNOWN = "–"


@dataclass(frozen=True)
class Figure:
    said: str  # "71.4%"
    note: str = ""  # what it is of, and its interval


@dataclass(frozen=True)
class Change:
    said: str  # "+3.1%"
    interval: str = ""  # "+1.2% … +5.0%"
    kind: str = ""  # yes: surely up, no: surely down, none: may be chance; "" without an interval
    worse: bool = False  # surely down among several, and named so


@dataclass(frozen=True)
class BeforeAfter:
    """A row of the table."""

    name: str
    before: Figure
    after: Figure
    change: Change
    n: str = ""  # questions


def headline(run: TrainRecords, summary: Mapping[str, Any]) -> list[BeforeAfter]:
    """The run in all; empty while nothing is recorded."""
    if not run.metrics and not run.evaluations:
        return []
    first = run.evaluations[0] if run.evaluations else {}
    last = run.evaluations[-1] if len(run.evaluations) > 1 else {}
    gain = change(summary["gain"], summary["gain_ci"])
    return [
        BeforeAfter("held-out accuracy", _share(first, "accuracy"), _share(last, "accuracy"), gain),
        BeforeAfter(
            "held-out replies, well formed",
            _share(first, "well_formed"),
            _share(last, "well_formed"),
            Change(""),
        ),
        *_samples(run, summary),
    ]


def _samples(run: TrainRecords, summary: Mapping[str, Any]) -> Iterator[BeforeAfter]:
    """What the judges said of the training samples, as means over the steps at either end."""
    over = f"{len(both_ends(run.metrics)[0])} steps"
    for title, name in (("reward of training samples", "reward"), ("all heads yes", "all_heads")):
        start, end = summary[f"{name}_start"], summary[f"{name}_end"]
        yield BeforeAfter(
            title,
            _mean(start, f"mean of the first {over}"),
            _mean(end, f"mean of the last {over}"),
            change(None if start is None or end is None else end - start, None),
        )


def families(summary: Mapping[str, Any]) -> list[BeforeAfter]:
    """One row a family of held-out questions; empty before the first evaluation."""
    return [
        BeforeAfter(
            name,
            _percent(family["start"]),
            _percent(family["end"]),
            _family_change(family),
            n=_UNKNOWN if family["n"] is None else f"{family['n']}",
        )
        for name, family in summary["by_family"].items()
    ]


def change(gain: float | None, interval: Sequence[float] | None) -> Change:
    """A gain in percent with its interval; without one the plain difference."""
    if gain is None:
        return Change(_UNKNOWN)
    if interval is None:
        return Change(f"{gain:+.3f}")
    low, high = interval
    kind = "yes" if low > 0 else "no" if high < 0 else "none"
    return Change(f"{gain:+.1%}", f"{low:+.1%} … {high:+.1%}", kind)


def _family_change(family: Mapping[str, Any]) -> Change:
    """One of several: sure is what Holm's correction leaves so, whatever its own interval says."""
    alone = change(family["gain"], family["gain_ci"])
    if alone.interval and family["p_holm"] >= SURE:
        alone = replace(alone, kind="none")
    return replace(alone, worse=bool(family["significantly_worse"]))


def _share(evaluation: Mapping[str, Any], name: str) -> Figure:
    """A share of an evaluation's n with its interval (Wilson)."""
    share, n = number(evaluation, name), number(evaluation, "n")
    if share is None:
        return Figure(_UNKNOWN)
    low, high = wilson(share * (n or 0), int(n or 0))
    return Figure(f"{share:.1%}", f"{low:.1%} – {high:.1%} · step {evaluation['step']}, n = {n or 0:.0f}")


def _mean(value: float | None, note: str) -> Figure:
    return Figure(_UNKNOWN) if value is None else Figure(f"{value:.3f}", note)


def _percent(share: float | None) -> Figure:
    return Figure(_UNKNOWN if share is None else f"{share:.1%}")
