"""Captions of a picture for training: put together by the function that inference uses, with what each token means.

Phrases whose words nest ("cup", "cup holder") never share a caption, as at inference, where they would compete for one
box; `mark` is right for a caption that does hold both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

import numpy as np

from valor_ray.grounding.dataset.negatives import INEXACT, Region
from valor_ray.grounding.dataset.synonyms import SAME_OBJECT, Synonyms, says_no_kind
from valor_ray.grounding.dataset.training import TrainingImage
from valor_ray.measure.detection_ap import iou_matrix
from valor_ray.models.grounding_dino.phrases import Caption, SpecialTokens, plan_captions
from valor_ray.records import BBox


@dataclass(frozen=True)
class Words:
    """How the detector reads text."""

    tokenize: Callable[[str], list[int]]  # token ids of a text, without special tokens
    special: SpecialTokens
    budget: int  # tokens of a caption, [CLS] and [SEP] included


class Role(StrEnum):
    """What a phrase of a caption is in the picture; it says how predictions for it are taken (training.py)."""

    POSITIVE = "positive"  # has a confirmed box
    ABSENT = "absent"  # every prediction for it is wrong
    HARD = "hard"  # wrong at its hard negatives, not known elsewhere
    FURTHER = "further"  # of other pictures: wrong at this picture's targets, not known elsewhere


@dataclass(frozen=True)
class Target:
    """An object to find."""

    bbox: BBox
    places: tuple[int, ...]  # phrases of the caption that name it: their tokens are positive
    unknown: tuple[int, ...]  # phrases that may name it: their tokens are left out; all others are negative


@dataclass(frozen=True)
class Marked:
    bbox: BBox
    place: int  # of the phrase in the caption


@dataclass(frozen=True)
class TrainingCaption:
    token_ids: tuple[int, ...]
    phrases: tuple[str, ...]  # normal forms
    spans: tuple[tuple[int, int], ...]  # first and past-the-end token of each phrase
    roles: tuple[Role, ...]  # of each phrase
    targets: tuple[Target, ...]
    hard_negatives: tuple[Marked, ...]
    ignored: tuple[Marked, ...]


def caption_rng(seed: int, epoch: int, key: str) -> np.random.Generator:
    """The draws of one picture in one epoch: the same on any worker, other ones for the next picture and epoch."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{key}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def training_captions(
    image: TrainingImage,
    words: Words,
    synonyms: Synonyms,
    rng: np.random.Generator,
    further: Sequence[str] = (),
    most_further: int = 20,
) -> list[TrainingCaption]:
    """The picture's phrases in as few captions as fit the budget: positive ones first, then absent, then hard ones.

    further: phrases of other pictures; up to `most_further` of them fill what room is left, drawn at random, and never
    one that may name what a phrase of this picture names. Within a caption the order is random. A picture that knows no
    phrase has no caption; a phrase longer than the budget is cut, as at inference.
    """
    roles = _roles(image)
    drawn = [further[place] for place in rng.permutation(len(further))]
    barred = [*roles, *dict.fromkeys(each.phrase for each in image.ignored), *image.open]
    free = (phrase for phrase in drawn if not any(synonyms.compatible(phrase, other) for other in barred))
    chosen = list(islice(free, most_further))
    ordered = [phrase for role in (Role.POSITIVE, Role.ABSENT, Role.HARD) for phrase in _of(roles, role, rng)]
    roles = dict.fromkeys(chosen, Role.FURTHER) | roles
    captions = []
    for planned in plan_captions([*ordered, *chosen], words.tokenize, words.special, words.budget):
        if all(roles[phrase] is Role.FURTHER for phrase in planned.phrases):
            continue
        mixed = [planned.phrases[place] for place in rng.permutation(len(planned.phrases))]
        (caption,) = plan_captions(mixed, words.tokenize, words.special, words.budget)
        captions.append(mark(caption, image, roles, synonyms))
    return captions


def mark(
    caption: Caption, image: TrainingImage, roles: dict[str, Role], synonyms: Synonyms
) -> TrainingCaption:
    """What a caption's phrases mean in the picture. Boxes whose phrase is not in it are left to other captions.

    Confirmed boxes of one object (IoU 0.7) under several phrases are one target with several places. Not known at a
    target: phrases that are compatible with its own, and those with a confirmed or an ignored box about there.
    """
    places = {phrase: place for place, phrase in enumerate(caption.phrases)}
    return TrainingCaption(
        caption.token_ids,
        caption.phrases,
        caption.spans,
        tuple(roles[phrase] for phrase in caption.phrases),
        tuple(_targets(image, places, synonyms)),
        tuple(_marked(image.hard_negatives, places)),
        tuple(_marked(image.ignored, places)),
    )


def _roles(image: TrainingImage) -> dict[str, Role]:
    hard = dict.fromkeys((each.phrase for each in image.hard_negatives), Role.HARD)
    absent = dict.fromkeys(image.absent, Role.ABSENT)
    return hard | absent | dict.fromkeys((each.phrase for each in image.positives), Role.POSITIVE)


def _of(roles: dict[str, Role], role: Role, rng: np.random.Generator) -> list[str]:
    phrases = [phrase for phrase, its in roles.items() if its is role]
    return [phrases[place] for place in rng.permutation(len(phrases))]


def _may_be_one(a: str, b: str, synonyms: Synonyms) -> bool:
    """Whether one object may bear both names, as far as anybody knows."""
    return synonyms.compatible(a, b) or says_no_kind(a) or says_no_kind(b)


def _marked(regions: Sequence[Region], places: dict[str, int]) -> list[Marked]:
    return [Marked(each.bbox, places[each.phrase]) for each in regions if each.phrase in places]


def _targets(image: TrainingImage, places: dict[str, int], synonyms: Synonyms) -> list[Target]:
    shown = [each for each in image.positives if each.phrase in places]
    if not shown:
        return []
    objects = _objects(shown)
    boxes = np.array([shown[rows[0]].bbox for rows in objects])
    near = _near(boxes, [*shown, *image.ignored])
    refused = _near(boxes, image.hard_negatives)
    targets = []
    for number, rows in enumerate(objects):
        named = {shown[row].phrase for row in rows}
        maybe = {phrase for phrase in places if any(_may_be_one(phrase, other, synonyms) for other in named)}
        # what the verifier has said of this picture, or of this very box, is known whatever the words
        unknown = (near[number] | maybe | set(image.open)) - refused[number] - set(image.absent)
        targets.append(
            Target(
                shown[rows[0]].bbox,
                tuple(sorted(places[phrase] for phrase in named)),
                tuple(sorted(places[phrase] for phrase in unknown - named if phrase in places)),
            )
        )
    return targets


def _near(boxes: np.ndarray, regions: Sequence[Region]) -> list[set[str]]:
    """Of each box the phrases of the regions that overlap it."""
    if not regions:
        return [set() for _ in boxes]
    near = iou_matrix(boxes, np.array([each.bbox for each in regions])) >= INEXACT
    return [{regions[row].phrase for row in np.flatnonzero(overlaps)} for overlaps in near]


def _objects(shown: Sequence[Region]) -> list[list[int]]:
    """Rows of the boxes of each object, best first; a phrase names an object once."""
    corners = np.array([each.bbox for each in shown])
    same = iou_matrix(corners, corners) >= SAME_OBJECT
    objects: list[list[int]] = []
    for row, each in enumerate(shown):
        for rows in objects:
            if same[rows[0], row] and each.phrase not in {shown[other].phrase for other in rows}:
                rows.append(row)
                break
        else:
            objects.append([row])
    return objects
