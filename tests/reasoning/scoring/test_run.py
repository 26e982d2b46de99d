"""`valor score` without Ray and without judges: files, resume, and what becomes of each row."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError, JudgeError
from valor_ray.reasoning.score_row import score_row
from valor_ray.reasoning.scoring.folder import ScoreFolder
from valor_ray.reasoning.scoring.run import score
from valor_ray.reasoning.scoring.work import shard_rows
from valor_ray.records import Head, Reward, Usage, Verdict

REPLIES = [
    {"query_id": f"q{n // 2}", "question": f"Question {n // 2}?", "reply": f"reply {n}"} for n in range(10)
]
IDS = [f"q{n}#{k}" for n in range(5) for k in (1, 2)]


class Judges:
    """A host whose verdicts are in the test's hand: replies in `missing` get none, `broken` raise, `stop` kills."""

    def __init__(self, missing: str = "", broken: str = "", stop: str = "", refuse: bool = False) -> None:
        self.missing, self.broken, self.stop, self.refuse = missing, broken, stop, refuse
        self.asked: list[str] = []

    async def reward(self, question: str, reply: str) -> Reward:
        self.asked.append(reply)
        if self.refuse:
            raise JudgeError("The judge refuses the key.")
        if reply == self.broken:
            raise RuntimeError("sandbox gone")
        verdicts = {Head.FORMAT: Verdict(True)} | {
            head: Verdict(True, "fine") for head in Head if head is not Head.FORMAT
        }
        if reply == self.missing:
            verdicts[Head.LOGIC] = Verdict(None, "no answer")
        value = None if reply == self.missing else 1.0
        return Reward(value, verdicts, {Head.LOGIC: Usage(0.1, 10, 2, 0.001, 1)}, 0.1)

    def rows(self, work) -> Iterator[dict]:
        for row in shard_rows(work.shards):
            if row["reply"] == self.stop:
                raise KeyboardInterrupt
            yield asyncio.run(score_row(row, self.reward))

    def trouble(self) -> str:
        return ""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "replies.jsonl", REPLIES)


def write(path: Path, rows: list) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(file: Path, out: Path, judges: Judges, *overrides: str, limit: int | None = None) -> dict:
    config = Config.load("local", ["reward.audit_every=0", *overrides])
    return score(file, out, config, judges, limit=limit)


def ids(path: Path) -> list[str]:
    return [json.loads(line)["reply_id"] for line in path.read_text().splitlines()]


def test_every_reply_is_scored_once_under_its_place_among_its_querys_replies(
    tmp_path: Path, file: Path
) -> None:
    out = tmp_path / "out"
    report = run(file, out, Judges())
    assert (report["replies"], report["scored"], report["missing"], report["failed"]) == (10, 10, 0, 0)
    assert (report["mean_reward"], report["calls"], report["cost_usd"]) == (1.0, 10, 0.01)
    assert ids(out / "rewards.jsonl") == IDS
    assert not (out / "work").exists()
    record = json.loads((out / "rewards.jsonl").read_text().splitlines()[3])
    assert record["reply"] == "reply 3" and record["logic"] is True and record["reasons"]["logic"] == "fine"


def test_a_second_run_asks_nobody_and_reports_the_same(tmp_path: Path, file: Path) -> None:
    first = run(file, tmp_path / "out", Judges())
    judges = Judges(refuse=True)
    second = run(file, tmp_path / "out", judges)
    assert judges.asked == []
    assert (second["calls"], second["cache_hits"], second["resumed"]) == (0, 0, 10)
    assert {key: second[key] for key in ("scored", "mean_reward", "heads")} == {
        key: first[key] for key in ("scored", "mean_reward", "heads")
    }


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path, file: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(file, tmp_path / "out", Judges(stop="reply 6"))
    judges = Judges()
    report = run(file, tmp_path / "out", judges)
    assert judges.asked == ["reply 6", "reply 7", "reply 8", "reply 9"]
    assert (report["scored"], report["resumed"]) == (10, 6)
    assert sorted(ids(tmp_path / "out/rewards.jsonl")) == IDS


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_a_record_that_a_kill_has_torn_is_scored_again(tmp_path: Path, file: Path, kept: int) -> None:
    out = tmp_path / "out"
    run(file, out, Judges())
    rewards = out / "rewards.jsonl"
    lines = rewards.read_bytes().splitlines(keepends=True)
    rewards.write_bytes(b"".join(lines[:7]) + lines[7][:kept])
    judges = Judges()
    assert run(file, out, judges)["scored"] == 10
    assert judges.asked == ["reply 7", "reply 8", "reply 9"]
    assert sorted(ids(rewards)) == IDS


def test_a_missing_verdict_is_no_reward_and_is_asked_for_again(tmp_path: Path, file: Path) -> None:
    out = tmp_path / "out"
    report = run(file, out, Judges(missing="reply 4"))
    assert (report["scored"], report["missing"], report["mean_reward"]) == (9, 1, 1.0)
    assert report["heads"]["logic"]["missing"] == 1
    assert ids(out / "missing.jsonl") == ["q2#1"]
    judges = Judges()
    report = run(file, out, judges)
    assert judges.asked == ["reply 4"]
    assert (report["scored"], report["missing"], (out / "missing.jsonl").read_text()) == (10, 0, "")


def test_a_row_whose_scoring_fails_stays_a_row_with_its_error(tmp_path: Path, file: Path) -> None:
    report = run(file, tmp_path / "out", Judges(broken="reply 4"))
    assert (report["scored"], report["failed"], report["missing"]) == (9, 1, 0)
    failed = json.loads((tmp_path / "out/failed.jsonl").read_text())
    assert (failed["reply_id"], failed["error"]) == ("q2#1", "RuntimeError: sandbox gone")


def test_bad_rows_are_rows_of_the_output_and_the_others_keep_their_names(tmp_path: Path) -> None:
    rows = [REPLIES[0], {"query_id": "q0", "question": "Question 0?", "reply": 3}, REPLIES[1], "no object"]
    report = run(write(tmp_path / "r.jsonl", rows), tmp_path / "out", Judges())
    assert (report["replies"], report["scored"], report["failed"], report["missing"]) == (4, 2, 2, 0)
    assert ids(tmp_path / "out/rewards.jsonl") == ["q0#1", "q0#3"]
    assert ids(tmp_path / "out/failed.jsonl") == ["q0#2", "line:4"]


def test_an_id_that_comes_twice_is_scored_once(tmp_path: Path) -> None:
    rows = [row | {"reply_id": "same"} for row in REPLIES[:2]]
    report = run(write(tmp_path / "r.jsonl", rows), tmp_path / "out", Judges())
    assert (report["scored"], report["failed"]) == (1, 1)
    assert "'same' is there twice" in (tmp_path / "out/failed.jsonl").read_text()


@pytest.mark.parametrize("rows", [["a,b,c", "1,2,3"], [{"id": 1, "text": "x"}], []])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, rows: list) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows) or "\n\n"
    )
    with pytest.raises(ConfigError, match="nothing can be scored"):
        run(file, tmp_path / "out", Judges())


def test_a_changed_reply_under_the_same_id_is_refused_by_name(tmp_path: Path, file: Path) -> None:
    run(file, tmp_path / "out", Judges())
    changed = write(file, [REPLIES[0], REPLIES[1] | {"reply": "another"}, *REPLIES[2:]])
    with pytest.raises(ConfigError, match=r"line 2: reply 'q0#2' has another text.*--out"):
        run(changed, tmp_path / "out", Judges())


def test_other_weights_or_judges_need_another_folder(tmp_path: Path, file: Path) -> None:
    run(file, tmp_path / "out", Judges())
    with pytest.raises(ConfigError, match=r"judge.model tabletop-judge -> other"):
        run(file, tmp_path / "out", Judges(), "judge.model=other")
    assert run(file, tmp_path / "out", Judges(), "judge.retries=9", "judge.replicas=3")["calls"] == 0


def test_folder_from_before_the_section_vlm_goes_on(tmp_path: Path, file: Path) -> None:
    run(file, tmp_path / "out", Judges())
    settings = yaml.safe_load((tmp_path / "out/config.yaml").read_text())
    del settings["vlm"], settings["judge"]["extra"]
    (tmp_path / "out/config.yaml").write_text(yaml.safe_dump(settings))
    assert run(file, tmp_path / "out", Judges(), "vlm.model=eyes")["resumed"] == len(REPLIES)
    with pytest.raises(ConfigError, match=r"judge.extra {} -> {'reasoning_effort': 'low'}"):
        run(file, tmp_path / "out", Judges(), "judge.extra.reasoning_effort=low")


def test_folder_of_several_judges_is_told_apart(tmp_path: Path, file: Path) -> None:
    several = ("judge.others=[{model: a, base_url: 'http://a/v1'}, {model: b, base_url: 'http://b/v1'}]",)
    run(file, tmp_path / "out", Judges(), *several, "judge.combine=vote")
    with pytest.raises(ConfigError, match=r"judge.combine vote -> share"):
        run(file, tmp_path / "out", Judges(), *several, "judge.combine=share")
    with pytest.raises(ConfigError, match=r"judge.model \['tabletop-judge', 'a', 'b'\] -> tabletop-judge"):
        run(file, tmp_path / "out", Judges())


@pytest.mark.parametrize("spoilt", ["- 1\n", "", "judge: 3\n", "reward: [\n"])
def test_settings_that_cannot_be_read_need_another_folder(tmp_path: Path, file: Path, spoilt: str) -> None:
    run(file, tmp_path / "out", Judges())
    (tmp_path / "out/config.yaml").write_text(spoilt)
    with pytest.raises(ConfigError, match="Give another --out"):
        run(file, tmp_path / "out", Judges())


def test_weight_that_an_older_folder_lacks_had_its_default(tmp_path: Path, file: Path) -> None:
    run(file, tmp_path / "out", Judges())
    kept = yaml.safe_load((tmp_path / "out/config.yaml").read_text())
    del kept["reward"]["spatial"]
    (tmp_path / "out/config.yaml").write_text(yaml.safe_dump(kept))
    assert run(file, tmp_path / "out", Judges())["calls"] == 0


def test_other_prompts_need_another_folder(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(file, tmp_path / "out", Judges())
    monkeypatch.setattr("valor_ray.reasoning.scoring.folder.prompt_version", lambda head: "other")
    with pytest.raises(ConfigError, match=r"prompt of logic .* -> other"):
        run(file, tmp_path / "out", Judges())


TEXT_HEADS = ("logic", "attribute", "spatial", "adherence")


def test_prompts_of_scenes_count_where_scenes_do(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = [*(f"reward.{head}=0" for head in TEXT_HEADS), "reward.scenes=0.9"]
    run(file, tmp_path / "text", Judges())
    run(file, tmp_path / "scenes", Judges(), *scenes)
    named = set(json.loads((tmp_path / "scenes/prompts.json").read_text()))
    assert named == {f"prompt of scene_{name}" for name in ("things", "answers", "words")}
    with pytest.raises(ConfigError, match=r"reward\.scenes 0\.0 -> 0\.9|reward\.scenes 0 -> 0\.9"):
        run(file, tmp_path / "text", Judges(), *scenes)
    monkeypatch.setattr("valor_ray.judges.scene_questions.prompt_version", lambda head: "other")
    assert run(file, tmp_path / "text", Judges())["calls"] == 0
    with pytest.raises(ConfigError, match=r"prompt of scene_things .* -> other"):
        run(file, tmp_path / "scenes", Judges(), *scenes)


def test_more_rows_of_the_same_file_are_added(tmp_path: Path, file: Path) -> None:
    assert run(file, tmp_path / "out", Judges(), limit=4)["replies"] == 4
    judges = Judges()
    assert run(file, tmp_path / "out", judges, limit=6)["scored"] == 6
    assert judges.asked == ["reply 4", "reply 5"]
    assert (
        run(file, tmp_path / "out", judges, limit=2)["scored"] == 2
    )  # the numbers are those of the rows asked for


def test_a_judge_that_refuses_every_call_ends_the_run(tmp_path: Path, file: Path) -> None:
    judges = Judges(refuse=True)
    with pytest.raises(JudgeError, match="refuses the key"):
        run(file, tmp_path / "out", judges)
    assert len(judges.asked) == 1


def test_two_runs_do_not_write_at_once_and_a_dead_runs_lock_is_free(tmp_path: Path, file: Path) -> None:
    folder = ScoreFolder(tmp_path / "out")
    with folder.locked(), pytest.raises(ConfigError, match="another run"):
        run(file, tmp_path / "out", Judges())
    (tmp_path / "out/lock").write_text("999999\n")
    assert run(file, tmp_path / "out", Judges())["scored"] == 10


def test_canaries_go_the_same_way_and_count_apart(tmp_path: Path, file: Path) -> None:
    out, judges = tmp_path / "out", Judges()
    report = run(file, out, judges, "reward.audit_every=3")
    assert len(judges.asked) == 13
    assert (report["replies"], report["scored"], report["calls"]) == (10, 10, 13)
    assert sorted(ids(out / "rewards.jsonl")) == IDS
    assert len(ids(out / "audit.jsonl")) == 3
    asked = sum(head["asked"] for head in report["audit"]["heads"].values())
    assert asked > 0
    again = run(file, out, Judges(), "reward.audit_every=3")
    assert sum(head["asked"] for head in again["audit"]["heads"].values()) == asked


def test_a_password_in_a_url_is_not_written(tmp_path: Path, file: Path) -> None:
    run(file, tmp_path / "out", Judges(), "judge.base_url=https://me:hunter2@host/v1?key=hunter2")
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes()


def test_an_edited_record_file_is_refused_by_line(tmp_path: Path, file: Path) -> None:
    run(file, tmp_path / "out", Judges())
    rewards = tmp_path / "out/rewards.jsonl"
    rewards.write_text("oops\n" + rewards.read_text())
    with pytest.raises(ConfigError, match="line 1 is not a record"):
        run(file, tmp_path / "out", Judges())
