"""Checkpoints in a folder: whole or not there, few, and with the records of their steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from valor_ray.errors import StorageError
from valor_ray.runs.checkpoints import AVERAGE, MERGED, FolderCheckpoints, Keep, write_metrics


@pytest.fixture
def checkpoints(tmp_path: Path) -> FolderCheckpoints:
    return FolderCheckpoints(tmp_path)


def keep(checkpoints: FolderCheckpoints, step: int, text: str, newest: int, *every: int) -> None:
    written = checkpoints.part / f"checkpoint-{step}"
    written.mkdir(parents=True)
    (written / "model").write_text(text)
    checkpoints.keep(written, step, Keep(newest, every))


def names(checkpoints: FolderCheckpoints) -> list[str]:
    return sorted(path.name for path in checkpoints.folder.glob("step-*"))


def test_first_and_newest_checkpoints_are_kept(checkpoints: FolderCheckpoints) -> None:
    for step in range(5, 30, 5):
        keep(checkpoints, step, str(step), newest=2)
    assert names(checkpoints) == ["step-000005", "step-000020", "step-000025"]
    assert checkpoints.newest() == 25 and (checkpoints.checkpoint(25) / "model").read_text() == "25"
    assert checkpoints.has(20) and not checkpoints.has(15)


def test_one_in_so_many_steps_stays(checkpoints: FolderCheckpoints) -> None:
    for step in range(2, 14, 2):
        keep(checkpoints, step, "", 1, 6)
    assert names(checkpoints) == ["step-000002", "step-000006", "step-000012"]


def test_a_step_of_seven_digits_is_newer_than_one_of_six(checkpoints: FolderCheckpoints) -> None:
    for step in (5, 999_999, 1_000_000):
        keep(checkpoints, step, "", newest=1)
    assert checkpoints.newest() == 1_000_000 and not checkpoints.has(999_999)


def test_checkpoint_that_is_made_again_takes_the_place_of_the_old_one(checkpoints: FolderCheckpoints) -> None:
    for text in ("old", "new"):
        keep(checkpoints, 5, text, newest=1)
    assert (checkpoints.checkpoint(5) / "model").read_text() == "new"


def test_checkpoint_in_the_making_is_not_the_newest(checkpoints: FolderCheckpoints) -> None:
    (checkpoints.part / "checkpoint-9").mkdir(parents=True)
    assert checkpoints.newest() == 0
    checkpoints.forget_part()
    assert list(checkpoints.folder.iterdir()) == []


def test_checkpoint_that_was_not_written_cannot_be_kept(checkpoints: FolderCheckpoints) -> None:
    with pytest.raises(StorageError, match="Cannot keep the checkpoint"):
        checkpoints.keep(checkpoints.part / "checkpoint-3", 3, Keep(1))


def test_policy_weights_are_the_merged_ones_where_there_are_adapters(checkpoints: FolderCheckpoints) -> None:
    keep(checkpoints, 3, "", newest=1)
    assert checkpoints.policy_weights(3) == checkpoints.checkpoint(3)
    (checkpoints.checkpoint(3) / MERGED).mkdir()
    assert checkpoints.policy_weights(3) == checkpoints.checkpoint(3) / MERGED


@pytest.mark.parametrize(
    ("files", "there"),
    [
        (("config.json", "model-00001-of-00002.safetensors"), True),
        (("adapter_config.json", "adapter_model.safetensors"), True),
        (("state/__0_0.distcp", "trainer_state.json"), False),
        (("config.json", "model.safetensors", AVERAGE), False),
        (("config.json", "model.safetensors", AVERAGE, f"{MERGED}/model.safetensors"), True),
        ((), False),
    ],
)
def test_parts_for_the_learner_and_weights_beside_their_average_are_no_model(
    checkpoints: FolderCheckpoints, files: tuple[str, ...], there: bool
) -> None:
    for name in files:
        path = checkpoints.checkpoint(3) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert checkpoints.has_model(3) is there


def test_what_was_set_aside_under_another_name_is_no_checkpoint(checkpoints: FolderCheckpoints) -> None:
    keep(checkpoints, 5, "", newest=1)
    aside = checkpoints.checkpoint(5).rename(checkpoints.folder / "step-000005.broken")
    assert checkpoints.newest() == 0
    for step in (1, 3, 4):
        keep(checkpoints, step, "", newest=1)
    assert names(checkpoints) == ["step-000001", "step-000004", aside.name]


def test_records_of_its_steps_are_whole_with_the_checkpoint(checkpoints: FolderCheckpoints) -> None:
    written = checkpoints.part / "checkpoint-2"
    written.mkdir(parents=True)
    write_metrics(written, [{"step": 1}, {"step": 2}])
    assert checkpoints.metrics(2) == []  # not kept yet
    checkpoints.keep(written, 2, Keep(1))
    assert checkpoints.metrics(2) == [{"step": 1}, {"step": 2}] and checkpoints.metrics(0) == []
