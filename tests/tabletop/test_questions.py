"""Questions: parts that share neither wordings nor pairs, clear answers, families in equal shares."""

import itertools
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from valor_ray.tabletop.dataset import items
from valor_ray.tabletop.questions import FAMILIES, PARTS, RELATIONS, part_of, part_of_pair, wordings
from valor_ray.tabletop.sample_questions import free_blueprint
from valor_ray.tabletop.scenes import COLOURS, SHAPES

LABELS = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_have_wordings_of_their_own(family: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        blueprint = free_blueprint(rng, family)
        texts = {part: {t.casefold().strip("?. ") for t in wordings(blueprint, part)} for part in PARTS}
        assert [len(texts[part]) for part in PARTS] == [6, 2, 3]
        assert len(set.union(*texts.values())) == 11
        assert not [t for part in PARTS for t in wordings(blueprint, part) if "  " in t or "{a" in t]


def test_a_quarter_of_pairs_is_held_out_and_an_eighth_is_for_development() -> None:
    parts = Counter(part_of_pair(a, b) for a, b in itertools.combinations(LABELS, 2))
    assert parts == {"training": 320, "held_out": 117, "development": 59}
    assert Counter(part_of_pair(a, b) for a, b in itertools.combinations(SHAPES, 2)) == {
        "training": 3, "held_out": 2, "development": 1,
    }  # fmt: skip
    assert Counter(part_of_pair(c, s) for c in COLOURS for s in SHAPES) == {
        "training": 20, "held_out": 7, "development": 5,
    }  # fmt: skip


def test_pairs_stay_in_their_part_for_ever_and_in_either_order() -> None:
    assert part_of_pair("red box", "blue ball") == part_of_pair("blue ball", "red box")
    told = [part_of_pair(a, b)[0] for a, b in itertools.combinations(LABELS[:7], 2)]
    assert "".join(told) == PINNED


PINNED = "hhhhtddhhtdthttthdttt"


@pytest.mark.parametrize("part", PARTS)
def test_free_blueprints_keep_to_their_part_and_cover_every_relation(part) -> None:
    rng = np.random.default_rng(4)
    for family in FAMILIES:
        drawn = [free_blueprint(rng, family, part) for _ in range(100)]
        assert {part_of(b) for b in drawn} <= {part, None}
        assert {b.relation for b in drawn} == set(RELATIONS.get(family, ("",)))


def test_what_trains_the_policy_does_not_load_the_other_parts_wordings() -> None:
    code = (
        "import sys, numpy as np\nfrom valor_ray.tabletop.pretrain import policy_text\n"
        "rng = np.random.default_rng(0)\n"
        "[policy_text.base_text(policy_text.free_blueprint(rng), rng) for _ in range(200)]\n"
        "print(sorted(m.split('.')[-1] for m in sys.modules if '.wordings.' in m))"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == "['pretraining', 'training']"


@pytest.mark.parametrize(
    ("split", "parts"),
    [("queries", {"training"}), ("val", {"development"}), ("held_out", {"training", "held_out"})],
)
def test_splits_ask_in_their_own_words_about_their_own_pairs(split: str, parts: set[str]) -> None:
    asked = [
        (part, question, a.blueprint)
        for item in items(24, 3, None, split)
        for part, (question, a) in zip(item.parts, item.questions, strict=True)
    ]
    assert len(asked) == 48 and {part for part, _, _ in asked} == parts
    for part, question, blueprint in asked:
        assert question in wordings(blueprint, part) and part_of(blueprint) in (part, None)
    counts = Counter((blueprint.family, part) for part, _, blueprint in asked)
    assert set(counts.values()) == {4 // len(parts)} and len(counts) == 12 * len(parts)
