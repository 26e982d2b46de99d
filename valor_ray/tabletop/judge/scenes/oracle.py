"""The oracle's answer to a request of one of the three heads of the scene tests: message in, JSON object out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from valor_ray.judges.sections import read_sections
from valor_ray.tabletop.judge.scenes.answer import answer
from valor_ray.tabletop.judge.scenes.listing import read_listing
from valor_ray.tabletop.judge.scenes.mentions import COLOURS, SHAPES, Mention, read_mentions
from valor_ray.tabletop.judge.scenes.noise import with_noise
from valor_ray.tabletop.judge.scenes.question import Asked, Kind, read_question

HEADS = ("scene_things", "scene_answers", "scene_words")
_FORMS = {
    Kind.COUNT: "count", Kind.EXISTS: "yes or no", Kind.ATTRIBUTE: "word", Kind.SIZE: "number",
    Kind.RATIO: "number", Kind.HOLDS: "yes or no", Kind.CHOICE: "word", Kind.COUNTS: "yes or no",
}  # fmt: skip


def fill(head: str, message: str, noise: float = 0.0, seed: int = 0) -> dict[str, Any] | None:
    """The JSON object that answers the message of a head; None for answers to a question that the rules cannot read.

    noise: share of the answers in scenes that are replaced by another likely one, the same ones for the same message
    and seed. What a question or a phrase names is never replaced.
    """
    sections = read_sections(message)
    if head == "scene_things":
        return _things(sections.get("question", ""))
    if head == "scene_words":
        return _words(sections.get("phrase", ""), sections.get("nouns", "").splitlines())
    return _answers(
        sections,
        lambda scene, said, asked: with_noise(said, asked, noise, f"{seed} {message} {scene}"),
    )


def _answers(sections: Mapping[str, str], disturb: Callable[[int, str, Asked], str]) -> dict[str, Any] | None:
    asked = read_question(sections.get("question", ""))
    if asked is None:
        return None
    entries = []
    for scene, things in read_listing(sections.get("scenes", "")).items():
        said = answer(asked, things)
        entries.append({"scene": scene, "working": asked.kind.value, "answer": disturb(scene, said, asked)})
    return {"scenes": entries}


def _things(question: str) -> dict[str, Any]:
    """What the question names; nothing where the rules cannot read it: then it has no scene tests."""
    asked = read_question(question)
    if asked is None:
        return {"things": [], "attributes": [], "others": [], "answer": "word"}
    named = [each for each in (asked.subject, asked.other) if each is not None]
    several = {Kind.COUNT: (True, False), Kind.COUNTS: (True, True), Kind.EXISTS: (True,)}.get(
        asked.kind, (False, False)
    )
    if asked.kind is Kind.ATTRIBUTE:
        several = (asked.relation is not None,)
    coloured = asked.target == "colour" or any(each.colour for each in named)
    attributes = [{"name": "colour", "values": list(COLOURS)}] if coloured else []
    if asked.target == "shape":
        attributes.append({"name": "shape", "values": list(SHAPES)})
    nouns = {each.noun for each in named}
    return {
        "things": [_thing(each, all_) for each, all_ in zip(named, several, strict=False)],
        "attributes": attributes,
        "others": [noun for noun in SHAPES if noun not in nouns],
        "answer": _FORMS[asked.kind],
    }


def _thing(mention: Mention, several: bool) -> dict[str, Any]:
    attributes = [{"name": "colour", "value": mention.colour}] if mention.colour else []
    return {"noun": mention.noun, "attributes": attributes, "several": several}


def _words(phrase: str, nouns: list[str]) -> dict[str, Any]:
    """The nouns that a phrase names: all of them for "objects". Not clear where no noun of the table is in it."""
    mentions = read_mentions(" ".join(phrase.lower().split()))
    fitting = {mention.noun for mention in mentions}
    return {"clear": bool(fitting), "nouns": [noun for noun in nouns if noun in fitting or "" in fitting]}
