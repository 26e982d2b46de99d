"""ViperGPT's API for one picture (Surís et al., 2023), written anew over gd_detect, depth and vqa."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valor_ray.benchmarks.methods.sandboxed.given import Image, depth, gd_detect, image, vqa

_MARGIN = 10  # px around what `crop` shows
_WRITER = "[to the writer] "  # how a vqa call says that it asks the writer and not about the picture


class ImagePatch:
    """A rectangle of the picture. Its edges are pixels of the whole picture, x to the right and y UPWARDS from below.

    left, lower, right, upper of the constructor and of `crop` are of the image that they are given for.
    """

    def __init__(
        self,
        image: Any,
        left: float | None = None,
        lower: float | None = None,
        right: float | None = None,
        upper: float | None = None,
    ) -> None:
        pixels: Image = image.cropped_image if isinstance(image, ImagePatch) else image
        given = None not in (left, lower, right, upper)
        x1, y1 = max(0.0, float(left or 0)), max(0.0, float(lower or 0))
        x2 = pixels.width if right is None else min(float(right), pixels.width)
        y2 = pixels.height if upper is None else min(float(upper), pixels.height)
        if x1 >= x2 or y1 >= y2:
            raise ValueError(f"the patch {left}, {lower}, {right}, {upper} holds no pixel")
        box = [x1, pixels.height - y2, x2, pixels.height - y1]
        self.cropped_image: Image = pixels.crop(box) if given else pixels
        self.left: float = x1 + (image.left if isinstance(image, ImagePatch) else 0)
        self.lower: float = y1 + (image.lower if isinstance(image, ImagePatch) else 0)
        self.right, self.upper = self.left + x2 - x1, self.lower + y2 - y1
        self.width, self.height = x2 - x1, y2 - y1
        self.horizontal_center = (self.left + self.right) / 2
        self.vertical_center = (self.lower + self.upper) / 2

    def find(self, object_name: str) -> list[ImagePatch]:
        """A patch for each thing of the name, surest first."""
        boxes = [found["bbox"] for found in gd_detect(self.cropped_image, object_name)]
        return [ImagePatch(self, x1, self.height - y2, x2, self.height - y1) for x1, y1, x2, y2 in boxes]

    def exists(self, object_name: str) -> bool:
        """Whether one of what `find` finds is seen to be it."""
        return any(patch._is(object_name) for patch in self.find(object_name))

    def verify_property(self, object_name: str, attribute: str) -> bool:
        """Whether the thing has the property: "shirt", "red"."""
        return _yes(self.simple_query(f"Is this {object_name} {attribute}?"))

    def best_text_match(self, option_list: list[str], prefix: str | None = None) -> str:
        """The option that fits what is seen best."""
        said = self.simple_query(f"{prefix or 'What is this'}? Options: {{{', '.join(option_list)}}}").lower()
        exact = [option for option in option_list if option.lower() == said]
        return (exact or [option for option in option_list if option.lower() in said] or option_list)[0]

    def simple_query(self, question: str | None = None) -> str:
        """A word or two about the patch; without a question, what it is."""
        return vqa(self.cropped_image, None, question or "What is this?")

    def compute_depth(self) -> float:
        """Metres from the camera: SMALLER is nearer."""
        return depth(self.cropped_image, [0, 0, self.width, self.height])

    def crop(self, left: float, lower: float, right: float, upper: float) -> ImagePatch:
        """A part of this patch, in pixels of this patch, and a few pixels around it."""
        return ImagePatch(self, left - _MARGIN, lower - _MARGIN, right + _MARGIN, upper + _MARGIN)

    def overlaps_with(self, left: float, lower: float, right: float, upper: float) -> bool:
        """Whether it meets a rectangle of the whole picture."""
        return self.left <= right and self.right >= left and self.lower <= upper and self.upper >= lower

    def llm_query(self, question: str, long_answer: bool = True) -> str:
        return llm_query(question, long_answer)

    def _is(self, name: str) -> bool:
        article = "an" if name[:1].lower() in "aeiou" else "a"
        return _yes(self.simple_query(f"Is this {article} {name}?"))


def best_image_match(
    list_patches: list[ImagePatch], content: list[str], return_index: bool = False
) -> ImagePatch | int | None:
    """The first patch that is all of `content`, else the first that is any of it, else the first; None of none."""
    if not list_patches:
        return None
    fits = [sum(patch._is(each) for each in content) for patch in list_patches]
    index = fits.index(max(fits))
    return index if return_index else list_patches[index]


def distance(patch_a: ImagePatch, patch_b: ImagePatch) -> float:
    """Pixels between the edges of two patches; where they overlap, minus their intersection over union."""
    wide = min(patch_a.right, patch_b.right) - max(patch_a.left, patch_b.left)
    tall = min(patch_a.upper, patch_b.upper) - max(patch_a.lower, patch_b.lower)
    if wide > 0 and tall > 0:
        both = patch_a.width * patch_a.height + patch_b.width * patch_b.height
        return -(wide * tall) / (both - wide * tall)
    return float((max(-wide, 0) ** 2 + max(-tall, 0) ** 2) ** 0.5)


def bool_to_yesno(bool_answer: bool) -> str:
    return "yes" if bool_answer else "no"


def coerce_to_numeric(string: Any) -> float:
    """The first number in a text. Raises ValueError where there is none."""
    numbers = re.findall(r"-?\d+(?:\.\d+)?", str(string).replace(",", ""))
    if not numbers:
        raise ValueError(f"{string!r} holds no number")
    return float(numbers[0])


def llm_query(question: str, long_answer: bool = True) -> str:
    """Ask the writer, who sees no picture."""
    return vqa(image, None, _WRITER + question + ("" if long_answer else " Answer in a word or two."))


def _yes(said: str) -> bool:
    return said.strip().lower().startswith("yes")


def _result(execute: Any, question: str) -> Any:
    """What a program answers, called with as many of the usual arguments as it takes."""
    given: tuple[Any, ...] = (
        image,
        [],
        question,
        ImagePatch,
        llm_query,
        bool_to_yesno,
        distance,
        best_image_match,
    )
    said = execute(*given[: execute.__code__.co_argcount])
    if isinstance(said, list | tuple):
        said = said[0] if said else "no"
    if said is None:
        return "no"
    return bool_to_yesno(said) if isinstance(said, bool) else said
