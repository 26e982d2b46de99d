"""The curves of the fine-tuning page, each in its panel, over the optimizer steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from valor_ray.report.finetuning.records import FinetuneRecords
from valor_ray.report.kit.curves import Line, Points, chart
from valor_ray.report.kit.rows import column, number

if TYPE_CHECKING:
    from markupsafe import Markup

_COLOURS = 7  # of style.css: lines that a panel can hold
_MEAN = 20  # steps of the running mean
_MARKS = 3  # starts that are marked, the latest


@dataclass(frozen=True)
class Panel:
    title: str
    plot: Markup  # SVG with its legend, or that there is nothing yet
    note: str = ""


def panels(run: FinetuneRecords) -> Iterator[Panel]:
    """In the order of the page. One without data says so."""
    loss = column(run.steps, "loss")
    lines = [Line("a step", loss)]
    if len(run.steps) > _MEAN:
        lines.append(Line(f"mean of {_MEAN} steps", running_mean(loss)))
    yield Panel("Loss", _marked(lines, loss, run, "loss"), _resumed(run))
    yield from _parts(run)
    rate = column(run.steps, "learning_rate")
    yield Panel("Learning rate", _marked([Line("learning rate", rate)], rate, run, "learning rate"))
    norms = column(run.steps, "grad_norm")
    limit = number(run.settings, "max_grad_norm")
    clipped = [Line("before it is scaled down", norms)]
    note = f"Gradients are scaled down to {limit:g} where they are longer." if limit else ""
    yield Panel("Gradient norm", _marked(clipped, norms, run, "norm"), note)
    boxes = column(run.steps, "boxes")
    yield Panel("Boxes learnt from", _marked([Line("boxes a step", boxes)], boxes, run, "boxes a step"))
    speed = column(run.steps, "pictures_per_s")
    yield Panel("Speed", _marked([Line("pictures/s", speed)], speed, run, "pictures/s"))


def running_mean(points: Points) -> list[tuple[float, float | None]]:
    """At each step the mean of the last _MEAN numbers up to it; None until there are half as many."""
    means: list[tuple[float, float | None]] = []
    window: list[float] = []
    for step, value in points:
        if value is not None:
            window = [*window[1 - _MEAN :], value]
        means.append((step, sum(window) / len(window) if 2 * len(window) >= _MEAN else None))
    return means


def _parts(run: FinetuneRecords) -> Iterator[Panel]:
    """The parts of the loss, as many panels as their colours need."""
    names = list(dict.fromkeys(str(name) for row in run.steps for name in _mapping(row.get("parts"))))
    for at in range(0, max(len(names), 1), _COLOURS):
        lines = [Line(name, _part_curve(run, name)) for name in names[at : at + _COLOURS]]
        note = f"Weighted, as they are summed; means of {_MEAN} steps." if _many(run) and lines else ""
        yield Panel("Parts of the loss" + (", further" if at else ""), chart(lines, "loss"), note)


def _part_curve(run: FinetuneRecords, name: str) -> Points:
    """A part's curve: its mean where a curve of each step would hide the others."""
    points = column(run.steps, "parts", name)
    return running_mean(points) if _many(run) else points


def _many(run: FinetuneRecords) -> bool:
    return len(run.steps) > 2 * _MEAN


def _mapping(value: object) -> Mapping:
    return value if isinstance(value, Mapping) else {}


def _marked(lines: list[Line], points: Points, run: FinetuneRecords, up: str) -> Markup:
    """The lines, and one upright over the height of `points` at the first step of each later start."""
    top = max((value for _, value in points if value is not None), default=None)
    if top is None:
        return chart(lines, up)
    starts = [
        Line(f"started again at step {step}", [(float(step), top)], [(float(step), 0.0, top)])
        for step in run.resumes[-_MARKS:]
    ]
    return chart([*lines, *starts], up)


def _resumed(run: FinetuneRecords) -> str:
    if not run.resumes:
        return ""
    return (
        "A later start goes on from the checkpoint before its first step: what was done since is done again."
    )
