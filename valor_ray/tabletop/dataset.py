"""Writes tabletop scenes to a folder: pictures and queries for everyone, truth apart for evaluation.

DIR/images/*.png, DIR/queries.jsonl (query_id, image, question), DIR/truth.jsonl (query_id, answer, family, boxes,
look, text). `write_queries` leaves the truth out: what training is given. The splits are apart in pictures, wordings
and pairs of phrases; half of the held-out questions are worded as in training (text "seen"), half are not ("unseen").
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image

from valor_ray.errors import ConfigError
from valor_ray.tabletop.questions import FAMILIES, Blueprint, Part, wording
from valor_ray.tabletop.render import Rendering, cast
from valor_ray.tabletop.sample_questions import AnsweredQuestion, ask
from valor_ray.tabletop.scenes import ALL_LOOKS, LOOKS, SPLIT_SEEDS, sample_scene, set_seeds
from valor_ray.tabletop.wordings.readable import readable_wording

QUESTIONS_PER_SCENE = 2
VARIED_QUERIES = 0.75  # share of training's questions in the grammar's wordings
PICTURE_SIDE = 256  # pixels
# What a split's questions are made of: wordings and pairs of these parts, each family's questions taking them in turn.
SPLIT_PARTS: dict[str, tuple[Part, ...]] = {
    "train": ("training",),
    "val": ("development",),
    "held_out": ("training", "held_out"),
    "queries": ("training",),
}


@dataclass(frozen=True)
class Item:
    """A picture with its questions: what `write_dataset` writes and evaluation reads."""

    scene_seed: int
    look: str
    rendering: Rendering
    questions: tuple[tuple[str, AnsweredQuestion], ...]  # English wording, blueprint and truth
    parts: tuple[Part, ...]  # of the world, whose words and pairs each question has


def items(
    scenes: int,
    seed: int,
    look: str | None = None,
    split: str = "queries",
    parts: tuple[Part, ...] = (),
    looks: tuple[str, ...] = LOOKS,
    varied: float = 0.0,
) -> Iterator[Item]:
    """Scenes with questions, families in turn. A scene that cannot ask a wanted family clearly is passed over,
    so rejection does not change the families' shares. parts: in place of the split's
    own. look: of all scenes; None: `looks` in turn. varied: share of questions in the
    grammar's wordings; pictures and all else stay. Raises ConfigError for an unknown look or a negative seed.
    """
    if look is not None and look not in ALL_LOOKS:
        raise ConfigError(f"Unknown look {look!r}: one of {', '.join(ALL_LOOKS)}.")
    chosen = looks if look is None else (look,)
    seeds = iter(set_seeds(split, seed))
    return _draw(scenes, seed, chosen, split, parts or SPLIT_PARTS[split], seeds, varied)


def _draw(
    scenes: int,
    seed: int,
    looks: tuple[str, ...],
    split: str,
    own: tuple[Part, ...],
    seeds: Iterator[int],
    varied: float,
) -> Iterator[Item]:
    rng = np.random.default_rng([seed, SPLIT_SEEDS[split].start])
    words = np.random.default_rng([seed, SPLIT_SEEDS[split].start, 1])  # so that all else stays as it is
    deck: list[str] = []
    turn = Counter({family: index for index, family in enumerate(FAMILIES)})  # so that any few are even
    for index in range(scenes):
        while len(deck) < QUESTIONS_PER_SCENE:
            deck += [FAMILIES[i] for i in rng.permutation(len(FAMILIES))]
        wanted, deck = deck[:QUESTIONS_PER_SCENE], deck[QUESTIONS_PER_SCENE:]
        parts = tuple(own[turn[family] % len(own)] for family in wanted)
        turn.update(wanted)
        chosen = looks[index % len(looks)]
        for scene_seed in seeds:
            seen = cast(sample_scene(scene_seed, chosen), PICTURE_SIDE)  # four of five scenes are passed over
            asked = [
                ask(seen.geometry, family, rng, part) for family, part in zip(wanted, parts, strict=True)
            ]
            if all(asked):
                questions = tuple(
                    (_varied(wording(a.blueprint, rng, part), a.blueprint, words, varied), a)
                    for a, part in zip(asked, parts, strict=True)
                    if a is not None
                )
                yield Item(scene_seed, chosen, seen.developed(), questions, parts)
                break


def _varied(question: str, blueprint: Blueprint, rng: np.random.Generator, share: float) -> str:
    return readable_wording(blueprint, rng) if rng.random() < share else question


def rows(item: Item, name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Of each question its query, and the truth apart. name: of the picture's file."""
    for number, ((question, asked), part) in enumerate(zip(item.questions, item.parts, strict=True)):
        query_id = f"{Path(name).stem}-q{number}"
        yield (
            {"query_id": query_id, "image": f"images/{name}", "question": question},
            {
                "query_id": query_id,
                "answer": asked.answer,
                "family": asked.blueprint.family,
                "boxes": asked.boxes,
                "look": item.look,
                "text": "seen" if part == "training" else "unseen",
            },
        )


def write_dataset(
    out: Path,
    scenes: int,
    seed: int,
    look: str | None = None,
    split: str = "queries",
    parts: tuple[Part, ...] = (),
    looks: tuple[str, ...] = LOOKS,
) -> dict[str, int]:
    """Render `scenes` pictures (PNG, 256 px square) with two questions each. The same arguments give the same files.
    look, looks, parts: as of `items`.

    Returns {"scenes": ..., "questions": ...}. Raises ConfigError for an unknown look or a negative seed.
    """
    drawn = items(scenes, seed, look, split, parts, looks)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "truth.jsonl").open("w") as truth:
        return _write(out, drawn, truth)


def write_queries(out: Path, scenes: int, seed: int) -> dict[str, int]:
    """Pictures and queries.jsonl of split `queries`, all looks in turn, as `write_dataset` writes them; no truth.

    Three quarters of the questions are in the grammar's wordings, which evaluation never uses: what is learnt of
    six wordings a family hardly carries over to others.

    Returns {"scenes": ..., "questions": ...}. Raises ConfigError for a negative seed.
    """
    return _write(out, items(scenes, seed, varied=VARIED_QUERIES), None)


def _write(out: Path, drawn: Iterator[Item], truth: TextIO | None) -> dict[str, int]:
    written = {"scenes": 0, "questions": 0}
    (out / "images").mkdir(parents=True, exist_ok=True)
    with (out / "queries.jsonl").open("w") as queries:
        for item in drawn:
            name = f"{item.look}-{item.scene_seed}.png"
            Image.fromarray(item.rendering.rgb).save(out / "images" / name)
            for query, answer in rows(item, name):
                queries.write(json.dumps(query) + "\n")
                if truth is not None:
                    truth.write(json.dumps(answer) + "\n")
                written["questions"] += 1
            written["scenes"] += 1
    return written
