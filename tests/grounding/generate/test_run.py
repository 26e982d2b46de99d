"""The run over a mining run's pictures: what is recorded is not asked again, and what fails is told."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from box_vlm import BoxVlm, shade
from PIL import Image

from valor_ray.config.judging import JudgeConfig
from valor_ray.config.service import ImageConfig
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.grounding.generate.calibrate import KnownPicture
from valor_ray.grounding.generate.frozen import Frozen, as_sent, frozen_before
from valor_ray.grounding.generate.run import MinedPicture, Proposed, Proposing
from valor_ray.judges.boxes.proposals import CONVENTIONS
from valor_ray.runs.record_file import read_records

BOX = (10.0, 20.0, 40.0, 80.0)
KNOWN = [KnownPicture(shade(number), {"red box": [BOX], "cone": [BOX]}) for number in range(5)]


def mined(folder: Path) -> list[MinedPicture]:
    pictures = []
    for number, known in enumerate(KNOWN):
        path = folder / f"{number}.png"
        Image.fromarray(known.picture.rgb).save(path)
        pictures.append(MinedPicture(str(path), path, known.picture.key, ("red box",), ()))
    return pictures


def run(
    folder: Path, vlm: BoxVlm, pictures: list[MinedPicture]
) -> tuple[dict[str, Proposed], dict[str, str]]:
    convention = CONVENTIONS["xyxy_1000"]
    proposing = Proposing(folder, convention, print, vlm, JudgeConfig(model="m"), ImageConfig())
    return asyncio.run(proposing.run(pictures))


def test_what_is_recorded_is_not_asked_again(tmp_path: Path) -> None:
    pictures = mined(tmp_path)
    vlm = BoxVlm(KNOWN)
    vlm.missing = {3: "the VLM was down"}
    proposed, missing = run(tmp_path, vlm, pictures)
    assert sorted(vlm.asked) == [0, 1, 2, 3, 4] and len(proposed) == 4
    assert missing == {str(tmp_path / "3.png"): "the VLM was down"}
    assert [row["error"] for row in read_records(tmp_path / "missing.jsonl")] == ["the VLM was down"]
    with (tmp_path / "proposals.jsonl").open("ab") as file:  # what a kill in the middle of a write leaves
        file.write(b'{"key": "torn')
    vlm.missing.clear()
    again, missing = run(tmp_path, vlm, pictures)
    assert vlm.asked[5:] == [3] and len(again) == 5 and missing == {}
    assert not list(read_records(tmp_path / "missing.jsonl"))
    assert {key: again[key] for key in proposed} == proposed
    assert sum(one.calls for one in again.values()) == 5
    assert sum(one.cost_usd for one in again.values()) == pytest.approx(0.05)
    for one in again.values():
        assert [box.label for box in one.boxes] == ["red box"]
        assert one.boxes[0].bbox == pytest.approx(BOX, abs=0.1)


def test_a_picture_that_was_mined_for_more_phrases_is_asked_again_with_all(tmp_path: Path) -> None:
    pictures = mined(tmp_path)
    run(tmp_path, vlm := BoxVlm(KNOWN), pictures)
    more = [replace(pictures[0], phrases=("red box", "cone")), *pictures[1:]]
    proposed, _ = run(tmp_path, vlm, more)
    assert vlm.asked[5:] == [0] and len(proposed[more[0].key].boxes) == 2
    run(tmp_path, vlm, more)
    assert len(vlm.asked) == 6


def test_pictures_that_cannot_be_had_cost_themselves_only(tmp_path: Path) -> None:
    pictures = mined(tmp_path)
    Image.fromarray(shade(20).rgb).save(tmp_path / "0.png")
    (tmp_path / "1.png").unlink()
    pictures[2] = replace(pictures[2], image="https://host/2.png", path=None)
    proposed, missing = run(tmp_path, BoxVlm(KNOWN), pictures)
    assert set(proposed) == {picture.key for picture in pictures[3:]}
    assert "has changed since it was mined" in missing[pictures[0].image]
    assert "Cannot read the picture" in missing[pictures[1].image]
    assert "is not a file here" in missing["https://host/2.png"]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "proposals.jsonl").write_text('{"query_id": "a"}\n')
    with pytest.raises(ConfigError, match="line 1 is not a record of proposals"):
        run(tmp_path, BoxVlm(KNOWN), mined(tmp_path))


def test_a_job_keeps_to_one_model_one_run_and_one_format(tmp_path: Path) -> None:
    sent = as_sent(Config.load())
    assert frozen_before(tmp_path, "m", tmp_path / "mine", None, sent) is None
    frozen = Frozen("m", str(tmp_path / "mine"), "xyxy_unit", None, {}, sent)
    frozen.save(tmp_path)
    assert frozen_before(tmp_path, "m", tmp_path / "mine", None, sent) == frozen
    assert frozen_before(tmp_path, "m", tmp_path / "mine", "xyxy_unit", sent) == frozen
    for model, mine, form, what in (
        ("other", "mine", None, "model m, not of other"),
        ("m", "mine2", None, "proposals of run"),
        ("m", "mine", "xyxy_1000", "format xyxy_unit, not of xyxy_1000"),
    ):
        with pytest.raises(ConfigError, match=what):
            frozen_before(tmp_path, model, tmp_path / mine, form, sent)
    for setting in ("vlm.extra={seed: 1}", "vlm.max_side=640", "grounding.picture_format=png"):
        now = as_sent(Config.load("local", [setting]))
        with pytest.raises(ConfigError, match=f"another {setting.partition('=')[0]}. Give another --out"):
            frozen_before(tmp_path, "m", tmp_path / "mine", None, now)
    (tmp_path / "calibration.json").write_text("{}")
    with pytest.raises(ConfigError, match="Give another --out"):
        frozen_before(tmp_path, "m", tmp_path / "mine", None, sent)
