"""The two steps: a query to phrases, a picture to checked boxes."""

import asyncio
import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import mining
import pytest
from mined import saved_picture
from PIL import Image

from valor_ray.errors import ImageError
from valor_ray.grounding.mine.step import MineTask, load_picture, mine_image, write_program
from valor_ray.ports import Versioned
from valor_ray.records import BoxStage, MinedImage, Query


def mined(path: Path, phrases: tuple[str, ...], detector: Any = None, judge: Any = None, *settings: str):
    task = MineTask(str(path), ("q",), phrases)
    return asyncio.run(
        mine_image(task, detector or mining.Detector(), judge or mining.Judge(), mining.config(*settings))
    )


def test_a_program_has_a_seed_of_its_own_that_the_runs_seed_changes() -> None:
    policy = mining.Policy()

    def seeds(seed: int) -> list[int | None]:
        policy.asked.clear()
        for query_id in ("a", "b", "a"):
            query = Query(query_id, "ball", "x.png")
            asyncio.run(write_program(query, policy, mining.phrases_of, seed))
        return [seed for _question, seed in policy.asked]

    a, b, again = seeds(0)
    assert a == again != b and a is not None and 0 <= a < 2**31
    assert seeds(1)[0] != a


def test_a_malformed_reply_is_recorded_and_asks_for_nothing() -> None:
    query = Query("a", "malformed", "x.png")
    record = asyncio.run(write_program(query, mining.Policy(), mining.phrases_of, 0))
    assert (record.status, record.phrases, record.reply) == ("malformed", (), "no")


def test_a_picture_is_detected_once_with_all_phrases_and_every_box_is_checked(tmp_path: Path) -> None:
    saved_picture(tmp_path / "a.png")
    detector, judge = mining.Detector(), mining.Judge()
    labels = ("Red, ball", 'the "stop" sign', "café 3.5″", "x" * 900)
    image = mined(tmp_path / "a.png", labels, detector, judge)
    assert detector.asked == [labels]
    assert sorted(box.label for box in image.boxes) == sorted(labels)
    assert all(box.kept and box.decisions[0].by == "scripted" for box in image.boxes)
    assert (image.width, image.height, image.calls, image.cost_usd) == (200, 100, 5, pytest.approx(0.05))
    assert judge.asked == {"box_coarse": 1, "box_crop": 4}
    assert image.detector == "tabletop:detector" and image.missing == 0


def test_of_a_picture_without_a_candidate_is_asked_what_is_there(tmp_path: Path) -> None:
    saved_picture(tmp_path / "a.png")
    judge = mining.Judge()
    image = mined(tmp_path / "a.png", ("ball", "cone"), mining.Detector(boxes=0), judge)
    assert (image.boxes, image.calls, image.cost_usd) == ((), 1, pytest.approx(0.01))
    assert image.presence == {"ball": "absent", "cone": "absent"} and judge.asked == {"box_presence": 1}
    assert MinedImage.from_record(json.loads(json.dumps(image.to_record()))) == image


def test_nobody_is_asked_what_is_there_by_setting_or_where_every_phrase_has_a_box(tmp_path: Path) -> None:
    saved_picture(tmp_path / "a.png")
    judge, none = mining.Judge(), mining.Detector(boxes=0)
    image = mined(tmp_path / "a.png", ("ball",), none, judge, "grounding.presence=false")
    assert (image.calls, image.presence, image.missing) == (0, {}, 0) and not judge.asked
    assert mined(tmp_path / "a.png", ("ball",), None, judge).presence == {}
    assert "box_presence" not in judge.asked


def test_a_failed_question_what_is_there_is_no_verdict_and_missing(tmp_path: Path) -> None:
    saved_picture(tmp_path / "a.png")
    judge = mining.Judge()
    judge.missing = {"box_presence"}
    image = mined(tmp_path / "a.png", ("ball",), mining.Detector(boxes=0), judge)
    assert image.presence == {"ball": None} and image.missing == 1


def test_900_candidates_are_all_recorded_with_their_decisions(tmp_path: Path) -> None:
    saved_picture(tmp_path / "a.png", 1400, 60)
    image = mined(tmp_path / "a.png", ("ball", "cone"), mining.Detector(boxes=450))
    assert len(image.boxes) == 900 and {box.kept for box in image.boxes} == {True}


def test_a_failed_check_leaves_its_boxes_without_a_verdict(tmp_path: Path) -> None:
    saved_picture(tmp_path / "a.png")
    judge = mining.Judge()
    judge.missing = {"box_crop"}
    image = mined(tmp_path / "a.png", ("ball", "cone"), None, judge)
    assert image.missing == 2 and all(box.passed(BoxStage.COARSE) for box in image.boxes)
    assert all(box.decisions[-1].reason == "the judge is down" for box in image.boxes)


def test_pictures_are_upright_and_come_as_files_or_data(tmp_path: Path) -> None:
    limits = mining.config().images
    turned = Image.new("RGB", (40, 20))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "t.jpg", exif=exif)
    for name in (str(tmp_path / "t.jpg"), f"file://{tmp_path}/t.jpg"):
        picture = asyncio.run(load_picture(name, limits))
        assert (picture.width, picture.height) == (20, 40)
    data = base64.b64encode((tmp_path / "t.jpg").read_bytes()).decode()
    assert asyncio.run(load_picture(f"data:image/jpeg;base64,{data}", limits)).width == 20


def test_urls_are_fetched_only_where_the_settings_allow(tmp_path: Path) -> None:
    saved_picture(tmp_path / "a.png")

    async def fetch(url: str, limits: Any) -> bytes:
        return (tmp_path / "a.png").read_bytes()

    allowed = mining.config("images.url_schemes=[https]").images
    assert asyncio.run(load_picture("https://host/a.png", allowed, fetch)).width == 200
    for url, limits, by in (
        ("https://host/a.png", mining.config().images, fetch),
        ("http://host/a.png", allowed, fetch),
        ("https://host/a.png", allowed, None),
        ("s3://bucket/a.png", allowed, fetch),
    ):
        with pytest.raises(ImageError, match="Download it"):
            asyncio.run(load_picture(url, limits, by))


def test_boxes_do_not_depend_on_the_last_bits_of_a_forward_pass(tmp_path: Path) -> None:
    saved_picture(tmp_path / "a.png")

    class Shaky(mining.Detector):
        async def detect(self, *args, **more):
            return [
                replace(each, bbox=tuple(side + self.off for side in each.bbox), score=each.score + self.off)
                for each in await super().detect(*args, **more)
            ][:: 1 if self.off else -1]

    said = []
    for off in (0.0, 2e-6):
        detector = Shaky(boxes=3)
        detector.off = off
        said.append(mined(tmp_path / "a.png", ("ball", "cone"), detector).boxes)
    assert said[0] == said[1] and len(said[0]) == 6


def test_record_names_the_weights_that_have_looked_or_else_the_model(tmp_path: Path) -> None:
    saved_picture(tmp_path / "a.png")

    class Published(mining.Detector):
        async def detect(self, *args, **more):
            return Versioned(await super().detect(*args, **more), "step-000003")

    assert mined(tmp_path / "a.png", ("ball",), Published()).detector == "step-000003"
    assert mined(tmp_path / "a.png", ("ball",), mining.Detector()).detector == "tabletop:detector"
