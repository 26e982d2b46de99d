"""What a reader must know first: AP before and after, general detection before and after, published or why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from valor_ray.report.finetuning.records import FinetuneRecords, Record, interval, part
from valor_ray.report.finetuning.sweep import (
    NEAR,
    baseline_of,
    candidates,
    chosen_alpha,
    limit_of,
    said_alpha,
)
from valor_ray.report.kit.rows import number
from valor_ray.report.kit.templates import as_text, cut

_UNKNOWN = "–"


@dataclass(frozen=True)
class Tile:
    title: str
    said: str
    badge: str = ""  # "+13.9"
    kind: str = ""  # of the badge: yes surely up, no surely down, none may be chance
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """The gate's verdict and what became of the weights."""

    kind: str  # yes: published, no: the gate failed, none: neither
    said: str
    words: str  # the gate's own


def tiles(run: FinetuneRecords) -> Iterator[Tile]:
    """AP50 and general mAP, whatever the folder holds."""
    report = run.report
    before, after = number(report, "ap50_start"), number(report, "ap50_end")
    if before is not None or after is not None:
        scenes = number(run.evaluation, "scenes")
        over = f"{scenes:,.0f} held-out scenes a look" if scenes else "held-out scenes, true boxes"
        yield change_tile("AP50, before → after", before, after, interval(report, "gain_ci"), over)
    else:
        yield held_back_tile(run)
    yield _general(run)


def minutes_tile(report: Record) -> Tile:
    minutes = number(report, "minutes")
    said = _UNKNOWN if minutes is None else f"{minutes:.1f}"
    return Tile("minutes of fine-tuning", said, note="all starts; without mining and evaluation")


def change_tile(
    title: str, before: float | None, after: float | None, ends: tuple[float, float] | None, note: str
) -> Tile:
    """A figure before and after in points, and its change with an interval; without one nothing is said of chance."""
    said = f"{points(before)} → {points(after)}"
    if before is None or after is None:
        return Tile(title, said, note=note)
    sure = f"{ends[0]:+.1f} … {ends[1]:+.1f} (95 %), " if ends else ""
    return Tile(title, said, f"{after - before:+.1f}", kind_of(ends), f"{sure}{note}")


def kind_of(ends: tuple[float, float] | None) -> str:
    """The colour of a change by its interval; "" without one."""
    return "" if ends is None else "yes" if ends[0] > 0 else "no" if ends[1] < 0 else "none"


def points(value: float | None) -> str:
    """A figure in points, 0..100."""
    return _UNKNOWN if value is None else f"{value:.1f}"


def held_back_tile(run: FinetuneRecords) -> Tile:
    """What is known where truth is not: AP50 on verified boxes that were held back from training."""
    swept = candidates(run)
    before = next((each.ap50 for each in swept if each.alpha < NEAR), None)
    after = next((each.ap50 for each in swept if each.chosen), None)
    note = "boxes that the verifier confirmed and training has not seen; they also chose α, so this flatters"
    return change_tile("AP50 on held-back verified boxes", before, after, None, note)


def _general(run: FinetuneRecords) -> Tile:
    general = part(run.selection, "general")
    before = number(run.report, "general_map_start")
    after = number(run.report, "general_map_end")
    before = number(general, "start", "map") if before is None else before
    after = number(general, "end", "map") if after is None else after
    limit = limit_of(run)
    pictures = number(general, "start", "pictures")
    over = f"{pictures:,.0f} pictures" if pictures else "the gate's pictures"
    tile = change_tile("general mAP, before → after", before, after, None, over)
    if before is None or after is None or limit is None:
        return tile
    baseline = before if (known := baseline_of(run)) is None else known
    inside = baseline - after <= limit
    since = (
        "" if points(baseline) == points(before) else f" from {points(baseline)} of the first round's start"
    )
    note = f"{'within' if inside else 'beyond'} the {limit:.1f} points that it may lose{since}, {over}"
    return Tile(tile.title, tile.said, tile.badge, "yes" if inside else "no", note)


def verdict(run: FinetuneRecords) -> Verdict:
    """In words, whatever is known."""
    version = as_text(run.report.get("published"))
    words = cut(run.selection.get("words") or run.report.get("verdict"))
    if not run.selection:
        return Verdict("none", _unfinished(run), "")
    if version:
        alpha = chosen_alpha(run.selection)
        share = "" if alpha is None else f", α = {said_alpha(alpha)}"
        return Verdict(
            "yes", f"Published: {cut(version)}{share}. Services that follow this run load it.", words
        )
    if run.selection.get("passed") is True:
        return Verdict("none", "The gate passed, and nothing is published yet.", words)
    return Verdict(
        "no",
        "Nothing published: no share of the new weights passed. Services that follow this run keep their detector.",
        words,
    )


def _unfinished(run: FinetuneRecords) -> str:
    done = run.steps[-1]["step"] if run.steps else 0
    planned = number(run.plan, "steps") or number(run.settings, "steps")
    of = f" of {planned:.0f}" if planned and planned >= done else ""
    return f"Nothing published: no weights have been chosen yet. {done}{of} steps are recorded."


def alarms(run: FinetuneRecords) -> Iterator[str]:
    """What went wrong, each once, as the report says it."""
    listed = run.report.get("alarms")
    said = [run.report.get("stopped"), *(listed if isinstance(listed, list) else [])]
    yield from dict.fromkeys(cut(each) for each in said if each)
    ends = interval(run.report, "gain_ci")
    if ends is not None and ends[1] < 0:
        yield "AP50 on the held-out scenes has surely fallen, though the weights were chosen as the best."


def chosen_settings(settings: Record) -> str:
    """The settings that matter, in a line."""
    names = (
        "batch",
        "workers",
        "learning_rate",
        "freeze",
        "ema",
        "replay",
        "replay_loss",
        "held_back",
        "encoder_loss",
        "seed",
    )
    known = [(name, settings[name]) for name in names if settings.get(name) is not None]
    return ", ".join(f"{name} {'+'.join(map(str, v)) if isinstance(v, list) else v}" for name, v in known)
