"""The things that a question mentions, each where it does: "the red boxes" is a Mention(red, box, several)."""

from __future__ import annotations

import re
from dataclasses import dataclass

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "cyan", "white")
SHAPES = {
    "box": ("box", "cube", "block"),
    "ball": ("ball", "sphere"),
    "cylinder": ("cylinder", "tube"),
    "cone": ("cone",),
}
_ANY = ("object", "thing", "item", "shape", "solid", "one")  # "shape" and "one" only where they name a thing
_NOUNS = {spelt: noun for noun, spellings in SHAPES.items() for spelt in spellings} | dict.fromkeys(_ANY, "")
_PLURALS = {"boxes": "box"}
_COLOUR = "|".join(COLOURS)
_NOUN = "|".join(sorted({*_NOUNS, *_PLURALS} - {"shape"}, key=len, reverse=True))
_MENTION = re.compile(
    rf"\b(?:(?P<colour>{_COLOUR})(?:[- ]colou?red)?,? )?(?P<noun>{_NOUN}|(?(colour)shape|shape(?=s)))(?P<s>s?)\b(?!-)"
    rf"(?P<after> (?:(?:that|which) (?:is|are)|of|in|with|coloured|painted)(?: the)?(?: colou?r)? "
    rf"(?P<later>{_COLOUR})(?: colou?r)?\b(?! (?:{_NOUN})))?"
)
_BARE = re.compile(rf"\b(?P<colour>{_COLOUR})\b")


@dataclass(frozen=True)
class Mention:
    colour: str  # "": any
    noun: str  # a key of SHAPES; "": any object
    several: bool  # plural
    start: int  # characters of the text
    end: int
    text: str  # "red box", as an option names it

    def same_thing(self, other: Mention) -> bool:
        return (self.colour, self.noun) == (other.colour, other.noun)


def read_mentions(text: str) -> tuple[Mention, ...]:
    """All mentions in a lower-case text, in order. A colour without a noun takes the next one ("red or blue boxes")."""
    mentions = [_mention(match) for match in _MENTION.finditer(text) if _names(match)]
    for match in _bare_colours(text, mentions):
        later = next((each for each in mentions if each.start > match.start() and each.colour), None)
        if later is not None:
            mentions.append(
                Mention(match[0], later.noun, later.several, match.start(), match.end(), match[0])
            )
    return tuple(sorted(mentions, key=lambda each: each.start))


def stray_colour(text: str) -> bool:
    """Is there a colour that belongs to no mention, as in "is the box red"?"""
    mentions = list(read_mentions(text))
    return bool(_bare_colours(text, mentions))


def _bare_colours(text: str, mentions: list[Mention]) -> list[re.Match[str]]:
    return [
        match
        for match in _BARE.finditer(text)
        if not any(each.start <= match.start() < each.end for each in mentions)
    ]


def _mention(match: re.Match[str]) -> Mention:
    noun, colour = match["noun"], match["colour"] or match["later"] or ""
    several = bool(match["s"]) or noun in _PLURALS
    noun = _PLURALS.get(noun, noun)
    return Mention(colour, _NOUNS[noun], several, match.start(), match.end(), f"{colour} {noun}".strip())


def _names(match: re.Match[str]) -> bool:
    """Does the word name a thing here? "one" does so only with a colour."""
    return match["noun"] != "one" or bool(match["colour"] or match["later"])
