"""Options of a question: read from its text, told by letters, written into it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

from valor_ray.measure.answers import distinct, normalise

_LINE = re.compile(r"\s*\(?([A-Za-z])(?:\s*[.):：、-]+\s*|\s+)(?=\S)(.+)")
_LETTER = re.compile(r"\(?([A-Za-z])\)?[.):]*")
_LETTERED = re.compile(r"\(?([A-Za-z])(?:\s*[).:]+\s*|\s+-?\s*)(?=\S)(.+)")
_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")


def option_lines(text: str) -> tuple[str, tuple[str, ...]] | None:
    """The question without its option lines, and the options; None when there are no two, A and B.

    A line is a letter, then a dot, bracket, colon, dash or blank, then the option; letters run on from A. What follows
    the lines (how to answer) is left out.
    """
    lines = text.splitlines()
    for start in range(len(lines)):
        options: list[str] = []
        for line in lines[start:]:
            found = _LINE.fullmatch(line)
            if found is not None and found[1].upper() == ascii_uppercase[min(len(options), 25)]:
                options.append(found[2].strip())
            elif line.strip():
                break
        if len(options) > 1:
            return "\n".join(lines[:start]).strip(), tuple(options)
    return None


def braced(text: str) -> tuple[str, ...]:
    """The options of a list in braces, "{sofa, tv stand}"; () when there is none."""
    found = _BRACES.search(text)
    return tuple(each.strip() for each in found[1].split(",")) if found else ()


def told(answer: str, options: Sequence[str]) -> str:
    """The option that an answer names: "B", "(B)", "B. Bus", "bus" and "the bus" are the second of Car, Bus.

    Raises ValueError when it names none, or its letter and its text name two.
    """
    said = answer.strip()
    places = [place for place, option in enumerate(options) if _same(option, said, options)]
    if not places and (letter := _LETTER.fullmatch(said)):
        places = [ord(letter[1].upper()) - ord("A")]
    if not places and (lettered := _LETTERED.fullmatch(said)):
        place = ord(lettered[1].upper()) - ord("A")
        if place < len(options) and _same(options[place], lettered[2], options):
            places = [place]
    if not places or places[0] >= len(options):
        listed = ", ".join(
            f"{letter} {option}" for letter, option in zip(ascii_uppercase, options, strict=False)
        )
        raise ValueError(f"field 'answer': {answer!r} is none of the options ({listed})")
    return options[places[0]]


def _same(option: str, said: str, options: Sequence[str]) -> bool:
    return normalise(option) == normalise(said) if distinct(options) else option.strip() == said.strip()


def with_options(question: str, options: Sequence[str], between: str = ", ") -> str:
    """The question with its options in braces, as the policy's prompt knows them."""
    return f"{question} Options: {{{between.join(options)}}}."
