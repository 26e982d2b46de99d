"""Which detection phrases the offline verifier reads."""

import pytest

from valor_ray.tabletop.judge.boxes.phrases import read_phrase
from valor_ray.tabletop.judge.questions import Thing


@pytest.mark.parametrize(
    ("phrase", "thing"),
    [
        ("red box", Thing("red", "box")),
        ("the Red cubes", Thing("red", "box")),
        ("spheres", Thing(None, "ball")),
        ("violet object", Thing("purple", None)),
        ("a turquoise-colored cylinder.", Thing("cyan", "cylinder")),
        ("object", Thing()),
        ("every yellow one", Thing("yellow", None)),
        ("conical shape", Thing(None, "cone")),
        ("ｒed  ball", Thing("red", "ball")),  # a full-width letter
    ],
)
def test_colour_and_shape_words_are_read(phrase: str, thing: Thing) -> None:
    assert read_phrase(phrase) == thing


@pytest.mark.parametrize(
    "phrase",
    [
        "leftmost box", "box behind the ball", "small red box", "lamp", "pink box", "red and blue box", "red box ball",
        "", "the", "...", "rote Kugel", "red, 'box", "赤い箱", "box 2", "not red box", "red " * 200 + "cat",
    ],
)  # fmt: skip
def test_what_a_look_at_one_box_cannot_settle_is_not_read(phrase: str) -> None:
    assert read_phrase(phrase) is None
