"""What evaluation measures with, as far as training has to stay away from it: pictures and questions, no answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Measured:
    """Filled by `benchmarks.leaks.measured`, which reads the sets; asked by `gather`."""

    pictures: dict[str, str] = field(default_factory=dict)  # by what is known of it -> the first row about it
    rows: list[tuple[str, str, str]] = field(default_factory=list)  # (id, question, image) of each

    def add(self, row_id: str, known: Iterable[str]) -> None:
        """known: of the row's picture, its names (`picture_names`) and `content`."""
        for key in known:
            self.pictures.setdefault(key, row_id)

    def row_about(self, known: Iterable[str]) -> str | None:
        """A row that is about a picture of which this is known."""
        return next((row for key in sorted(known) if (row := self.pictures.get(key))), None)


def content(data: bytes) -> str:
    """What is known of a picture whose file is at hand: equal files are the same picture, whatever their names."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
