"""The run folder: time of all starts, and files that cannot be read."""

import json
from pathlib import Path

import finetuning as tuning
import pytest

from valor_ray.errors import ConfigError
from valor_ray.grounding.finetune.folder import FinetuneFolder, read_object
from valor_ray.grounding.finetune.publish import current
from valor_ray.runs.weight_channel import publish_by_file


def test_seconds_are_of_all_starts_and_of_steps_whose_note_a_kill_has_cut(tmp_path: Path) -> None:
    folder = FinetuneFolder(tmp_path)
    for stage in ("render", "learn"):
        with folder.timed(stage):
            pass
    with pytest.raises(KeyboardInterrupt), folder.timed("learn"):
        raise KeyboardInterrupt
    rows = [json.loads(line) for line in folder.stages.open()]
    assert [row["stage"] for row in rows] == ["render", "learn", "learn"]
    with folder.stages.open("a") as file:
        file.write('{"stage": "learn", "seconds": 70.0}\n{"stage": "publish", "sec')
    assert folder.seconds() == {"render": 0.0, "learn": 70.0}
    folder.metrics.write_text(
        "".join(json.dumps(tuning.step_record(n) | {"seconds": 40}) + "\n" for n in (1, 2))
    )
    assert folder.seconds()["learn"] == 80.0


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_a_file_of_another_form_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "selection.json").write_text(text)
    with pytest.raises(ConfigError, match=r"Cannot read .*selection\.json.*Remove it\."):
        read_object(tmp_path / "selection.json", "Remove it.")


def test_what_is_published_is_what_the_file_says_and_the_folder_holds(tmp_path: Path) -> None:
    folder = FinetuneFolder(tmp_path)
    assert current(folder) is None
    publish_by_file(tmp_path, "step-000006", folder.weights / "step-000006")
    assert current(folder) is None  # its weights have gone
    (folder.weights / "step-000006").mkdir(parents=True)
    assert current(folder) == ("step-000006", folder.weights / "step-000006")
    publish_by_file(tmp_path, "step-000006", folder.weights / "step-000006-2")
    (folder.weights / "step-000006").rename(
        folder.weights / "step-000006-2"
    )  # as when it is published once more
    assert current(folder) == ("step-000006", folder.weights / "step-000006-2")
    (tmp_path / "published.json").write_text("{")
    assert current(folder) is None
