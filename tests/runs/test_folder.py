"""What is refused in a run folder: a second writer, another command, other settings; older folders are known too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from valor_ray.config.judging import RewardConfig
from valor_ray.config.training import GrpoConfig
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.reasoning.scoring.folder import ScoreFolder
from valor_ray.reasoning.training.folder import TrainFolder
from valor_ray.runs.folder import (
    REASONING,
    SCORE,
    RunKind,
    changes,
    check_kind,
    claimed,
    kind_of,
    locked,
    meaning,
    public_settings,
    save_settings,
    saved_settings,
)


def test_first_start_writes_the_kind_and_later_ones_leave_it(tmp_path: Path) -> None:
    with claimed(tmp_path / "run", REASONING):
        written = (tmp_path / "run" / "run.json").read_text()
        assert json.loads(written) == {"kind": "reasoning"}
    with claimed(tmp_path / "run", REASONING):
        assert (tmp_path / "run" / "run.json").read_text() == written
    assert kind_of(tmp_path / "run") is REASONING


@pytest.mark.parametrize(("owner", "other"), [(REASONING, SCORE), (SCORE, REASONING)])
def test_folder_of_another_command_is_refused_and_both_are_named(
    tmp_path: Path, owner: RunKind, other: RunKind
) -> None:
    with claimed(tmp_path, owner):
        pass
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigError) as refused, claimed(tmp_path, other):
        pass
    said = str(refused.value)
    assert said == (
        f"{other.option} {tmp_path} is a folder of `{owner.command}`, not of `{other.command}`. "
        f"Give another {other.option}."
    )
    assert sorted(tmp_path.iterdir()) == before and kind_of(tmp_path) is owner


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        ("rewards.jsonl", SCORE),
        ("rollouts.jsonl", REASONING),
        ("plan.json", REASONING),
        ("checkpoints/step-000002", REASONING),
    ],
)
def test_folder_of_a_version_without_kinds_is_known_by_what_is_in_it(
    tmp_path: Path, made: str, kind: RunKind
) -> None:
    (tmp_path / made).parent.mkdir(exist_ok=True)
    (tmp_path / made).write_text("")
    assert kind_of(tmp_path) is kind
    other = SCORE if kind is REASONING else REASONING
    with pytest.raises(ConfigError, match=kind.command), claimed(tmp_path, other):
        pass
    assert not (tmp_path / "run.json").exists()
    with claimed(tmp_path, kind):  # goes on, and says from now on what it is
        pass
    assert json.loads((tmp_path / "run.json").read_text()) == {"kind": kind.name}


def test_folders_of_a_run_just_started_are_kept_apart(tmp_path: Path) -> None:
    """Before there is a record in them: a kill may have come that early."""
    with TrainFolder(tmp_path / "train").locked():
        pass
    with ScoreFolder(tmp_path / "score").locked():
        pass
    with pytest.raises(ConfigError, match="valor score"), TrainFolder(tmp_path / "score").locked():
        pass
    with pytest.raises(ConfigError, match="valor train reasoning"), ScoreFolder(tmp_path / "train").locked():
        pass


def test_folder_that_nobody_has_made_a_run_of_may_be_taken(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for folder in (tmp_path, tmp_path / "none"):
        assert kind_of(folder) is None
        check_kind(folder, SCORE)
        with locked(folder, "--out"):
            pass
        assert kind_of(folder) is None  # a lock makes no run of it


def test_option_that_reads_a_run_is_named(tmp_path: Path) -> None:
    TrainFolder(tmp_path).rollouts.touch()
    with pytest.raises(ConfigError, match=rf"^--from {tmp_path} .* Give another --from\.$"):
        check_kind(tmp_path, SCORE, "--from")


def test_run_of_a_later_version_is_refused_by_its_kind(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"kind": "dreaming"}')
    (tmp_path / "rollouts.jsonl").write_text("")
    with pytest.raises(ConfigError, match="'dreaming'"), claimed(tmp_path, REASONING):
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"3", b"\xff"])
def test_spoilt_kind_is_an_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"run\.json.*another folder"):
        kind_of(tmp_path)


# settings

KEYS = ("policy.model", "grpo.kl", "reward.logic")


def test_what_has_changed_is_named_with_both_values(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    save_settings(path, Config.load("local"))
    before = meaning(saved_settings(path, "--run", {}), KEYS)
    now = Config.load("local", ["grpo.kl=0.5", "grpo.threads=7", "policy.model=other"]).model_dump(
        mode="json"
    )
    assert (
        changes(before, meaning(now, KEYS))
        == f"policy.model {before['policy.model']} -> other; grpo.kl 0.01 -> 0.5"
    )
    assert changes(before, before) == ""


def test_defaults_stand_for_what_an_older_folder_lacks_in_the_named_sections_alone(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"grpo": {"kl": 0.5}}))
    settings = saved_settings(path, "--run", {"grpo": GrpoConfig, "reward": RewardConfig})
    assert meaning(settings, KEYS) == {
        "policy.model": None, "grpo.kl": 0.5, "reward.logic": RewardConfig().logic
    }  # fmt: skip


@pytest.mark.parametrize("content", [b"- 1\n", b"", b"grpo: 3\n", b"policy: [1]\n"])
def test_file_with_other_things_in_it_has_no_settings(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    settings = saved_settings(path, "--run", {"grpo": GrpoConfig})
    assert meaning(settings, KEYS) == {"policy.model": None, "grpo.kl": GrpoConfig().kl, "reward.logic": None}


@pytest.mark.parametrize("content", [b"grpo: [\n", b"\xff\xfe", None])
def test_file_that_cannot_be_read_is_an_error_with_advice(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"(?s)Cannot read {path}.*Give another --out\."):
        saved_settings(path, "--out", {})


def test_passwords_in_urls_are_left_out_wherever_they_stand() -> None:
    url = "https://me:secret@host:8080/v1?key=secret#secret"
    shown = public_settings({"judge": {"base_url": url, "others": [{"base_url": url}, {"base_url": None}]}})
    assert shown == {
        "judge": {
            "base_url": "https://host:8080/v1",
            "others": [{"base_url": "https://host:8080/v1"}, {"base_url": None}],
        }
    }
