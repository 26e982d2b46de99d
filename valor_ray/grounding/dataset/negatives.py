"""What verification says of a picture's boxes and phrases: present, absent, wrongly proposed, or not known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from valor_ray.grounding.dataset.synonyms import Synonyms
from valor_ray.measure.detection_ap import iou_matrix
from valor_ray.models.grounding_dino.phrases import normal_form
from valor_ray.records import BBox, BoxStage, CheckedBox, MinedImage

INEXACT = 0.5  # IoU from which a rejected box is a poor box of a confirmed object, not a wrong one


class Standing(StrEnum):
    """What a picture may be in the set."""

    CONFIRMED = "confirmed"  # has a confirmed box
    REJECTED = "rejected"  # has none, and the verifier says of every phrase that nothing there bears it
    UNDECIDED = "undecided"  # neither


class Why(StrEnum):
    """Why a region is neither positive nor negative."""

    UNVERIFIED = "no verdict"
    DUPLICATE = "duplicate"  # of a confirmed box
    UNSURE = "unsure"  # dropped by a verifier that could not tell
    INEXACT = "inexact"  # rejected, and overlaps a confirmed or unsure box of this or a compatible phrase


@dataclass(frozen=True)
class Region:
    bbox: BBox
    phrase: str  # normal form
    why: str = ""  # Why, of an ignored region only


@dataclass(frozen=True)
class Sides:
    """Boxes best score first, phrases in the order in which they were asked."""

    positives: tuple[Region, ...]
    absent: tuple[str, ...]  # the verifier says that no object of the picture bears this name
    hard_negatives: tuple[Region, ...]  # this name at this place is wrong
    ignored: tuple[Region, ...]
    open: tuple[str, ...]  # asked, without a confirmed box, and nobody says that it is not there


def standing(image: MinedImage) -> Standing:
    if any(box.kept for box in image.boxes):
        return Standing.CONFIRMED
    said = _presence(image)
    undecided = any(box.kept is None or box.unsure for box in image.boxes)
    gone = bool(said) and all(said.get(normal_form(phrase)) == "absent" for phrase in image.phrases)
    return Standing.REJECTED if gone and not undecided else Standing.UNDECIDED


def sides(image: MinedImage, synonyms: Synonyms) -> Sides:
    """Sort the boxes and phrases of a merged picture.

    A phrase is absent when the verifier said so when it was asked of the whole picture, and no phrase that is there
    (confirmed, or said to be present) may name the same object. Where no box of a phrase is left and the verifier did
    not say that, the object may stand anywhere: the phrase is no negative but at its refused boxes. A rejected box is a
    hard negative unless it is a poor box of an object that bears its name, or may. A box that the verifier was unsure
    of is not rejected here: its region is ignored, its phrase is not absent, and no hard negative of its name overlaps
    it.
    """
    kept = [box for box in image.boxes if box.kept]
    rejected = [box for box in image.boxes if _rejected(box)]
    inexact = _inexact(rejected, [box for box in image.boxes if box.kept or box.unsure], synonyms)
    open_phrases = {normal_form(box.label) for box in image.boxes if not _rejected(box)}
    said = _presence(image)
    present = {normal_form(box.label) for box in kept} | {each for each in said if said[each] == "present"}
    absent = tuple(
        phrase
        for phrase in map(normal_form, image.phrases)
        if said.get(phrase) == "absent"
        and phrase not in open_phrases
        and not any(synonyms.compatible(phrase, other) for other in present)
    )
    settled = {*absent, *(normal_form(box.label) for box in kept)}
    asked = dict.fromkeys(map(normal_form, image.phrases))
    ignored = [box for box in image.boxes if box in inexact or not (box.kept or _rejected(box))]
    return Sides(
        tuple(_region(box) for box in kept),
        absent,
        tuple(_region(box) for box in rejected if box not in inexact),
        tuple(_region(box, Why.INEXACT if box in inexact else _why(box)) for box in ignored),
        tuple(phrase for phrase in asked if phrase and phrase not in settled),
    )


def _presence(image: MinedImage) -> dict[str, str | None]:
    """What was said of the phrases without a box, by normal form; {} in records of before that was asked."""
    return {normal_form(phrase): verdict for phrase, verdict in image.presence.items()}


def _region(box: CheckedBox, why: str = "") -> Region:
    return Region(box.bbox, normal_form(box.label), str(why))


def _rejected(box: CheckedBox) -> bool:
    """By the coarse check or its crop, which look at the box, and for sure; a duplicate is a right box not needed."""
    said = [each.kept for each in box.decisions if each.stage is not BoxStage.DUPLICATES and not each.unsure]
    return False in said


def _why(box: CheckedBox) -> Why:
    if box.kept is None:
        return Why.UNVERIFIED
    return Why.UNSURE if box.unsure else Why.DUPLICATE


def _inexact(
    rejected: Iterable[CheckedBox], right: Iterable[CheckedBox], synonyms: Synonyms
) -> set[CheckedBox]:
    """The rejected boxes that may be poor boxes of what `right` ones, confirmed or unsure, frame."""
    rejected, right = list(rejected), list(right)
    if not rejected or not right:
        return set()
    overlap = iou_matrix(np.array([box.bbox for box in rejected]), np.array([box.bbox for box in right]))
    return {
        rejected[row]
        for row, column in zip(*np.nonzero(overlap >= INEXACT), strict=True)
        if synonyms.compatible(normal_form(rejected[row].label), normal_form(right[column].label))
    }
