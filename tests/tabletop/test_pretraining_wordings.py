"""The grammar of pre-training: always a whole sentence, many of them, and nothing of the other parts' wordings."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from valor_ray.tabletop.questions import FAMILIES, varied_wording, wordings
from valor_ray.tabletop.sample_questions import free_blueprint
from valor_ray.tabletop.wordings import development, held_out
from valor_ray.tabletop.wordings.pretraining import CARRIERS, CLAIMS, FRAMES, QUESTIONS, drawn

_WORD = re.compile(r"\{\w+\}|\w+")


@pytest.mark.parametrize("family", FAMILIES)
def test_questions_are_whole_and_many(family: str) -> None:
    rng = np.random.default_rng(3)
    drawn_texts = [varied_wording(free_blueprint(rng, family), rng) for _ in range(300)]
    for text in drawn_texts:
        assert not re.search(r"\[|\]|\||  | [?.,:;]|\{\w+\}|None", text), text
        assert text[0].isupper() or text[0] in "{0123456789", text
    assert len({drawn(family, rng) for _ in range(300)}) > 60


def test_every_question_says_what_is_asked() -> None:
    rng = np.random.default_rng(4)
    for family in FAMILIES:
        for _ in range(100):
            blueprint = free_blueprint(rng, family)
            text = varied_wording(blueprint, rng).lower()
            for phrase in filter(None, (blueprint.a, blueprint.b)):
                assert phrase.rsplit(" ", 1)[0] in text or phrase.split()[-1] in text
            if family == "height":
                assert str(blueprint.number) in text


def _ways(template: str) -> list[str]:
    """All that a template can become."""
    parts = [part.split("|") for part in re.split(r"\[([^\[\]]*)\]", template)]
    return ["".join(way) for way in itertools.product(*parts)]


def test_no_wording_of_another_part_can_come_out() -> None:
    frames = [frame for template in FRAMES for frame in _ways(template)]
    for family in FAMILIES:
        others = [*development.WORDINGS[family], *held_out.WORDINGS[family]]
        theirs = [_WORD.findall(template.lower()) for template in others]
        claims = [claim for template in CLAIMS.get(family, ()) for claim in _ways(template)]
        mine = [way for template in QUESTIONS[family] for way in _ways(template)]
        mine += [frame.lower().replace("{s}", claim) for frame in frames for claim in claims]
        assert len(mine) >= 30 and sum(map(len, theirs)) > 30
        texts = [f" {' '.join(_WORD.findall(way.lower()))} " for way in mine]
        met = {" ".join(words) for words in theirs if any(f" {' '.join(words)} " in text for text in texts)}
        assert not met, met


def test_grammar_has_all_families_and_the_six_wordings_stay() -> None:
    assert set(QUESTIONS) == set(FAMILIES) and set(CLAIMS) <= set(FAMILIES)
    assert len(CARRIERS) > 5 and len(FRAMES) > 5
    rng = np.random.default_rng(6)
    assert all(len(wordings(free_blueprint(rng, family))) == 6 for family in FAMILIES)
