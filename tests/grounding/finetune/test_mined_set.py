"""The set that is trained on: where it is looked for, and what is said of one that cannot be used."""

import json
import re
from pathlib import Path

import pytest
from finetuning import config, make_set
from mined import saved_picture

from valor_ray.errors import ConfigError
from valor_ray.grounding.finetune.mined_set import (
    check_enough,
    check_pictures,
    open_set,
    split_sizes,
)
from valor_ray.runs.folder import MINE, claimed


def rewrite(dataset: Path, change) -> None:
    rows = [json.loads(line) for line in (dataset / "train.jsonl").open()]
    for row in rows:
        change(row)
    (dataset / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_mining_run_its_dataset_and_a_bare_set_are_all_taken(tmp_path: Path) -> None:
    mine, bare = make_set(tmp_path / "mine", mine=True), make_set(tmp_path / "bare")
    for named in (mine, mine / "dataset"):
        mined = open_set(named)
        assert (mined.dataset, mined.mine) == (mine / "dataset", mine)
    assert (open_set(bare).dataset, open_set(bare).mine) == (bare, None)
    assert mined.phrases == ["red ball", "blue cube"]
    assert mined.record() | {"images": 8, "boxes": 8, "absent": 8, "hard_negatives": 0} == mined.record()
    assert open_set(bare).sha256 != mined.sha256


def test_folders_that_are_no_set_say_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder"):
        open_set(tmp_path / "no")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="neither a run folder of `valor mine` nor a set"):
        open_set(tmp_path / "empty")
    for kind, said in (
        ("score", "is a folder of `valor score`, not of `valor mine`"),
        ("later", "kind 'later'"),
    ):
        folder = tmp_path / kind
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps({"kind": kind}))
        with pytest.raises(ConfigError, match=re.escape(said)):
            open_set(folder)
    with claimed(tmp_path / "begun", MINE):
        pass
    with pytest.raises(ConfigError, match=r"has not come to its end.*valor mine --run"):
        open_set(tmp_path / "begun")


def test_a_run_that_is_still_mining_is_not_trained_on(tmp_path: Path) -> None:
    mine = make_set(tmp_path / "mine", mine=True)
    with claimed(mine, MINE):
        for named in (mine, mine / "dataset"):
            with pytest.raises(ConfigError, match=r"mining goes on there \(process \d+\)"):
                open_set(named)
    open_set(mine)


def test_a_set_of_another_version_names_file_and_line(tmp_path: Path) -> None:
    older = make_set(tmp_path / "older")
    rewrite(older, lambda row: row.pop("hard_negatives"))
    with pytest.raises(ConfigError, match=r"train\.jsonl line 1 .*hard_negatives.*Mine again"):
        open_set(older)
    odd = make_set(tmp_path / "odd")
    rewrite(odd, lambda row: row["positives"][0].update(bbox=[1, 2, 3]))
    with pytest.raises(ConfigError, match=r"train\.jsonl line 1 "):
        open_set(odd)
    about = make_set(tmp_path / "about")
    (about / "dataset.json").write_text('{"root": null}')
    with pytest.raises(ConfigError, match=r"dataset\.json cannot be read .*synonyms"):
        open_set(about)
    half = make_set(tmp_path / "half")
    (half / "train.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"train\.jsonl cannot be read"):
        open_set(half)


def test_a_set_without_a_confirmed_box_says_how_many_were_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no confirmed box \(8 pictures, 8 boxes refused.*report\.html"):
        open_set(make_set(tmp_path / "set", confirmed=False))


def test_pictures_that_are_gone_changed_or_elsewhere_are_named(tmp_path: Path) -> None:
    folder, limits = make_set(tmp_path / "set"), config().images
    images = open_set(folder).images
    for pixels in (False, True):
        check_pictures(images, limits, pixels=pixels)
    saved_picture(folder / "pictures/3.png", 70, 70)  # another size
    (folder / "pictures/5.png").unlink()
    for pixels in (False, True):
        with pytest.raises(ConfigError, match=r"2 of 8 pictures .*3\.png .*5\.png"):
            check_pictures(images, limits, pixels=pixels)
    saved_picture(folder / "pictures/5.png", 95, 80)
    other = images[0].path
    saved_picture(Path(other), 91, 80)
    Path(other).write_bytes((folder / "pictures/1.png").read_bytes())
    rewrite(folder, lambda row: row.update(filename=f"https://host/{row['image_id']}.png"))
    with pytest.raises(
        ConfigError, match=r"8 of 8 pictures .* not on this machine \(https://host/1\.png; .*5 more"
    ):
        check_pictures(open_set(folder).images, limits, pixels=False)


def test_other_pixels_of_the_same_size_are_seen_when_pixels_are_looked_at(tmp_path: Path) -> None:
    folder, limits = make_set(tmp_path / "set"), config().images
    from PIL import Image

    Image.new("RGB", (90, 80), "red").save(folder / "pictures/0.png")
    images = open_set(folder).images
    check_pictures(images, limits, pixels=False)
    with pytest.raises(ConfigError, match=r"1 of 8 .*0\.png is not the picture that was mined"):
        check_pictures(images, limits, pixels=True)


def test_a_set_smaller_than_a_step_says_what_fits(tmp_path: Path) -> None:
    mined = open_set(make_set(tmp_path / "set", 4))
    check_enough(mined, config("finetune.batch=3").finetune)
    with pytest.raises(
        ConfigError, match=r"3 pictures to train on \(1 more are held back\).*finetune\.batch=1"
    ):
        check_enough(mined, config("finetune.batch=2", "finetune.workers=2").finetune)


@pytest.mark.parametrize("overrides", [(), ("finetune.absent=false",), ("finetune.held_back=0.4",)])
def test_the_split_is_as_large_as_the_learners(tmp_path: Path, overrides: tuple) -> None:
    from valor_ray.grounding.learner.examples import ExampleSet, Reader
    from valor_ray.models.grounding_dino.load import load_detector

    folder = make_set(tmp_path / "set", 9)
    rewrite(folder, lambda row: row.update(positives=row["positives"] if row["image_id"] % 3 else []))
    settings = config(*overrides)
    reader = Reader(load_detector("tabletop:detector"), settings)
    split = ExampleSet(folder, reader, settings.finetune, held_back=True)
    assert split_sizes(open_set(folder).images, settings.finetune) == (len(split), len(split.held_back))
