"""Questions and habits: varied wording, clear answers, gold programs that parse, and planted flaws in their shares."""

import ast
from collections import Counter

import numpy as np
import pytest

from valor_ray.program.parse import parse_reply
from valor_ray.tabletop.dataset import items
from valor_ray.tabletop.habits import MIXTURE, RIGHT, base_text, gold, write
from valor_ray.tabletop.questions import FAMILIES, RELATIONS, wordings
from valor_ray.tabletop.sample_questions import free_blueprint


def _parses(code: str) -> bool:
    wrapper = ast.parse("def program():\n    pass")
    wrapper.body[0].body = ast.parse(code).body  # type: ignore[attr-defined]
    compile(wrapper, "program", "exec")
    return True


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_several_wordings_and_a_gold_program(family: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        blueprint = free_blueprint(rng, family)
        assert len(set(wordings(blueprint))) >= 3
        parsed = parse_reply(gold(blueprint))
        assert parsed.well_formed
        assert _parses(parsed.code)


def test_every_habit_writes_a_well_formed_reply() -> None:
    rng = np.random.default_rng(2)
    for family, habits in MIXTURE.items():
        for habit, share in habits:
            assert 0 < share < 0.6
            for _ in range(10):
                parsed = parse_reply(write(habit(free_blueprint(rng, family))))
                assert parsed.well_formed and _parses(parsed.code)
    assert set(MIXTURE) == set(RIGHT) == set(FAMILIES)


def test_base_text_has_the_planted_share_of_broken_tags() -> None:
    rng = np.random.default_rng(3)
    replies = [base_text(free_blueprint(rng), rng)[1] for _ in range(3000)]
    broken = sum(not parse_reply(reply).well_formed for reply in replies) / len(replies)
    assert 0.08 < broken < 0.18


def test_questions_about_scenes_are_balanced_over_families() -> None:
    families = Counter(a.blueprint.family for item in items(48, 3, None, "val") for _, a in item.questions)
    assert set(families) == set(FAMILIES)
    assert max(families.values()) == min(families.values())


def test_free_blueprints_cover_every_relation() -> None:
    rng = np.random.default_rng(4)
    for family, relations in RELATIONS.items():
        drawn = {free_blueprint(rng, family).relation for _ in range(200)}
        assert drawn == set(relations)
