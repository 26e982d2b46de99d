"""The policy port asked with whole prompts: what stands in prompts/, and the program in what comes back."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from valor_ray.ports import Policy

_THOUGHT = re.compile(r"^.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_TAGGED = re.compile(r"<program>(.*?)</program>", re.DOTALL)
_FENCED = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)^[ \t]*```[ \t]*$", re.DOTALL | re.MULTILINE)


@cache
def prompt(name: str) -> str:
    """prompts/NAME.txt, with blanks {{NAME}} that `filled` fills."""
    return files(__package__).joinpath("prompts", f"{name}.txt").read_text(encoding="utf-8").strip()


def filled(name: str, **blanks: str) -> str:
    """A prompt with its blanks filled, in one pass: what fills one is never searched for another."""
    return re.sub(r"\{\{(\w+)\}\}", lambda blank: blanks[blank[1].lower()], prompt(name))


async def written(writer: Policy, text: str, seed: int | None = None) -> str:
    """What the writer says to a prompt; "" of one that refuses. Raises PolicyError, QuestionError."""
    return (await writer.generate(text, n=1, seed=seed))[0].text


def program_of(reply: str) -> str:
    """The program in a reply: the last one in <program> tags, else the last in a code fence, else all of it."""
    text = _THOUGHT.sub("", reply)
    for marked in (_TAGGED, _FENCED):
        if found := marked.findall(text):
            text = found[-1]
    return text.strip("\r\n").rstrip()
