"""What a question asks for: the kind of answer, relations, attributes. English in, an Asked out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from valor_ray.tabletop.judge.text.english import COLOURS, MATERIALS, SIZE_WORDS, content_words, has

_SCENE = re.compile(
    r"\b(?:in|on|from) (?:the|this) (?:picture|image|photo|scene|room|table|view)\b|\bon the "
    r"table\b|\bfrom the camera\b"
)
_OPTIONS = re.compile(
    r"(?:options?|choices|choose from|choose between|select from)\s*:?\s*[{\[(]?([^}\])?]+)", re.I
)
_YES_NO = r"^(?:\w+ ){0,6}?(?:is|are|was|were|does|do|did|can|could|would|will|has|have|should)\b"
_UNITS = (
    r"(?:cm|mm|m|km|metres?|meters?|centimet(?:re|er)s?|feet|foot|inch(?:es)?|yards?|units?|"
    r"kilograms?|kg|litres?)"
)
# relation: words that name it
RELATIONS = {
    "left": r"left[- ]?most|(?:to the |on the |furthest |farthest )?left(?: of| side)?",
    "right": r"right[- ]?most|(?:to the |on the |furthest |farthest )right(?: of| side)?|right of",
    "above": r"above|on top of|higher than|over the|top-?most",
    "below": r"below|beneath|underneath|under|lower than|bottom-?most",
    "front": r"in front(?: of)?",
    "behind": r"behind|in back of",
    "near": r"closer|closest|nearer|nearest|close to",
    "far": r"farther|farthest|further|furthest|far away",
    "between": r"between|in the middle of",
    "beside": r"next to|beside|adjacent(?: to)?|by the side of|near the",
}


_GIVEN = r"\b\d+(?:\.\d+)?(?= ?(?:cm|m|mm|meters?|metres?|centimet\w+|feet|foot|inch\w*|units?)\b)"


@dataclass(frozen=True)
class Asked:
    text: str  # lower case, without words about the picture itself
    kind: str | None  # "count", "number", "yesno", "option", "word"; None: not understood
    relations: tuple[str, ...]  # names of RELATIONS
    sizes: bool  # asks for or compares a real size
    ratio: bool
    given: tuple[str, ...]  # numbers that the question gives
    target: str  # attribute that is asked for: "colour", "shape", "material", ... or ""
    colours: tuple[str, ...]  # colours and materials that single things out
    things: tuple[str, ...]  # content words
    options: tuple[str, ...]


def read_question(question: str) -> Asked:
    lower = " ".join(question.lower().replace("color", "colour").split())
    options = _options(lower)
    text = _SCENE.sub("", _OPTIONS.sub("", lower))
    ratio = has(r"how many times|ratio|times (?:taller|bigger|larger|wider|longer|higher|as)", text)
    target = _target(text)
    return Asked(
        text=text,
        kind=_kind(text, options, ratio),
        relations=tuple(name for name, pattern in RELATIONS.items() if has(pattern, text)),
        sizes=has(SIZE_WORDS, text) and not has(r"left[- ]?most|how long ago", text),
        ratio=ratio,
        given=measures(text),
        target=target,
        colours=tuple(w for w in content_words(lower) if w in COLOURS | MATERIALS),
        things=tuple(w for w in content_words(lower) if w not in COLOURS | MATERIALS),
        options=options,
    )


def measures(text: str) -> tuple[str, ...]:
    """The numbers with a unit of length in a text."""
    return tuple(re.findall(_GIVEN, text))


def _options(text: str) -> tuple[str, ...]:
    match = _OPTIONS.search(text)
    if match:
        parts = re.split(r",|\bor\b", match[1])
    elif either := re.search(
        r"(?:,|:|is it|which (?:is|one is|of)[^,?:]*[,:]?) ?((?:the |an? )?[\w -]+? or [\w -]+)\?", text
    ):
        parts = either[1].split(" or ")
    else:
        return ()
    cleaned = (re.sub(r"^(?:the|an?|is it|between) ", "", part.strip()).strip() for part in parts)
    return tuple(part for part in cleaned if part)


def _target(text: str) -> str:
    match = re.search(
        r"\b(?:what|which|the|its|tell me the|name the) (colou?r|shape|material|kind|type|pattern|texture)\b",
        text,
    )
    return match[1] if match else ""


def _kind(text: str, options: tuple[str, ...], ratio: bool) -> str | None:
    if len(options) >= 2:
        return "option"
    if ratio:
        return "number"
    if has(rf"how many {_UNITS}", text):
        return "number"
    if has(r"how many|number of|count(?: the| all)?", text):
        return "count"
    if has(
        (
            rf"how (?:{SIZE_WORDS}|much|far|old|close)|(?:what|find|compute|estimate)(?: is| are)? "
            rf"(?:the )?(?:[\w-]+ ){{0,3}}?(?:height|width|length|size|distance|depth|area|volume|"
            rf"diameter)"
        ),
        text,
    ):
        return "number"
    if has(r"what|which|who|whose|where|tell me|name", text) and not re.match(
        r"^(?:is|are|does|do|can)\b", text
    ):
        return "word"
    if re.match(_YES_NO, text) or has(r"would|is there|are there|is the|are the|does the|can the", text):
        return "yesno"
    return None
