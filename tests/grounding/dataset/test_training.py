"""train.jsonl: what training reads."""

from __future__ import annotations

import pytest

from valor_ray.errors import ConfigError
from valor_ray.grounding.dataset.training import read_synonyms, training_images

LEFT, RIGHT, LOW = (0, 0, 40, 40), (100, 0, 140, 40), (0, 60, 40, 90)


def test_a_picture_comes_back_with_all_its_sides(mined, box, export, folder):
    export(
        mined(
            "/pics/a.png",
            box("Red-Cup", LEFT),
            box("red cup", RIGHT, "yyn"),
            box("plate", RIGHT, "yn"),
            box("fork", LOW, "?"),
            asked=("dog",),
        )
    )
    (entry,) = training_images(folder)
    assert [(each.phrase, each.bbox) for each in entry.positives] == [("red cup", LEFT)]
    assert entry.absent == ("dog", "plate")
    assert [(each.phrase, each.bbox) for each in entry.hard_negatives] == [("plate", RIGHT)]
    assert [(each.phrase, each.why) for each in entry.ignored] == [
        ("red cup", "duplicate"),
        ("fork", "no verdict"),
    ]
    assert (entry.filename, entry.path, entry.image_id) == ("a.png", "/pics/a.png", 1)
    assert (entry.width, entry.height, entry.copied) == (200, 100, False)


def test_sofa_and_couch_confirmed_on_one_object_guard_another_picture(mined, box, export, folder):
    third = mined("3", box("sofa", LEFT), box("Couch", (0, 0, 40, 38)))
    seventh = mined("7", box("sofa", LEFT), box("couch", RIGHT, "n"), asked=("couch", "dog"))
    export(seventh)
    (alone,) = training_images(folder)
    assert alone.absent == ("couch", "dog")
    export(seventh, third)
    guarded, _third = training_images(folder)
    assert guarded.absent == ("dog",)
    assert [each.phrase for each in guarded.hard_negatives] == [
        "couch"
    ]  # that place was refused, and is no sofa
    synonyms = read_synonyms(folder)
    assert synonyms.compatible("couch", "sofa")
    assert not synonyms.compatible("couch", "dog")


def test_a_folder_without_a_set_says_what_to_do(folder):
    with pytest.raises(ConfigError, match="Mine first"):
        list(training_images(folder))


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"image_id": 1}', "null"])
def test_a_wrong_line_is_named(mined, box, export, folder, line):
    export(mined("a", box("cup")))
    with (folder / "train.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ConfigError, match=r"train\.jsonl line 2 "):
        list(training_images(folder))


@pytest.mark.parametrize("text", ["{", "[]", '{"root": null}', "null"])
def test_a_wrong_dataset_file_is_named(mined, box, export, folder, text):
    export(mined("a", box("cup")))
    (folder / "dataset.json").write_text(text)
    with pytest.raises(ConfigError, match=r"dataset\.json cannot be read"):
        list(training_images(folder))
