"""Which phrases are never negatives of each other."""

from __future__ import annotations

import pytest

from valor_ray.grounding.dataset.synonyms import Synonyms, confirmed_pairs, says_no_kind, words_nest


@pytest.mark.parametrize(
    ("a", "b", "nest"),
    [
        ("cube", "red cube", True),
        ("cubes", "red cube", True),
        ("red cubes", "cube", True),
        ("the cube", "a red cube", True),
        ("boxes", "box", True),
        ("shelves", "shelf", True),
        ("cup", "cup holder", True),
        ("cup", "cupboard", False),
        ("red cube", "blue cube", False),
        ("sofa", "couch", False),
        ("the", "cube", False),
        ("grüne tasse", "tasse", True),
    ],
)
def test_words_that_hold_each_other(a, b, nest):
    assert words_nest(a, b) is nest
    assert words_nest(b, a) is nest
    assert Synonyms().compatible(a, b) is nest


def test_pairs_are_confirmed_by_two_kept_boxes_of_one_object(box):
    sofa = box("Sofa", (0, 0, 100, 100))
    inside_iou = {0.70: (0, 0, 100, 70), 0.69: (0, 0, 100, 69)}
    assert confirmed_pairs([sofa, box("couch", inside_iou[0.70])]) == {("couch", "sofa")}
    assert confirmed_pairs([sofa, box("couch", inside_iou[0.69])]) == set()
    assert confirmed_pairs([sofa, box("couch", (0, 0, 100, 100), "n")]) == set()
    assert confirmed_pairs([sofa, box("couch", (0, 0, 100, 100), "yyn")]) == set()
    assert confirmed_pairs([sofa, box("sofa", (0, 0, 100, 100))]) == set()


def test_compatible_is_symmetric_and_not_transitive():
    synonyms = Synonyms([("sofa", "couch"), ("couch", "bench")])
    assert synonyms.compatible("couch", "sofa")
    assert synonyms.compatible("sofa", "couch")
    assert not synonyms.compatible("sofa", "bench")
    assert synonyms.pairs() == [("bench", "couch"), ("couch", "sofa")]


@pytest.mark.parametrize(
    ("phrase", "kindless"),
    [
        ("red object", True),
        ("things", True),
        ("object", True),
        ("red cube", False),
        ("object holder", False),
        ("", False),
    ],
)
def test_a_noun_that_says_no_kind_may_name_any_object(phrase: str, kindless: bool) -> None:
    assert says_no_kind(phrase) is kindless
