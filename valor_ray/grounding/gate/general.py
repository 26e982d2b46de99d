"""The gate's labelled set: a COCO instances JSON and its pictures, checked before any model runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field, FiniteFloat, NonNegativeFloat, ValidationError

from valor_ray import images
from valor_ray.config.service import ImageConfig
from valor_ray.errors import ConfigError, ImageError
from valor_ray.models.grounding_dino.phrases import normal_form

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_SIDEWAYS = range(5, 9)  # EXIF orientations that swap width and height
_GIVE = "Correct it, or give another set as finetune.general."


@dataclass(frozen=True)
class GeneralImage:
    path: Path
    width: int  # px, upright
    height: int


@dataclass(frozen=True)
class GeneralBox:
    image: int  # place in GeneralSet.images
    category: int  # place in GeneralSet.categories
    bbox: tuple[float, float, float, float]  # x, y, width, height in px, as COCO has it
    crowd: bool  # a region of many: what is found there counts neither way


@dataclass(frozen=True)
class GeneralSet:
    annotations: Path  # the JSON
    images: tuple[GeneralImage, ...]
    categories: tuple[str, ...]  # names as a detector is asked for them
    boxes: tuple[GeneralBox, ...]
    limits: ImageConfig  # which pictures are accepted


class _Image(BaseModel):
    id: int = Field(strict=True)
    file_name: str = Field(min_length=1)
    width: int = Field(ge=1)
    height: int = Field(ge=1)


class _Category(BaseModel):
    id: int = Field(strict=True)
    name: str


class _Annotation(BaseModel):
    image_id: int = Field(strict=True)
    category_id: int = Field(strict=True)
    bbox: tuple[FiniteFloat, FiniteFloat, NonNegativeFloat, NonNegativeFloat]
    iscrowd: bool = False


class _Instances(BaseModel):
    images: list[_Image] = Field(min_length=1)
    annotations: list[_Annotation] = Field(min_length=1)
    categories: list[_Category] = Field(min_length=1)


def read_general(
    annotations: Path, images: Path | None, limit: int | None, limits: ImageConfig | None = None
) -> GeneralSet:
    """The set of a COCO instances JSON; images: folder of its pictures, None: the JSON's own; limit: first N pictures.

    Reads every picture's header (of a PNG all of it). Raises ConfigError naming the file, and the field and row at
    fault: a field that is not there or wrong, a name or an id twice, an id that is not known, no box that counts, a
    picture that is not there, is none, or has another size than the JSON says.
    """
    limits = limits or ImageConfig()
    instances = _read(annotations)
    chosen = instances.images[:limit]
    places = _places(annotations, "images", [each.id for each in instances.images])
    category_places = _places(annotations, "categories", [each.id for each in instances.categories])
    names = _names(annotations, instances.categories)
    boxes = []
    for row, each in enumerate(instances.annotations):
        where = f"annotations[{row}]"
        if each.image_id not in places:
            raise _fault(annotations, f"{where}.image_id", f"{each.image_id} is no id of images")
        if each.category_id not in category_places:
            raise _fault(annotations, f"{where}.category_id", f"{each.category_id} is no id of categories")
        if (place := places[each.image_id]) < len(chosen):
            boxes.append(GeneralBox(place, category_places[each.category_id], each.bbox, crowd=each.iscrowd))
    if all(box.crowd for box in boxes):
        raise _fault(annotations, "annotations", f"the first {len(chosen)} pictures hold no box that counts")
    folder = annotations.parent if images is None else images
    pictures = tuple(GeneralImage(folder / each.file_name, each.width, each.height) for each in chosen)
    for row, picture in enumerate(pictures):
        _check_header(annotations, row, picture, limits)
    return GeneralSet(annotations, pictures, names, tuple(boxes), limits)


def _read(path: Path) -> _Instances:
    try:
        return _Instances.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"Cannot read the general set {path} ({error.strerror or error}). Give a COCO instances JSON as "
            "finetune.general."
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _fault(path, _where(first), first["msg"]) from error


def _where(error: ErrorDetails) -> str:
    """As one writes it: annotations[17].bbox[2]."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]]
    return "".join(parts).lstrip(".") or "the file"


def _places(path: Path, field: str, ids: list[int]) -> dict[int, int]:
    """Row of each id. Raises ConfigError when one comes twice."""
    places: dict[int, int] = {}
    for row, each in enumerate(ids):
        if places.setdefault(each, row) != row:
            raise _fault(path, f"{field}[{row}].id", f"{each} is the id of {field}[{places[each]}] too")
    return places


def _names(path: Path, categories: list[_Category]) -> tuple[str, ...]:
    """The names as they are put to a detector. Raises ConfigError for one without words or that comes twice."""
    names = [normal_form(each.name) for each in categories]
    for row, name in enumerate(names):
        if not name:
            raise _fault(path, f"categories[{row}].name", f"{categories[row].name!r} has no words to ask for")
        if (first := names.index(name)) != row:
            raise _fault(path, f"categories[{row}].name", f"{name!r} is the name of categories[{first}] too")
    return tuple(names)


def _check_header(annotations: Path, row: int, picture: GeneralImage, limits: ImageConfig) -> None:
    where = f"images[{row}].file_name"
    try:
        seen = images.header(picture.path, limits)
    except ImageError as error:
        raise ConfigError(
            f"{annotations}, {where}: cannot read {picture.path} ({error}) Give the pictures' folder as "
            "finetune.general_images."
        ) from error
    if seen.factor > 1:  # the boxes are in pixels of the file
        raise _fault(annotations, where, f"{picture.path} has more than {limits.max_pixels:,} pixels")
    if (seen.width, seen.height) != (picture.width, picture.height):
        says = (
            f"{picture.path} is {seen.width}x{seen.height} px upright, not {picture.width}x{picture.height}"
        )
        raise _fault(annotations, f"images[{row}]", says)


def _fault(path: Path, where: str, what: str) -> ConfigError:
    return ConfigError(f"{path}, {where}: {what}. {_GIVE}")
