"""What the places of boxes decide: which lie outside the picture, which cannot be or must be one object."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from valor_ray.measure.detection_ap import iou_matrix
from valor_ray.records import BBox, CheckedBox

SAME_IOU = 0.85  # boxes of one phrase that overlap so much are one object, whatever was said
LEAST_SHARED = 0.25  # of the smaller box's area: boxes that share less are not one object, whatever was said
APART = "lies apart from the box that it was said to be the same as"


@dataclass(frozen=True)
class Group:
    """Boxes that frame one object."""

    indices: tuple[int, ...]
    best: int  # one of them
    reason: str = ""
    by_geometry: bool = False  # whether the verifier's word was not believed, or not asked for


def phrase_key(label: str) -> str:
    """What makes two labels one phrase: case, width forms and runs of space do not count."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split())


def without_box(phrases: Iterable[str], boxes: Iterable[CheckedBox]) -> tuple[str, ...]:
    """The phrases that no box stands for: all their candidates were refused, if there were any. A box without a
    verdict, or one that the verifier was unsure of, may be what is asked about: its phrase is not among them."""
    open_phrases = {phrase_key(box.label) for box in boxes if box.kept is not False or box.unsure}
    return tuple(phrase for phrase in phrases if phrase_key(phrase) not in open_phrases)


def clipped(bbox: BBox, width: int, height: int) -> BBox | None:
    """The part of the box inside a picture (px); None when that has no area or a side is not a number."""
    if not all(math.isfinite(side) for side in bbox):
        return None
    x1, y1 = max(0.0, float(bbox[0])), max(0.0, float(bbox[1]))
    x2, y2 = min(float(width), float(bbox[2])), min(float(height), float(bbox[3]))
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def shared(corners: np.ndarray) -> np.ndarray:
    """Share of the smaller box's area that two boxes have in common: (n, n) of corners (n, 4), 0..1."""
    sides = np.minimum(corners[:, None, 2:], corners[None, :, 2:]) - np.maximum(
        corners[:, None, :2], corners[None, :, :2]
    )
    areas = (corners[:, 2:] - corners[:, :2]).prod(-1)
    smaller = np.minimum(areas[:, None], areas[None])
    return np.asarray(sides.clip(min=0).prod(-1) / np.maximum(smaller, 1e-9))


def overlapping(boxes: Sequence[BBox], labels: Sequence[str]) -> list[list[int]]:
    """Clusters of two or more boxes of one phrase that hang together by overlaps, in order; indices into `boxes`."""
    phrases: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        phrases.setdefault(phrase_key(label), []).append(index)
    clusters = []
    for members in phrases.values():
        if len(members) > 1:
            touching = shared(np.array([boxes[index] for index in members], float)) > 0
            clusters += [[members[i] for i in part] for part in _components(touching)]
    return sorted(cluster for cluster in clusters if len(cluster) > 1)


def believable(objects: Sequence[Group], boxes: Sequence[BBox], scores: Sequence[float]) -> list[Group]:
    """The objects that a verifier named among boxes of one phrase, as far as the boxes' places allow.

    objects: each index of boxes in exactly one. Boxes of SAME_IOU or more are put together, boxes that share less than
    LEAST_SHARED with the best of their object become objects of their own, and no two bests stay that are the same.
    """
    corners = np.array(boxes, float)
    same, common = iou_matrix(corners, corners) >= SAME_IOU, shared(corners)
    parts = [part for group in _joined(objects, same, scores) for part in _split(group, common, scores)]
    kept: list[Group] = []
    for group in sorted(parts, key=lambda part: -scores[part.best]):
        twin = next((at for at, other in enumerate(kept) if same[group.best, other.best]), None)
        if twin is None:
            kept.append(group)
        else:
            together = (*kept[twin].indices, *group.indices)
            kept[twin] = Group(together, kept[twin].best, "nearly the same box", True)
    return sorted(kept, key=lambda group: min(group.indices))


def _joined(objects: Sequence[Group], same: np.ndarray, scores: Sequence[float]) -> list[Group]:
    """Objects that hold nearly equal boxes, put together; the best is the best-scored of their bests."""
    linked = np.array([[bool(same[np.ix_(a.indices, b.indices)].any()) for b in objects] for a in objects])
    joined = []
    for part in _components(linked):
        groups = [objects[at] for at in part]
        if len(groups) == 1:
            joined.append(groups[0])
        else:
            best = max((group.best for group in groups), key=lambda index: scores[index])
            indices = tuple(index for group in groups for index in group.indices)
            joined.append(Group(indices, best, "nearly the same box", True))
    return joined


def _split(group: Group, common: np.ndarray, scores: Sequence[float]) -> list[Group]:
    """The group without what lies apart from its best; what is left over, grouped around its own best-scored boxes."""
    parts: list[Group] = []
    rest, best = list(group.indices), group.best
    while rest:
        near = [index for index in rest if index == best or common[index, best] >= LEAST_SHARED]
        reason = group.reason if not parts else APART
        parts.append(Group(tuple(near), best, reason, group.by_geometry or bool(parts)))
        rest = [index for index in rest if index not in near]
        best = max(rest, key=lambda index: scores[index], default=-1)
    return parts


def _components(linked: np.ndarray) -> list[list[int]]:
    """Connected parts of a symmetric boolean matrix, each in order."""
    left = set(range(len(linked)))
    parts: list[list[int]] = []
    while left:
        part, edge = set(), {min(left)}
        while edge:
            part |= edge
            edge = {int(other) for index in edge for other in np.flatnonzero(linked[index])} - part
        left -= part
        parts.append(sorted(part))
    return parts
