"""The run folder: one run of one setting at a time, and what a killed run finds when it goes on."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from rollout_of import rollout_of

from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.reasoning.training.folder import FolderSamples, Recorder, TrainFolder
from valor_ray.reasoning.training.rollout import RolloutResult
from valor_ray.records import Query, Sample
from valor_ray.runs.checkpoints import Keep, write_metrics
from valor_ray.runs.record_file import read_records

QUERIES = [Query("a", "How many balls?"), Query("b", "Which is left, “a” or b?")]


@pytest.fixture
def folder(tmp_path: Path) -> TrainFolder:
    made = TrainFolder(tmp_path)
    made.prepare(Config.load("local"))
    return made


def outcome(step: int, shard: int = 0, rows: int = 3, audit: int = 0) -> RolloutResult:
    return RolloutResult(
        step,
        shard,
        [rollout_of(step, shard, sample=i) for i in range(rows)],
        [{"query_id": f"canary-{i}", "step": step, "shard": shard} for i in range(audit)],
        0.0,
        0.0,
    )


def record(folder: TrainFolder, *outcomes: RolloutResult) -> None:
    recorder = Recorder(folder)
    for one in outcomes:
        recorder.record(one)
    recorder.close()


def places(folder: TrainFolder, after: int = 0) -> list[tuple[int, int, int]]:
    return [(one.step, one.shard, len(one.rollouts)) for one in folder.recorded(after)]


def write_steps(path: Path, *steps: int) -> None:
    path.write_text("".join(json.dumps({"step": step, "loss": step / 10}) + "\n" for step in steps))


def steps_in(path: Path) -> list[int]:
    return [row["step"] for row in read_records(path)]


# settings and queries of the run


def test_other_settings_are_refused_and_named(folder: TrainFolder) -> None:
    with pytest.raises(ConfigError) as refused:
        folder.prepare(Config.load("local", ["grpo.kl=0.5", "judge.noise=0.3", "grpo.steps=3"]))
    said = str(refused.value)
    assert "grpo.kl 0.01 -> 0.5" in said and "judge.noise 0.0 -> 0.3" in said and "another --run" in said
    assert "grpo.steps" not in said  # a run may be made longer
    kept = yaml.safe_load(folder.config.read_text())
    assert kept["grpo"]["kl"] == 0.01  # the refused ones have left no trace


def test_folder_from_before_scenes_had_a_seed_goes_on_and_takes_no_other_scenes(folder: TrainFolder) -> None:
    kept = yaml.safe_load(folder.config.read_text())
    del kept["grpo"]["scene_seed"]
    folder.config.write_text(yaml.safe_dump(kept))
    with pytest.raises(ConfigError, match=r"grpo\.scene_seed None -> 3"):
        folder.prepare(Config.load("local", ["grpo.scene_seed=3"]))
    folder.prepare(Config.load("local"))


def test_settings_that_decide_nothing_may_change_and_are_kept(folder: TrainFolder) -> None:
    folder.prepare(Config.load("local", ["grpo.threads=2", "policy.replicas=3", "grpo.steps=7"]))
    kept = yaml.safe_load(folder.config.read_text())
    assert (kept["grpo"]["threads"], kept["policy"]["replicas"], kept["grpo"]["steps"]) == (2, 3, 7)


@pytest.mark.parametrize("content", [b"", b"- 1\n", b"grpo: [\n", b"\xff\xfe", b"grpo: 3\n"])
def test_settings_that_cannot_be_read_are_an_error_with_advice(folder: TrainFolder, content: bytes) -> None:
    folder.config.write_bytes(content)
    with pytest.raises(ConfigError, match="another --run"):
        folder.prepare(Config.load("local"))


def test_folder_from_before_the_section_vlm_goes_on_with_what_saw_pictures_then(folder: TrainFolder) -> None:
    kept = yaml.safe_load(folder.config.read_text())
    del kept["vlm"], kept["judge"]["extra"]
    old = yaml.safe_dump(kept)
    folder.config.write_text(old)
    folder.prepare(Config.load("local", ["vlm.max_in_flight=8"]))
    for setting, said in (
        ("vlm.noise=0.1", r"\(vlm\.noise 0\.0 -> 0\.1\)"),
        ("vlm.model=eyes", r"\(vlm\.model tabletop-judge -> eyes\)"),
        ("vlm.extra.top_k=3", r"\(vlm\.extra \{\} -> \{'top_k': 3\}\)"),
        ("judge.extra.top_k=3", r"judge\.extra \{\} -> \{'top_k': 3\}; vlm\.extra"),
    ):
        folder.config.write_text(old)
        with pytest.raises(ConfigError, match=said):
            folder.prepare(Config.load("local", [setting]))


def test_a_run_of_several_judges_goes_on_with_those_alone(tmp_path: Path) -> None:
    several = "=[{model: a, base_url: 'http://a/v1'}, {model: b, base_url: 'http://b/v1'}]"
    before = [f"judge.others{several}", "judge.combine=vote"]
    folder = TrainFolder(tmp_path)
    folder.prepare(Config.load("local", before))
    folder.prepare(Config.load("local", [*before, "judge.retries=9"]))
    models = r"\['tabletop-judge', 'a', 'b'\]"
    for others, said in (
        ([before[0], "judge.combine=share"], r"judge\.combine vote -> share"),
        ([], rf"judge\.model {models} -> tabletop-judge; judge\.combine vote -> None"),
        ([*before, "vlm.combine=share"], r"\(vlm\.combine vote -> share\)"),
    ):
        with pytest.raises(ConfigError, match=said):
            folder.prepare(Config.load("local", others))


def test_a_run_goes_on_with_the_prompts_that_it_was_started_with(
    folder: TrainFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verdicts of other prompts would be other rewards; a prompt that came later has made none of them."""
    prompts = folder.path / "prompts.json"
    kept = json.loads(prompts.read_text())
    prompts.write_text(json.dumps({name: kept[name] for name in kept if name != "prompt of spatial"}))
    folder.prepare(Config.load("local"))
    monkeypatch.setattr("valor_ray.reasoning.scoring.folder.prompt_version", lambda head: "other")
    with pytest.raises(ConfigError, match=r"prompt of logic \w+ -> other"):
        folder.prepare(Config.load("local"))
    prompts.write_text("[3")
    with pytest.raises(ConfigError, match="another --run"):
        folder.prepare(Config.load("local"))
    prompts.unlink()  # a run from before they were kept
    folder.prepare(Config.load("local"))
    assert json.loads(prompts.read_text())["prompt of logic"] == "other"


def test_secret_of_an_url_is_not_written_and_is_no_difference(tmp_path: Path) -> None:
    config = Config.load("local", ["judge.base_url=https://me:secret@host/v1"])
    for _ in range(2):
        TrainFolder(tmp_path).prepare(config)
    assert "secret" not in (tmp_path / "config.yaml").read_text()


def test_other_queries_are_refused(folder: TrainFolder) -> None:
    folder.keep_queries(QUERIES)
    folder.keep_queries(QUERIES)
    for others in (QUERIES[:1], QUERIES[::-1], [Query("a", "How many cubes?"), QUERIES[1]]):
        with pytest.raises(ConfigError, match="another --run"):
            folder.keep_queries(others)
    assert [row["query_id"] for row in read_records(folder.queries)] == ["a", "b"]


def test_folder_of_scores_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rewards.jsonl").write_text("")
    with pytest.raises(ConfigError, match="valor score"), TrainFolder(tmp_path).locked():
        pass
    assert not (tmp_path / "run.json").exists()


def test_steps_keep_their_shards_when_replicas_come_and_go(folder: TrainFolder) -> None:
    assert folder.shards(Config.load("local", ["policy.replicas=2"])) == 2
    for replicas in (1, 3):
        assert TrainFolder(folder.path).shards(Config.load("local", [f"policy.replicas={replicas}"])) == 2


# what a killed run goes on with


def test_canaries_of_an_order_that_was_not_recorded_go(folder: TrainFolder) -> None:
    record(folder, outcome(1, audit=1), outcome(2, audit=2))
    folder.rollouts.write_bytes(folder.rollouts.read_bytes()[:-5])
    folder.go_back(0)
    assert steps_in(folder.audit) == [1]


def test_samples_of_recorded_orders_go_and_those_of_others_stay(folder: TrainFolder) -> None:
    record(folder, outcome(1))
    kept_samples = FolderSamples(folder.samples)
    for assignment in ("s000001-0", "s000002-0"):
        kept_samples.keep(assignment, 0, [])
    folder.go_back(0)
    assert [path.name for path in folder.samples.iterdir()] == ["s000002-0-0.json"]


def test_recorded_orders_come_back_whole_after_a_step(folder: TrainFolder) -> None:
    record(folder, outcome(1), outcome(2, 1, 2), outcome(2, 0, 4), outcome(3))
    assert places(folder) == [(1, 0, 3), (2, 1, 2), (2, 0, 4), (3, 0, 3)]
    assert places(folder, after=1) == [(2, 1, 2), (2, 0, 4), (3, 0, 3)]
    assert places(folder, after=3) == []


def test_torn_line_goes_and_with_it_its_order(folder: TrainFolder) -> None:
    record(folder, outcome(1), outcome(2))
    whole = folder.rollouts.read_bytes()
    for cut in (1, 20, len(whole.splitlines()[-1]) + 5):  # within the last line, and in the one before
        folder.rollouts.write_bytes(whole[:-cut])
        folder.go_back(0)
        assert places(folder) == [(1, 0, 3)]
    record(folder, outcome(2))
    assert folder.rollouts.read_bytes() == whole


def test_part_of_an_order_goes(folder: TrainFolder) -> None:
    record(folder, outcome(1), outcome(1, 1))
    lines = folder.rollouts.read_bytes().splitlines(keepends=True)
    for kept, whole in ((6, 2), (5, 1), (4, 1), (3, 1), (2, 0), (1, 0), (0, 0)):
        folder.rollouts.write_bytes(b"".join(lines[:kept]))
        folder.go_back(0)
        assert len(places(folder)) == whole


def test_spoilt_line_is_an_error_that_names_it(folder: TrainFolder) -> None:
    record(folder, outcome(1))
    folder.rollouts.write_bytes(b"{broken\n" + folder.rollouts.read_bytes())
    with pytest.raises(ConfigError, match=r"rollouts\.jsonl line 1"):
        folder.go_back(0)


def test_steps_after_the_checkpoint_are_made_again_and_their_rollouts_stay(folder: TrainFolder) -> None:
    record(folder, *(outcome(step, audit=1) for step in (1, 2, 3)))
    write_steps(folder.metrics, 1, 2, 3)
    write_steps(folder.evaluation, 0, 3)
    with folder.metrics.open("a") as file:
        file.write('{"step": 4, "lo')
    folder.go_back(2)
    assert (steps_in(folder.metrics), steps_in(folder.evaluation)) == ([1, 2], [0])
    assert len(places(folder)) == 3 and steps_in(folder.audit) == [1, 2, 3]


def test_metrics_that_died_with_the_driver_are_in_the_checkpoint(folder: TrainFolder) -> None:
    """Killed between a checkpoint and the notes of its steps: they are there, in order, and only they."""
    written = folder.checkpoints.part / "checkpoint-4"
    written.mkdir(parents=True)
    write_metrics(written, [{"step": step, "loss": step / 10} for step in (1, 2, 3, 4)])
    folder.checkpoints.keep(written, 4, Keep(2))
    write_steps(folder.metrics, 1, 2)
    with folder.metrics.open("a") as file:
        file.write('{"step": 3, "lo')
    folder.go_back(4)
    assert folder.lost_metrics(4) == [{"step": 3, "loss": 0.3}, {"step": 4, "loss": 0.4}]


def test_checkpoint_of_an_earlier_version_has_no_metrics_to_give(folder: TrainFolder) -> None:
    folder.checkpoints.checkpoint(4).mkdir()
    write_steps(folder.metrics, 1, 2)
    assert folder.lost_metrics(4) == [] and TrainFolder(folder.path).lost_metrics(0) == []


def test_replies_that_were_set_aside_under_another_name_stay(folder: TrainFolder) -> None:
    for name in ("step-000002", "step-000004", "step-000004.broken"):
        (folder.signals_work / name).mkdir(parents=True)
    folder.go_back(2)
    assert sorted(path.name for path in folder.signals_work.iterdir()) == [
        "step-000002",
        "step-000004.broken",
    ]


def test_new_folder_has_nothing_to_go_back_from(folder: TrainFolder) -> None:
    folder.go_back(0)
    assert places(folder) == [] and folder.checkpoints.newest() == 0


BEFORE = Path(__file__).parent / "written_by_5f7f00f"  # by the code before there was a Rollout record


def test_rollouts_of_an_older_version_come_back_and_keep_what_they_were(tmp_path: Path) -> None:
    old, new = TrainFolder(BEFORE), TrainFolder(tmp_path)
    new.prepare(Config.load("local"))
    record(new, *old.recorded(2))
    later = {"scenes": None, "left_out": [], "scene_test": ""}  # of heads that the older version did not know
    before, now = (list(read_records(folder.rollouts)) for folder in (old, new))
    assert now == [record | later for record in before] and len(now) == 4
    kept = [{name: value for name, value in record.items() if name not in later} for record in now]
    lines = [json.dumps(record, ensure_ascii=False) for record in kept]
    assert lines == old.rollouts.read_text(encoding="utf-8").rstrip("\n").split("\n")
    (one,) = old.recorded(0)
    assert [(row.value, row.fate) for row in one.rollouts] == [
        (1.0, "used"), (0.8, "used"), (None, "missing"), (0.0, "used")
    ]  # fmt: skip
    assert one.rollouts[1].versions == (("step-000001", 2), ("step-000002", 1))
    assert one.rollouts[1].reasons["spatial"] == "weil ï spatial" and one.rollouts[3].syntax is None


# samples that are not judged yet


def test_kept_samples_of_an_older_version_come_back_and_are_kept_as_they_were(folder: TrainFolder) -> None:
    kept = FolderSamples(BEFORE).kept("s000003-0", 0)
    assert kept is not None and [sample.rollout_id[-1] for sample in kept] == ["0", "1", "2", "3"]
    FolderSamples(folder.samples).keep("s000003-0", 0, kept)
    name = "s000003-0-0.json"
    assert (folder.samples / name).read_bytes() == (BEFORE / name).read_bytes()


def sample(value: float, text: str = "reply") -> Sample:
    return Sample(
        "s000001-0-00-0", 1, 0, 0, 0, "a", "How many?", text, (7, 8), (1, 2, 3), (value, -0.1, -1e-30),
        (("step-000000", 2), ("step-000001", 1)), "stop",
    )  # fmt: skip


def test_kept_samples_come_back_bit_for_bit(folder: TrainFolder) -> None:
    kept_samples = FolderSamples(folder.samples)
    values = (-1 / 3, -0.1 - 0.2, -math.pi * 1e-17, -0.0, -5e-324, -87.33654475055312)
    kept = [sample(value, f'line\n"é\u2028{value}') for value in values]
    kept_samples.keep("s000001-0", 0, kept)
    back = FolderSamples(folder.samples).kept("s000001-0", 0)
    assert back == kept and back is not None
    assert [one.logprobs[0].hex() for one in back] == [value.hex() for value in values]


def test_samples_belong_to_a_part_of_an_order_and_go_when_it_is_recorded(folder: TrainFolder) -> None:
    kept_samples = FolderSamples(folder.samples)
    for assignment_id, part in (("s000001-0", 0), ("s000001-0", 1), ("s000001-1", 0), ("s000001-10", 0)):
        kept_samples.keep(assignment_id, part, [sample(-1.0, f"{assignment_id} {part}")])
    kept = kept_samples.kept("s000001-0", 1)
    assert kept is not None and kept[0].reply == "s000001-0 1"
    assert kept_samples.kept("s000001-0", 2) is None
    record(folder, outcome(1, 0))
    left = sorted(path.name for path in folder.samples.iterdir())
    assert left == ["s000001-1-0.json", "s000001-10-0.json"]


# one run at a time

HOLD = """\
import sys, pathlib
from valor_ray.reasoning.training.folder import TrainFolder
with TrainFolder(pathlib.Path(sys.argv[1])).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_second_process_is_refused_until_the_first_one_is_gone(tmp_path: Path) -> None:
    held: Any = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert held.stdout.readline() == "locked\n"
        with (
            pytest.raises(ConfigError, match=f"process {held.pid}.*another --run"),
            TrainFolder(tmp_path).locked(),
        ):
            pass
    finally:
        held.kill()  # as the kernel would: nobody tidies up
        held.wait()
        held.stdin.close()
        held.stdout.close()
    with TrainFolder(tmp_path).locked():
        pass


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(ConfigError, match="can be written"), TrainFolder(tmp_path / "run").locked():
        pass
