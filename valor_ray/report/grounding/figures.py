"""The figures at the head of the mining page, from report.json: what an earlier version did not write is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from valor_ray.records import BoxStage
from valor_ray.report.grounding.summary import Fate, MiningSummary
from valor_ray.report.kit.rows import number
from valor_ray.report.kit.templates import as_text


def tiles(report: Mapping[str, Any], summary: MiningSummary) -> Iterator[tuple[str, str]]:
    """Title and what stands there."""
    candidates, kept = summary.boxes[BoxStage.CANDIDATES], summary.fates[Fate.KEPT]
    yield "pictures", f"{(number(report, 'images') or summary.images):,.0f}"
    yield "candidates", f"{candidates:,}"
    yield "kept", f"{kept:,}"
    precision = number(report, "precision_by_stage", BoxStage.DUPLICATES.value)
    yield "precision of the kept", "no truth" if precision is None else f"{precision:.1%}"
    lost = number(report, "recall_lost")
    yield "recall lost, points", "no truth" if lost is None else f"{lost:.1f}"
    yield "no verdict", f"{summary.fates[Fate.MISSING]:,}"
    without = summary.presence.total()
    yield f"absent of {without:,} phrases without a box", f"{summary.presence['absent']:,}"
    wrong = number(report, "evaluation", "phrases_without_box", "absent_wrong", "share")
    yield "wrong of the absent", "–" if wrong is None else f"{wrong:.1%}"
    agreement = _agreement(report)
    yield "audit: as known", "–" if agreement is None else f"{agreement:.0%}"
    failed = number(report, "failed")
    yield "failed", "–" if failed is None else f"{failed:,.0f}"
    yield "calls, all starts", f"{number(report, 'in_all', 'calls') or 0:,.0f}"
    yield "from the cache", f"{number(report, 'in_all', 'cache_hits') or 0:,.0f}"
    yield "cost, all starts", f"${number(report, 'in_all', 'cost_usd') or 0:,.2f}"
    if writer := number(report, "in_all", "writer_cost_usd"):
        yield "cost of the writer, all starts", f"${writer:,.2f}"
    minutes = number(report, "minutes")
    yield "minutes, last start", "–" if minutes is None else f"{minutes:.1f}"


def _agreement(report: Mapping[str, Any]) -> float | None:
    """Share of the canaries' verdicts that are as known, over all kinds."""
    audit = report.get("audit")
    kinds = audit.get("kinds") if isinstance(audit, Mapping) else None
    if not isinstance(kinds, Mapping):
        return None
    asked = sum(number(kind, "asked") or 0 for kind in kinds.values() if isinstance(kind, Mapping))
    agreed = sum(number(kind, "agreed") or 0 for kind in kinds.values() if isinstance(kind, Mapping))
    return agreed / asked if asked else None


def alarms(report: Mapping[str, Any]) -> Iterator[str]:
    """What a reader must know first, each once."""
    audit = report.get("audit")
    said = [audit.get("alarm")] if isinstance(audit, Mapping) else []
    listed = report.get("alarms")
    said += listed if isinstance(listed, list) else []
    yield from dict.fromkeys(as_text(each) for each in said if each)


def evaluations(report: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str], str]]:
    """(part, boxes, precision by stage, recall lost) by look and by kind of phrase."""
    truth = report.get("evaluation")
    if not isinstance(truth, Mapping):
        return
    for group, word in (("by_look", "look "), ("by_kind", "phrases: ")):
        parts = truth.get(group)
        for name, part in parts.items() if isinstance(parts, Mapping) else ():
            shares = [number(part, "precision_by_stage", stage.value) for stage in BoxStage]
            lost = number(part, "recall_lost")
            counted = number(part, "boxes_by_stage", BoxStage.CANDIDATES.value, "boxes") or 0
            yield (
                f"{word}{name}",
                f"{counted:,.0f}",
                ["–" if share is None else f"{share:.1%}" for share in shares],
                "–" if lost is None else f"{lost:.1f}",
            )


def programs(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How the programs fared that named the phrases."""
    counts = report.get("programs")
    if not isinstance(counts, Mapping):
        return
    yield from _numbers(counts)
    statuses = counts.get("by_status")
    if isinstance(statuses, Mapping):
        yield from ((f"ended: {name}", said) for name, said in _numbers(statuses) if said != "0")


def presence(report: Mapping[str, Any], summary: MiningSummary) -> Iterator[tuple[str, str, str]]:
    """(what was said, phrases of which it was said, how many of them name something there) of phrases without a box."""
    for said, count in sorted(summary.presence.items()):
        named = "without a verdict" if said in ("no verdict", "not asked") else f"called {said}"
        there = number(report, "evaluation", "phrases_without_box", named, "there")
        of = number(report, "evaluation", "phrases_without_box", named, "phrases")
        yield said, f"{count:,}", "–" if there is None or not of else f"{there:,.0f} of {of:,.0f}"


def dataset_counts(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What was exported."""
    counts = report.get("dataset")
    if isinstance(counts, Mapping):
        yield from _numbers(counts)


def _numbers(counts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in counts:
        value = number(counts, name)
        if value is not None and not isinstance(counts[name], bool):
            yield str(name).replace("_", " "), f"{value:,.0f}" if value == int(value) else f"{value:,.3g}"
