"""The fenced sections in which material to judge travels: text inside them cannot close or open a fence."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

_NONCE = 8  # hex digits
_SECTION = re.compile(
    r"^<<<(?P<name>\w+) (?P<nonce>[0-9a-f]{8,})>>>\n(?P<text>.*?)\n<<<end (?P=name) (?P=nonce)>>>$",
    re.MULTILINE | re.DOTALL,
)


def write_sections(sections: Mapping[str, str]) -> str:
    """The sections in order, each between fences with a number that occurs in none of them.

    The number is a hash of the texts, so that equal material gives an equal prompt (the cache key).
    """
    everything = "\0".join(sections.values())
    digest = hashlib.sha256(everything.encode("utf-8", "surrogatepass")).hexdigest()
    nonce = digest[:_NONCE]
    while nonce in everything:
        digest = hashlib.sha256(digest.encode()).hexdigest()
        nonce = digest[:_NONCE]
    return "\n\n".join(
        f"<<<{name} {nonce}>>>\n{text}\n<<<end {name} {nonce}>>>" for name, text in sections.items()
    )


def read_sections(message: str) -> dict[str, str]:
    """The sections of a message by name. Only the first fence's number counts: others are text that someone judged."""
    sections: dict[str, str] = {}
    nonce = ""
    at = 0
    while match := _SECTION.search(message, at):
        nonce = nonce or match["nonce"]
        if match["nonce"] == nonce:
            sections.setdefault(match["name"], match["text"])
        at = match.end()
    return sections
