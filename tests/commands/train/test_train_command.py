"""`valor train reasoning`: what it teaches, what it refuses, what a dry run leaves undone; that labels stay outside."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from rollout_of import rollout_of

from valor_ray.cli import main
from valor_ray.commands.train.reasoning import training_queries
from valor_ray.config.tree import Config
from valor_ray.reasoning.learner.learn import LearnerEnd
from valor_ray.reasoning.training import local as train_local
from valor_ray.reasoning.training.folder import Recorder, TrainFolder
from valor_ray.reasoning.training.host import TrainWork
from valor_ray.reasoning.training.rollout import RolloutResult
from valor_ray.runs.record_file import read_records

SMALL = (
    "--set",
    "grpo.prompts=2",
    "--set",
    "grpo.samples=2",
    "--set",
    "grpo.micro_batch=2",
    "--set",
    "grpo.steps=3",
)
SECRET = "the-label-0427"  # stands in every label of the tests' files


def words(run: Path, *more: str | Path, small: bool = True) -> list[str]:
    return ["train", "reasoning", "--run", str(run), *(SMALL if small else ()), *map(str, more)]


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    """A query file that brings labels, as data sets do."""
    rows = [
        {
            "query_id": f"q{i}", "question": f"How many red balls are on table {i}?", "answer": SECRET,
            "boxes": [[1, 2, 3, 4]], "gt_label": SECRET, "metadata": {"truth": SECRET},
        }
        for i in range(6)
    ]  # fmt: skip
    path = tmp_path / "queries.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def held_out(tmp_path: Path) -> Path:
    """Evaluation data that asks what query q3 asks, in other letters."""
    folder = tmp_path / "held_out"
    folder.mkdir()
    asked = ["How many green cubes are there?", "how many RED balls are on table 3"]
    rows = [{"query_id": f"e{i}", "image": "a.png", "question": text} for i, text in enumerate(asked)]
    truth = [{"query_id": f"e{i}", "answer": 1, "family": "count"} for i in range(2)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "truth.jsonl").write_text("".join(json.dumps(row) + "\n" for row in truth))
    (folder / "a.png").write_bytes(b"pixels")
    return folder


class Engine:
    """train_engine.TrainHost that records what it is given as rollouts."""

    stopped: str | None = None
    policy: Any = None
    works: list[TrainWork]

    def __init__(self) -> None:
        Engine.works = []

    @contextmanager
    def running(self, config: Config, folder: TrainFolder, say: Callable[[str], None]) -> Iterator[Engine]:
        yield self

    def call(self, work: Any) -> Any:
        raise AssertionError("nothing is evaluated here")

    def learn(self, work: TrainWork) -> LearnerEnd:
        Engine.works.append(work)
        for assignment in work.assignments:
            told = json.dumps(asdict(assignment))  # all that a rollout worker gets
            row = rollout_of(assignment.step, assignment.shard, reply=told)
            work.record(RolloutResult(assignment.step, assignment.shard, [row], [], 0, 0))
        return LearnerEnd(0, self.stopped)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> type[Engine]:
    monkeypatch.setattr(train_local, "LocalTrainHost", Engine)
    monkeypatch.setattr(Engine, "stopped", None)
    return Engine


def refused(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """What a command says that exits 2; --json says it too."""
    try:
        code = main([*command, "--json"])
    except SystemExit as left:  # argparse
        code = int(left.code or 0)
    captured = capsys.readouterr()
    assert code == 2 and "Traceback" not in captured.err
    if captured.out:
        assert json.loads(captured.out)["error"]["code"] == "config"
    return captured.err


# what it teaches


def test_help_shows_examples_files_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["train", "reasoning", "--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    for word in (
        "valor train reasoning --run", "--dry-run", "--replay", "SOURCE is", "never read", "rollouts.jsonl",
        "report.html", "the same command goes on", "Exit code 0", "ray job submit", "valor doctor --settings grpo",
        "api_key_env", "truth.jsonl", "grpo.eval_questions=0", "valor serve --set policy.model=",
    ):  # fmt: skip
        assert word in said, word


# what it refuses


def test_wrong_words_exit_2_with_advice(
    tmp_path: Path, queries: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    for command, advice in (
        (words(run, "--set", "grpo.promts=3"), "grpo.prompts"),
        (words(run, "--queries", tmp_path / "none.jsonl"), "none.jsonl"),
        (words(run, "--queries", queries, "--set", "grpo.micro_batch=3"), "grpo.micro_batch=2"),
        (words(run, "--queries", queries, "--set", "grpo.prompts=50"), "grpo.prompts=6"),
        (words(run, "--replay", tmp_path, "--dry-run"), "not allowed with"),
        (words(run, "--replay", tmp_path), "rollouts"),
        (
            words(run, "--queries", queries, "--eval-data", tmp_path / "none"),
            f"--eval-data {tmp_path}/none: no such",
        ),
        (["train", "reasoning"], "--run"),
        (["train"], "WHAT"),
    ):
        assert advice in refused(capsys, *command), command
    assert not (run / "rollouts.jsonl").exists() and not (run / "data").exists()


@pytest.mark.parametrize("more", [[], ["--dry-run"], ["--in-process"]])
def test_run_folder_that_is_a_file_exits_2(
    tmp_path: Path, queries: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    (tmp_path / "run").write_text("not a folder")
    assert "--run" in refused(capsys, *words(tmp_path / "run", "--queries", queries, *more))
    assert "--run" in refused(capsys, *words(tmp_path / "run", *more))  # before anything is rendered
    assert (tmp_path / "run").read_text() == "not a folder"


@pytest.mark.parametrize("more", [["--dry-run"], ["--in-process"]])
def test_folder_of_scores_exits_2_before_anything_is_rendered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    (tmp_path / "rewards.jsonl").write_text("")
    said = refused(capsys, *words(tmp_path, *more))
    assert "is a folder of `valor score`, not of `valor train reasoning`. Give another --run." in said
    assert {path.name for path in tmp_path.iterdir()} <= {"rewards.jsonl", "lock"}


def test_folder_in_which_another_run_works_exits_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with TrainFolder(tmp_path / "run").locked():
        assert "another run" in refused(capsys, *words(tmp_path / "run"))
    assert not (tmp_path / "run" / "data").exists()


@pytest.mark.parametrize("more", [["--dry-run"], ["--in-process"]])
def test_training_rows_that_are_evaluation_rows_are_refused_with_the_list(
    tmp_path: Path,
    queries: Path,
    held_out: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    host: Any,
) -> None:
    said = refused(capsys, *words(tmp_path / "run", "--queries", queries, "--eval-data", held_out, *more))
    assert "1 query" in said and "q3, evaluation row e1: 'How many red balls are on table 3?'" in said
    assert not (tmp_path / "run" / "rollouts.jsonl").exists()


def test_example_of_a_prompt_is_no_training_query(
    tmp_path: Path, queries: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from valor_ray.queries.apart import prompt_examples

    with queries.open("a") as file:
        file.write(json.dumps({"query_id": "shown", "question": prompt_examples()[0]}) + "\n")
    said = refused(capsys, *words(tmp_path / "run", "--queries", queries, "--dry-run"))
    assert "shown, an example in a prompt" in said


def test_replay_needs_no_key_of_a_judge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    hosted = ("--set", "judge.base_url=https://host/v1", "--set", "judge.api_key_env=NO_SUCH_KEY")
    assert "NO_SUCH_KEY" in refused(capsys, *words(tmp_path / "run", *hosted))
    assert not (tmp_path / "run").exists()
    assert "no rollouts" in refused(capsys, *words(tmp_path / "run", "--replay", tmp_path, *hosted))


def test_key_of_what_sees_pictures_is_wanted_where_held_out_questions_are_asked(
    tmp_path: Path,
    queries: Path,
    host: type[Engine],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    values = ("vlm.base_url=https://host/v1", "vlm.model=eyes", "vlm.api_key_env=NO_SUCH_KEY")
    eyes = [word for value in values for word in ("--set", value)]
    said = refused(capsys, *words(tmp_path / "run", *eyes))
    assert "NO_SUCH_KEY (named by vlm.api_key_env)" in said and not (tmp_path / "run").exists()
    assert main(in_process(tmp_path / "run", queries, *eyes)) == 0


# a dry run


def planned(*command: str) -> dict[str, Any]:
    """The plan that a process of its own prints, which must not have loaded what a run needs (torch for shapes)."""
    script = "import sys\nfrom valor_ray.cli import main\ncode = main(sys.argv[1:])\n"
    script += "assert not {'ray', 'vllm', 'trl'} & set(sys.modules)\nsys.exit(code)"
    done = subprocess.run([sys.executable, "-c", script, *command, "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), 0),
        (("--set", "policy.model=Qwen/Qwen3-8B"), 1),
        (("--set", "judge.base_url=https://host/v1", "--set", "policy.model=Qwen/Qwen3-8B"), 0),
    ],
)
def test_another_policy_before_the_offline_judge_is_told_that_it_is_rule_based(
    tmp_path: Path, capsys, more: tuple[str, ...], said: int
) -> None:
    assert main(words(tmp_path / "run", "--dry-run", *more)) == 0
    assert capsys.readouterr().err.count("rule-based and knows tabletop questions only") == said


def test_other_questions_before_the_offline_judge_are_told_that_it_is_rule_based(
    tmp_path: Path, queries: Path, capsys
) -> None:
    assert main(words(tmp_path / "run", "--queries", queries, "--dry-run")) == 0
    assert capsys.readouterr().err.count("rule-based") == 1


def test_dry_run_prints_the_plan_and_leaves_no_trace(tmp_path: Path, queries: Path) -> None:
    plan = planned(*words(tmp_path / "run", "--queries", queries, "--dry-run"))
    assert (plan["queries"], plan["steps"], plan["replies"]) == (6, 3, 12)
    assert not (tmp_path / "run").exists()


def test_dry_run_of_tabletop_scenes_renders_none(tmp_path: Path) -> None:
    plan = planned(*words(tmp_path / "run", "--dry-run", small=False))
    grpo = Config.load("local").grpo
    assert (plan["queries"], plan["steps"]) == (grpo.query_limit, grpo.steps)
    assert plan["replies"] == plan["steps"] * grpo.prompts * grpo.samples
    assert not (tmp_path / "run").exists()
    limited = planned(*words(tmp_path / "run", "--dry-run", "--set", "grpo.query_limit=9"))
    assert limited["queries"] == 9


def test_dry_run_with_a_judge_of_ones_own_needs_no_key_and_says_what_the_cost_wants(
    tmp_path: Path, queries: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUDGE_API_KEY", raising=False)
    judge = tmp_path / "judge.yaml"
    judge.write_text("judge: {base_url: https://host/v1, model: my-vlm, api_key_env: JUDGE_API_KEY}\n")
    command = words(tmp_path / "run", "--queries", queries, "--profile", judge, "--dry-run")
    assert main(command) == 0
    said = capsys.readouterr().out.splitlines()
    assert f"{'judge_cost_usd':<38}–" in said
    assert f"{'cost_assumes':<38}no price: set judge.price_in and judge.price_out" in said
    assert main([*command, "--json", "--set", "judge.price_in=1"]) == 0
    assert json.loads(capsys.readouterr().out)["judge_cost_usd"] == pytest.approx(0.06, abs=0.005)


def test_queries_that_the_limit_leaves_out_are_told(
    tmp_path: Path, queries: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = words(tmp_path / "run", "--queries", queries, "--dry-run", "--set")
    assert main([*command, "grpo.query_limit=4"]) == 0
    assert "the first 4 queries are used, and there are more (grpo.query_limit)" in capsys.readouterr().err
    assert main([*command, "grpo.query_limit=6"]) == 0
    assert "there are more" not in capsys.readouterr().err


def test_dry_run_of_a_started_run_changes_nothing_in_it(
    tmp_path: Path, queries: Path, host: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    main(words(run, "--queries", queries, "--in-process", "--set", "grpo.eval_questions=0"))
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert main(words(run, "--queries", queries, "--dry-run")) == 0
    assert "judge_calls" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


# a run


def in_process(run: Path, queries: Path, *more: str) -> list[str]:
    return words(run, "--queries", queries, "--in-process", "--set", "grpo.eval_questions=0", *more)


def test_labels_of_a_query_file_reach_nothing_of_the_run(
    tmp_path: Path, queries: Path, host: type[Engine], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(in_process(tmp_path / "run", queries, "--json")) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["rollouts"]["used"] == 3
    assert "4 columns ignored; labels by their names: answer, boxes, gt_label" in captured.err
    assert list(read_records(tmp_path / "run" / "queries.jsonl"))[0] == {
        "query_id": "q0", "question": "How many red balls are on table 0?", "image": "",
    }  # fmt: skip
    assert SECRET not in repr(host.works) and SECRET in queries.read_text()
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(files) > 6
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_run_without_source_renders_its_scenes_once_and_without_truth(
    tmp_path: Path, host: type[Engine]
) -> None:
    command = words(
        tmp_path / "run", "--in-process", "--set", "grpo.eval_questions=0", "--set", "grpo.query_limit=4"
    )
    assert main(command) == 0
    data = tmp_path / "run" / "data"
    assert sorted(path.name for path in data.iterdir()) == ["images", "queries.jsonl"]
    written = (data / "queries.jsonl").stat().st_mtime_ns
    assert main(command) == 0 and (data / "queries.jsonl").stat().st_mtime_ns == written
    assert host.works[0].assignments == [] and len(host.works[0].recorded) == 3


def test_scenes_and_training_have_seeds_of_their_own(tmp_path: Path) -> None:
    def rendered(name: str, *seeds: str) -> bytes:
        config = Config.load("local", ["grpo.query_limit=4", *seeds])
        training_queries(config, tmp_path / name)
        return (tmp_path / name / "data" / "queries.jsonl").read_bytes()

    alone = rendered("a", "grpo.seed=7")
    assert rendered("b", "grpo.seed=99", "grpo.scene_seed=7") == alone
    assert rendered("c", "grpo.seed=7", "grpo.scene_seed=0") == rendered("d") != alone
    assert rendered("e", f"grpo.seed={2**40}") not in (alone, rendered("f", f"grpo.seed={2**40 + 1}"))


def test_stopped_run_exits_1_and_says_why(
    tmp_path: Path, queries: Path, host: type[Engine], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(host, "stopped", "the loss of step 1 is nan")
    assert main(in_process(tmp_path / "run", queries)) == 1
    said = capsys.readouterr().out
    assert "stopped: the loss of step 1 is nan" in said and "report.html" in said


def test_run_ends_with_the_command_that_uses_its_newest_weights(
    tmp_path: Path, queries: Path, host: type[Engine], capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(in_process(run, queries)) == 0
    assert "use it:" not in capsys.readouterr().out
    for name in ("step-000000", "step-000002", "step-000003", "step-000004.part"):
        (run / "weights" / name).mkdir()
    assert main(in_process(run, queries, "--set", "policy.max_tokens=300")) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert f"valor serve --set policy.max_tokens=300 --set policy.model={run}/weights/step-000003 " in last
    assert "valor eval" in last


def test_one_process_learns_where_there_is_no_ray_train(
    tmp_path: Path, queries: Path, host: type[Engine]
) -> None:
    assert main(in_process(tmp_path / "run", queries, "--set", "grpo.workers=4")) == 0
    assert host.works[0].config.grpo.workers == 1


def test_other_settings_in_the_same_folder_exit_2(
    tmp_path: Path, queries: Path, host: type[Engine], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(in_process(tmp_path / "run", queries)) == 0
    capsys.readouterr()
    said = refused(capsys, *in_process(tmp_path / "run", queries, "--set", "grpo.kl=0.5"))
    assert "grpo.kl 0.01 -> 0.5" in said


def test_replay_of_a_scored_file_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = tmp_path / "scores"
    scores.mkdir()
    (scores / "rewards.jsonl").write_text("")
    said = refused(capsys, *words(tmp_path / "run", "--replay", scores))
    assert f"--replay {scores} is a folder of `valor score`" in said and "another --replay" in said
    assert not (tmp_path / "run").exists()


def test_replay_of_another_setting_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old").mkdir()
    recorder = Recorder(TrainFolder(tmp_path / "old"))
    recorder.record(RolloutResult(1, 0, [rollout_of(1)] * 9, [], 0.0, 0.0))
    recorder.close()
    said = refused(capsys, *words(tmp_path / "run", "--replay", tmp_path / "old"))
    assert "9 replies" in said and "config.yaml" in said


@pytest.mark.parametrize("mode", [(), ("--dry-run",), ("--in-process",), ("--rollouts-only",)])
def test_a_writer_behind_an_endpoint_is_refused(tmp_path: Path, capsys, mode: tuple[str, ...]) -> None:
    writer = ("--set", "policy.endpoint.base_url=http://host/v1", "--set", "policy.endpoint.model=gpt-4o")
    assert main(["train", "reasoning", "--run", str(tmp_path / "run"), *mode, *writer]) == 2
    said = capsys.readouterr().err
    assert "gpt-4o at http://host/v1 cannot be trained" in said and "no log-probabilities" in said
    assert not (tmp_path / "run").exists()
