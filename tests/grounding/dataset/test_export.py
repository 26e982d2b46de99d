"""The export as a whole: counts, same bytes, more records, a disk that fills, a process that is killed."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from valor_ray.errors import StorageError
from valor_ray.grounding.dataset import decisions, files, images
from valor_ray.grounding.dataset import export as exporting
from valor_ray.grounding.dataset.export import FILES, DatasetCounts
from valor_ray.grounding.dataset.odvg import read_odvg
from valor_ray.grounding.dataset.training import training_images

LEFT, RIGHT, LOW = (0, 0, 40, 40), (100, 0, 140, 40), (0, 60, 40, 90)


@pytest.fixture
def records(mined, box):
    return [
        mined("/p/1", box("cup", LEFT), box("cup", RIGHT, "yyn"), box("dog", LOW, "n"), asked=("cat",)),
        mined("/p/2", box("dog", LEFT, "yn"), box("dog", RIGHT, "n")),
        mined("/p/3", asked=("cat", "dog")),
        mined("/p/4", box("dog", LEFT, "?"), box("dog", RIGHT, "n")),
        mined("/p/5", box("cup", LEFT), box("plate", RIGHT, "y?")),
    ]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder: Path) -> list[str]:
    return [each.filename for each in read_odvg(folder)]


def test_pictures_without_a_confirmed_box_are_negatives_and_counted(export, folder, records):
    assert export(*records) == DatasetCounts(
        images=4,
        positives=2,
        absent=5,
        hard_negatives=3,
        ignored=2,
        unsure=0,
        all_rejected=2,
        left_out=1,
        labels=1,
    )
    assert names(folder) == ["1", "2", "3", "5"]
    absent = [each.absent for each in training_images(folder)]
    assert absent == [("cat", "dog"), ("dog",), ("cat", "dog"), ()]
    about = json.loads((folder / "dataset.json").read_text())
    assert about["counts"]["absent"] == 5
    assert about["all_rejected"] == "negative"


def test_or_left_out_and_counted(export, folder, records):
    assert export(*records, all_rejected="leave_out") == DatasetCounts(
        images=2,
        positives=2,
        absent=2,
        hard_negatives=1,
        ignored=2,
        unsure=0,
        all_rejected=2,
        left_out=3,
        labels=1,
    )
    assert names(folder) == ["1", "5"]
    keys = pq.read_table(folder / "decisions.parquet", columns=["image"]).to_pydict()["image"]
    assert set(keys) == {"/p/1", "/p/2", "/p/4", "/p/5"}  # what was decided is kept of all


def test_boxes_dropped_as_unsure_are_counted_and_teach_nothing(export, folder, mined, box):
    phrase = "box behind the ball"
    counts = export(
        mined("/p/1", box("cup", LEFT), box(phrase, RIGHT, "u"), box(phrase, LOW, "yu"), asked=("cat",)),
        mined("/p/2", box(phrase, LEFT, "u"), box("dog", RIGHT, "n")),
    )
    assert counts == DatasetCounts(
        images=1, positives=1, absent=1, hard_negatives=0, ignored=2, unsure=2, all_rejected=0, left_out=1, labels=1
    )  # fmt: skip
    (entry,) = training_images(folder)
    assert (entry.filename, entry.absent, entry.hard_negatives) == ("1", ("cat",), ())
    assert [(each.phrase, each.why) for each in entry.ignored] == [(phrase, "unsure")] * 2
    told = pq.read_table(folder / "decisions.parquet").to_pylist()
    assert sum(row["unsure"] for row in told) == 3


def test_nothing_mined_gives_an_empty_set(export, folder):
    assert export() == DatasetCounts(0, 0, 0, 0, 0, 0, 0, 0, 0)
    assert set(contents(folder)) == set(FILES)
    assert names(folder) == []
    assert list(training_images(folder)) == []
    assert json.loads((folder / "coco.json").read_text())["images"] == []


def test_exporting_again_gives_the_same_bytes(export, folder, records):
    export(*records)
    first = contents(folder)
    assert set(first) == set(FILES)
    export(*records)
    assert contents(folder) == first


def test_mining_again_appends_without_duplicates(export, folder, records, mined, box):
    export(*records)
    before = (folder / "odvg.jsonl").read_text()
    judged = mined("/p/4", box("dog", LEFT, "n"), box("dog", RIGHT, "n"))
    further = mined("/p/1", box("spoon", RIGHT), asked=("fork",))
    counts = export(*records, judged, further, mined("/p/6", box("ant", LOW)))
    assert names(folder) == ["1", "2", "3", "4", "5", "6"]
    entries = {each.filename: each for each in training_images(folder)}
    assert {each.phrase for each in entries["1"].positives} == {"cup", "spoon"}
    assert entries["1"].absent == ("cat", "dog", "fork")
    assert [entries[name].image_id for name in "123546"] == [1, 2, 3, 4, 5, 6]
    assert counts.left_out == 0
    assert json.loads((folder / "label_map.json").read_text()) == {"0": "cup", "1": "spoon", "2": "ant"}
    after = (folder / "odvg.jsonl").read_text().splitlines()
    assert [line for line in before.splitlines() if line not in after] == before.splitlines()[:1]
    again = contents(folder)
    export(*records, judged, further, mined("/p/6", box("ant", LOW)))
    assert contents(folder) == again


def test_a_picture_that_was_missing_takes_its_verdicts_from_the_later_judgement(export, folder, mined, box):
    """missing.jsonl comes last and may hold what images.jsonl has decided since."""
    export(mined("a", box("dog", LEFT)), mined("a", box("dog", LEFT, "?")))
    (entry,) = training_images(folder)
    assert (len(entry.positives), len(entry.ignored)) == (1, 0)


@pytest.mark.parametrize(
    "sides",
    [
        [
            (number % 30 * 6, number // 30 * 3, number % 30 * 6 + 5, number // 30 * 3 + 2)
            for number in range(900)
        ],
        [(0, 0, 1, 1), (199, 99, 200, 100), (50, 50, 51, 51)],
        [(0, 0, 200, 100), (0, 50, 60, 100), (140, 0, 200, 100)],
    ],
    ids=["900 boxes", "one-pixel boxes", "boxes at the edge"],
)
def test_any_number_and_size_of_boxes(export, folder, mined, box, sides):
    counts = export(mined("a", *(box("cup", each) for each in sides)))
    assert counts.positives == len(sides)
    (image,) = read_odvg(folder)
    assert [each.bbox for each in image.instances] == [tuple(map(float, each)) for each in sides]


def full(*_arguments, **_options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_at_the_end(writer) -> None:
    writer.is_open = False
    full()


class FullFile(io.BytesIO):
    write = full


@pytest.mark.parametrize(
    ("module", "name", "fake"),
    [
        (images.tempfile, "TemporaryFile", lambda **_options: FullFile()),
        (decisions.ParquetWriter, "write_table", full),
        (decisions.ParquetWriter, "close", full_at_the_end),
        (exporting, "odvg_record", full),
        (exporting, "write_coco", full),
        (exporting, "_about", full),
        (files.Path, "replace", full),
    ],
    ids=["spill", "rows", "footer", "lines", "coco", "about", "rename"],
)
def test_a_full_disk_says_what_to_do_and_leaves_the_last_export(
    export, folder, records, monkeypatch, module, name, fake
):
    export(*records[:2])
    before = contents(folder)
    with monkeypatch.context() as patch:
        patch.setattr(module, name, fake)
        with pytest.raises(
            StorageError, match=r"No space left on device.*Free some space, then run the same"
        ):
            export(*records)
    assert contents(folder) == before
    export(*records)
    assert names(folder) == ["1", "2", "3", "5"]


def test_a_kill_between_two_renames_is_mended_by_the_next_export(
    export, folder, records, tmp_path, monkeypatch
):
    export(*records[:2])
    replaced = []

    def killed(self: Path, target: Path) -> Path:
        if len(replaced) == 3:
            raise KeyboardInterrupt
        replaced.append(target)
        os.replace(self, target)
        return target

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            export(*records)
    export(*records)
    mended = contents(folder)
    fresh = exporting.export(records, tmp_path / "fresh", exporting.GroundingConfig(all_rejected="negative"))
    assert fresh.images == 4
    assert contents(tmp_path / "fresh") == mended


def outcome(script: str, *arguments: object) -> str:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


PICTURES = """
    import resource, sys
    from pathlib import Path
    from valor_ray.config.grounding import GroundingConfig
    from valor_ray.errors import StorageError
    from valor_ray.grounding.dataset.export import export
    from valor_ray.records import BOX_CHECKS, BoxDecision, CheckedBox, MinedImage

    def pictures(count):
        for number in range(count):
            boxes = tuple(
                CheckedBox((x, 0.0, x + 9.0, 9.0), f"thing {x}", 0.5,
                           tuple(BoxDecision(stage, True, f"{number} {x} " + "reason " * 90, "vlm")
                                 for stage in BOX_CHECKS))
                for x in range(50)
            )
            yield MinedImage(f"/p/{number}", f"{number:064d}", 200, 100, (), tuple(b.label for b in boxes), boxes)
"""


def test_a_real_limit_on_file_size_leaves_the_last_export(tmp_path):
    script = """
    folder = Path(sys.argv[1])
    read = lambda: {path.name: path.read_bytes() for path in folder.iterdir()}
    export(pictures(2), folder, GroundingConfig(all_rejected="negative"))
    before = read()
    for limit in (1, 100, 10_000, 500_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))
        try:
            export(pictures(9), folder, GroundingConfig(all_rejected="negative"))
        except StorageError as error:
            assert "run the same command again" in str(error)
        else:
            raise AssertionError(limit)
        assert read() == before
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000_000, -1))
    print(export(pictures(9), folder, GroundingConfig(all_rejected="negative")).images)
    """
    assert outcome(PICTURES + script, tmp_path / "set") == "9\n"


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path):
    """80 MB of reasons more: the export holds one row group of them."""
    script = """
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    export(pictures(100), Path(sys.argv[1]), GroundingConfig(all_rejected="negative"))
    before = peak()
    export(pictures(800), Path(sys.argv[1]), GroundingConfig(all_rejected="negative"))
    print(peak() - before)
    """
    grown = float(outcome(PICTURES + script, tmp_path / "set"))
    print(f"{grown:.0f} MB more at the peak")
    assert grown < 30
