"""`valor report`: which folders it takes, what it prints, and where it says that there is nothing to report."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from valor_ray.cli import main
from valor_ray.report.reasoning.page import write_train_page

STEP = {"step": 1, "reward": 0.5, "all_heads": 0.25, "seconds": {"wait": 30, "learn": 30}, "judge_calls": 3}


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / "config.yaml").write_text("grpo: {steps: 3}\n")
    steps = [STEP, STEP | {"step": 2, "reward": 0.75}]
    whole = "".join(json.dumps(step) + "\n" for step in steps)
    (folder / "metrics.jsonl").write_text(whole + json.dumps(STEP | {"step": 3})[:20])
    return folder


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    replies = tmp_path / "replies.jsonl"
    replies.write_text(json.dumps({"query_id": "a", "question": "How many balls?", "reply": "three"}) + "\n")
    main(["score", "--replies", str(replies), "--out", str(tmp_path / "score"), "--in-process"])
    return tmp_path / "score"


def test_a_training_folder_gets_its_page(trained: Path, capsys) -> None:
    assert main(["report", str(trained)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 of 3 steps, 0 rollouts\nreward 0.500 -> 0.750\n")
    assert out.endswith(f"page: {trained / 'report.html'}\n") and (trained / "report.html").exists()


def test_the_page_of_a_stopped_run_still_says_why(trained: Path, capsys) -> None:
    write_train_page(trained, "the loss of step 3 is nan")
    assert main(["report", str(trained), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stopped"] == "the loss of step 3 is nan"
    assert "the loss of step 3 is nan" in (trained / "report.html").read_text()


def test_json_is_one_object_and_alone(trained: Path, capsys) -> None:
    assert main(["report", str(trained), "--json"]) == 0
    out = capsys.readouterr().out
    report = json.loads(out)
    assert out.count("\n") == 1 and report == json.loads((trained / "report.json").read_text())
    assert (report["steps"], report["minutes"], report["judge_calls"], report["gain"]) == (2, 2.0, 6, None)


def test_the_page_of_a_scored_file_is_made_again(scored: Path, capsys) -> None:
    first = (scored / "report.html").read_text()
    (scored / "report.html").unlink()
    capsys.readouterr()
    assert main(["report", str(scored), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scored"] == 1
    assert (scored / "report.html").read_text() == first


@pytest.mark.parametrize(
    ("report", "said"), [(None, "has not come to its end"), ("{}", "anew"), ("{", "anew")]
)
def test_a_scored_file_without_report_names_the_command_that_makes_it(
    scored: Path, report: str | None, said: str, capsys
) -> None:
    (scored / "report.json").unlink()
    if report is not None:
        (scored / "report.json").write_text(report)
    assert main(["report", str(scored)]) == 2
    message = capsys.readouterr().err
    assert said in message and f"valor score --replies FILE --out {scored}" in message


def test_a_folder_says_what_it_is_before_it_holds_a_record(tmp_path: Path, capsys) -> None:
    for kind in ("reasoning", "score"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "run.json").write_text(json.dumps({"kind": kind}))
    assert main(["report", str(tmp_path / "reasoning")]) == 0
    assert capsys.readouterr().out.startswith("0 steps, 0 rollouts\n")
    assert main(["report", str(tmp_path / "score")]) == 2
    assert "scoring there has not come to its end" in capsys.readouterr().err


def test_a_run_of_another_kind_gets_no_page_of_training(trained: Path, capsys) -> None:
    """Whatever its records are called."""
    (trained / "run.json").write_text('{"kind": "dreaming"}')
    assert main(["report", str(trained)]) == 2
    assert "'dreaming'" in capsys.readouterr().err and not (trained / "report.html").exists()


@pytest.mark.parametrize("name", ["", "nowhere", "train/metrics.jsonl"])
def test_a_folder_that_is_no_run_is_refused_with_what_a_run_holds(trained: Path, name: str, capsys) -> None:
    folder = trained.parent / name
    assert main(["report", str(folder), "--json"]) == 2
    said = capsys.readouterr()
    assert json.loads(said.out)["error"]["code"] == "config"
    assert "metrics.jsonl" in said.err and "rewards.jsonl" in said.err and "Traceback" not in said.err


def test_a_folder_that_cannot_be_written_is_a_message(trained: Path, capsys) -> None:
    (trained / "report.json.part").mkdir()  # root may write everywhere else
    assert main(["report", str(trained)]) == 1
    assert "Cannot write" in capsys.readouterr().err


def test_no_heavy_imports(trained: Path) -> None:
    script = "import sys\nfrom valor_ray.cli import main\ncode = main(sys.argv[1:])\n"
    script += "assert not {'ray', 'torch', 'aiohttp', 'tensorboardX'} & set(sys.modules)\nsys.exit(code)"
    done = subprocess.run(
        [sys.executable, "-c", script, "report", str(trained)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
