"""Replies to measure a judge by: drawn right and flawed ones, templates of a file, or the rollouts of a run."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from valor_ray.errors import ConfigError
from valor_ray.tabletop.questions import FAMILIES, Blueprint, Part, plural, wording
from valor_ray.tabletop.replies.flaws import FLAWS
from valor_ray.tabletop.replies.write import STYLES, applies, flawed
from valor_ray.tabletop.sample_questions import free_blueprint
from valor_ray.tabletop.truth_of_programs import blueprint_of

_FLAWED, _TWICE = 0.55, 0.2  # shares of drawn replies with a flaw, and of those with a second one
_TRIES = 500  # draws of a question for a template's relation


@dataclass(frozen=True)
class Case:
    """A reply to a question of the tabletop."""

    question: str
    reply: str
    blueprint: Blueprint
    kind: str = ""  # "right", names of flaws, or what the file says
    style: str = ""

    @property
    def family(self) -> str:
        return self.blueprint.family


def drawn_cases(n: int, each: int, seed: int, part: Part = "training") -> Iterator[Case]:
    """`n` replies, families in turn, `each` to a question."""
    rng = np.random.default_rng([seed, 41])
    for number in range(n):
        if number % each == 0:
            blueprint = free_blueprint(rng, FAMILIES[number // each % len(FAMILIES)], part)
            question = wording(blueprint, rng, part)
        style = list(STYLES)[rng.integers(len(STYLES))]
        kinds = _kinds(blueprint, style, rng)
        try:
            reply = flawed(blueprint, kinds, style, rng)
        except ValueError:  # the second flaw found nothing left to change
            kinds = kinds[:1]
            reply = flawed(blueprint, kinds, style, rng)
        yield Case(question, reply, blueprint, " + ".join(kinds) or "right", style)


def _kinds(blueprint: Blueprint, style: str, rng: np.random.Generator) -> list[str]:
    """No flaw, one, or two, of those that the question's reply can have."""
    fitting = [kind for kind in FLAWS if applies(kind, blueprint, style)]
    count = 0 if rng.random() >= _FLAWED else 2 if rng.random() < _TWICE else 1
    return [str(kind) for kind in rng.permutation(fitting)[:count]]


def file_cases(path: Path, draws: int, seed: int, part: Part = "training") -> Iterator[Case]:
    """The replies of a file, each filled in for `draws` questions of its family and relation.

    A line: family, relation ("": any), kind, style, reply with @a@ @b@ @as@ @bs@ @target@ @number@ @relation@.
    Raises ConfigError for a line without them, or when no question has the relation.
    """
    rng = np.random.default_rng([seed, 43])
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            family, relation, reply = row["family"], row.get("relation") or "", row["reply"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path}, line {number}: {error!r}. Give family, relation and reply."
            ) from error
        for _ in range(draws):
            blueprint = _with_relation(family, relation, row.get("target") or "", rng, part)
            question = wording(blueprint, rng, part)
            yield Case(
                question, _filled(reply, blueprint), blueprint, row.get("kind", ""), row.get("style", "")
            )


def _with_relation(
    family: str, relation: str, target: str, rng: np.random.Generator, part: Part
) -> Blueprint:
    for _ in range(_TRIES):
        blueprint = free_blueprint(rng, family, part)
        if blueprint.relation == (relation or blueprint.relation) and blueprint.target == (
            target or blueprint.target
        ):
            return blueprint
    raise ConfigError(
        f"No question of family {family!r} has the relation {relation!r} and target {target!r}."
    )


def _filled(reply: str, b: Blueprint) -> str:
    blanks = {"a": b.a, "b": b.b, "target": b.target, "number": str(b.number), "relation": b.relation}
    blanks |= {"as": plural(b.a), "bs": plural(b.b) if b.b else ""}
    for name, value in blanks.items():
        reply = reply.replace(f"@{name}@", value)
    return reply


def run_cases(folder: Path, n: int, seed: int) -> list[Case]:
    """Up to `n` rollouts of a training run on tabletop questions, drawn from all of its steps."""
    rows = [json.loads(line) for line in (folder / "rollouts.jsonl").read_text(encoding="utf-8").splitlines()]
    random.Random(seed).shuffle(rows)
    cases: list[Case] = []
    for row in rows:
        blueprint = blueprint_of(row["question"])
        if blueprint is not None and len(cases) < n:
            steps = row["step"] // 20 * 20
            cases.append(
                Case(row["question"], row["reply"], blueprint, f"steps {steps} to {steps + 19}", "rollout")
            )
    return cases
