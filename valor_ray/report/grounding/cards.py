"""Mined pictures as cards of the page: boxes with their fates, phrases. Labels and reasons are other people's text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from markupsafe import Markup

from valor_ray.judges.boxes.geometry import phrase_key
from valor_ray.records import BoxDecision, CheckedBox, MinedImage
from valor_ray.report.grounding.overlay import CLASSES, drawing, thumbnail
from valor_ray.report.grounding.summary import Fate, Kind, checks_passed, fate_of, kinds_of, presence_of

MOST_BOXES = 60  # of a picture that are shown
_MOST_PHRASES = 80
_LONGEST = 300  # characters of a phrase, reason or name
_PRESENCE = {
    "absent": "absent",
    "present": "there without a box",
    "unsure": "unsure whether there",
    "no verdict": "no verdict whether there",
    "not asked": "no box",
}
_SAID = {True: "kept", False: "dropped", None: "no verdict"}


@dataclass(frozen=True)
class BoxRow:
    number: int  # on the picture; 1 = best score
    label: str
    score: str
    fate: str
    fate_class: str  # of page.css
    passed: int  # 0..3 checks
    stage: str  # where it ended; "" when it was kept
    reason: str
    by: str
    before: str  # what the checks before said, one a line


@dataclass(frozen=True)
class PhraseChip:
    text: str
    said: str  # "2 kept", "absent, 1 rejected", "there without a box", "1 kept, 1 without verdict"
    absent: bool  # as the verifier says


@dataclass(frozen=True)
class Card:
    name: str
    facts: str
    kinds: tuple[str, ...]
    drawing: Markup
    problem: str  # of the picture
    phrases: tuple[PhraseChip, ...]
    more_phrases: int  # that are not shown
    rows: tuple[BoxRow, ...]
    more_boxes: int


def card(picture: MinedImage, folder: Path) -> Card:
    """Reads the picture's file."""
    shown = _shown(picture)
    thumb = thumbnail(picture, folder)
    kept = sum(box.kept is True for box in picture.boxes)
    many = len(picture.boxes)
    kinds = kinds_of(picture)
    return Card(
        name=clip(_name(picture.image)),
        facts=f"{picture.width}×{picture.height} px · {kept} kept of {many} candidate{'' if many == 1 else 's'}"
        + (f", {len(shown)} shown" if len(shown) < many else ""),
        kinds=tuple(kind.value for kind in Kind if kind in kinds),
        drawing=drawing(picture, shown, thumb),
        problem=clip(thumb.problem),
        phrases=tuple(_phrases(picture))[:_MOST_PHRASES],
        more_phrases=max(0, len(picture.phrases) - _MOST_PHRASES),
        rows=tuple(_row(at + 1, picture.boxes[at]) for at in shown),
        more_boxes=many - len(shown),
    )


def clip(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


def _name(image: str) -> str:
    if image.startswith("data:"):
        return "picture within the queries"
    return PurePosixPath(image).name or image


def _shown(picture: MinedImage) -> list[int]:
    """Places of the boxes to show, in the records' order; of a crowd the best scores of each fate in turn."""
    turns: Counter[Fate] = Counter()
    ranked = []
    for at in sorted(range(len(picture.boxes)), key=lambda at: -picture.boxes[at].score):
        fate = fate_of(picture.boxes[at])
        ranked.append((turns[fate], at))
        turns[fate] += 1
    return sorted(at for _, at in sorted(ranked)[:MOST_BOXES])


def _row(number: int, box: CheckedBox) -> BoxRow:
    fate = fate_of(box)
    decision, before = _deciding(box)
    return BoxRow(
        number=number,
        label=clip(box.label),
        score=f"{box.score:.2f}",
        fate=f"unsure: {fate.value}" if box.unsure else fate.value,
        fate_class=CLASSES[fate],
        passed=checks_passed(box),
        stage=decision.stage.value if decision and fate is not Fate.KEPT else "",
        reason=clip(decision.reason) if decision else "not checked yet",
        by=clip(decision.by) if decision else "",
        before="\n".join(
            f"{each.stage.value}: {_word(each)}. {clip(each.reason)}".strip() for each in before
        ),
    )


def _word(decision: BoxDecision) -> str:
    return "unsure" if decision.unsure else _SAID[decision.kept]


def _deciding(box: CheckedBox) -> tuple[BoxDecision | None, list[BoxDecision]]:
    """The decision that made its fate, and those before."""
    kept_back = [each for each in box.decisions if each.kept is not True]
    deciding = next((each for each in kept_back if each.kept is False), None) or next(iter(kept_back), None)
    if deciding is None and box.decisions:
        deciding = box.decisions[-1]
    return deciding, [each for each in box.decisions if each is not deciding]


def _phrases(picture: MinedImage) -> Iterator[PhraseChip]:
    asked, kept, missing, unsure = (Counter[str]() for _ in range(4))
    for box in picture.boxes:
        name = phrase_key(box.label)
        asked[name] += 1
        kept[name] += box.kept is True
        missing[name] += box.kept is None
        unsure[name] += box.unsure
    presence = presence_of(picture)
    for phrase in picture.phrases:
        name = phrase_key(phrase)
        unplaced = name in presence
        said = _PRESENCE[presence[name]] if unplaced else f"{kept[name]} kept"
        said += f", {missing[name]} without verdict" if missing[name] else ""
        said += f", {unsure[name]} unsure" if unsure[name] else ""
        if unplaced and asked[name]:
            said += f", {asked[name]} rejected"
        yield PhraseChip(clip(phrase), said, presence.get(name) == "absent")


STAGE_BUTTONS = ((0, "candidates"), (1, "after coarse"), (2, "after crops"), (3, "kept"))  # checks passed
