"""The page of `jobs.propose_boxes`: boxes that a VLM proposed beside boxes that it confirmed, figures and pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from PIL import Image

from valor_ray.records import BBox, Picture
from valor_ray.report.kit.overlay import COLOURS
from valor_ray.report.kit.templates import render
from valor_ray.runs.record_file import replace_text

PAGE = "report.html"  # in the job's folder
_SIDE = 480  # px, long side of the pictures in the page
_MOST_BOXES = 100  # drawn a picture and method
_ROWS = {"precision": "precision", "recall": "recall", "f1": "F1", "mean_iou": "mean IoU of right boxes"}
_SLIPS = {  # judges.boxes.proposals.Slip, for the reader
    "malformed": "not four numbers with a label: dropped",
    "not_asked": "a label that was not asked for: dropped",
    "reversed": "corners the wrong way round: put in order",
    "out_of_range": "beyond the picture: clipped",
    "too_small": "under one pixel: dropped",
}


@dataclass(frozen=True)
class Compared:
    """A picture with the boxes of both methods, as the page shows it."""

    name: str
    picture: Picture
    generated: Sequence[tuple[str, BBox]]  # phrase, box in pixels of the picture
    verified: Sequence[tuple[str, BBox]]
    true: Sequence[BBox]  # () where nothing is known


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    width: float
    height: float
    colour: str
    label: str


def write_generator_page(folder: Path, report: Mapping[str, Any], shown: Sequence[Compared]) -> Path:
    """Write the page of a report (grounding.generate.report) and return its path. Raises StorageError.

    Called at the end of the job; encodes the pictures of `shown`, some milliseconds each.
    """
    page = render(
        "report/grounding/generator.html",
        report=report,
        tiles=_tiles(report),
        rows=list(_rows(report)),
        difference=_share(report, "f1_difference"),
        slips={said: report["slips"][name] for name, said in _SLIPS.items()},
        cards=[_card(number, each) for number, each in enumerate(shown)],
    )
    replace_text(folder / PAGE, page)
    return folder / PAGE


def _tiles(report: Mapping[str, Any]) -> dict[str, str]:
    return {
        "pictures in both columns": f"{report['images']}",
        "pictures without an answer": f"{report['missing']}",
        "calls, calibration included": f"{report['calls']}",
        "cost, all starts": f"${report['cost_usd']:.2f}",
        "minutes, last start": f"{report['minutes']:.1f}",
    }


def _rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What it is, of the generator, of the verified detector."""
    both = report["generator"], report["verified"]
    yield "boxes", f"{both[0]['boxes']}", f"{both[1]['boxes']}"
    for name, said in _ROWS.items():
        yield said, _share(both[0], name), _share(both[1], name)


def _share(figures: Mapping[str, Any], name: str) -> str:
    value, interval = figures[name], figures[f"{name}_ci"]
    if value is None:
        return "–"
    return f"{value:.3f}" if interval is None else f"{value:.3f} ({interval[0]:.3f} – {interval[1]:.3f})"


def _card(number: int, compared: Compared) -> dict[str, Any]:
    """Values of one picture for the template, scaled to at most _SIDE."""
    picture = Image.fromarray(compared.picture.rgb)
    scale = min(1.0, _SIDE / max(picture.size))
    picture.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    colours: dict[str, str] = {}
    palette = cycle(COLOURS)
    for label, _bbox in (*compared.generated, *compared.verified):
        if label not in colours:
            colours[label] = next(palette)
    methods = {"generator": compared.generated, "verified": compared.verified}
    return {
        "id": f"p{number}",
        "name": compared.name,
        "width": picture.width,
        "height": picture.height,
        "data": base64.b64encode(buffer.getvalue()).decode("ascii"),
        "methods": {
            f"{name}: {len(boxes)} box{'es' * (len(boxes) != 1)}": [
                _scaled(bbox, scale, colours[label], label) for label, bbox in boxes[:_MOST_BOXES]
            ]
            for name, boxes in methods.items()
        },
        "true": [_scaled(bbox, scale, "#ffffff", "") for bbox in compared.true],
    }


def _scaled(bbox: BBox, scale: float, colour: str, label: str) -> _Box:
    left, top, right, bottom = (side * scale for side in bbox)
    return _Box(left, top, right - left, bottom - top, colour, label)
