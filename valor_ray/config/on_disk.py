"""What a path is where a disk is needed: no URL, which Python would quietly take for a folder named `s3:`."""

from __future__ import annotations

import re

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_url(text: str) -> bool:
    return _URL.match(text) is not None


def on_disk(text: str) -> str:
    """The path as it came. Raises ValueError for a URL, as ArgumentTypeError's and pydantic's messages want it."""
    if is_url(text):
        raise ValueError(
            f"{text!r} is a URL, and this is kept on a disk: give a path, on a cluster one that all nodes see"
        )
    return text
