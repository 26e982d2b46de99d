"""Records that are kept on disk: what stands there, and what is read of a file of another version."""

from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError

import pytest
from rollout_of import rollout_of

from valor_ray.ports import Versioned, version_of
from valor_ray.records import BoxDecision, BoxStage, CheckedBox, MinedImage, Rollout, Sample


def test_rollout_is_its_json_and_comes_back_from_it() -> None:
    one = rollout_of(3, 1, 2, 4, value=None, logic=None, advantage=None, fate="missing")
    text = json.dumps(one.to_record())
    assert text.startswith(
        '{"rollout_id": "s000003-1-02-4", "step": 3, "shard": 1, "group": 2, "sample": 4, '
    )
    assert text.endswith('"seconds": 0.5, "scene_test": "", "fate": "missing", "advantage": null}')
    back = Rollout.from_record(json.loads(text))
    assert back == one and isinstance(back.token_ids, tuple) and isinstance(back.versions[0], tuple)


def test_fields_that_another_version_wrote_are_left_out_and_missing_ones_are_an_error() -> None:
    record = rollout_of().to_record()
    assert Rollout.from_record(record | {"of": 4, "colour": "red"}) == rollout_of()
    with pytest.raises(KeyError, match="fate"):
        Rollout.from_record({name: value for name, value in record.items() if name != "fate"})


def test_field_that_came_later_has_its_default_in_an_older_record() -> None:
    record = rollout_of(scenes=True, left_out=("scenes",), scene_test="{}").to_record()
    later = ("scenes", "left_out", "scene_test")
    older = Rollout.from_record({name: value for name, value in record.items() if name not in later})
    assert (older.scenes, older.left_out, older.scene_test) == (None, (), "")
    back = Rollout.from_record(json.loads(json.dumps(record)))
    assert (back.scenes, back.left_out, back.scene_test) == (True, ("scenes",), "{}")


def test_sample_is_what_a_rollout_was_before_it_was_judged() -> None:
    record = rollout_of().to_record()
    sample = Sample.from_record(record)
    assert list(sample.to_record()) == list(record)[: len(sample.to_record())]
    assert "value" not in sample.to_record() and "fate" not in sample.to_record()


def test_rollout_travels_between_processes_and_nobody_changes_it() -> None:
    one = rollout_of()
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(FrozenInstanceError):
        one.advantage = 2.0  # type: ignore[misc]


def test_unsure_decision_comes_back_and_is_false_in_records_of_before() -> None:
    decisions = (BoxDecision(BoxStage.COARSE, True), BoxDecision(BoxStage.CROPS, False, "dark", "vlm", True))
    box = CheckedBox((0, 0, 9, 9), "cup", 0.5, decisions)
    image = MinedImage("a.png", "key", 20, 20, ("q",), ("cup",), (box,))
    record = json.loads(json.dumps(image.to_record()))
    assert MinedImage.from_record(record) == image
    assert box.unsure and box.kept is False and not box.passed(BoxStage.CROPS)
    for each in record["boxes"][0]["decisions"]:
        del each["unsure"]
    (older,) = MinedImage.from_record(record).boxes
    assert older.kept is False and not older.unsure


def test_what_a_model_has_found_is_a_list_that_keeps_its_version_on_the_way() -> None:
    for items in ([], [1, 2]):
        there = pickle.loads(pickle.dumps(Versioned(items, "step-000003")))
        assert there == items and version_of(there) == "step-000003"
        assert json.dumps(there) == json.dumps(items)
    assert version_of([1, 2]) == version_of(None) == ""
