"""The rollouts that the learner is checked on: recorded ones, and rows of the paper's lengths.

`recorded.jsonl` holds 32 rollouts of a training run of the tabletop's tiny policy, as rollouts.jsonl keeps them. Their
token ids are of the vocabulary of 733 that it had then, so to a larger policy they are other words, of the same number.
They are short (at most 241 tokens); rows as long as the paper's are made of any tokens.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from importlib.resources import files

from valor_ray.records import Rollout


@dataclass(frozen=True)
class CheckedRows:
    """What a step trains on: all of `recorded` are shorter than any of `long`."""

    recorded: list[Rollout]
    long: list[Rollout]  # made of any tokens

    @property
    def all(self) -> list[Rollout]:
        return [*self.recorded, *self.long]

    @property
    def tokens(self) -> int:
        """Prompts and replies: what a step's forward and backward pass over."""
        return sum(len(row.prompt_ids) + len(row.token_ids) for row in self.all)

    @property
    def reply_tokens(self) -> int:
        return sum(len(row.token_ids) for row in self.all)


@dataclass(frozen=True)
class Lengths:
    """How many rows there are, and from how many to how many tokens the made ones have."""

    recorded: int
    long: int
    prompt: tuple[int, int]
    reply: tuple[int, int]


PAPER = Lengths(recorded=32, long=16, prompt=(1500, 2500), reply=(400, 2000))
TINY = Lengths(recorded=8, long=4, prompt=(230, 260), reply=(30, 60))


def checked_rows(lengths: Lengths, vocabulary: int) -> CheckedRows:
    """The same rows each time. vocabulary: token ids are below it."""
    text = files("valor_ray.perf.gpu").joinpath("recorded.jsonl").read_text(encoding="utf-8")
    recorded = [_rollout(line) for line in text.splitlines()[: lengths.recorded]]
    draw = random.Random(0)
    long = [
        replace(
            recorded[0],
            rollout_id=f"made-{number:02d}",
            prompt_ids=_tokens(draw, draw.randint(*lengths.prompt), vocabulary),
            # the longest first: the memory that is reported is that of a step that holds one
            token_ids=_tokens(draw, draw.randint(*lengths.reply) if number else lengths.reply[1], vocabulary),
            advantage=1.0 if number % 2 else -1.0,
        )
        for number in range(lengths.long)
    ]
    return CheckedRows(recorded, long)


def _tokens(draw: random.Random, count: int, vocabulary: int) -> tuple[int, ...]:
    return tuple(draw.randrange(vocabulary) for _ in range(count))


def _rollout(line: str) -> Rollout:
    return Rollout.from_record(json.loads(line))
