"""What a job of proposals is measured with: the pictures of a mining run, true boxes, and scenes to calibrate on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from valor_ray import images
from valor_ray.errors import ConfigError, ImageError
from valor_ray.grounding.dataset.images import merge
from valor_ray.grounding.generate.calibrate import KnownPicture
from valor_ray.grounding.generate.compare import Named, Truth
from valor_ray.grounding.generate.report import labelled_boxes
from valor_ray.grounding.generate.run import MinedPicture, Proposed, load
from valor_ray.queries.read import local_picture
from valor_ray.records import BBox, MinedImage
from valor_ray.report.grounding.generator import Compared
from valor_ray.runs.record_file import read_records
from valor_ray.tabletop.mining.truth import LEAST_VISIBLE, read_objects, read_phrase
from valor_ray.tabletop.render import render
from valor_ray.tabletop.scenes import LOOKS, sample_scene, set_seeds

if TYPE_CHECKING:
    from valor_ray.config.service import ImageConfig

_SPLIT, _SEED = "val", 0  # where the scenes to calibrate on are drawn from: no run mines these
KNOWN = {"split": _SPLIT, "seed": _SEED}
_SHOWN = 12  # pictures in the page


def known_pictures(scenes: int) -> list[KnownPicture]:
    """Tabletop scenes with their boxes, looks in turn; phrases as "red box". Rendering them takes seconds."""
    known = []
    for number, seed in enumerate(set_seeds(_SPLIT, _SEED)[:scenes]):
        rendering = render(sample_scene(seed, LOOKS[number % len(LOOKS)]))
        truth: dict[str, list[BBox]] = {}
        for each in rendering.objects:
            if each.visible >= LEAST_VISIBLE:
                truth.setdefault(each.label, []).append(each.bbox)
        known.append(KnownPicture(images.from_array(rendering.rgb), truth))
    return known


def mined_pictures(run: Path, limit: int | None = None) -> list[MinedPicture]:
    """The pictures of a mining run that were searched for anything, records of the same pixels put together.

    Raises ConfigError when its images.jsonl holds something else, or no picture.
    """
    path = run / "images.jsonl"
    records: dict[str, list[MinedImage]] = {}
    for number, record in enumerate(read_records(path), start=1):
        try:
            mined = MinedImage.from_record(record)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path} line {number} is no record of mining ({error!r}). Give another --run."
            ) from error
        records.setdefault(mined.key, []).append(mined)
    pictures = []
    for same in records.values():
        whole = merge(same)
        kept = tuple(box for box in whole.boxes if box.kept)
        if whole.phrases:
            pictures.append(
                MinedPicture(whole.image, local_picture(whole.image), whole.key, whole.phrases, kept)
            )
    if not pictures:
        raise ConfigError(f"{path} holds no picture with a phrase. Mine some first: valor mine --run {run}")
    return pictures[:limit]


def truths_of(run: Path, pictures: Sequence[MinedPicture]) -> dict[str, Truth]:
    """Picture.key -> what each phrase names, of pictures in evaluation/objects.jsonl; {} where there is none.

    Raises ConfigError when that file is of another form.
    """
    path = run / "evaluation" / "objects.jsonl"
    if not path.exists():
        return {}
    scenes = read_objects(path)
    truths: dict[str, Truth] = {}
    for picture in pictures:
        objects = scenes.get(Path(picture.image).name)
        if objects is None:
            continue
        named: dict[str, Named] = {}
        for phrase in picture.phrases:
            if (read := read_phrase(phrase)) is not None:
                mine = [each for each in objects if read.names(each.colour, each.shape)]
                named[phrase] = Named(
                    tuple(each.bbox for each in mine if each.visible >= LEAST_VISIBLE),
                    tuple(each.bbox for each in mine if each.visible < LEAST_VISIBLE),
                )
        truths[picture.key] = named
    return truths


def shown_pictures(
    pictures: Sequence[MinedPicture],
    proposed: Mapping[str, Proposed],
    truths: Mapping[str, Truth],
    limits: ImageConfig,
) -> list[Compared]:
    """Some pictures for the page, evenly over the run, whatever they show."""
    answered = [picture for picture in pictures if picture.key in proposed]
    shown = []
    for mined in answered[:: max(1, len(answered) // _SHOWN)][:_SHOWN]:
        try:
            picture = load(mined, limits)
        except ImageError:  # it was there when it was asked about
            continue
        boxes = labelled_boxes(mined, proposed[mined.key])
        true = {bbox for named in truths.get(mined.key, {}).values() for bbox in named.true}
        name = f"{Path(mined.image).name}: {', '.join(mined.phrases)}"
        shown.append(Compared(name, picture, boxes["generator"], boxes["verified"], sorted(true)))
    return shown
