"""The export at the end of a mining run: records in, the files of the set out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from valor_ray.config.grounding import GroundingConfig
from valor_ray.config.service import ImageConfig
from valor_ray.grounding.dataset.coco import COCO, write_coco
from valor_ray.grounding.dataset.decisions import DecisionsFile
from valor_ray.grounding.dataset.files import replacing
from valor_ray.grounding.dataset.images import MergedImages
from valor_ray.grounding.dataset.negatives import Standing, Why, sides, standing
from valor_ray.grounding.dataset.odvg import LABELS, ODVG, extended, label_map, odvg_record, read_label_map
from valor_ray.grounding.dataset.pictures import Pictures
from valor_ray.grounding.dataset.synonyms import Synonyms, confirmed_pairs
from valor_ray.grounding.dataset.training import ABOUT, TRAIN, TrainingImage, read_about, read_train
from valor_ray.models.grounding_dino.phrases import normal_form
from valor_ray.records import MinedImage

DECISIONS = "decisions.parquet"
FILES = (LABELS, DECISIONS, ODVG, TRAIN, COCO, ABOUT)  # in the order in which they are replaced


@dataclass(frozen=True)
class DatasetCounts:
    images: int  # in the set
    positives: int  # confirmed boxes
    absent: int  # (picture, phrase)
    hard_negatives: int  # (box, phrase)
    ignored: int  # (box, phrase)
    unsure: int  # of the ignored: dropped by a verifier that could not tell
    all_rejected: int  # pictures without a confirmed box of whose every phrase the verifier said "absent"
    left_out: int  # pictures not in the set: of all_rejected by the setting, and those that are undecided
    labels: int  # phrases in label_map.json


@dataclass(frozen=True)
class _Survey:
    """What must be known of the whole set before its first line is written."""

    synonyms: Synonyms
    labels: dict[str, int]  # normal form -> label
    pictures: Pictures
    ids: dict[str, int]  # key -> image id
    next_id: int
    standings: dict[Standing, int]


def export(
    records: Iterable[MinedImage], folder: Path, config: GroundingConfig, limits: ImageConfig | None = None
) -> DatasetCounts:
    """Write the set of all records of a run (images.jsonl, missing.jsonl) into its folder `dataset`, in their order.

    Called by the process that holds the run's lock; blocks for disk and, once a picture that EXIF turns, for decoding.
    The same records give the same bytes; more records keep labels and image ids. limits: config.images. Raises
    StorageError (the files of the last export stay), ConfigError when those cannot be read.
    """
    with MergedImages(records, folder) as merged:
        survey = _look_through(merged, folder, config, limits or ImageConfig())
        with replacing(folder, FILES) as parts:
            return _write(merged, parts, survey, config)


def _look_through(
    merged: Iterable[MinedImage], folder: Path, config: GroundingConfig, limits: ImageConfig
) -> _Survey:
    pairs: set[tuple[str, str]] = set()
    phrases: dict[str, None] = {}
    pictures = Pictures(folder, limits)
    ids, next_id = _earlier_ids(folder)
    standings = dict.fromkeys(Standing, 0)
    for image in merged:
        standings[standing(image)] += 1
        if not _in_set(image, config):
            continue
        pairs |= confirmed_pairs(image.boxes)
        phrases |= dict.fromkeys(normal_form(box.label) for box in image.boxes if box.kept)
        pictures.add(image)
        if image.key not in ids:
            ids[image.key] = next_id
            next_id += 1
    earlier = read_label_map(folder / LABELS) if (folder / LABELS).exists() else ()
    return _Survey(Synonyms(pairs), extended(earlier, phrases), pictures, ids, next_id, standings)


def _in_set(image: MinedImage, config: GroundingConfig) -> bool:
    place = standing(image)
    return place is Standing.CONFIRMED or (place is Standing.REJECTED and config.all_rejected == "negative")


def _earlier_ids(folder: Path) -> tuple[dict[str, int], int]:
    """Image ids of the last export by key, and the first that was never given."""
    if not (folder / ABOUT).exists():
        return {}, 1
    ids = {entry.key: entry.image_id for entry in read_train(folder / TRAIN)}
    return ids, max(read_about(folder)["next_image_id"], *(number + 1 for number in ids.values()), 1)


def _write(
    merged: Iterable[MinedImage], parts: dict[str, Path], survey: _Survey, config: GroundingConfig
) -> DatasetCounts:
    totals = dict.fromkeys(("images", "positives", "absent", "hard_negatives", "ignored", "unsure"), 0)
    with (
        DecisionsFile(parts[DECISIONS]) as decisions,
        parts[ODVG].open("w", encoding="utf-8") as odvg,
        parts[TRAIN].open("w", encoding="utf-8") as train,
    ):
        for image in merged:
            decisions.add(image)
            if not _in_set(image, config):
                continue
            entry = _entry(image, survey)
            odvg.write(json.dumps(odvg_record(entry, survey.labels)) + "\n")
            train.write(json.dumps(entry.to_record()) + "\n")
            totals["images"] += 1
            for name in ("positives", "absent", "hard_negatives", "ignored"):
                totals[name] += len(getattr(entry, name))
            totals["unsure"] += sum(each.why == Why.UNSURE for each in entry.ignored)
    rejected, undecided = survey.standings[Standing.REJECTED], survey.standings[Standing.UNDECIDED]
    left_out = undecided + (rejected if config.all_rejected == "leave_out" else 0)
    counts = DatasetCounts(**totals, all_rejected=rejected, left_out=left_out, labels=len(survey.labels))
    parts[LABELS].write_text(label_map(survey.labels), encoding="utf-8")

    def written() -> Iterator[TrainingImage]:
        return read_train(parts[TRAIN])

    write_coco(parts[COCO], written, survey.labels)
    parts[ABOUT].write_text(_about(survey, counts, config), encoding="utf-8")
    return counts


def _entry(image: MinedImage, survey: _Survey) -> TrainingImage:
    filename, copied = survey.pictures.filename(image.key)
    known = sides(image, survey.synonyms)
    return TrainingImage(
        survey.ids[image.key],
        image.key,
        filename,
        image.width,
        image.height,
        copied,
        known.positives,
        known.absent,
        known.hard_negatives,
        known.ignored,
        known.open,
    )


def _about(survey: _Survey, counts: DatasetCounts, config: GroundingConfig) -> str:
    about = {
        "root": survey.pictures.root,  # of the filenames; relative to this file's folder, absolute, or null
        "all_rejected": config.all_rejected,
        "counts": asdict(counts),
        "next_image_id": survey.next_id,
        "synonyms": survey.synonyms.pairs(),
    }
    return json.dumps(about, indent=1) + "\n"
