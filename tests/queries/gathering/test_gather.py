"""One list of several sets: what is left out and nothing else, what is taken, and that no label comes along."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmark_sets import drawn, lines
from paper_data import NEW, SECRET, paper_data

from valor_ray.commands.tools import gather_queries
from valor_ray.queries.gathering.candidate import Candidate, Refused
from valor_ray.queries.gathering.gather import Why, gather
from valor_ray.queries.gathering.measured import Measured
from valor_ray.queries.gathering.picture_names import genome_names, picture_names
from valor_ray.queries.read import read_queries
from valor_ray.runs.record_file import read_records

Run = Callable[..., int]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paper_data(tmp_path_factory.mktemp("paper") / "data")


@pytest.fixture
def run(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The job, in the folder that holds data/."""
    monkeypatch.setenv("VALOR_PICTURES", str(tmp_path / "kept"))
    monkeypatch.chdir(data.parent)

    def job(
        *words: str, out: Path = tmp_path / "out/queries.jsonl", evaluation: str = "data/evaluation"
    ) -> int:
        argv = ["gather_queries", "--evaluation", evaluation, "--out", str(out), *words]
        monkeypatch.setattr("sys.argv", argv)
        return gather_queries.main()

    return job


def taken(tmp_path: Path) -> list[str]:
    return [row["query_id"] for row in read_records(tmp_path / "out/queries.jsonl")]


def left_out(tmp_path: Path) -> dict[str, str]:
    return {row["query_id"]: row["of"] for row in read_records(tmp_path / "out/excluded.jsonl")}


def test_omni3d_without_its_measured_rows_their_pictures_and_a_row_that_stands_twice(
    run: Run, tmp_path: Path
) -> None:
    assert run("--from", "omni3d=data/evaluation/omni3d") == 0
    assert taken(tmp_path) == ["omni3d-0100", "omni3d-0101", "omni3d-0103", "omni3d-0105"]
    out = left_out(tmp_path)
    assert set(out) == {f"omni3d-{n:04d}" for n in (*range(100), 102, 104)}
    assert out["omni3d-0102"] == "omni3d-0006" and out["omni3d-0104"] == "omni3d-0103"


def test_gqa_without_pictures_that_are_measured_in_any_set_under_any_name(run: Run, tmp_path: Path) -> None:
    genome = ("--visual-genome", "data/visual_genome/image_data.json")
    assert run("--from", "gqa=data/gqa", *genome) == 0
    assert taken(tmp_path) == [f"gqa-train-0{n}" for n in (1, 2, 3, 4)]
    out = left_out(tmp_path)
    assert set(out) == {"gqa-train-00", "gqa-train-05", "gqa-train-06"}
    assert out["gqa-train-00"] == "gqa-0000"  # the same number in Visual Genome
    assert out["gqa-train-05"] == "vsr-0001"  # COCO's number of it, by image_data.json
    assert out["gqa-train-06"] == "robospatial-0000"  # the same bytes: that set's first picture, blink's too


def test_without_image_data_json_a_picture_of_both_sets_is_not_known(run: Run, tmp_path: Path) -> None:
    assert run("--from", "gqa=data/gqa") == 0
    assert "gqa-train-05" in taken(tmp_path)


def test_tallyqa_and_vsr_meet_coco_pictures_by_their_number(run: Run, tmp_path: Path, data: Path) -> None:
    assert run("--from", "tallyqa=data/tallyqa", "--from", "vsr=data/evaluation/vsr") == 0
    assert taken(tmp_path) == ["tallyqa-train-32", "tallyqa-train-33", "vsr-train-0001", "vsr-train-0002"]
    rows = {row["query_id"]: row for row in read_records(tmp_path / "out/queries.jsonl")}
    assert rows["tallyqa-train-32"]["image"].startswith(
        "http://images.cocodataset.org/train2014/COCO_train2014_"
    )
    assert rows["tallyqa-train-33"]["image"] == "https://cs.stanford.edu/people/rak248/VG_100K_2/2000.jpg"
    assert rows["vsr-train-0001"]["image"] == str(data / "evaluation/vsr/images/000000000050.jpg")
    assert rows["vsr-train-0002"]["image"] == "http://x/train2017/000000000051.jpg"
    assert rows["vsr-train-0001"]["question"].startswith(
        'Is this statement true of the picture: "The cat is on mat 50"'
    )


def test_own_pictures_are_compared_by_their_bytes_and_the_list_can_be_read(run: Run, tmp_path: Path) -> None:
    assert run("--from", "omni3d=data/evaluation/omni3d", "--from", "own=data/photos") == 0
    assert left_out(tmp_path)["b.jpg"].startswith("robospatial")
    queries = read_queries(str(tmp_path / "out/queries.jsonl"))
    assert [query.query_id for query in queries][-2:] == ["a.jpg", "c.jpg"]
    pictures = [Path(query.image).read_bytes() for query in queries]
    assert pictures[0] == drawn(NEW + 300) and pictures[-1] == drawn(NEW + 102)


def test_so_many_pictures_the_same_ones_with_a_higher_number_and_so_many_questions(
    run: Run, tmp_path: Path
) -> None:
    def some(*words: str) -> list[str]:
        assert run(*words) == 0
        return taken(tmp_path)

    one, two, all_ = (
        some("--from", f"gqa{number}=data/gqa", "--per-picture", "1") for number in (":1", ":2", "")
    )
    assert len(one) == 1 and len(two) == 2 and set(one) < set(two) < set(all_)
    assert "gqa-train-02" not in all_  # the second about its picture
    other = {tuple(some("--from", "gqa:2=data/gqa", "--seed", str(seed))) for seed in range(5)}
    assert len(other) > 1


def test_labels_of_train_splits_reach_no_file(run: Run, tmp_path: Path) -> None:
    assert (
        run("--from", "gqa=data/gqa", "--from", "tallyqa=data/tallyqa", "--from", "vsr=data/evaluation/vsr")
        == 0
    )
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"queries.jsonl", "excluded.jsonl"} <= {path.name for path in files}
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    for row in read_records(tmp_path / "out/queries.jsonl"):
        assert set(row) == {"query_id", "image", "question"}


def test_the_same_command_writes_the_same_files(run: Run, tmp_path: Path) -> None:
    words = ("--from", "gqa:2=data/gqa", "--from", "omni3d=data/evaluation/omni3d")
    assert run(*words) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert run(*words) == 0
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_what_is_short_missing_or_no_query_is_said(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some/vsr").symlink_to(Path("data/evaluation/vsr").absolute())
    assert run("--from", "gqa:99=data/gqa", "--json", evaluation=str(tmp_path / "some")) == 0
    captured = capsys.readouterr()
    assert (
        "NOT apart from omni3d, robospatial, blink, realworldqa, gqa, tallyqa, countbenchqa" in captured.err
    )
    assert "6 pictures, and 99 were asked for" in captured.err
    assert "1 rows are no queries: no picture" in captured.err
    (said,) = json.loads(captured.out)["sources"]
    assert (said["rows"], said["no_queries"], said["queries"], said["left_out"]) == (8, 1, 7, {})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "gqa=data/vsr"], "there is no file of GQA"),
        (["--from", "gqa=data/evaluation/blink/Counting/val-00000-of-00001.parquet"], "no queries: no picture"),
        (["--from", "vsr=data/gqa/train_balanced_instructions/train-00000-of-00001.parquet"], "no column 'caption'"),
        (["--from", "own=data/photos", "--from", "own=data/photos"], "Two queries have the id 'a.jpg'"),
        (["--from", "own=data/photos", "--visual-genome", "data/photos/queries.jsonl"], "field 'image_id' must be"),
    ],
)  # fmt: skip
def test_wrong_sources_are_named(
    run: Run, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) in (1, 2)
    assert message in capsys.readouterr().err


def test_an_evaluation_folder_without_any_set_is_refused(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--from", "own=data/photos", evaluation="data/photos") == 2
    assert "it holds none of omni3d, robospatial" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["gqa", "gqa:0=x", "gqa:x=y", "gqb=x", "=x", "gqa=", "gqa:=x"])
def test_a_source_that_is_none_is_refused(run: Run, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("--from", text)
    assert ended.value.code == 2 and "--from" in capsys.readouterr().err


NAMES: list[tuple[str, bool, set[str]]] = [
    ("train2014/COCO_train2014_000000000002.jpg", False, {"coco:2"}),
    ("http://images.cocodataset.org/val2017/000000000002.jpg", False, {"coco:2"}),
    ("images/2370799.jpg", True, {"genome:2370799"}),
    ("images/n161313.jpg", True, {"genome:n161313"}),
    ("https://cs.stanford.edu/people/rak248/VG_100K_2/7.jpg", False, {"genome:7", "coco:9"}),
    ("/photos/7.jpg", False, set()),  # somebody's seventh photograph
    ("/photos/IMG_000000000002.jpg", False, set()),
    ("/kept/0123456789abcdef0123456789abcdef.png", True, set()),
    ("", True, set()),
]


@pytest.mark.parametrize(("image", "genome", "names"), NAMES)
def test_names_of_photographs(image: str, genome: bool, names: set[str]) -> None:
    assert picture_names(image, {"genome:7": "coco:9"}, genome=genome) == names


def test_image_data_json_is_read_both_ways(tmp_path: Path) -> None:
    lines(
        tmp_path / "g.jsonl",
        [{"image_id": 1, "coco_id": 5}, {"image_id": 2, "coco_id": None}, {"image_id": 3}],
    )
    assert genome_names(tmp_path / "g.jsonl") == {"genome:1": "coco:5", "coco:5": "genome:1"}


def candidate(number: int, **more: Any) -> Candidate:
    made = {"query_id": f"q{number}", "question": f"Is it {number}?", "image": f"https://host/{number}.jpg"}
    return Candidate(**{**made, **more})


def test_an_example_of_a_prompt_and_a_measured_question_without_a_picture_are_left_out() -> None:
    measured = Measured(rows=[("e", "Is it 1?", ""), ("f", "Is it 2?", "https://host/other.jpg")])
    shown = candidate(3, question="Is the mug bigger than the bowl?", image=drawn(1))
    found = gather([candidate(1), candidate(2), shown, Refused("bad")], measured)
    assert [each.query_id for each in found.taken] == ["q2"]
    assert {each.query_id: each.why for each in found.left_out} == {"q1": Why.WORDS, "q3": Why.WORDS}
    assert found.rows == 4 and found.refused == {"bad": 1}


def test_a_picture_that_was_passed_over_does_not_come_back() -> None:
    rows = [
        candidate(10 * picture + n, image=f"https://host/{picture}.jpg")
        for n in range(3)
        for picture in range(9)
    ]
    found = gather(rows, Measured(), pictures=4)
    assert found.pictures == 4 and len(found.taken) == 12
