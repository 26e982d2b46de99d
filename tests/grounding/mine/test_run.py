"""A mining run over scripted parts: what is recorded, resumed, retried, refused."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import mining
import pytest
from train_runs import records

from valor_ray.errors import ConfigError, ToolError
from valor_ray.grounding.mine.run import mine
from valor_ray.records import Query
from valor_ray.runs.folder import locked


def run(folder: Path, queries: list[Query], host: mining.Host, **more: Any) -> dict[str, Any]:
    return mine(folder, host.config, queries, host, **more)


def boxes(folder: Path) -> list[tuple[str, tuple[str, ...]]]:
    """What images.jsonl holds, without what depends on the clock and the order."""
    return sorted((Path(r["image"]).name, tuple(r["phrases"])) for r in records(folder / "images.jsonl"))


def test_queries_become_records_of_pictures_and_a_set(tmp_path: Path) -> None:
    queries = [*mining.pictures(tmp_path, 3), Query("m", "malformed", str(tmp_path / "0.png"))]
    host = mining.Host(mining.config())
    report = run(tmp_path / "run", queries, host)
    assert boxes(tmp_path / "run") == [(f"{n}.png", ("ball", "cone")) for n in range(3)]
    assert (report["images"], report["candidates"], report["kept"]) == (3, 6, 6)
    assert report["precision_by_stage"] is None and report["recall_lost"] is None
    assert report["programs"]["by_status"] | {"malformed": 1, "ok": 6} == report["programs"]["by_status"]
    assert report["dataset"]["positives"] == 6 and report["failed"] == 0
    assert (report["calls"], report["cost_usd"]) == (9, pytest.approx(0.09))
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {
        "run.json",
        "config.yaml",
        "phrases.jsonl",
        "metrics.jsonl",
        "report.json",
        "report.html",
    }
    assert {"decisions.parquet", "odvg.jsonl", "label_map.json", "coco.json"} <= {
        path.name for path in (tmp_path / "run/dataset").iterdir()
    }


def test_what_a_writer_took_is_counted_apart_and_in_all_starts(tmp_path: Path) -> None:
    queries = mining.pictures(tmp_path, 2)
    host = mining.Host(mining.config(), policy=mining.Policy(cost_usd=0.5))
    for asked, took, in_all in ((queries[:1], 0.5, 0.5), (queries, 1.5, 2.0), (queries[:1], 0.0, 2.0)):
        report = run(tmp_path / "run", asked, host)
        assert (report["writer_cost_usd"], report["in_all"]["writer_cost_usd"]) == (took, in_all)
    old = tmp_path / "run/phrases.jsonl"
    old.write_text(old.read_text().replace(', "cost_usd": 0.5', ""))  # of before it was kept
    report = run(tmp_path / "run", queries, host)
    assert report["in_all"]["writer_cost_usd"] == 0 and report["in_all"]["cost_usd"] > 0


def test_the_same_again_does_nothing_and_starts_nothing(tmp_path: Path) -> None:
    queries, host = mining.pictures(tmp_path, 2), mining.Host(mining.config())
    first = run(tmp_path / "run", queries, host)
    exported = (tmp_path / "run/dataset/odvg.jsonl").read_bytes()
    again = run(tmp_path / "run", queries, host)
    assert host.started == 1 and again["calls"] == 0
    assert (again["images"], again["kept"]) == (first["images"], first["kept"])
    assert (tmp_path / "run/dataset/odvg.jsonl").read_bytes() == exported


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_run_that_is_stopped_goes_on_without_doing_anything_twice(tmp_path: Path, stop_after: int) -> None:
    queries, host = mining.pictures(tmp_path, 4), mining.Host(mining.config())
    host.stop_after, kills = stop_after, 0
    while len(records(tmp_path / "run/images.jsonl")) < 4 - stop_after:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run", queries, host)
        kills += 1
    assert kills >= 3
    with (tmp_path / "run/phrases.jsonl").open("a") as file:
        file.write('{"query_id": "torn')
    with (tmp_path / "run/images.jsonl").open("a") as file:
        file.write('{"image": "torn')
    host.stop_after = None
    run(tmp_path / "run", queries, host)
    assert boxes(tmp_path / "run") == [(f"{n}.png", ("ball", "cone")) for n in range(4)]
    assert len(host.policy.asked) == 8 and len(host.detector.asked) == 4
    assert host.judge.asked == {"box_coarse": 4, "box_crop": 8}
    asked = Counter(record["query_id"] for record in records(tmp_path / "run/phrases.jsonl"))
    assert set(asked.values()) == {1} and len(asked) == 8


def test_what_a_worker_does_twice_is_recorded_once(tmp_path: Path) -> None:
    host = mining.Host(mining.config("grounding.audit_every=1"))
    host.twice = True
    run(tmp_path / "run", mining.pictures(tmp_path, 2), host)
    assert len(records(tmp_path / "run/images.jsonl")) == 2
    assert len(records(tmp_path / "run/phrases.jsonl")) == 4
    assert [record["number"] for record in records(tmp_path / "run/audit.jsonl")] == [0, 1]


def test_a_copy_under_another_name_is_the_same_picture(tmp_path: Path) -> None:
    queries = mining.pictures(tmp_path, 1)
    shutil.copy(tmp_path / "0.png", tmp_path / "copy.png")
    run(
        tmp_path / "run",
        [*queries, Query("c", "cup", str(tmp_path / "copy.png"))],
        host := mining.Host(mining.config()),
    )
    assert boxes(tmp_path / "run") == [("0.png", ("ball", "cone", "cup"))]
    assert host.detector.asked == [("ball", "cone", "cup")]


def test_further_queries_are_mined_for_their_new_phrases_alone(tmp_path: Path) -> None:
    queries, host = mining.pictures(tmp_path, 2), mining.Host(mining.config())
    run(tmp_path / "run", queries, host)
    more = [*queries, Query("new", "Cone . cup", queries[0].image), Query("old", "BALL", queries[0].image)]
    report = run(tmp_path / "run", more, host)
    assert host.detector.asked[2:] == [("cup",)]
    assert (report["images"], report["candidates"], report["dataset"]["images"]) == (2, 5, 2)


def test_a_picture_whose_file_has_changed_is_refused(tmp_path: Path) -> None:
    queries, host = mining.pictures(tmp_path, 2), mining.Host(mining.config())
    run(tmp_path / "run", queries, host)
    kept = (tmp_path / "0.png").read_bytes()
    shutil.copy(tmp_path / "1.png", tmp_path / "0.png")
    with pytest.raises(ConfigError, match=r"0\.png is not the one .* its file has changed since"):
        run(tmp_path / "run", queries, host)
    (tmp_path / "0.png").write_bytes(kept)
    assert run(tmp_path / "run", queries, host)["images"] == 2 and host.started == 1


def test_the_set_names_the_pictures_where_the_queries_say_that_they_lie_now(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    queries, host = mining.pictures(tmp_path / "old", 2), mining.Host(mining.config())
    run(tmp_path / "run", queries, host)
    shutil.move(tmp_path / "old", tmp_path / "new")
    moved = [replace(query, image=query.image.replace("/old/", "/new/")) for query in queries]
    run(tmp_path / "run", moved, host)
    assert host.started == 1
    about = json.loads((tmp_path / "run/dataset/dataset.json").read_text(encoding="utf-8"))
    assert Path(tmp_path / "run/dataset", about["root"]).resolve() == (tmp_path / "new").resolve()


def test_missing_verdicts_are_asked_for_again_and_nothing_else_is(tmp_path: Path) -> None:
    queries, host = mining.pictures(tmp_path, 2), mining.Host(mining.config())
    host.judge.missing = {"box_crop"}
    report = run(tmp_path / "run", queries, host)
    assert (report["missing_boxes"], report["with_missing"], report["kept"]) == (4, 2, 0)
    assert boxes(tmp_path / "run") == []
    assert [record["starts"] for record in records(tmp_path / "run/missing.jsonl")] == [0, 0]
    run(tmp_path / "run", queries, host)
    assert [record["starts"] for record in records(tmp_path / "run/missing.jsonl")] == [1, 1]
    host.judge.missing = set()
    report = run(tmp_path / "run", queries, host)
    assert (report["missing_boxes"], report["kept"], len(host.policy.asked)) == (0, 4, 4)
    assert records(tmp_path / "run/missing.jsonl") == [] and len(boxes(tmp_path / "run")) == 2
    # a picture: coarse 3 times, two crops 3 times; the crops of two starts had no answer, and so no price
    assert (report["in_all"]["calls"], report["in_all"]["cost_usd"]) == (2 * 9, pytest.approx(2 * 5 * 0.01))
    assert report["calls"] == 2 * 3


def lacking_verdicts(tmp_path: Path) -> tuple[list[Query], mining.Host]:
    """A run over two pictures of which the crops had no answer; 3 calls a picture, 1 of them paid."""
    queries, host = mining.pictures(tmp_path, 2), mining.Host(mining.config())
    host.judge.missing = {"box_crop"}
    run(tmp_path / "run", queries, host)
    host.judge.missing = set()
    return queries, host


def in_missing(tmp_path: Path) -> list[tuple[str, tuple[str, ...]]]:
    return [(Path(r["image"]).name, tuple(r["phrases"])) for r in records(tmp_path / "run/missing.jsonl")]


def test_what_lacks_verdicts_stays_recorded_where_this_start_did_not_ask_for_it(tmp_path: Path) -> None:
    queries, host = lacking_verdicts(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    for source in (mining.pictures(other, 0), [Query("c", "cup", queries[0].image)], queries[:2]):
        report = run(tmp_path / "run", source, host)
    assert in_missing(tmp_path) == [("1.png", ("ball", "cone"))]
    assert (report["candidates"], report["missing_boxes"], report["with_missing"]) == (5, 2, 1)
    assert report["in_all"]["cost_usd"] == pytest.approx(2 * 0.01 + 2 * 0.01 + 3 * 0.01)
    report = run(tmp_path / "run", queries, host)
    assert (in_missing(tmp_path), report["missing_boxes"], report["kept"]) == ([], 0, 5)


@pytest.mark.parametrize("why", ["not there", "cannot be seen"])
def test_what_lacks_verdicts_stays_recorded_where_its_picture_fails(tmp_path: Path, why: str) -> None:
    queries, host = lacking_verdicts(tmp_path)
    picture = tmp_path / "0.png"
    kept = picture.read_bytes()
    picture.unlink()
    if why == "cannot be seen":
        host.detector = Blind()
        picture.write_bytes(kept)
    report = run(tmp_path / "run", queries, host)
    assert ("0.png", ("ball", "cone")) in in_missing(tmp_path) and report["failed"] > 0
    assert report["candidates"] == 4 and report["in_all"]["calls"] >= 6
    picture.write_bytes(kept)
    host.detector = mining.Detector()
    report = run(tmp_path / "run", queries, host)
    assert (in_missing(tmp_path), report["kept"], report["failed"]) == ([], 4, 0)


class Blind(mining.Detector):
    async def detect(self, *args: Any, **more: Any) -> Any:
        raise ToolError("it sees nothing")


def test_phrases_that_a_smaller_source_does_not_ask_for_stay_recorded_and_are_paid_once(
    tmp_path: Path,
) -> None:
    queries, host = lacking_verdicts(tmp_path)
    report = run(tmp_path / "run", queries[:1], host)
    assert boxes(tmp_path / "run") == [("0.png", ("ball",))] and len(in_missing(tmp_path)) == 2
    spent = 2 * 0.01 + 2 * 0.01  # of both starts
    assert report["in_all"]["cost_usd"] == pytest.approx(spent)
    report = run(tmp_path / "run", queries, host)
    assert (in_missing(tmp_path), report["kept"]) == ([], 4)


def test_what_a_kill_has_left_in_both_files_is_one_record(tmp_path: Path) -> None:
    queries, host = lacking_verdicts(tmp_path)
    host.stop_after = 1
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", queries, host)
    assert len(boxes(tmp_path / "run")) == 1 and len(in_missing(tmp_path)) == 2
    host.stop_after = None
    report = run(tmp_path / "run", queries, host)
    assert (in_missing(tmp_path), report["kept"], len(boxes(tmp_path / "run"))) == ([], 4, 2)
    assert report["in_all"]["calls"] == 2 * 6


def test_a_phrase_is_absent_only_when_the_verifier_has_said_so(tmp_path: Path) -> None:
    queries = mining.pictures(tmp_path, 2)
    host = mining.Host(mining.config("grounding.all_rejected=negative"), detector=mining.Detector(boxes=0))
    host.judge.missing = {"box_presence"}
    report = run(tmp_path / "run", queries, host)
    assert (report["with_missing"], report["missing_boxes"], report["presence"]["missing"]) == (2, 0, 4)
    assert report["dataset"]["absent"] == 0 and host.judge.asked["box_presence"] == 2
    host.judge.missing = set()
    report = run(tmp_path / "run", queries, host)
    assert report["presence"] == {"asked": 4, "present": 0, "absent": 4, "unsure": 0, "missing": 0}
    assert report["dataset"]["absent"] == 4 and host.judge.asked["box_presence"] == 4
    run(tmp_path / "run", queries, host)
    assert host.judge.asked["box_presence"] == 4  # all is known


def test_pictures_that_cannot_be_had_fail_alone_and_are_tried_again(tmp_path: Path) -> None:
    queries = mining.pictures(tmp_path, 1)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    bad = [
        Query("x", "ball", str(tmp_path / "bad.png")),
        Query("y", "ball", str(tmp_path / "gone.png")),
        Query("z", "ball", "https://host/a.png"),
        Query("n", "ball"),
    ]
    host = mining.Host(mining.config())
    report = run(tmp_path / "run", [*queries, *bad], host)
    assert (report["failed"], report["images"]) == (4, 1)
    failed = {record["query_ids"][0]: record["error"] for record in records(tmp_path / "run/failed.jsonl")}
    assert set(failed) == {"x", "y", "z", "n"} and "Add the field image" in failed["n"]
    assert "cannot be read" in failed["x"].lower() or "not a picture" in failed["x"]
    assert "n" not in [question for question, _seed in host.policy.asked]
    mining.pictures(tmp_path, 2)
    shutil.copy(tmp_path / "1.png", tmp_path / "gone.png")
    assert run(tmp_path / "run", [*queries, *bad], host)["failed"] == 3


def test_canaries_are_slipped_in_and_an_alarm_is_said_once_and_reported(tmp_path: Path) -> None:
    host = mining.Host(mining.config("grounding.audit_every=1"))
    said: list[str] = []
    report = run(tmp_path / "run", mining.pictures(tmp_path, 12), host, say=said.append)
    assert len(records(tmp_path / "run/audit.jsonl")) == 12
    alarms = [line for line in said if "known verdicts" in line]
    assert alarms and report["alarms"] == alarms  # a verifier that keeps everything is found out
    assert report["audit"]["alarm"]
    assert report["in_all"]["calls"] == report["calls"] == sum(host.judge.asked.values())


def test_a_canary_that_a_kill_has_left_out_is_not_asked_in_place_of_a_new_one(tmp_path: Path) -> None:
    host = mining.Host(mining.config("grounding.audit_every=1"))
    run(tmp_path / "run", mining.pictures(tmp_path, 3), host)
    audit = tmp_path / "run/audit.jsonl"
    audit.write_text("".join(audit.read_text().splitlines(keepends=True)[1:]))  # 0 was still under way
    run(tmp_path / "run", mining.pictures(tmp_path, 4), host)
    assert [record["number"] for record in records(audit)] == [1, 2, 3]


def test_the_set_is_written_before_the_truth_is_opened(tmp_path: Path) -> None:
    def evaluate(images: Any) -> None:
        assert (tmp_path / "run/dataset/odvg.jsonl").exists()
        raise ConfigError("the truth is of another form")

    with pytest.raises(ConfigError, match="of another form"):
        run(tmp_path / "run", mining.pictures(tmp_path, 1), mining.Host(mining.config()), evaluate=evaluate)
    assert (tmp_path / "run/dataset/coco.json").exists()


def test_records_and_set_do_not_depend_on_the_workers_order(tmp_path: Path) -> None:
    queries = mining.pictures(tmp_path, 5)
    exported = []
    for name in ("a", "b"):
        host = mining.Host(mining.config())
        run(tmp_path / name, queries if name == "a" else queries[::-1], host)
        run(tmp_path / name, queries, host)
        exported.append((tmp_path / name / "dataset/coco.json").read_text().replace(f"/{name}/", "/"))
        assert boxes(tmp_path / name) == [(f"{n}.png", ("ball", "cone")) for n in range(5)]
    assert [len(each) for each in exported] == [len(exported[0])] * 2


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (["vlm.model=other"], "vlm.model"),
        (["grounding.box_threshold=0.2"], "grounding.box_threshold"),
        (["policy.temperature=0.1"], "policy.temperature"),
        (["grounding.seed=3"], "grounding.seed"),
        (["vlm.noise=0.1"], "vlm.noise"),
        (["vlm.extra={temperature: 1}"], "vlm.extra"),
        (["policy.thinking=true"], "policy.thinking"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path: Path, settings: list[str], named: str) -> None:
    queries = mining.pictures(tmp_path, 1)
    run(tmp_path / "run", queries, mining.Host(mining.config()))
    with pytest.raises(ConfigError, match=rf"{named} .* -> .*another --run"):
        run(tmp_path / "run", queries, mining.Host(mining.config(*settings)))
    run(tmp_path / "run", queries, mining.Host(mining.config("grounding.workers=2", "vlm.retries=0")))


def test_another_question_under_a_known_id_is_refused(tmp_path: Path) -> None:
    queries, host = mining.pictures(tmp_path, 1), mining.Host(mining.config())
    run(tmp_path / "run", queries, host)
    with pytest.raises(ConfigError, match="another question or picture"):
        run(tmp_path / "run", [Query("0-a", "cup", queries[0].image)], host)


def test_a_folder_in_use_and_one_of_another_command_are_refused(tmp_path: Path) -> None:
    queries, host = mining.pictures(tmp_path, 1), mining.Host(mining.config())
    with locked(tmp_path / "run", "--run"), pytest.raises(ConfigError, match="another run"):
        run(tmp_path / "run", queries, host)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/run.json").write_text(json.dumps({"kind": "score"}))
    with pytest.raises(ConfigError, match=r"`valor score`, not of `valor mine`"):
        run(tmp_path / "other", queries, host)
    assert host.started == 0


def test_the_evaluation_sees_all_records_and_its_numbers_are_reported(tmp_path: Path) -> None:
    seen: list[str] = []

    def evaluate(images: Any) -> dict[str, Any]:
        seen.extend(Path(image.image).name for image in images)
        return {"precision_by_stage": {"candidates": 0.5}, "recall_lost": 2.0, "more": 1}

    host = mining.Host(mining.config())
    report = run(tmp_path / "run", mining.pictures(tmp_path, 3), host, evaluate=evaluate)
    assert seen == ["0.png", "1.png", "2.png"]
    assert (report["precision_by_stage"], report["recall_lost"]) == ({"candidates": 0.5}, 2.0)
    assert report["evaluation"]["more"] == 1
