"""Pictures to replay on: seen looks, scenes of their own, no truth, and rendering that goes on."""

from pathlib import Path

import pytest

from valor_ray.errors import ConfigError
from valor_ray.tabletop.finetune import general, rendering, replay
from valor_ray.tabletop.finetune.replay import render_replay
from valor_ray.tabletop.scenes import SPLIT_SEEDS, set_seeds


def test_pictures_alone_are_written_and_what_is_there_stays(tmp_path: Path) -> None:
    folder = render_replay(tmp_path / "replay", 3, 0)
    names = sorted(path.name for path in folder.iterdir())
    assert [name.split("-")[0] for name in names] == ["tiles", "tiles", "wood"]
    assert {path.name for path in (tmp_path / "replay").iterdir()} == {"images", "scenes.json"}
    (folder / names[0]).write_bytes(b"kept")
    (folder / names[2]).unlink()
    lines: list[str] = []
    assert render_replay(tmp_path / "replay", 3, 0, lines.append) == folder
    assert sorted(path.name for path in folder.iterdir()) == names
    assert (folder / names[0]).read_bytes() == b"kept" and lines == [
        f"rendering 1 scenes into {tmp_path / 'replay'}"
    ]
    for count, seed in ((2, 0), (3, 1)):
        with pytest.raises(ConfigError, match=f"holds 3 scenes of seed 0, not {count} of {seed}"):
            render_replay(tmp_path / "replay", count, seed)


@pytest.mark.parametrize("seed", [0, 1, 47, 48, 60])
def test_no_seed_shares_scenes_with_the_gate_or_with_what_is_held_out_or_mined(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(replay, "render_each", lambda _folder, names, _say: drawn.extend(names) or ())
    render_replay(tmp_path, 20_000, seed)
    mine = {scene for _name, scene, _look in drawn}
    assert len(mine) == 20_000
    assert mine.isdisjoint(scene for _name, scene, _look in rendering.picture_names(20_000, general.SEED))
    for split in ("train", "held_out", "queries"):
        assert mine.isdisjoint(SPLIT_SEEDS[split])
        assert all(mine.isdisjoint(set_seeds(split, other)) for other in (50, 51, seed + 2, seed + 50))


def test_more_scenes_than_a_set_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at most 20,000"):
        render_replay(tmp_path, 20_001, 0)
