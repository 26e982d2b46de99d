"""JPEG and PNG on a run's recorded candidates: both asked, both counted, and a folder that is no run is refused."""

import json
from pathlib import Path

import pytest
from PIL import Image

from valor_ray.config.tree import Config
from valor_ray.images import from_array
from valor_ray.perf.box_formats import main
from valor_ray.records import CheckedBox, MinedImage
from valor_ray.runs.folder import save_settings
from valor_ray.tabletop.render import render
from valor_ray.tabletop.scenes import sample_scene


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Three records: two pictures with three candidates each, and one that is gone."""
    save_settings(tmp_path / "config.yaml", Config.load())
    records = []
    for seed in range(2):
        scene = render(sample_scene(seed, "tiles"), size=256)
        path, picture = tmp_path / f"{seed}.png", from_array(scene.rgb)
        Image.fromarray(scene.rgb).save(path)
        boxes = [
            CheckedBox((20.0 + 60 * at, 40.0, 70.0 + 60 * at, 120.0), "red cube", 0.5) for at in range(3)
        ]
        records.append(MinedImage(str(path), picture.key, 256, 256, ("q",), ("red cube",), tuple(boxes)))
    records.insert(1, MinedImage(str(tmp_path / "gone.png"), "0", 9, 9, ("q",), ("cup",), records[0].boxes))
    lines = [json.dumps(record.to_record()) for record in records]
    (tmp_path / "images.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def test_agreement_and_cost_of_both_formats(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "images.jsonl").read_bytes()
    assert main(["--run", str(run), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["images"], result["candidates"], result["unreadable"]) == (2, 6, 1)
    assert set(result["agreement"]) == {"coarse", "crops", "duplicates", "kept"}
    coarse = result["agreement"]["coarse"]
    assert coarse["boxes"] == 6 and coarse["share"] == round(coarse["agreed"] / 6, 4)
    assert coarse["ci"][0] <= coarse["share"] <= coarse["ci"][1]
    jpeg, png = result["cost"]["jpeg"], result["cost"]["png"]
    assert png["kib_per_image"] > 2 * jpeg["kib_per_image"] > 0 and jpeg["cpu_ms_per_image"] > 0
    assert (run / "images.jsonl").read_bytes() == before
    assert main(["--run", str(run), "--images", "1"]) == 0
    assert "1 pictures, 3 candidates" in capsys.readouterr().out


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", str(tmp_path)]) == 2
    assert "has no config.yaml. Give the folder of a `valor mine` run." in capsys.readouterr().err
    save_settings(tmp_path / "config.yaml", Config.load())
    assert main(["--run", str(tmp_path)]) == 2
    assert "names no picture with candidates" in capsys.readouterr().err
