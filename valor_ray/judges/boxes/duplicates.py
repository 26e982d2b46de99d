"""The third check: one best box per object and phrase, as the verifier says and as far as geometry allows it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from valor_ray.judges.boxes.asking import Members, Slips, Verifier, ask_until_read, packed
from valor_ray.judges.boxes.geometry import APART, Group, believable, overlapping
from valor_ray.judges.boxes.partition import read_duplicates
from valor_ray.judges.boxes.requests import duplicates_request
from valor_ray.measure.detection_ap import iou_matrix
from valor_ray.records import BoxDecision, BoxStage, JudgeReply, JudgeRequest

_ALONE = "no other box of this phrase overlaps it"
_IN_PARTS = "too many overlapping boxes for one picture: compared in parts"


async def check_duplicates(verifier: Verifier, members: Sequence[int]) -> dict[int, BoxDecision]:
    """For each member whether it is the best box of its object. Raises JudgeError.

    Only boxes of one phrase that overlap are asked about. Of a cluster that does not fit one picture, parts are asked
    about, then their best boxes together, until they fit or nothing more goes.
    """
    waiting = _clusters(verifier, members)
    grouped = {member for cluster in waiting for member in cluster}
    decisions = {member: _geometry(_ALONE) for member in members if member not in grouped}
    most = verifier.grounding.boxes_per_picture
    while waiting:
        pieces = [piece for cluster in waiting for piece in _cut(verifier, cluster, most)]
        answers = await _asked(verifier, pieces)
        large = [cluster for cluster in waiting if len(cluster) > most]
        waiting = []
        decisions |= answers
        for cluster in large:
            bests = [member for member in cluster if answers[member].kept]
            if len(bests) == len(cluster):
                decisions |= {member: _geometry(_IN_PARTS) for member in bests}
            else:
                waiting += _clusters(verifier, bests)
    return decisions


async def _asked(verifier: Verifier, pieces: Sequence[Members]) -> dict[int, BoxDecision]:
    """All pieces asked about at the same time, each believed as a whole or not at all."""
    piece_of = {member: piece for piece in pieces for member in piece}
    decisions: dict[int, BoxDecision] = {}

    def build(asked: Members, correction: str) -> JudgeRequest:
        boxes = [verifier.boxes[member] for member in asked]
        return duplicates_request(verifier.sent, boxes, verifier.grounding, verifier.vlm, correction)

    def read(asked: Members, reply: JudgeReply) -> tuple[Members, Slips]:
        number = {member: at + 1 for at, member in enumerate(asked)}
        clusters = list(dict.fromkeys(piece_of[member] for member in asked))
        reading = read_duplicates(
            reply.content or {}, [[number[each] for each in cluster] for cluster in clusters]
        )
        left = tuple(asked[index - 1] for index in reading.doubtful)
        slips: dict[str, Sequence[int]] = dict(reading.slips)
        for cluster in clusters:
            if set(cluster).isdisjoint(left):
                said = [group for group in reading.groups if asked[group.best - 1] in cluster]
                kept = _believed(verifier, cluster, [_renumbered(group, asked, cluster) for group in said])
                decisions.update(_decided(cluster, kept, reply.usage.model))
                if any(group.reason == APART for group in kept):
                    slips.setdefault("refuted", ())
        return left, slips

    requests = packed(pieces, verifier.grounding.boxes_per_picture, split=False)
    missing = await ask_until_read(verifier, requests, build, read)
    return decisions | {each: BoxDecision(BoxStage.DUPLICATES, None, why) for each, why in missing.items()}


def _renumbered(group: Group, asked: Members, cluster: Members) -> Group:
    """A group of numbers of a request as one of positions in a cluster."""
    at = {member: position for position, member in enumerate(cluster)}
    indices = tuple(at[asked[index - 1]] for index in group.indices)
    return Group(indices, at[asked[group.best - 1]], group.reason, group.by_geometry)


def _believed(verifier: Verifier, cluster: Members, said: Sequence[Group]) -> list[Group]:
    boxes = [verifier.boxes[member] for member in cluster]
    return believable(said, [box.bbox for box in boxes], [box.score for box in boxes])


def _decided(cluster: Members, groups: Sequence[Group], model: str) -> dict[int, BoxDecision]:
    """groups: of positions in the cluster."""
    decisions = {}
    for group in groups:
        by = "geometry" if group.by_geometry else model
        for index in group.indices:
            kept = index == group.best
            reason = group.reason if kept else f"another box of the same object is better: {group.reason}"
            decisions[cluster[index]] = BoxDecision(BoxStage.DUPLICATES, kept, reason, by)
    return decisions


def _geometry(reason: str) -> BoxDecision:
    return BoxDecision(BoxStage.DUPLICATES, True, reason, "geometry")


def _clusters(verifier: Verifier, members: Sequence[int]) -> list[Members]:
    """Boxes of one phrase that hang together by overlaps."""
    boxes = [verifier.boxes[member] for member in members]
    clusters = overlapping([box.bbox for box in boxes], [box.label for box in boxes])
    return [tuple(members[at] for at in cluster) for cluster in clusters]


def _cut(verifier: Verifier, cluster: Members, most: int) -> list[Members]:
    """Parts of at most `most` boxes: the best-scored one that is left, with those that overlap it most."""
    if len(cluster) <= most:
        return [cluster]
    corners = np.array([verifier.boxes[member].bbox for member in cluster])
    overlap, left, parts = iou_matrix(corners, corners), list(range(len(cluster))), []
    while left:
        seed = max(left, key=lambda at: verifier.boxes[cluster[at]].score)
        near = sorted(left, key=lambda at: -overlap[seed, at])[:most]
        parts.append(tuple(cluster[at] for at in sorted(near)))
        left = [at for at in left if at not in set(near)]
    return parts
