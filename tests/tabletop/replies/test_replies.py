"""Replies: right in every style whatever the words, flawed in every way, and mixed in the planted shares."""

import asyncio
import re
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from valor_ray.config.tree import Config
from valor_ray.measure.answers import is_right
from valor_ray.program.parse import parse_reply
from valor_ray.program.sandbox import Sandbox
from valor_ray.tabletop.gold_check import TrueTools
from valor_ray.tabletop.questions import FAMILIES
from valor_ray.tabletop.render import render
from valor_ray.tabletop.replies.flaws import FLAWS
from valor_ray.tabletop.replies.mixture import MIXTURE, USUAL, base_text
from valor_ray.tabletop.replies.write import STYLES, applies, flawed, gold, right
from valor_ray.tabletop.sample_questions import ask, free_blueprint
from valor_ray.tabletop.scenes import sample_scene

SIDE = 128


@pytest.fixture(scope="module")
def asked() -> dict[str, list[tuple[Any, Any]]]:
    """Six answered questions a family, each with its picture."""
    rng, seed = np.random.default_rng(5), 1_500_000
    got: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
    while any(len(got[family]) < 6 for family in FAMILIES):
        rendering = render(sample_scene(seed, "tiles"), SIDE)
        seed += 1
        for family in FAMILIES:
            question = ask(rendering, family, rng) if len(got[family]) < 6 else None
            if question:
                got[family].append((rendering, question))
    return got


def wrong(texts: list[tuple[str, Any, Any]]) -> list[str]:
    """The replies (with rendering and question) that do not give the true answer with true tools."""

    async def run() -> list[str]:
        bad = []
        async with Sandbox(Config.load("local").sandbox) as sandbox:
            for text, rendering, question in texts:
                result = await sandbox.run(parse_reply(text).code, TrueTools(rendering), (SIDE, SIDE))
                if result.error or not is_right(result.answer, question.answer):
                    bad.append(text)
        return bad

    return asyncio.run(run())


def test_right_replies_of_every_family_and_style_answer_right(asked: Any) -> None:
    rng = np.random.default_rng(1)
    texts = [
        (right(question.blueprint, style, rng), rendering, question)
        for family in FAMILIES
        for style in STYLES
        for rendering, question in asked[family]
    ]
    assert len(texts) == 12 * 4 * 6 and wrong(texts) == []


@pytest.mark.parametrize("kind", [kind for kind in FLAWS if kind != "unguarded"])
def test_each_flaw_is_wrong_somewhere_and_parses_in_every_style(kind: str, asked: Any) -> None:
    rng = np.random.default_rng(2)
    texts = [
        (flawed(question.blueprint, [kind], style, rng), rendering, question)
        for family in FLAWS[kind].families
        for style in STYLES
        for rendering, question in asked[family][:4]
        if applies(kind, question.blueprint, style)
    ]
    assert texts and all(parse_reply(text).well_formed for text, _, _ in texts)
    assert len(wrong(texts)) >= 0.05 * len(texts)


def test_two_flaws_meet_in_one_reply_and_one_that_does_not_apply_is_refused() -> None:
    rng = np.random.default_rng(3)
    blueprint = free_blueprint(rng, "ratio")
    text = flawed(blueprint, ["width", "inverted_ratio"], "sorting", rng)
    assert "[2] - box[0]" in text and "s[1] / " in text
    with pytest.raises(ValueError, match="one_more"):
        flawed(blueprint, ["one_more"], "plain", rng)
    with pytest.raises(ValueError, match="wrong_end"):
        flawed(free_blueprint(rng, "closer"), ["wrong_end"], "plain", rng)


@pytest.mark.parametrize("family", FAMILIES)
def test_any_two_flaws_give_a_reply_or_are_refused(family: str) -> None:
    """One flaw may take another's ground: that is a ValueError, whatever the two are."""
    rng, met = np.random.default_rng(3), 0
    for blueprint in [free_blueprint(rng, family) for _ in range(2)]:
        for style in STYLES:
            kinds = [kind for kind in FLAWS if applies(kind, blueprint, style)]
            for pair in ((first, second) for first in kinds for second in kinds if first != second):
                try:
                    met += parse_reply(flawed(blueprint, pair, style, rng)).well_formed
                except ValueError as refused:
                    assert "does not apply" in str(refused), (pair, refused)
    assert met > 50


@pytest.mark.parametrize("family", FAMILIES)
def test_right_replies_are_many(family: str) -> None:
    rng = np.random.default_rng(4)
    blueprint = free_blueprint(rng, family)
    texts = {right(blueprint, style, rng) for style in STYLES for _ in range(100)}
    assert len(texts) >= 80 and gold(blueprint) == gold(blueprint)


def test_the_mixture_has_its_shares_of_broken_tags_and_few_kinds_a_family() -> None:
    rng = np.random.default_rng(3)
    replies = [base_text(free_blueprint(rng), rng)[1] for _ in range(3000)]
    broken = sum(not parse_reply(reply).well_formed for reply in replies) / len(replies)
    assert 0.13 < broken < 0.21
    assert set(MIXTURE) == set(FAMILIES)
    for family, kinds in MIXTURE.items():
        assert 1 <= len(kinds) <= 2 and all(family in FLAWS[kind].families for kind, _ in kinds)
        assert 0.25 < 1 - sum(share for _, share in kinds) < 0.6


def test_styles_come_evenly() -> None:
    rng = np.random.default_rng(6)
    verbs = Counter(base_text(free_blueprint(rng), rng)[1].split("1. ")[1].split()[0] for _ in range(2000))
    assert set(verbs) == {"Detect", "Find", "Locate", "Look"} and min(verbs.values()) > 400


def test_the_sign_of_a_comparison_follows_the_word_of_its_plan() -> None:
    """Otherwise a plan that is right earns no more than one that wants the opposite, and nobody learns it."""
    rng, signs = np.random.default_rng(7), {"smaller": (" < ", "min("), "larger": (" > ", "max(")}
    met: Counter[str] = Counter()
    for draw in range(2400):
        reply = parse_reply(base_text(free_blueprint(rng, ("closer", "side", "order")[draw % 3]), rng)[1])
        for word in signs:
            if reply.well_formed and word in reply.plan:
                met[word] += any(sign in reply.code for sign in signs[word])
                (other,) = signs.keys() - {word}
                code = reply.code.replace("len(where) < 2", "")
                assert not any(sign in code for sign in signs[other]), reply
    assert min(met["smaller"], met["larger"]) > 300


@pytest.mark.parametrize("family", sorted(USUAL))
def test_one_way_is_mistaken_for_the_usual_one_and_never_the_other_way_round(family: str) -> None:
    """With both turned round a policy has to unlearn what the question says before it can learn it."""
    rng, words = np.random.default_rng(8), {"more": "larger|more", "attribute": "What colour"}
    as_usual: dict[bool, list[bool]] = {True: [], False: []}
    for _ in range(1600):
        blueprint = free_blueprint(rng, family)
        reply = parse_reply(base_text(blueprint, rng)[1])
        if reply.well_formed:
            usual = (blueprint.relation or blueprint.target) in USUAL[family]
            told = reply.code if family == "attribute" else reply.plan
            as_usual[usual].append(bool(re.search(words.get(family, "small"), told)))
    assert all(as_usual[True]) and len(as_usual[True]) > 300
    assert 0.5 < np.mean(as_usual[False]) < 0.66
