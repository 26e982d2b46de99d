"""`valor detect` with the shipped detector: right boxes, every picture told of, mistakes named."""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from valor_ray.cli import main
from valor_ray.client.ports import Service
from valor_ray.tabletop.dataset import write_dataset

TINY = ["--set", "detector.model=tabletop:detector"]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_dataset(folder, 2, 0, "wood", split="held_out")
    return folder


def test_boxes_of_files_and_folders_and_what_cannot_be_read(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "photos"
    shutil.copytree(scenes / "images", images)
    (images / "notes.txt").write_text("no picture")
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    assert main(["detect", str(images), str(bad), "ball, box . cone", "--json", *TINY]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["phrases"] == ["ball", "box", "cone"] and len(found["pictures"]) == 3
    *good, last = found["pictures"]
    assert last["path"] == str(bad) and last["error"] and last["detections"] == []
    boxes = [box for one in good for box in one["detections"]]
    assert boxes and all(one["error"] is None and one["width"] == one["height"] == 256 for one in good)
    for box in boxes:
        left, top, right, bottom = box["bbox"]
        assert 0 <= left < right <= 256 and 0 <= top < bottom <= 256 and box["label"] in found["phrases"]


def test_text_names_each_picture_and_a_threshold_of_one_leaves_nothing(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = str(next((scenes / "images").iterdir()))
    assert main(["detect", picture, "object", "--threshold", "1", *TINY]) == 0
    assert capsys.readouterr().out.startswith(f"{picture} (256 x 256): no boxes")


def test_a_server_is_sent_the_file_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `valor ask` sends it: a photograph as PNG is several times as large, and may be too large."""
    photo, sent = tmp_path / "photo.jpg", []
    Image.new("RGB", (30, 20), "red").save(photo)

    async def post(self: Service, path: str, body: dict[str, Any], failure: Any) -> dict[str, Any]:
        sent.append(body)
        return {"detections": [], "width": 30, "height": 20}

    monkeypatch.setattr(Service, "post", post)
    assert main(["detect", str(photo), "ball", "--url", "http://127.0.0.1:9"]) == 0
    assert base64.b64decode(sent[0]["image"]) == photo.read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.png", "ball"], "PATH nowhere.png: there is no such file or folder"),
        (["empty", "ball"], "PATH empty: no picture"),
        (["empty", " , ."], "has 0 phrases: give 1 to 64"),
        (["empty", ", ".join(f"ball {number}" for number in range(65))], "has 65 phrases"),
        (["empty", "ball", "--threshold", "1.5"], "'1.5' is no number from 0 to 1"),
        (["ball"], "required: PHRASES"),
    ],
)
def test_wrong_usage_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    said: str,
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["detect", *words])
    except SystemExit as end:
        code = end.code
    assert code == 2 and said in capsys.readouterr().err


def test_a_server_that_is_not_there_is_named(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = str(next((scenes / "images").iterdir()))
    assert main(["detect", picture, "ball", "--url", "http://127.0.0.1:9"]) == 1
    assert "Start `valor serve`, or name a running one with --url" in capsys.readouterr().err
