"""`valor score`: exit codes, what goes to stdout, and that nothing to do costs nothing."""

import gc
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from odd_judge import OK, behaving
from rough_endpoint import endpoint
from s3 import bucket, s3_server  # noqa: F401

from valor_ray.cli import main
from valor_ray.runs.store.objects import ObjectStore
from valor_ray.runs.store.place import local_folder, stored

GOOD = (
    "<plan>\n1. Detect every red ball.\n2. Count the boxes; no box gives 0.\n</plan>\n<answer>\n"
    'balls = gd_detect(img_pth, "red ball")\nfinal_answer = len(balls)\n</answer>'
)
ROWS = [
    {"query_id": "a", "question": "How many red balls are there?", "reply": GOOD},
    {"query_id": "a", "question": "How many red balls are there?", "reply": GOOD},
    {"query_id": "a", "question": "How many red balls are there?", "reply": "three"},
]


def words(file: Path, out: Path, *more: str) -> list[str]:
    return ["score", "--replies", str(file), "--out", str(out), "--json", *more]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "replies.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_replies_are_scored_by_the_offline_judge_and_the_same_again_is_free(
    file: Path, tmp_path: Path, capsys
) -> None:
    assert main(words(file, tmp_path / "out", "--in-process")) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["replies"], report["scored"], report["missing"]) == (3, 3, 0)
    assert (report["calls"], report["cache_hits"]) == (4, 4)  # equal replies are judged once
    assert report["heads"]["format"]["no"] == 1 and report["mean_reward"] > 0.5
    assert set(report) >= {
        "replies",
        "scored",
        "missing",
        "calls",
        "cache_hits",
        "mean_reward",
        "heads",
        "seconds",
    }

    script = "import sys\nfrom valor_ray.cli import main\ncode = main(sys.argv[1:])\n"
    script += "assert not {'ray', 'torch', 'aiohttp'} & set(sys.modules)\nsys.exit(code)"
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script, *words(file, tmp_path / "out")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert (again["calls"], again["scored"], again["mean_reward"]) == (0, 3, report["mean_reward"])
    assert time.monotonic() - start < 90  # about one second alone; the machine may be busy


def test_another_folder_with_the_same_cache_pays_nothing(file: Path, tmp_path: Path, capsys) -> None:
    cache = f"judge.cache_dir={tmp_path / 'cache'}"
    main(words(file, tmp_path / "one", "--in-process", "--set", cache))
    capsys.readouterr()
    assert main(words(file, tmp_path / "two", "--in-process", "--set", cache)) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["calls"], report["cache_hits"], report["scored"]) == (0, 8, 3)


@pytest.mark.parametrize("sign", ["run.json", "rollouts.jsonl", "checkpoints"])
def test_folder_of_a_training_run_exits_2(file: Path, tmp_path: Path, capsys, sign: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / sign).write_text('{"kind": "reasoning"}\n')
    assert main(words(file, out, "--in-process")) == 2
    said = json.loads(capsys.readouterr().out)["error"]["message"]
    assert said.endswith("is a folder of `valor train reasoning`, not of `valor score`. Give another --out.")
    assert {path.name for path in out.iterdir()} == {sign, "lock"}


def test_a_bad_row_exits_1_and_the_rest_is_scored(file: Path, tmp_path: Path, capsys) -> None:
    file.write_text(file.read_text() + '{"query_id": "b", "question": "How many?"}\n')
    assert main(words(file, tmp_path / "out", "--in-process")) == 1
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert (report["scored"], report["failed"]) == (3, 1)
    assert "1 that cannot be scored" in captured.err
    assert "line 4: field 'reply' is missing" in (tmp_path / "out" / "failed.jsonl").read_text()


@pytest.mark.parametrize("content", [None, "", "a,b\n1,2\n"])
def test_a_file_that_is_none_exits_2_and_says_what_is_needed(
    content: str | None, tmp_path: Path, capsys
) -> None:
    file = tmp_path / "replies.jsonl"
    if content is not None:
        file.write_text(content)
    assert main(words(file, tmp_path / "out")) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["code"] == "config"
    assert "query_id, question and reply" in captured.err


def test_a_key_that_is_not_set_exits_2_and_names_the_variable(
    file: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    settings = ("--set", "judge.base_url=https://host/v1", "--set", "judge.api_key_env=NO_SUCH_KEY")
    assert main(words(file, tmp_path / "out", *settings)) == 2
    assert "NO_SUCH_KEY" in capsys.readouterr().err


def test_key_of_what_sees_pictures_is_not_wanted(file: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    eyes = ("vlm.base_url=https://host/v1", "vlm.model=eyes", "vlm.api_key_env=NO_SUCH_KEY")
    settings = [word for value in eyes for word in ("--set", value)]
    assert main(words(file, tmp_path / "out", "--in-process", *settings)) == 0


def test_offline_judge_is_said_to_be_rule_based_and_another_is_not(
    file: Path, tmp_path: Path, capsys
) -> None:
    assert main(words(file, tmp_path / "out", "--in-process")) == 0
    assert capsys.readouterr().err.count("rule-based and knows tabletop questions only") == 1
    own = (
        "judge.base_url=http://127.0.0.1:9/v1",
        "judge.api_key_env=null",
        "judge.patience_s=0",
        "judge.retries=0",
    )
    overrides = [word for each in own for word in ("--set", each)]
    assert main(words(file, tmp_path / "other", "--in-process", *overrides)) == 1
    assert "rule-based" not in capsys.readouterr().err


def test_a_limit_in_dollars_ends_it_in_words_and_a_higher_one_goes_on_and_pays_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "replies.jsonl"
    rows = [
        {"query_id": str(n), "question": f"How many of {n} balls are red?", "reply": GOOD} for n in range(8)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with endpoint(behaving(OK)) as rough:  # a call is $0.0019
        own = [
            f"judge.base_url={rough.url}",
            "judge.api_key_env=null",
            "judge.price_in=1",
            "judge.price_out=10",
        ]
        own += ["judge.first_in_flight=2", "judge.hedge=false", "reward.audit_every=0"]
        command = words(
            file, tmp_path / "out", "--in-process", *(word for each in own for word in ("--set", each))
        )
        assert main([*command, "--set", "judge.max_cost_usd=0.02"]) == 1
        captured = capsys.readouterr()
        told = json.loads(captured.out)["error"]["message"]
        assert "judge.max_cost_usd=0.02 is reached" in told and "the same command goes on from there" in told
        gc.collect()
        assert "Traceback" not in captured.err and "never retrieved" not in caplog.text
        assert 0 < rough.calls <= 10
        assert main([*command, "--set", "judge.max_cost_usd=1"]) == 0
        assert rough.calls == 24 + 1  # what adherence sees is the same for all
        assert json.loads(capsys.readouterr().out)["scored"] == 8


def test_scene_tests_in_place_of_the_text_heads_ask_no_text_head(file: Path, tmp_path: Path, capsys) -> None:
    text_heads = ("logic", "attribute", "spatial", "adherence")
    own = [*(f"reward.{head}=0" for head in text_heads), "reward.scenes=0.9", "reward.audit_every=0"]
    overrides = [word for each in own for word in ("--set", each)]
    assert main(words(file, tmp_path / "out", "--in-process", *overrides)) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["scored"] == 3 and 1 <= report["calls"] <= 3  # of one question
    assert all(report["heads"][head]["yes"] + report["heads"][head]["missing"] == 0 for head in text_heads)
    assert report["judge_calls_per_reply"] == pytest.approx(report["calls"] / 3, abs=1e-4)
    assert {"scenes_left_out", "scenes_missing"} <= set(report)


def test_without_json_a_table_is_on_stdout(file: Path, tmp_path: Path, capsys) -> None:
    assert main([word for word in words(file, tmp_path / "out", "--in-process") if word != "--json"]) == 0
    captured = capsys.readouterr()
    assert "adherence" in captured.out and "report.html" in captured.out


def test_a_run_at_a_url_goes_on_from_another_machine_and_pays_nothing_twice(
    file: Path,
    tmp_path: Path,
    bucket: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = f"{bucket}/runs/score"
    for machine, calls in (("one", 4), ("two", 0)):
        monkeypatch.setenv("VALOR_STAGING", str(tmp_path / machine))
        assert main([*words(file, tmp_path), "--out", place, "--in-process"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert (report["scored"], report["calls"]) == (3, calls)
    assert ObjectStore(place).read("report.html")
    monkeypatch.setenv("VALOR_STAGING", str(tmp_path / "three"))
    more = tmp_path / "more.jsonl"
    more.write_text(file.read_text() + json.dumps(ROWS[0] | {"query_id": "b"}) + "\n")
    assert main([*words(more, tmp_path), "--out", place, "--in-process"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["scored"], report["resumed"], report["calls"]) == (4, 3, 0)  # its answers are known


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("s3://no-such-bucket-here/runs/x", "there is no such bucket or folder. Make it"),
        ("nosuch://bucket/x", "fsspec knows no nosuch://"),
        ("s3://", "give a place in a store"),
    ],
)
def test_a_place_that_cannot_be_had_is_wrong_usage(
    file: Path,
    tmp_path: Path,
    place: str,
    said: str,
    bucket: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("VALOR_STAGING", str(tmp_path / "staging"))
    try:
        code: object = main([*words(file, tmp_path), "--out", place, "--in-process"])
    except SystemExit as stopped:
        code = stopped.code
    shown = capsys.readouterr()
    assert code == 2 and said in shown.err and "Traceback" not in shown.err


def test_a_run_that_another_machine_writes_is_refused(
    file: Path,
    tmp_path: Path,
    bucket: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = f"{bucket}/runs/score"
    monkeypatch.setenv("VALOR_STAGING", str(tmp_path / "one"))
    with stored(local_folder(place), "--out", print):
        monkeypatch.setenv("VALOR_STAGING", str(tmp_path / "two"))
        assert main([*words(file, tmp_path), "--out", place, "--in-process"]) == 2
    assert f"--out {place}: another run (process " in capsys.readouterr().err
