"""The offline general set: what the gate reads, the same however often rendering was cut."""

from pathlib import Path

import pytest

from valor_ray.errors import ConfigError
from valor_ray.grounding.gate.general import read_general
from valor_ray.tabletop.finetune import rendering
from valor_ray.tabletop.finetune.general import render_general
from valor_ray.tabletop.pretrain.detector_words import every_class
from valor_ray.tabletop.render import render
from valor_ray.tabletop.scenes import sample_scene


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("general")
    render_general(folder, 5)
    return folder


def test_the_gate_reads_seen_looks_and_the_32_classes(made: Path) -> None:
    general = read_general(made / "coco.json", None, None)
    assert list(general.categories) == every_class() and len(general.images) == 5
    assert [image.path.name.split("-")[0] for image in general.images] == ["tiles", "wood"] * 2 + ["tiles"]
    name = general.images[1].path.stem
    objects = render(sample_scene(int(name.split("-")[1]), "wood"), 256).objects
    mine = [box for box in general.boxes if box.image == 1]
    words = {"box": "cube"}
    assert [general.categories[box.category] for box in mine] == [
        f"{each.colour} {words.get(each.shape, each.shape)}" for each in objects
    ]
    for box, each in zip(mine, objects, strict=True):
        x, y, width, height = box.bbox
        assert (x, y, x + width, y + height) == each.bbox and not box.crowd


def test_another_seed_has_other_scenes(made: Path, tmp_path: Path) -> None:
    render_general(tmp_path / "other", 2, seed=77)
    names = {path.name for path in (tmp_path / "other/images").iterdir()}
    assert len(names) == 2 and names.isdisjoint(path.name for path in (made / "images").iterdir())


def test_a_rendering_that_was_cut_goes_on_and_gives_the_same_files(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []

    def cut_after(most: int):
        def draw(scene, size):
            if len(drawn) == most:
                raise KeyboardInterrupt
            drawn.append(scene.seed)
            return render(scene, size)

        return draw

    for most in (2, 3):
        monkeypatch.setattr(rendering, "render", cut_after(most))
        with pytest.raises(KeyboardInterrupt):
            render_general(tmp_path, 5)
        assert not (tmp_path / "coco.json").exists()
    with (tmp_path / "objects.jsonl").open("a") as rows:
        rows.write('{"image": "tiles-')  # torn by a kill, as the picture after it would be
    (tmp_path / "images" / rendering.picture_names(5, 1)[3][0]).write_bytes(
        b"whole, but its row is not there"
    )
    lines: list[str] = []
    monkeypatch.setattr(rendering, "render", cut_after(100))
    render_general(tmp_path, 5, lines.append)
    assert drawn == [seed for _name, seed, _look in rendering.picture_names(5, 1)]
    assert lines == [f"rendering 2 scenes into {tmp_path}"]
    assert files(tmp_path) == files(made)
    render_general(tmp_path, 5, lines.append)
    assert len(lines) == 1 and len(drawn) == 5


def test_a_folder_of_other_scenes_is_refused(made: Path, tmp_path: Path) -> None:
    before = files(made)
    for count, seed in ((4, 1), (5, 2)):
        with pytest.raises(ConfigError, match="holds 5 scenes of seed 1, not"):
            render_general(made, count, seed=seed)
    assert files(made) == before
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"pictures without scenes\.json"):
        render_general(tmp_path, 1)
    (tmp_path / "scenes.json").write_text("{")
    with pytest.raises(ConfigError, match="Cannot tell"):
        render_general(tmp_path, 1)
