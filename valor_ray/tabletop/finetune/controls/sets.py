"""The sets of the control table: one mining run's pictures and candidates under other verdicts. For evaluation only.

Each control changes the records (images.jsonl, missing.jsonl) and exports them as mining does, so that a set differs in
nothing but its verdicts.

- `self_training`: the detector's own boxes with a score of SELF_SCORE or more are positives; nobody has looked. Weaker
  boxes are neither positive nor negative, and no phrase is absent: a detector that trains on itself knows no negatives.
- `random_verifier`: what the verifier said at a stage is dealt anew, at random, among the boxes that reach it: each
  stage has as many yes, no, unsure and missing as the real one. So is what it said of phrases without a box, in the
  same shares: other phrases are without one now.
- `true_boxes`: for the phrases that mining asked for, what is truly there: true boxes are positives, candidates that
  cover none of their phrase are rejected, and what names nothing is absent. The ceiling of any verifier, and beyond:
  the boxes are exact. Phrases that nobody can read off the scene ("box behind the ball") are left out.
- `without_coarse`, `without_crop`, `without_duplicates`: that stage says yes to every box. Later stages were never
  asked about the boxes that it had dropped. Their verdicts do not exist, so they count as yes: a run without the stage
  would have asked, and lost some of them, so the table shows the most that skipping it can cost, and not what it does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from valor_ray.config.grounding import GroundingConfig
from valor_ray.config.service import ImageConfig
from valor_ray.errors import ConfigError
from valor_ray.grounding.dataset.export import DatasetCounts, export
from valor_ray.grounding.dataset.images import MergedImages
from valor_ray.judges.boxes.geometry import without_box
from valor_ray.measure.box_stages import claims
from valor_ray.models.grounding_dino.phrases import normal_form
from valor_ray.records import BOX_CHECKS, BBox, BoxDecision, BoxStage, CheckedBox, MinedImage
from valor_ray.runs.record_file import read_records
from valor_ray.tabletop.mining.truth import LEAST_VISIBLE, TrueObject, read_objects, read_phrase

SELF_SCORE = 0.35  # the detector's own threshold (paper: 0.35)
OBJECTS = Path("evaluation", "objects.jsonl")  # in the run folder of mining


@dataclass(frozen=True)
class Mined:
    """A mining run, its pictures merged. All of it in memory."""

    images: tuple[MinedImage, ...]
    objects: Mapping[str, tuple[TrueObject, ...]]  # by file name; {} where nothing was rendered


Control = Callable[[Mined, int], Iterable[MinedImage]]


def read_mined(run: Path) -> Mined:
    """A run folder of `valor mine`. Raises ConfigError when it holds no mined picture."""
    files = (run / "images.jsonl", run / "missing.jsonl")
    records = (MinedImage.from_record(record) for file in files for record in read_records(file))
    with MergedImages(records, run) as merged:
        images = tuple(merged)
    if not images:
        raise ConfigError(f"{run} holds no mined pictures: give the run folder of `valor mine`.")
    return Mined(images, read_objects(run / OBJECTS))


def write_control_set(
    name: str,
    mined: Mined,
    folder: Path,
    grounding: GroundingConfig,
    limits: ImageConfig | None = None,
    seed: int = 0,
) -> DatasetCounts:
    """Write the set of a control (a key of CONTROL_SETS) into `folder`, as mining exports. seed: of what is drawn.

    Raises ConfigError for `true_boxes` of a run whose scenes were not rendered here, StorageError.
    """
    return export(CONTROL_SETS[name](mined, seed), folder, grounding, limits)


def self_training(mined: Mined, _seed: int) -> Iterable[MinedImage]:
    for image in mined.images:
        boxes = tuple(
            _kept(box, "self") if box.score >= SELF_SCORE else _undecided(box) for box in image.boxes
        )
        asked = {normal_form(box.label) for box in boxes}
        phrases = tuple(phrase for phrase in image.phrases if normal_form(phrase) in asked)
        if boxes:
            yield replace(image, boxes=boxes, phrases=phrases, presence={})


def random_verifier(mined: Mined, seed: int) -> Iterable[MinedImage]:
    rng = np.random.default_rng([seed, 12])
    boxes = [box for image in mined.images for box in image.boxes]
    said: list[tuple[BoxDecision, ...]] = [() for _ in boxes]
    there = list(range(len(boxes)))
    for stage in BOX_CHECKS:
        dealt = [each for box in boxes for each in box.decisions if each.stage is stage]
        asked = [there[place] for place in rng.permutation(len(there))[: len(dealt)]]
        for place, one in zip(asked, dealt, strict=True):
            said[place] += (replace(one, reason="dealt at random", by="random"),)
        there = sorted(place for place in asked if said[place][-1].kept is True)
    verdicts = [verdict for image in mined.images for verdict in image.presence.values()]
    rest = iter(said)
    for image in mined.images:
        dealt_to = tuple(replace(box, decisions=next(rest)) for box in image.boxes)
        without = _without_box(image.phrases, dealt_to) if verdicts else ()
        presence = {phrase: verdicts[int(rng.integers(len(verdicts)))] for phrase in without}
        yield replace(image, boxes=dealt_to, presence=presence)


def _without_box(phrases: Iterable[str], boxes: Iterable[CheckedBox]) -> tuple[str, ...]:
    """Normal forms of the phrases that the verifier would be asked for in the whole picture."""
    return without_box(dict.fromkeys(map(normal_form, phrases)), boxes)


def true_boxes(mined: Mined, _seed: int) -> Iterable[MinedImage]:
    if not mined.objects:
        raise ConfigError(
            f"The control true_boxes needs {OBJECTS} in the mining run's folder, which only rendered scenes have. "
            "Leave it out (--only)."
        )
    for image in mined.images:
        objects = mined.objects.get(Path(image.image).name)
        if objects is not None:
            yield _truly(image, objects)


def _truly(image: MinedImage, objects: Sequence[TrueObject]) -> MinedImage:
    """The picture as one who knows it would have judged it."""
    candidates: dict[str, list[CheckedBox]] = defaultdict(list)
    for box in image.boxes:
        candidates[normal_form(box.label)].append(box)
    phrases: list[str] = []
    boxes: list[CheckedBox] = []
    presence: dict[str, str | None] = {}
    for phrase in image.phrases:
        read = read_phrase(phrase)
        if read is None:
            continue
        named = [each for each in objects if read.names(each.colour, each.shape)]
        true = [each.bbox for each in named if each.visible >= LEAST_VISIBLE]
        hidden = [each.bbox for each in named if each.visible < LEAST_VISIBLE]
        if named and not true:
            continue  # hardly to be seen: neither there nor absent
        phrases.append(phrase)
        if not named:
            presence[normal_form(phrase)] = "absent"
        boxes += [_kept(CheckedBox(bbox, phrase, 1.0), "truth") for bbox in true]
        boxes += _wrong(candidates[normal_form(phrase)], true, hidden)
    return replace(image, phrases=tuple(phrases), boxes=tuple(boxes), presence=presence)


def _wrong(
    candidates: Sequence[CheckedBox], true: Sequence[BBox], hidden: Sequence[BBox]
) -> list[CheckedBox]:
    """Candidates that are on nothing of their name, rejected. Those on it are left out: the true box is there."""
    marks = claims([box.bbox for box in candidates], true, hidden)
    no = (BoxDecision(BoxStage.COARSE, False, "nothing of this name is here", "truth"),)
    return [
        replace(box, decisions=no) for box, mark in zip(candidates, marks, strict=True) if mark == "wrong"
    ]


def _without(stage: BoxStage) -> Control:
    def control(mined: Mined, _seed: int) -> Iterable[MinedImage]:
        for image in mined.images:
            boxes = tuple(_skipped(box, stage) for box in image.boxes)
            without = _without_box(image.phrases, boxes)
            presence = {phrase: said for phrase, said in image.presence.items() if phrase in without}
            yield replace(image, boxes=boxes, presence=presence)

    return control


def _skipped(box: CheckedBox, stage: BoxStage) -> CheckedBox:
    """As if the stage had kept the box; what a later one then never said counts as yes."""
    said = {each.stage: each for each in box.decisions}
    if any(said[each].kept is not True for each in BOX_CHECKS[: BOX_CHECKS.index(stage)] if each in said):
        return box  # an earlier stage had the last word
    if stage not in said:
        return box  # not judged at all: there is no verdict to skip
    later = [each for each in BOX_CHECKS if each is not stage and each not in said]
    made = said | {stage: BoxDecision(stage, True, "skipped", "skipped")}
    made |= {each: BoxDecision(each, True, "never asked", "skipped") for each in later}
    return replace(box, decisions=tuple(made[each] for each in BOX_CHECKS))


def _kept(box: CheckedBox, by: str) -> CheckedBox:
    return replace(box, decisions=tuple(BoxDecision(stage, True, by=by) for stage in BOX_CHECKS))


def _undecided(box: CheckedBox) -> CheckedBox:
    return replace(box, decisions=(BoxDecision(BoxStage.COARSE, None, "nobody has looked"),))


CONTROL_SETS: dict[str, Control] = {
    "self_training": self_training,
    "random_verifier": random_verifier,
    "true_boxes": true_boxes,
    "without_coarse": _without(BoxStage.COARSE),
    "without_crop": _without(BoxStage.CROPS),
    "without_duplicates": _without(BoxStage.DUPLICATES),
}
