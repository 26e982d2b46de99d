"""`valor eval NAME` for every public set, from files, against a server that answers over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from benchmark_sets import PUBLIC, VSR, lines, write_set

from deployments.evaluation.host import RayEvalHost
from deployments.evaluation.workers import Order
from valor_ray.asking.kept import Replied
from valor_ray.benchmarks.data import omni3d
from valor_ray.cli import main


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Answers yes to what can be so answered, else 3."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answer = 3 if asked["question"].startswith(("How", "What", "Which")) else True
            reply = {"answer": answer, "error": None, "plan": "p", "code": "c", "status": "ok", "trace": []}
            if (samples := asked["samples"]) > 1:
                one = {
                    "answer": answer,
                    "votes": samples,
                    "score": 0.25,
                    "error": None,
                    "plan": "p",
                    "code": "c",
                }
                selection = {"select": asked["select"], "samples": samples, "calls": 5, "cost_usd": 0.5}
                reply |= {"candidates": [one] * samples, "selection": selection}
            if asked["repairs"] and answer is True:
                failed = {
                    "error": "The program ended with status timeout: slow",
                    "reply": "",
                    "plan": "",
                    "code": "",
                }
                reply["attempts"] = [failed | {"trace": []}] * asked["repairs"]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(reply).encode())

        def log_message(self, *_args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def words(name: str, tmp_path: Path, url: str, *more: str) -> list[str]:
    data, out, kept = (str(tmp_path / each) for each in ("data", "out", "kept"))
    return ["eval", name, "--data", data, "--out", out, "--url", url, "--pictures", kept, *more]


STRICT = {  # right answers of the server, and by the paper's rules
    "omni3d": (0, 0), "robospatial": (1, 1), "blink": (1, 1), "vsr": (1, 1), "realworldqa": (1, 1),
    "gqa": (0, None), "tallyqa": (1, 1), "countbenchqa": (1, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLIC)
def test_eval_of_a_public_set(
    name: str, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(name, tmp_path / "data")
    assert main(words(name, tmp_path, url, "--json")) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"benchmark", "n", "accuracy", "ci", "by_family", "failures", "seconds", "paper_accuracy"} <= set(
        report
    )
    strict, paper = STRICT[name]
    assert report["accuracy"] == round(strict / report["n"], 4) and report["failures"] == 0
    assert report["paper_accuracy"] == (None if paper is None else round(paper / report["n"], 4))
    assert sum(share["n"] for share in report["by_family"].values()) == report["n"]
    assert report["macro"] is None or report["macro"]["over"] in ("family", "subset")
    settings = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert (settings["benchmark"], settings["wording"]) == (name, "clean")
    page = (tmp_path / "out" / "report.html").read_text()
    row = json.loads((tmp_path / "out" / "answers.jsonl").read_text().splitlines()[0])
    assert row["query_id"] in page and "paper" in page
    assert main(["report", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == report


def test_raw_results_are_kept_as_they_came(url: str, tmp_path: Path) -> None:
    write_set("blink", tmp_path / "data")
    assert main(words("blink", tmp_path, url)) == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert sorted((row["query_id"], row["answer"], row["truth"]) for row in rows) == [
        ("val_Counting_1", 3, "3"), ("val_Spatial_Relation_1", True, "no"), ("val_Spatial_Relation_2", True, "no"),
    ]  # fmt: skip


def test_one_answer_of_several_samples_is_chosen_and_the_page_shows_both(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set("blink", tmp_path / "data")
    several = ("--samples", "3", "--select", "judge")
    assert main(words("blink", tmp_path, url, "--json", *several)) == 0
    report = json.loads(capsys.readouterr().out)
    gain = report["selection"]
    assert (gain["samples"], gain["single"], gain["gain"], gain["calls"]) == (3, round(1 / 3, 4), 0, 15)
    assert gain["cost_usd"] == 1.5
    page = (tmp_path / "out" / "report.html").read_text()
    assert "What choosing brought" in page and "3 (0.25) · 3 (0.25) · 3 (0.25)" in page
    assert main(words("blink", tmp_path, url, *several)) == 0
    assert "the same samples singly 33.3%" in capsys.readouterr().out
    assert main(words("blink", tmp_path, url)) == 2
    assert "samples 3 -> 1; select judge -> None" in capsys.readouterr().err


def test_samples_without_a_choice_and_a_choice_without_samples(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set("blink", tmp_path / "data")
    assert main(words("blink", tmp_path, url, "--json", "--samples", "3")) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["n"], report["samples"], report["selection"]) == (3, 3, None)
    assert "3 · 3 · 3" in (tmp_path / "out" / "report.html").read_text()
    assert main(words("blink", tmp_path, url, "--select", "vote")) == 2
    assert "--select vote chooses among several samples: give --samples N" in capsys.readouterr().err
    greedy = ["eval", "tabletop", "--out", str(tmp_path / "greedy"), "--set", "policy.temperature=0"]
    assert main([*greedy, "--samples", "2"]) == 2
    assert "policy.temperature is 0, so that all 2 samples are the same" in capsys.readouterr().err


def test_what_repairs_brought_is_said_and_shown_and_what_cannot_be_is_refused(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set("blink", tmp_path / "data")
    assert main(words("blink", tmp_path, url, "--repairs", "2")) == 0
    said = capsys.readouterr().out
    assert "repairs: 2 of 3 first replies failed, 2 were written anew, 2 of these answer, " in said
    assert "4 calls, 0 tokens, $0.0000; 2.33 replies a question" in said
    page = (tmp_path / "out" / "report.html").read_text()
    assert "gain of repairs" in page and "status timeout: slow ▸ " in page
    for wrong, words_of_it in (
        (("--repairs", "5"), "--repairs 5: at most 4 (answer.max_repairs)"),
        (("--repairs", "1", "--method", "direct"), "--repairs is of --method valor"),
        (("--repairs", "1"), "repairs 2 -> 1"),
    ):
        assert main(words("blink", tmp_path, url, *wrong)) == 2
        assert words_of_it in capsys.readouterr().err
    for nonsense in ("-1", "two", "1.5"):
        with pytest.raises(SystemExit):
            main(words("blink", tmp_path, url, "--repairs", nonsense))
        assert "is not a whole number of at least 0" in capsys.readouterr().err


def test_without_a_server_the_questions_go_to_ray_with_seeds_and_stdout_is_the_report_s_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Order] = []

    def replies(host: RayEvalHost, orders: Sequence[Order]) -> Iterator[Replied]:
        print("(raylet) A worker died")  # as Ray does
        asked.extend(orders)
        for order in orders:
            one = {"answer": 3, "error": None, "status": "ok", "score": 0.5}
            kept = one | {"candidates": [one] * order.samples, "selection": {"calls": 2, "cost_usd": 0.0}}
            yield Replied(order.query.query_id, kept, 0.1)

    monkeypatch.setattr(RayEvalHost, "replies", replies)
    write_set("blink", tmp_path / "data")
    command = ["eval", "blink", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--json"]
    assert main([*command, "--samples", "2", "--select", "scenes", "--seed", "5", "--repairs", "1"]) == 0
    out = capsys.readouterr()
    report = json.loads(out.out)
    assert (report["n"], report["selection"]["calls"]) == (3, 6) and "A worker died" in out.err
    assert {(order.samples, order.select, order.repairs) for order in asked} == {(2, "scenes", 1)}
    assert len({order.seed for order in asked}) == 3


def test_picture_that_cannot_be_had_is_a_failed_row_and_asked_again(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("valor_ray.benchmarks.reading.pictures.TRIES", 1)
    rows = [row | {"image_link": f"http://127.0.0.1:9/{row['image']}"} for row in VSR]
    lines(tmp_path / "data" / "dev.jsonl", rows)
    assert main(words("vsr", tmp_path, url, "--json", "--limit", "1")) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["n"], report["failures"], report["unasked"], report["paper_accuracy"]) == (1, 1, 1, 0)
    assert report["failed"] == {"unasked": 1}
    write_set("vsr", tmp_path / "data")
    assert main(words("vsr", tmp_path, url, "--json", "--limit", "1")) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 1


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (("blink",), ("vsr",), "holds answers to benchmark 'blink', not 'vsr'"),
        (
            ("blink",),
            ("blink", "--wording", "reference"),
            "holds answers to wording 'clean', not 'reference'",
        ),
    ],
)
def test_folder_of_another_set_or_wording_is_refused(
    first: tuple[str, ...],
    second: tuple[str, ...],
    said: str,
    url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in {first[0], second[0]}:
        write_set(name, tmp_path / "data")
    assert main(words(first[0], tmp_path, url)) == 0
    assert main(words(second[0], tmp_path, url, *second[1:])) == 2
    assert said in capsys.readouterr().err


def test_folder_of_another_command_and_two_runs_at_a_time_are_refused(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from valor_ray.runs.folder import EVAL, claimed

    write_set("blink", tmp_path / "data")
    with claimed(tmp_path / "out", EVAL):
        assert main(words("blink", tmp_path, url)) == 2
        assert "another run" in capsys.readouterr().err
    (tmp_path / "out" / "run.json").write_text('{"kind": "mine"}')
    assert main(words("blink", tmp_path, url)) == 2
    assert "is a folder of `valor mine`, not of `valor eval`" in capsys.readouterr().err


def test_later_start_goes_on_with_the_commit_of_the_first(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str | None] = []

    def fetched(hub: str, *, revision: str | None, **_more: object) -> str:
        asked.append(revision)
        return str(write_set("omni3d", tmp_path / (revision or "c0ffee")))

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
    command = [
        "eval",
        omni3d.SET.name,
        "--out",
        str(tmp_path / "out"),
        "--url",
        url,
        "--pictures",
        str(tmp_path / "kept"),
    ]
    assert main(command) == main(command) == 0
    assert asked == [None, "c0ffee"]
    assert main([*command, "--revision", "beef"]) == 2
    assert "holds answers to revision c0ffee of Omni3D-Bench, not beef" in capsys.readouterr().err


def test_own_questions_need_their_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "own", "--out", str(tmp_path / "out")]) == 2
    assert "`own` needs --data DIR" in capsys.readouterr().err
