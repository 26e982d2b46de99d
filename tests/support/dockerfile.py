"""A Dockerfile as its instructions, for tests."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docker"


def instructions(name: str) -> list[tuple[str, str]]:
    """(instruction, the rest in one line) of each, in order, comments left out."""
    lines = [line for line in (FOLDER / f"{name}.Dockerfile").read_text().splitlines() if line[:1] != "#"]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]  # type: ignore[misc]


def usage(name: str) -> str:
    """The comment at its head, in one line: how it is built and run."""
    head = (FOLDER / f"{name}.Dockerfile").read_text().partition("\nFROM ")[0]
    return re.sub(r" \\\n#\s*", " ", head)


def environment(name: str) -> dict[str, str]:
    pairs = " ".join(rest for word, rest in instructions(name) if word == "ENV").split()
    return dict(pair.split("=", 1) for pair in pairs)
