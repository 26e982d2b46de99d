"""The page of a mining run as one HTML file that loads nothing: figures, then pictures with their boxes to browse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from markupsafe import Markup

from valor_ray.errors import ConfigError
from valor_ray.records import MinedImage
from valor_ray.report.grounding.cards import STAGE_BUTTONS, card, clip
from valor_ray.report.grounding.figures import alarms, dataset_counts, evaluations, presence, programs, tiles
from valor_ray.report.grounding.overlay import CLASSES
from valor_ray.report.grounding.plots import NO_TRUTH, STAGES, funnel, shares
from valor_ray.report.grounding.summary import Kind, MiningSummary
from valor_ray.report.kit.rows import number, rows_of
from valor_ray.report.kit.templates import as_text, render
from valor_ray.report.score.plots import curve
from valor_ray.runs.folder import GROUNDING, kind_of
from valor_ray.runs.record_file import replace_text

PAGE, REPORT = "report.html", "report.json"  # in the run folder
_POINTS = 400  # of the throughput curve
_FAILED = 20  # rows of failed.jsonl that are shown


def write_page(folder: Path, report: Mapping[str, Any], records: Iterable[MinedImage]) -> None:
    """Write report.html of a mining folder. Raises StorageError.

    Called at the end of mining and by `valor report`. report: what report.json holds; figures that it lacks are not
    shown. records: every picture, gone through once; memory: a page of them. It reads the shown pictures' files and
    metrics.jsonl and failed.jsonl of the folder, and waits for nothing but the disk.
    """
    summary = MiningSummary()
    for record in records:
        summary.add(record)
    cards = [card(picture, folder) for picture in summary.shown()]
    page = render(
        "report/grounding/templates/page.html",
        folder=str(folder),
        training=_training(folder),
        summary=summary,
        tiles=dict(tiles(report, summary)),
        alarms=list(alarms(report)),
        panels=dict(_panels(folder, report, summary)),
        evaluations=list(evaluations(report)),
        stages=list(STAGES.values()),
        audit=_audit(report),
        presence=list(presence(report, summary)),
        programs=list(programs(report)),
        dataset=list(dataset_counts(report)),
        failed=[
            (clip(as_text(row.get("image"))), clip(as_text(row.get("error"))))
            for row in islice(rows_of(folder / "failed.jsonl"), _FAILED)
        ],
        cards=cards,
        kinds=[
            (kind.value, sum(kind.value in each.kinds for each in cards), summary.kinds[kind])
            for kind in Kind
            if summary.kinds[kind]
        ],
        stage_buttons=STAGE_BUTTONS,
        fates=[(CLASSES[fate], fate.value, summary.fates[fate]) for fate in CLASSES],
    )
    replace_text(folder / PAGE, page)


def _training(folder: Path) -> str:
    """Where the page lies of the run that mined this set for itself (RUN/mined); "" when none did."""
    try:
        ours = kind_of(folder.absolute().parent) is GROUNDING
    except ConfigError:  # somebody else's folder
        ours = False
    return "../report.html" if ours else ""


def _panels(
    folder: Path, report: Mapping[str, Any], summary: MiningSummary
) -> Iterator[tuple[str, tuple[Markup, str]]]:
    """Title, plot and note of each."""
    yield "Boxes by stage", (funnel(summary.stages()), "Boxes left after each check, of all candidates.")
    truth = report.get("evaluation")
    if isinstance(truth, Mapping):
        n = number(truth, "n", "pictures") or 0
        unread = number(truth, "candidates_unread") or 0
        note = f"Share of right boxes (IoU ≥ 0.5, each object once) in {n:,.0f} pictures; 95 % intervals by picture."
        if unread:
            note += (
                f" {unread:,.0f} candidates of {number(truth, 'phrases_unread') or 0:,.0f} phrases are left out: "
                "the evaluation cannot tell what these name."
            )
        yield (
            "Precision by stage",
            (shares(_part(truth, "precision_by_stage"), _part(truth, "precision_ci")), note),
        )
        lost, ends = number(truth, "recall_lost"), truth.get("recall_lost_ci")
        said = "" if lost is None else f"Verification lost {lost:.1f} points"
        if said and isinstance(ends, list) and len(ends) == 2:
            said += f" ({ends[0]:.1f} – {ends[1]:.1f})"
        note = f"{said} of the {number(truth, 'n', 'true_pairs') or 0:,.0f} (object, phrase) pairs there are."
        yield (
            "Recall by stage",
            (shares(_part(truth, "recall_by_stage"), _part(truth, "recall_ci")), note if said else ""),
        )
    else:
        yield (
            "Precision by stage",
            (
                NO_TRUTH,
                "Mining works without labels; only rendered scenes have a truth to be measured with.",
            ),
        )
    for what in ("pictures", "queries"):
        if len(points := throughput(folder / "metrics.jsonl", what)) > 1:
            plot = curve(points, f"seconds of work on {what}, all starts", f"{what}/s")
            yield f"Throughput: {what}", (plot, "")


def _part(truth: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = truth.get(name)
    return part if isinstance(part, Mapping) else {}


def _audit(report: Mapping[str, Any]) -> dict[str, Any]:
    """As the kit's table has it; {} when no canary was asked about."""
    audit = report.get("audit")
    if not isinstance(audit, Mapping) or not audit.get("kinds"):
        return {}
    return {"heads": audit.get("checks", {}), "kinds": audit["kinds"]}


def throughput(metrics: Path, what: str) -> list[tuple[float, float]]:
    """(seconds, rate) of one phase over all starts, one after the other, thinned out to about _POINTS."""
    points: list[tuple[float, float]] = []
    before = last = 0.0
    every = 1
    for n, row in enumerate(row for row in rows_of(metrics) if row.get("what") == what):
        seconds, rate = number(row, "seconds"), number(row, "per_s")
        if seconds is None or rate is None:
            continue
        if seconds < last:  # another start
            before += last
        last = seconds
        if n % every == 0:
            points.append((before + last, rate))
        if len(points) > 2 * _POINTS:
            points, every = points[::2], every * 2
    return points
