"""The ONE definition of gd_detect, depth and vqa (DESIGN §3, law 1).

From `TOOLS` are made the prompt's API text (`api_text`), the functions that programs call (`stub_source`), the check of
their arguments (`check_call`) and both tool hosts: `LiveTools`, and `PlaceholderTools` of program/inside/ (no models).
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Protocol

from valor_ray.errors import ToolError
from valor_ray.ports import Depth, Detector, Versioned, Vqa, version_of
from valor_ray.records import BBox, DepthMap, Picture

IMAGE_NAME = "image.png"  # what `img_pth` holds in a program: a name, never a path on this machine
MAX_PROMPT_CHARS = 2000
MAX_PHRASES = 64  # of one detector call, whoever asks: each may need a forward pass
# Between phrases: commas and semicolons of any script, lines, and GroundingDINO's own full stop ("chair . table .").
# A full stop within a word or number (3.5 inch, .45 pistol), of an initialism (U.S. flag, J. Smith) or of one of the
# listed abbreviations is part of its phrase.
_SEPARATORS = re.compile(
    r"[,;，；、。､｡﹐﹑﹔،؛\n\r\u2028\u2029]"
    r"|(?<!\S)\.(?!\d)"
    r"|(?<!\b\w)(?<!\b(?:dr|ft|jr|mr|ms|mt|no|sr|st|vs))(?<!\bmrs)(?<=[^\s.])\.(?=\s)"
    r"|(?<!\.\w)(?<=[^\s.])\.$",
    re.IGNORECASE,
)
_NO_WORDS = ".…!?:'\"`_- "
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’", "«": "»", "„": "“", "「": "」"}


@dataclass(frozen=True)
class Parameter:
    name: str
    type: str  # as it stands in the prompt
    doc: str


@dataclass(frozen=True)
class Tool:
    name: str  # canonical, and the spelling that the prompt documents
    parameters: tuple[Parameter, ...]
    doc: str
    returns: str  # type, as it stands in the prompt
    returns_doc: str
    example: str
    paper_name: str  # the paper's spelling, accepted as well
    paper_parameters: tuple[str, ...]


_IMAGE = Parameter("img_pth", "str", "the predefined variable img_pth")

TOOLS = (
    Tool(
        "gd_detect",
        (
            _IMAGE,
            Parameter(
                "prompt", "str", 'what to find, plain nouns; several separated by commas: "sofa, lamp"'
            ),
        ),
        "Find every object that a word or short phrase names.",
        "list[dict]",
        'one {"bbox": [x1, y1, x2, y2], "label": str} per object, surest first: pixels, x to the right, y downwards,'
        " label as it stands in prompt. An empty list when nothing is found.",
        'chairs = gd_detect(img_pth, "chair")',
        "GD_DETECT",
        ("prompt",),
    ),
    Tool(
        "depth",
        (_IMAGE, Parameter("bbox", "list[float]", "[x1, y1, x2, y2] in pixels")),
        "Measure how far from the camera the object in a box is.",
        "float",
        "distance in metres: smaller is closer.",
        'metres = depth(img_pth, chairs[0]["bbox"])',
        "DEPTH",
        ("image", "x", "y"),
    ),
    Tool(
        "vqa",
        (
            _IMAGE,
            Parameter("bbox", "list[float] | None", "the box to look at, or None for the whole image"),
            Parameter("prompt", "str", "a short question about what is seen there"),
        ),
        "Ask about what something looks like (colour, material, kind, state).",
        "str",
        "a short lower-case answer.",
        'colour = vqa(img_pth, chairs[0]["bbox"], "What colour is this chair?")',
        "VQA",
        ("crop", "question"),
    ),
)

Spelling = tuple[Tool, tuple[str, ...]]
SPELLINGS: Mapping[str, Spelling] = {
    name: (tool, parameters)
    for tool in TOOLS
    for name, parameters in (
        (tool.name, tuple(p.name for p in tool.parameters)),
        (tool.paper_name, tool.paper_parameters),
    )
}


def api_text() -> str:
    """The tool API as it stands in the prompt."""
    parts = []
    for tool in TOOLS:
        signature = ", ".join(f"{p.name}: {p.type}" for p in tool.parameters)
        lines = [f"{tool.name}({signature}) -> {tool.returns}", f"    {tool.doc}"]
        lines += [f"    {p.name}: {p.doc}" for p in tool.parameters]
        lines += [f"    returns: {tool.returns_doc}", f"    example: {tool.example}"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def system_prompt(name: str) -> str:
    """The system prompt `system_NAME.txt` of valor_ray/prompts/ with the tool API filled in."""
    text = files("valor_ray").joinpath("prompts", f"system_{name}.txt").read_text(encoding="utf-8")
    return text.replace("{{API}}", api_text()).strip()


def stub_source() -> str:
    """Python source of `img_pth` and of the functions that programs call, one per spelling, all through `_call`."""
    lines = [f"img_pth = {IMAGE_NAME!r}\n"]
    for name, (_, parameters) in SPELLINGS.items():
        values = ", ".join(f"{p!r}: {p}" for p in parameters)
        lines.append(f"def {name}({', '.join(parameters)}):\n    return _call({name!r}, {{{values}}})\n")
    return "\n".join(lines)


def split_phrases(prompt: str) -> tuple[str, ...]:
    """The phrases of a detection prompt: "sofa, coffee table" -> ("sofa", "coffee table"), without repeats.

    GroundingDINO's spelling "sofa . coffee table ." gives the same. Quotation marks around a phrase are taken off.
    """
    first: dict[str, str] = {}
    for part in _SEPARATORS.split(prompt.strip()):
        phrase = _unquoted(" ".join(part.split()))
        if phrase.strip(_NO_WORDS):
            first.setdefault(phrase.casefold(), phrase)
    return tuple(first.values())


def _unquoted(phrase: str) -> str:
    """The phrase without the quotation marks around all of it: not those of `"stop" sign` or `5" disk`."""
    closing = _QUOTES.get(phrase[:1])
    inner = phrase[1:-1]
    if closing is None or len(phrase) < 2 or phrase[-1] != closing or phrase[0] in inner or closing in inner:
        return phrase
    return inner.strip()


def check_call(name: str, args: Mapping[str, Any], image_size: tuple[int, int]) -> tuple[str, dict[str, Any]]:
    """Turn a call as a program made it into canonical tool name and arguments.

    name: a spelling of SPELLINGS. args: JSON values by parameter name of that spelling; an image is IMAGE_NAME or
    {"crop": bbox | None} (the program's `image` object). image_size: width, height in pixels.
    Returns gd_detect: prompt (and image_bbox for a crop); depth: bbox; vqa: bbox or None, prompt. Boxes are clipped to
    the picture; a point becomes the box of its pixel. Raises ToolError that names the argument and what to pass.
    """
    if name not in SPELLINGS:
        raise ToolError(f"no tool {_shown(name)}; there are {', '.join(SPELLINGS)}")
    tool, parameters = SPELLINGS[name]
    if set(args) != set(parameters):
        raise ToolError(f"{name} takes {', '.join(parameters)}")
    picture = (0.0, 0.0, float(image_size[0]), float(image_size[1]))
    image = next((p for p in parameters if p in ("img_pth", "image", "crop")), None)
    crop = _check_image(name, image, args[image], picture) if image else None
    if tool.name == "gd_detect":
        canonical: dict[str, Any] = {"prompt": _check_prompt(name, "prompt", args["prompt"])}
        phrases = len(split_phrases(canonical["prompt"]))
        if not phrases:
            raise ToolError(f"{name}: prompt is empty, pass a word or a short phrase")
        if phrases > MAX_PHRASES:
            raise ToolError(f"{name}: prompt has {phrases} phrases, pass at most {MAX_PHRASES} at a time")
        return tool.name, canonical | ({"image_bbox": list(crop)} if crop else {})
    if tool.name == "depth":
        bbox = _point_box(name, args) if name == tool.paper_name else args["bbox"]
        return tool.name, {"bbox": _check_bbox(name, bbox, crop or picture)}
    text = parameters[-1]
    prompt = _check_prompt(name, text, args[text])
    if args.get("bbox") is None:
        return tool.name, {"bbox": list(crop) if crop else None, "prompt": prompt}
    return tool.name, {"bbox": _check_bbox(name, args["bbox"], crop or picture), "prompt": prompt}


def _check_image(name: str, argument: str, value: object, picture: BBox) -> BBox | None:
    """The region that an image argument stands for; None for the whole picture."""
    if value == IMAGE_NAME:
        return None
    if isinstance(value, dict) and set(value) == {"crop"}:
        if value["crop"] is None:
            return None
        x1, y1, x2, y2 = _check_bbox(name, value["crop"], picture, argument)
        return x1, y1, x2, y2
    raise ToolError(f"{name}: {argument} must be the predefined img_pth (or image), got {_shown(value)}")


def _check_prompt(name: str, argument: str, value: object) -> str:
    if not isinstance(value, str):
        raise ToolError(f"{name}: {argument} must be a str, got {_shown(value)}")
    if len(value) > MAX_PROMPT_CHARS:
        raise ToolError(f"{name}: {argument} has {len(value)} characters, pass at most {MAX_PROMPT_CHARS}")
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise ToolError(f"{name}: {argument} holds half a character (a lone surrogate), pass plain text")
    if not value.strip(" ,\t\n"):
        raise ToolError(f"{name}: {argument} is empty, pass a word or a short phrase")
    return value.strip()


def _check_bbox(name: str, value: object, region: BBox, argument: str = "bbox") -> list[float]:
    """A box given relative to `region`, moved to picture coordinates and clipped to it."""
    wanted = f"{name}: {argument} must be four numbers [x1, y1, x2, y2]"
    if isinstance(value, dict) and "bbox" in value:
        raise ToolError(f'{wanted}, got a whole detection: pass its ["bbox"]')
    if not isinstance(value, list) or len(value) != 4:
        raise ToolError(f"{wanted}, got {_shown(value)}")
    numbers = [_check_number(name, f"{argument}[{i}]", number) for i, number in enumerate(value)]
    left, top, right, bottom = region
    x1, x2 = (min(max(x + left, left), right) for x in numbers[::2])
    y1, y2 = (min(max(y + top, top), bottom) for y in numbers[1::2])
    if numbers[0] >= numbers[2] or numbers[1] >= numbers[3]:
        raise ToolError(f"{name}: {argument} {_shown(value)} is empty: x1 < x2 and y1 < y2 are needed")
    if x1 >= x2 or y1 >= y2:
        raise ToolError(
            f"{name}: {argument} {_shown(value)} lies outside the {right - left:g} x {bottom - top:g} px image"
        )
    return [x1, y1, x2, y2]


def _point_box(name: str, args: Mapping[str, Any]) -> list[float]:
    x, y = (math.floor(_check_number(name, axis, args[axis])) for axis in ("x", "y"))
    return [float(x), float(y), float(x + 1), float(y + 1)]


def _check_number(name: str, argument: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ToolError(f"{name}: {argument} must be a number, got {_shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ToolError(f"{name}: {argument} must be a finite number of pixels")
    return number


class _Short(reprlib.Repr):
    """repr in a line, whatever the size and depth of the value."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxlist, self.maxdict, self.maxstring, self.maxlong = 2, 8, 4, 60, 60

    def repr_int(self, x: int, level: int) -> str:
        """Python refuses to write very long numbers."""
        return super().repr_int(x, level) if x.bit_length() < 4000 else "a number of too many digits"


def _shown(value: object) -> str:
    text = (
        _Short().repr(value)
        if isinstance(value, str | int | float | list | None)
        else f"a {type(value).__name__}"
    )
    return text if len(text) <= 60 else text[:57] + "..."


class ToolHost(Protocol):
    """What answers a program's tool calls."""

    async def __call__(self, tool: str, args: dict[str, Any]) -> Any:
        """The JSON result of a call whose name and arguments come from `check_call`; ports.Versioned where the weights
        that it is by are known. Raises ToolError or JudgeError."""
        ...


class LiveTools:
    """The ToolHost that asks the models, for one picture. Arguments are checked by `check_call` before they come.

    A `program.conversation` calls it, a call at a time; it waits for the model behind the port. The depth map is made
    once, at the first depth call.
    """

    def __init__(self, picture: Picture, detector: Detector, depth: Depth, judge: Vqa) -> None:
        self._picture = picture
        self._detector = detector
        self._depth = depth
        self._judge = judge
        self._map: DepthMap | None = None

    async def __call__(self, tool: str, args: dict[str, Any]) -> Any:
        if tool == "gd_detect":
            picture = await self._crop(args.get("image_bbox"))
            detections = await self._detector.detect(picture, split_phrases(args["prompt"]))
            boxes = ({"bbox": [float(v) for v in d.bbox], "label": d.label} for d in detections)
            return Versioned(boxes, version_of(detections))
        if tool == "depth":
            # not at the top: the sandbox loads this module, without Pillow
            from valor_ray.depth_map import depth_at
            from valor_ray.images import off_the_loop

            if self._map is None:
                self._map = await self._depth.depth(self._picture)
            # of a small box that is all masked, all of the map is read
            return await off_the_loop(self._map.depth.size, depth_at, self._map, args["bbox"])
        return await self._judge.vqa(await self._crop(args["bbox"]), args["prompt"])

    async def _crop(self, bbox: list[float] | None) -> Picture:
        if bbox is None:
            return self._picture
        from valor_ray.images import crop, off_the_loop

        x1, y1, x2, y2 = bbox
        pixels = int((x2 - x1) * (y2 - y1))
        return await off_the_loop(pixels, crop, self._picture, (x1, y1, x2, y2))
