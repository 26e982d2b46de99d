"""Scenes for mining: two looks in turn, the truth apart, nothing half made, another seed refused."""

import json
from pathlib import Path

import pytest

from valor_ray.errors import ConfigError
from valor_ray.tabletop.mining import scenes


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_seed_gives_the_same_scenes_and_the_truth_stays_out_of_the_data(tmp_path: Path) -> None:
    for name in ("a", "b"):
        scenes.render_scenes(tmp_path / name / "data", tmp_path / name / "objects.jsonl", 4, 1)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    rows = [json.loads(line) for line in (tmp_path / "a/data/queries.jsonl").open()]
    assert len(rows) == 8 and {tuple(row) for row in rows} == {("query_id", "image", "question")}
    truth = [json.loads(line) for line in (tmp_path / "a/objects.jsonl").open()]
    assert [row["image"].split("-")[0] for row in truth] == ["lamp", "quilt"] * 2
    assert all(
        set(each) == {"bbox", "colour", "shape", "visible"} for row in truth for each in row["objects"]
    )


def test_a_rendering_that_was_cut_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, objects = tmp_path / "data", tmp_path / "evaluation/objects.jsonl"
    drawn = scenes.items

    def cut(*args, **more):
        yield next(drawn(*args, **more))
        raise KeyboardInterrupt

    monkeypatch.setattr(scenes, "items", cut)
    with pytest.raises(KeyboardInterrupt):
        scenes.render_scenes(data, objects, 3, 1)
    assert not data.exists() and not objects.exists()
    monkeypatch.setattr(scenes, "items", drawn)
    scenes.render_scenes(data, objects, 3, 1)
    assert len(list((data / "images").iterdir())) == 3 and scenes.check_rendered(data, 3, 1)
    before = files(tmp_path)
    scenes.render_scenes(data, objects, 3, 1)
    assert files(tmp_path) == before


def test_other_scenes_in_the_folder_are_refused_with_what_to_do(tmp_path: Path) -> None:
    scenes.render_scenes(tmp_path / "data", tmp_path / "objects.jsonl", 1, 1)
    for count, seed in ((2, 1), (1, 2)):
        with pytest.raises(ConfigError, match=r"another --run, or --set grounding.seed=1 .*query_limit=2"):
            scenes.render_scenes(tmp_path / "data", tmp_path / "objects.jsonl", count, seed)
    (tmp_path / "data/scenes.json").unlink()
    with pytest.raises(ConfigError, match="another --run"):
        scenes.check_rendered(tmp_path / "data", 1, 1)


def test_two_questions_make_a_scene() -> None:
    assert [scenes.scenes_of(limit) for limit in (None, 1, 2, 3)] == [400, 1, 1, 2]
