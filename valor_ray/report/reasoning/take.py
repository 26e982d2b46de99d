"""The table of the versions that a checkpoint was chosen among, by signals that need no label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from valor_ray.report.kit.plots import short
from valor_ray.report.reasoning.records import SIGNALS

_TITLES = {"text": "text heads", "well_formed": "well formed", "scenes": "scene tests", "kl": "divergence"}
TITLES = ("step", *(_TITLES.get(name, name) for name in SIGNALS))


@dataclass(frozen=True)
class Version:
    step: int
    taken: bool
    figures: tuple[str, ...]  # of SIGNALS, in words


def versions(take: Mapping[str, Any] | None) -> Iterator[Version]:
    """A row each, in order of steps; nothing where nothing was chosen."""
    for row in take["signals"] if take else ():
        figures = tuple("–" if row[name] is None else short(row[name]) for name in SIGNALS)
        yield Version(row["step"], take is not None and row["step"] == take["step"], figures)
