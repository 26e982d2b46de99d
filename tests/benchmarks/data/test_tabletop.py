"""`valor eval tabletop` against a server that answers over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from valor_ray.benchmarks.data import own, tabletop
from valor_ray.cli import main
from valor_ray.errors import ConfigError


@pytest.fixture
def url() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["content-length"])))["question"]
            answer = {
                "answer": 2 if "many" in question else "red",
                "error": None,
                "plan": "",
                "code": "",
                "trace": [],
            }
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def write_data(folder: Path) -> Path:
    folder.mkdir()
    (folder / "a.png").write_bytes(b"pixels")
    asked = [
        ("q0", "How many balls are there?", 2, "count"),
        ("q1", "What colour is the ball?", "blue", "attribute"),
    ]
    queries = [{"query_id": q, "image": "a.png", "question": text} for q, text, _, _ in asked]
    truths = [
        {"query_id": q, "answer": answer, "family": family, "boxes": [], "look": "wood"}
        for q, _, answer, family in asked
    ]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    (folder / "truth.jsonl").write_text("".join(json.dumps(row) + "\n" for row in truths))
    return folder


def test_eval_prints_one_json_report_and_records_answers(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_data(tmp_path / "data"), tmp_path / "out"
    assert main(["eval", "tabletop", "--data", str(data), "--url", url, "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"benchmark", "n", "accuracy", "ci", "by_family", "failures", "seconds"} <= set(report)
    assert report["n"] == 2 and report["accuracy"] == 0.5 and report["by_family"]["count"]["accuracy"] == 1
    assert json.loads((out / "report.json").read_text()) == report
    assert len((out / "answers.jsonl").read_text().splitlines()) == 2


def test_eval_without_a_server_exits_1_and_goes_on_later(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_data(tmp_path / "data"), tmp_path / "out"
    words = ["eval", "tabletop", "--data", str(data), "--out", str(out), "--limit", "1"]
    assert main([*words, "--url", "http://127.0.0.1:9"]) == 1
    assert "valor serve" in capsys.readouterr().err
    assert main([*words, "--url", url]) == 0
    assert "100.0%" in capsys.readouterr().out


def test_folder_without_truth_or_questions_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="valor tabletop render"):
        own.load(tmp_path)
    data = write_data(tmp_path / "data")
    (data / "truth.jsonl").write_text("\n")
    with pytest.raises(ConfigError, match="no truth for 'q0'"):
        own.load(data)


GOOD = {"query_id": "q9", "image": "a.png", "question": "Is it red?"}
TRUE = {"query_id": "q9", "answer": "yes", "family": "attribute"}


@pytest.mark.parametrize(
    ("file", "row", "words"),
    [
        ("queries.jsonl", [1], "not a JSON object"),
        ("queries.jsonl", GOOD | {"image": 7}, "field 'image' must be text that is not empty, not 7"),
        ("queries.jsonl", GOOD | {"image": "none.png"}, "there is no picture"),
        ("queries.jsonl", {"query_id": "q9", "image": "a.png"}, "field 'question' is missing"),
        ("queries.jsonl", GOOD | {"query_id": None}, "field 'query_id' must be text"),
        ("truth.jsonl", TRUE | {"answer": ["red"]}, "field 'answer' must be text, a number"),
        ("truth.jsonl", TRUE | {"answer": float("nan")}, "field 'answer' must be text, a number"),
        ("truth.jsonl", {"query_id": "q9", "answer": "yes"}, "field 'family' is missing"),
        ("truth.jsonl", "{", "not JSON"),
    ],
)
def test_wrong_row_is_named_with_its_file_and_exits_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, row: object, words: str
) -> None:
    data = write_data(tmp_path / "data")
    with (data / file).open("a") as rows:
        rows.write("\n" + (row if isinstance(row, str) else json.dumps(row)) + "\n")
    command = [
        "eval",
        "tabletop",
        "--data",
        str(data),
        "--url",
        "http://127.0.0.1:9",
        "--out",
        str(tmp_path / "o"),
    ]
    assert main(command) == 2
    assert f"--data {data / file} line 4: {words}" in capsys.readouterr().err


def test_missing_folder_names_the_option_and_a_row_twice_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "tabletop", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "o")]) == 2
    assert f"--data {tmp_path}/none: no such folder" in capsys.readouterr().err
    data = write_data(tmp_path / "data")
    with (data / "queries.jsonl").open("a") as rows:
        rows.write((data / "queries.jsonl").read_text().splitlines()[0] + "\n")
    with pytest.raises(ConfigError, match="'q0' stands there twice"):
        own.load(data)


def test_numbers_are_taken_as_ids(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    (data / "queries.jsonl").write_text(json.dumps(GOOD | {"query_id": 7}))
    (data / "truth.jsonl").write_text(json.dumps(TRUE | {"query_id": 7, "answer": 2.5}))
    queries, truths = own.load(data)
    assert queries[0].query_id == "7" and truths["7"].answer == 2.5


def test_rendered_set_is_complete_or_absent(tmp_path: Path) -> None:
    (tmp_path / "data.partial").mkdir()
    tabletop.make(tmp_path / "data", 2)
    queries, truths = own.load(tmp_path / "data", 2)
    assert len(queries) == 2 and Path(queries[0].image).exists() and queries[0].query_id in truths
    assert not (tmp_path / "data.partial").exists()
    with pytest.raises(ConfigError, match="holds 2 questions, fewer than 500"):
        tabletop.make(tmp_path / "data", 500)


def test_scenes_of_other_looks_are_rendered_when_asked_for_and_never_mixed(tmp_path: Path) -> None:
    tabletop.make(tmp_path / "data", 4, ("quilt", "lamp"))
    assert {row["look"] for _, row in own.rows_at(tmp_path / "data" / own.TRUTH)} == {"lamp", "quilt"}
    tabletop.make(tmp_path / "data", 4, ("lamp", "quilt"))  # is there already
    with pytest.raises(
        ConfigError, match="scenes of the look lamp, and asked for are tiles, wood, dusk, loud"
    ):
        tabletop.make(tmp_path / "data", 4)
    with pytest.raises(ConfigError, match="Unknown look 'snow': some of tiles"):
        tabletop.make(tmp_path / "other", 4, ("snow",))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("words", [["own", "--data", "data"], ["tabletop", "--data", "data"], ["vsr"]])
def test_looks_are_of_rendered_scenes_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "data")
    asked = ["eval", *words, "--looks", "lamp", "--url", "http://127.0.0.1:9", "--out", str(tmp_path / "o")]
    assert main(asked) == 2
    assert "--looks is of the tabletop's rendered scenes" in capsys.readouterr().err
