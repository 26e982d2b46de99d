"""What `valor train grounding` does of the offline world: renders, measures on truth, and says what mining would be."""

import json
from pathlib import Path

import finetuning as tuning
import pytest
from finetuning import make_set
from mined import saved_picture

from valor_ray.commands.train import mine as mining
from valor_ray.commands.train.offline import OfflineWorld, planned_pictures
from valor_ray.errors import ConfigError


def world(folder: Path, said: list[str], scenes: int = 2, *overrides: str) -> OfflineWorld:
    config = tuning.config("finetune.replay_limit=3", *overrides)
    return OfflineWorld(folder, config, scenes, in_process=True, say=said.append)


def test_replay_pictures_are_bare_and_rendered_once(tmp_path: Path) -> None:
    said: list[str] = []
    pictures = world(tmp_path, said).replay_pictures()
    assert pictures.is_relative_to(tmp_path / "replay/pictures") and len(list(pictures.glob("*.png"))) == 3
    before = [(path, path.stat().st_mtime_ns) for path in sorted(pictures.iterdir())]
    assert world(tmp_path, said).replay_pictures() == pictures
    assert [(path, path.stat().st_mtime_ns) for path in sorted(pictures.iterdir())] == before
    with pytest.raises(ConfigError, match="Give another --run"):
        world(tmp_path, said, 2, "finetune.seed=3").replay_pictures()


def test_mining_goes_into_the_run_and_what_it_left_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, bool]] = []

    def mine_into(folder: Path, config: object, *, in_process: bool) -> dict[str, int]:
        asked.append((folder, in_process))
        return {"with_missing": 3, "failed": 1}

    monkeypatch.setattr(mining, "mine_into", mine_into)
    said: list[str] = []
    assert world(tmp_path, said).mine() == tmp_path / "mined" and asked == [(tmp_path / "mined", True)]
    assert "3 pictures that lack verdicts and 1 failures" in said[0]


def test_truth_is_asked_of_rendered_sets_only_and_not_where_nobody_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple] = []

    def held_out_ap(models: dict, scenes: int, *, say: object, cache: Path) -> dict:
        asked.append((list(models), scenes, cache))
        return {"scenes": scenes}

    monkeypatch.setattr("valor_ray.tabletop.finetune.held_out.held_out_ap", held_out_ap)
    models = {"start": tuning.config().detector}
    run = tmp_path / "run"
    make_set(run / "mined", mine=True)
    assert world(run, []).evaluate(models) is None  # photographs
    (run / "mined/evaluation").mkdir()
    (run / "mined/evaluation/objects.jsonl").write_text("")
    assert world(run, []).evaluate(models) == {"scenes": 2}
    assert world(run, [], 0).evaluate(models) is None
    assert asked == [(["start"], 2, run / "evaluation")]


def test_what_mining_would_be_is_counted(tmp_path: Path) -> None:
    assert planned_pictures(tuning.config("grounding.query_limit=24")) == 12
    source = tmp_path / "q.jsonl"
    for n in range(2):
        saved_picture(tmp_path / f"{n}.png")
    rows = [{"query_id": f"q{n}", "question": "What?", "image": f"{n % 2}.png"} for n in range(4)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert planned_pictures(tuning.config(f"grounding.queries={source}")) == 2
