from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_set import settings, tiny_set

from valor_ray.grounding.dataset.training import training_images
from valor_ray.grounding.learner.examples import ExampleSet, Reader, batches, knows_sides
from valor_ray.grounding.learner.split import split
from valor_ray.models.grounding_dino.load import load_detector


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(load_detector("tabletop:detector"), settings())


def test_pictures_held_back_are_not_drawn_and_stay_the_same(reader: Reader, tmp_path: Path) -> None:
    folder = tiny_set(tmp_path / "set", 10)
    one, two = (
        ExampleSet(folder, reader, settings("finetune.held_back=0.3").finetune, held_back=True)
        for _ in range(2)
    )
    assert len(one) == 7 and [each.key for each in one.held_back] == [each.key for each in two.held_back]
    assert {each.key for each in one.images}.isdisjoint(each.key for each in one.held_back)


def test_an_epoch_shows_every_picture_once_on_however_many_processes(reader: Reader, tmp_path: Path) -> None:
    examples = ExampleSet(tiny_set(tmp_path / "set", 6), reader, settings().finetune)
    whole = [each.pixels for step in range(3) for each in examples.draw(step, 2, 0, 2)]
    split = [
        each.pixels
        for step in range(3)
        for part in ((0, 1), (1, 2))
        for each in examples.draw(step, 2, *part)
    ]
    assert all(torch.equal(a, b) for a, b in zip(whole, split, strict=True))
    assert len({each.numpy().tobytes() for each in whole}) == 6


def test_captions_and_flips_change_with_the_epoch(reader: Reader, tmp_path: Path) -> None:
    examples = ExampleSet(tiny_set(tmp_path / "set", 6), reader, settings().finetune)
    flips = [tuple(each.mirrored for each in examples.draw(step, 6, 0, 6)) for step in range(8)]
    assert len(set(flips)) > 1


@pytest.mark.parametrize(
    ("phrase", "knows"),
    [
        ("left chair", True),
        ("The LEFTMOST cup", True),
        ("right-hand glove", True),
        ("bright lamp", False),
        ("cleft stone", False),
    ],
)
def test_phrases_that_know_sides(phrase: str, knows: bool) -> None:
    assert knows_sides(phrase) is knows


def test_a_picture_whose_phrase_knows_left_is_never_mirrored(reader: Reader, tmp_path: Path) -> None:
    folder = tiny_set(tmp_path / "set", 6, absent=("left box",))
    examples = ExampleSet(folder, reader, settings("finetune.flip=1").finetune)
    drawn = [each for step in range(4) for each in examples.draw(step, 6, 0, 6)]
    assert {each.mirrored for each in drawn if "left box" in each.caption.phrases} == {False}
    plain = ExampleSet(
        tiny_set(tmp_path / "other", 6, absent=()), reader, settings("finetune.flip=1").finetune
    )
    assert {each.mirrored for each in plain.draw(0, 6, 0, 6)} == {True}


def test_batches_hold_pictures_of_one_size(reader: Reader, tmp_path: Path) -> None:
    examples = ExampleSet(tiny_set(tmp_path / "set", 4), reader, settings().finetune)
    drawn = examples.draw(0, 4, 0, 4)
    drawn[1] = replace(drawn[1], pixels=drawn[1].pixels[:, :-32])
    made = list(batches(drawn, hard=True))
    assert sorted(len(batch.targets) for batch in made) == [1, 3]
    for batch in made:
        assert batch.input_ids.shape == batch.text_mask.shape and batch.text_mask.sum(1).min() >= 4


def test_pictures_without_a_confirmed_box_are_never_held_back(tmp_path: Path) -> None:
    images = list(training_images(tiny_set(tmp_path / "set", 10)))
    mixed = [replace(image, positives=()) if n % 3 else image for n, image in enumerate(images)]
    trained, apart = split(mixed, settings("finetune.held_back=0.9").finetune)
    assert all(image.positives for image in apart) and any(image.positives for image in trained)
    assert (len(trained), len(apart)) == (7, 3)
    assert split(mixed[:1], settings().finetune)[1] == []
