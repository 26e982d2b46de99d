"""`python -m jobs.propose_boxes` as users run it: both columns, calibration, exit codes, kill -9 pays nothing twice."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from box_vlm import BoxVlm
from pages import tags
from PIL import Image
from rough_endpoint import Rough, endpoint, failed, said

from valor_ray import images
from valor_ray.benchmarks.proposals import known_pictures
from valor_ray.commands.train.propose_boxes import FORMATS
from valor_ray.grounding.generate.calibrate import KnownPicture
from valor_ray.judges.boxes.proposals import CONVENTIONS
from valor_ray.records import BOX_CHECKS, BBox, BoxDecision, CheckedBox, MinedImage
from valor_ray.tabletop.render import render
from valor_ray.tabletop.scenes import sample_scene, set_seeds

SCENES = 8


def mine_run(folder: Path, *, truth: bool = True) -> list[KnownPicture]:
    """A run whose verifier has kept the first true box of each label, and one beside it."""
    (folder / "evaluation").mkdir(parents=True)
    known, rows, objects = [], [], []
    for number, seed in enumerate(set_seeds("queries", 71)[:SCENES]):
        scene = render(sample_scene(seed, "lamp"))
        picture = images.from_array(scene.rgb)
        path = folder / f"lamp-{seed}.png"
        Image.fromarray(scene.rgb).save(path)
        boxes: dict[str, list[BBox]] = {}
        for each in scene.objects:
            boxes.setdefault(each.label, []).append(each.bbox)
        known.append(KnownPicture(picture, boxes))
        yes = tuple(BoxDecision(stage, True, "", "offline-judge") for stage in BOX_CHECKS)
        kept = [CheckedBox(mine[0], label, 0.5, yes) for label, mine in boxes.items()]
        if number == 0:
            kept.append(CheckedBox((1.0, 1.0, 30.0, 30.0), kept[0].label, 0.4, yes))
        no = (BoxDecision(BOX_CHECKS[0], False, "wrong label", "offline-judge"),)
        kept.append(CheckedBox((5.0, 1.0, 40.0, 30.0), kept[0].label, 0.2, no))
        rows.append(
            MinedImage(
                str(path), picture.key, 256, 256, (f"q{number}",), tuple(boxes), tuple(kept)
            ).to_record()
        )
        listed = [
            {"bbox": each.bbox, "colour": each.colour, "shape": each.shape, "visible": 1.0}
            for each in scene.objects
        ]
        objects.append({"image": path.name, "objects": listed})
    write(folder / "images.jsonl", rows)
    if truth:
        write(folder / "evaluation" / "objects.jsonl", objects)
    return known


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def command(*words: object, url: str) -> list[str]:
    settings = [f"judge.base_url={url}", "judge.api_key_env=null", "judge.hedge=false", "judge.retries=0"]
    settings += ["judge.first_in_flight=4", "judge.max_in_flight=4"]
    sets = [word for setting in settings for word in ("--set", setting)]
    return [sys.executable, "-m", "jobs.propose_boxes", *map(str, words), *sets]


def run(*words: object, url: str = "http://127.0.0.1:9/v1") -> subprocess.CompletedProcess:
    return subprocess.run(command(*words, url=url), capture_output=True, text=True, timeout=100)


def heads(judge: Rough) -> set[str]:
    return {body["response_format"]["json_schema"]["name"] for body in judge.bodies}


def test_the_options_are_the_conventions() -> None:
    assert FORMATS == ("auto", *CONVENTIONS)


def test_both_columns_beside_each_other_and_a_second_start_pays_nothing(tmp_path: Path) -> None:
    mine, out = tmp_path / "mine", tmp_path / "out"
    known = mine_run(mine)
    vlm = BoxVlm([*known_pictures(20), *known], "yxyx_1000")

    async def answer(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        number, boxes = vlm.answer(body["messages"])
        if (
            number == 20
        ):  # the first picture of the run: a label nobody asked for, corners the wrong way round
            boxes = [
                {"label": "unicorn", "box": [0, 0, 9, 9]},
                {"label": boxes[0]["label"], "box": [990, 990, 10, 10]},
            ]
        return said(json.dumps({"boxes": boxes}))

    with endpoint(answer) as judge:
        first = run("--run", mine, "--out", out, "--json", url=judge.url)
        assert first.returncode == 0, first.stderr
        assert heads(judge) == {"box_proposals"} and judge.calls == 80 + SCENES
        told = run("--run", mine, "--out", out, url=judge.url)
        again = run("--run", mine, "--out", out, "--json", url=judge.url)
        assert again.returncode == told.returncode == 0 and judge.calls == 80 + SCENES
    report = json.loads(first.stdout)
    assert report["format"] == "yxyx_1000" and report["calibration"]["scores"]["yxyx_1000"] > 0.95
    assert sorted(report["calibration"]["scores"]) == sorted(CONVENTIONS)
    true = sum(len(boxes) for each in known for boxes in each.truth.values())
    first_true = sum(len(boxes) for boxes in known[0].truth.values())
    generator, verified = report["generator"], report["verified"]
    assert report["images"] == SCENES and generator["true"] == verified["true"] == true
    assert generator["boxes"] == true - first_true + 1 and generator["right"] == true - first_true
    assert generator["mean_iou"] > 0.95 and report["slips"]["not_asked"] == report["slips"]["reversed"] == 1
    labels = sum(len(each.truth) for each in known)
    assert (verified["boxes"], verified["right"], verified["mean_iou"]) == (
        labels + 1,
        labels,
        pytest.approx(1),
    )
    assert verified["precision"] == pytest.approx(labels / (labels + 1)) and report["calls"] == 80 + SCENES
    low, high = report["f1_difference_ci"]
    assert low <= report["f1_difference"] == verified["f1"] - generator["f1"] <= high
    assert json.loads((out / "report.json").read_text()) == json.loads(again.stdout)
    assert {**json.loads(again.stdout), "minutes": 0} == {**report, "minutes": 0}
    assert f"{generator['f1']:.3f} (" in told.stdout and f"{verified['f1']:.3f} (" in told.stdout
    assert "yxyx_1000" in told.stdout and "1 not asked, 1 reversed" in told.stdout
    page = (out / "report.html").read_text()
    assert tags(page).count("image") == SCENES and "yxyx_1000 <span" in page


def test_kill_and_the_same_command_ask_for_no_answer_twice(tmp_path: Path) -> None:
    mine, out = tmp_path / "mine", tmp_path / "out"
    vlm = BoxVlm(mine_run(mine))
    words = ("--run", mine, "--out", out, "--format", "xyxy_1000", "--json")
    hang = True

    async def half(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        while hang and n >= 3:
            await asyncio.sleep(0.05)
        return said(json.dumps({"boxes": vlm.answer(body["messages"])[1]}))

    with endpoint(half) as judge:
        first = subprocess.Popen(
            command(*words, url=judge.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        end = time.monotonic() + 60
        try:
            while (judge.calls, len(kept(out))) != (7, 3) and time.monotonic() < end:
                time.sleep(0.05)
            assert (judge.calls, len(kept(out)), first.poll()) == (7, 3, None)
        finally:
            hang = False
            os.kill(first.pid, signal.SIGKILL)
            first.communicate()
        before = kept(out)
        second = run(*words, url=judge.url)
        assert second.returncode == 0, second.stderr
        asked = Counter(body["messages"][1]["content"][0]["image_url"]["url"] for body in judge.bodies)
    assert kept(out)[:3] == before and len(kept(out)) == SCENES
    assert sum(asked.values()) == SCENES + 4 and len(asked) == SCENES  # the four that hung are asked again
    report = json.loads(second.stdout)
    assert report["calibration"] is None and report["generator"]["precision"] == 1


def kept(out: Path) -> list[dict[str, Any]]:
    path = out / "proposals.jsonl"
    return rows(path) if path.exists() else []


def test_without_truth_the_figures_are_null_and_missing_answers_are_exit_code_1(tmp_path: Path) -> None:
    mine, out = tmp_path / "mine", tmp_path / "out"
    vlm = BoxVlm(mine_run(mine, truth=False))

    async def answer(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        number, boxes = vlm.answer(body["messages"])
        if number == 1:
            return said('{"boxes": [[1, 2, 3, 4]]}')
        return failed(500) if number == 2 else said(json.dumps({"boxes": boxes}))

    with endpoint(answer) as judge:
        done = run(
            *(
                "--run",
                mine,
                "--out",
                out,
                "--format",
                "xyxy_unit",
                "--limit",
                4,
                "--set",
                "judge.patience_s=1",
            ),
            url=judge.url,
        )
    assert done.returncode == 1, done.stderr
    assert "without an answer: 2 pictures" in done.stdout and "No true boxes are known" in done.stdout
    assert len(rows(out / "missing.jsonl")) == 2 and len(kept(out)) == 2
    report = json.loads((out / "report.json").read_text())
    assert report["generator"]["precision"] is None and report["generator"]["boxes"] > 0
    assert report["pictures"] == {"of_the_run": 4, "answered": 2, "with_truth": 0}


def test_wrong_usage_is_exit_code_2_and_says_what_to_do(tmp_path: Path) -> None:
    mine, out = tmp_path / "mine", tmp_path / "out"
    mine_run(mine)
    broken, empty = tmp_path / "broken", tmp_path / "empty"
    broken.mkdir()
    empty.mkdir()
    write(broken / "images.jsonl", [{"query_id": "a"}])
    image = MinedImage.from_record(rows(mine / "images.jsonl")[0])
    write(empty / "images.jsonl", [replace(image, phrases=(), boxes=()).to_record()])
    out.mkdir()
    frozen = {"model": "x", "run": str(mine), "format": "xyxy_unit", "calibration": None, "known": {}}
    (out / "calibration.json").write_text(json.dumps(frozen))
    for words, message in (
        (("--run", tmp_path / "none", "--out", out), "has no images.jsonl"),
        (("--run", mine, "--out", mine), "is a folder of `valor mine`, not of"),
        (("--run", broken, "--out", out), "line 1 is no record of mining"),
        (("--run", empty, "--out", out), "holds no picture with a phrase"),
        (("--run", mine, "--out", out), "holds proposals of model x"),
        (("--run", mine, "--out", out, "--limit", 0), "not a whole number of at least 1"),
        (("--run", mine, "--out", out, "--format", "guess"), "invalid choice: 'guess'"),
        (
            (
                "--run",
                mine,
                "--out",
                out,
                "--set",
                'judge.others=[{"base_url": "http://h/v1", "model": "y"}]',
            ),
            "belongs to one model",
        ),
    ):
        wrong = run(*words)
        assert wrong.returncode == 2 and message in wrong.stderr and "Traceback" not in wrong.stderr, (
            wrong.stderr
        )
