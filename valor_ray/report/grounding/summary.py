"""What a mining run looks like in all, and which of its pictures the page shows. One pass, flat memory."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from valor_ray.judges.boxes.geometry import phrase_key, without_box
from valor_ray.records import BOX_CHECKS, BoxStage, CheckedBox, MinedImage

SHOWN = 150  # pictures on the page
_EACH = SHOWN // 7  # of a kind, as far as there are so many; the rest is drawn of all pictures alike
_SEED = 11  # of the draws: the same records give the same page


class Fate(StrEnum):
    """Where a box ended; named as the page says it."""

    KEPT = "kept"
    COARSE = "dropped by coarse"
    CROPS = "dropped by crops"
    DUPLICATE = "duplicate"
    MISSING = "no verdict"


class Kind(StrEnum):
    """What there is to see in a picture; a picture may be of several kinds."""

    ALL_KEPT = "all kept"
    COARSE = "some dropped by coarse"
    CROPS = "some dropped by crops"
    DUPLICATES = "duplicates"
    NONE_KEPT = "none kept"
    MISSING = "verdict missing"
    EMPTY = "no candidate"


_FATES = {BoxStage.COARSE: Fate.COARSE, BoxStage.CROPS: Fate.CROPS, BoxStage.DUPLICATES: Fate.DUPLICATE}
_KINDS = {
    Fate.COARSE: Kind.COARSE,
    Fate.CROPS: Kind.CROPS,
    Fate.DUPLICATE: Kind.DUPLICATES,
    Fate.MISSING: Kind.MISSING,
}


def fate_of(box: CheckedBox) -> Fate:
    """By the first check that said no; a missing verdict matters only where none did."""
    no = next((each.stage for each in box.decisions if each.kept is False), None)
    if no is not None:
        return _FATES[no]
    return Fate.KEPT if box.kept else Fate.MISSING


def checks_passed(box: CheckedBox) -> int:
    """0..3: checks in a row, from the first, that kept it."""
    return sum(box.passed(stage) for stage in BOX_CHECKS)


def kinds_of(picture: MinedImage) -> set[Kind]:
    fates = {fate_of(box) for box in picture.boxes}
    if not fates:
        return {Kind.EMPTY}
    kinds = {_KINDS[fate] for fate in fates if fate in _KINDS}
    if fates == {Fate.KEPT}:
        kinds.add(Kind.ALL_KEPT)
    if Fate.KEPT not in fates:
        kinds.add(Kind.NONE_KEPT)
    return kinds


def presence_of(picture: MinedImage) -> dict[str, str]:
    """Of the phrases that no box stands for what the verifier said of them, by phrase_key; "not asked" of those that it
    was not asked about, "no verdict" where its answer is missing."""
    said = {phrase_key(phrase): verdict or "no verdict" for phrase, verdict in picture.presence.items()}
    unplaced = without_box(picture.phrases, picture.boxes)
    return {phrase_key(phrase): said.get(phrase_key(phrase), "not asked") for phrase in unplaced}


@dataclass
class _Reservoir:
    """A fair draw of so many of all that are offered, in one pass (Vitter's algorithm R)."""

    size: int
    draw: random.Random
    offered: int = 0
    held: list[tuple[int, MinedImage]] = field(default_factory=list)  # place among all pictures

    def offer(self, place: int, picture: MinedImage) -> None:
        self.offered += 1
        if len(self.held) < self.size:
            self.held.append((place, picture))
        elif (at := self.draw.randrange(self.offered)) < self.size:
            self.held[at] = (place, picture)


@dataclass
class MiningSummary:
    """Grows record by record; holds at most two pages of them."""

    images: int = 0
    phrases: int = 0  # (picture, phrase)
    presence: Counter[str] = field(default_factory=Counter)  # of these without a box: what was said of them
    boxes: Counter[BoxStage] = field(default_factory=Counter)  # still there after each stage
    fates: Counter[Fate] = field(default_factory=Counter)
    missing_at: Counter[BoxStage] = field(default_factory=Counter)  # check whose verdict is missing
    kinds: Counter[Kind] = field(default_factory=Counter)  # pictures
    slips: Counter[str] = field(default_factory=Counter)
    _drawn: dict[Kind | None, _Reservoir] = field(default_factory=dict)  # None: of all pictures alike

    def add(self, picture: MinedImage) -> None:
        self.images += 1
        self.phrases += len(picture.phrases)
        self.presence.update(presence_of(picture).values())
        for box in picture.boxes:
            self._count(box)
        self.slips.update(picture.slips)
        kinds = kinds_of(picture)
        self.kinds.update(kinds)
        for kind in (None, *sorted(kinds)):
            self._of(kind).offer(self.images, picture)

    def _count(self, box: CheckedBox) -> None:
        fate = fate_of(box)
        self.fates[fate] += 1
        passed = checks_passed(box)
        self.boxes.update(list(BoxStage)[: passed + 1])
        if fate is Fate.MISSING:
            self.missing_at[BOX_CHECKS[passed]] += 1

    def _of(self, kind: Kind | None) -> _Reservoir:
        size = SHOWN if kind is None else _EACH
        return self._drawn.setdefault(kind, _Reservoir(size, random.Random(f"{_SEED} {kind}")))

    def shown(self) -> list[MinedImage]:
        """At most SHOWN pictures in their order: of each kind a fair draw, then of all."""
        chosen: dict[int, MinedImage] = {}
        for kind in Kind:
            chosen.update(self._of(kind).held)
        for place, picture in self._of(None).held:
            if len(chosen) >= min(SHOWN, self.images):
                break
            chosen.setdefault(place, picture)
        return [chosen[place] for place in sorted(chosen)]

    def stages(self) -> Iterator[tuple[BoxStage, int, int, int]]:
        """(stage, boxes there after it, dropped by it, without its verdict)."""
        for stage in BoxStage:
            dropped = self.fates[_FATES[stage]] if stage in _FATES else 0
            yield stage, self.boxes[stage], dropped, self.missing_at[stage]
