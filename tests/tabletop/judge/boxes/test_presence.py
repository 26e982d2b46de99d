"""What the offline verifier says is in a picture, from pixels alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from valor_ray.judges.boxes.requests import SCHEMAS
from valor_ray.judges.gateway.call.schema import fits
from valor_ray.judges.sections import write_sections
from valor_ray.tabletop.judge.boxes.answer import answer_boxes
from valor_ray.tabletop.judge.boxes.noise import Noise
from valor_ray.tabletop.judge.boxes.request import BoxRequestError
from valor_ray.tabletop.render import render
from valor_ray.tabletop.scenes import COLOURS, SHAPES, SPLIT_SEEDS, sample_scene

HEAD = "box_presence"


def ask(rgb: np.ndarray, *phrases: str, noise: Noise | None = None) -> dict[str, str]:
    lines = [json.dumps({"index": number, "label": phrase}) for number, phrase in enumerate(phrases, 1)]
    size = json.dumps({"width": rgb.shape[1], "height": rgb.shape[0]})
    text = write_sections({"phrases": "\n".join(lines), "picture": size})
    said = answer_boxes(HEAD, text, rgb, noise or Noise())
    assert fits(said, SCHEMAS[HEAD])
    assert [(each["index"], each["label"]) for each in said["phrases"]] == list(enumerate(phrases, 1))
    return {each["label"]: each["verdict"] for each in said["phrases"]}


@pytest.fixture(scope="module")
def scene():
    return render(sample_scene(SPLIT_SEEDS["val"].start + 40, "tiles"), 256)


def test_what_is_there_is_not_called_absent_and_most_of_what_is_not_is(scene) -> None:
    there = {thing.label for thing in scene.objects}
    every = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
    said = ask(scene.rgb, *every)
    assert {phrase for phrase in there if said[phrase] == "absent"} == set()
    gone = [phrase for phrase in every if phrase not in there]
    assert sum(said[phrase] == "absent" for phrase in gone) >= 0.6 * len(gone)


def test_what_it_cannot_read_it_is_unsure_of(scene) -> None:
    said = ask(scene.rgb, "box behind the ball", "laptop", "object")
    assert said == {"box behind the ball": "unsure", "laptop": "unsure", "object": "present"}


def test_noise_turns_verdicts_round_but_nothing_that_is_unsure(scene) -> None:
    phrases = ("object", "laptop")
    assert ask(scene.rgb, *phrases, noise=Noise(1.0)) == {"object": "absent", "laptop": "unsure"}


def test_an_empty_picture_holds_nothing() -> None:
    assert ask(np.full((64, 64, 3), 128, np.uint8), "ball") == {"ball": "absent"}


@pytest.mark.parametrize("lines", ["", '{"index": 2, "label": "ball"}', '{"index": 1}', "ball"])
def test_a_wrong_list_is_refused(lines: str) -> None:
    text = write_sections({"phrases": lines, "picture": '{"width": 8, "height": 8}'})
    with pytest.raises(BoxRequestError, match="phrases"):
        answer_boxes(HEAD, text, np.zeros((8, 8, 3), np.uint8), Noise())
