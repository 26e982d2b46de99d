"""A fine-tuning run over a scripted learner: what is done once, what is refused, where a killed run goes on."""

import errno
import json
import re
import shutil
from pathlib import Path
from typing import Any

import finetuning as tuning
import pytest
from finetuning import Host, World, make_set

from valor_ray.errors import CheckpointError, ConfigError, ServiceError, StorageError
from valor_ray.grounding.finetune.plan import named_general
from valor_ray.grounding.finetune.run import finetune
from valor_ray.runs.checkpoints import FolderCheckpoints
from valor_ray.runs.folder import GROUNDING, MINE, claimed, kind_of, locked
from valor_ray.runs.weight_channel import PublishedFile, publish_by_file


def run(folder: Path, host: Host, world: World | None = None, *overrides: str, **more: Any) -> dict[str, Any]:
    said: list[str] = more.get("said", [])
    return finetune(folder, tuning.config(*overrides), host, world or World(folder), say=said.append)


def test_scenes_are_mined_rendered_learnt_gated_published_and_measured(tmp_path: Path) -> None:
    host, world = Host(), World(tmp_path / "run")
    report = run(tmp_path / "run", host, world)
    assert world.asked == ["mine", "replay", "general", "evaluate"]
    assert list(report)[:7] == [
        *("ap50_start", "ap50_end", "gain_ci", "general_map_start", "general_map_end", "published", "minutes")
    ]
    assert (report["ap50_start"], report["ap50_end"], report["gain_ci"]) == (50.0, 64.0, [11.0, 17.0])
    assert (report["general_map_start"], report["general_map_end"]) == (71.0, 70.5)
    assert (report["published"], report["steps"], report["replicas"]) == ("step-000006", 6, 2)
    assert report["minutes"] >= 6 * 0.5 / 60
    weights = tmp_path / "run/weights/step-000006"
    assert host.announced == [("step-000006", weights)] and (weights / "model.safetensors").exists()
    assert world.models == {"start": "tabletop:detector", "end": str(weights)}
    assert tuning.steps(tmp_path / "run") == [1, 2, 3, 4, 5, 6]
    assert json.loads((tmp_path / "run/report.json").read_text()) == report
    assert kind_of(tmp_path / "run") is GROUNDING and (tmp_path / "run/report.html").exists()
    task = host.tasks[0]
    assert task.phrases == ("red ball",) and task.dataset == tmp_path / "run/mined/dataset"
    assert task.general.exists() and task.replay_pictures == tmp_path / "run/replay/pictures"


def test_the_same_again_starts_no_host_and_mines_renders_and_measures_nothing(tmp_path: Path) -> None:
    host, world = Host(), World(tmp_path / "run")
    first = run(tmp_path / "run", host, world)
    again = run(tmp_path / "run", host, world)
    assert host.started == 1 and len(host.announced) == 1
    assert world.asked == ["mine", "replay", "general", "evaluate"]
    assert {**again, "stages_s": first["stages_s"], "minutes": first["minutes"]} == first


def test_sets_of_ones_own_are_used_and_nothing_is_mined_or_rendered(tmp_path: Path) -> None:
    mined, general = make_set(tmp_path / "set"), tuning.make_general(tmp_path / "general")
    host, world = Host(), World(tmp_path / "run", truth=False)
    own = (
        f"finetune.mined={mined}",
        f"finetune.general={general}",
        f"finetune.replay_pictures={tmp_path / 'set'}",
    )
    report = run(tmp_path / "run", host, world, *own)
    assert world.asked == ["evaluate"]
    assert (report["ap50_start"], report["ap50_end"], report["gain_ci"]) == (None, None, None)
    assert (host.tasks[0].general, host.tasks[0].dataset) == (general, mined)
    assert run(tmp_path / "other", Host(), None, *own, "finetune.replay=0")["published"]


def test_a_gate_that_fails_publishes_nothing_and_is_a_result(tmp_path: Path) -> None:
    host, world, said = Host(passed=False), World(tmp_path / "run"), list[str]()
    report = run(tmp_path / "run", host, world, said=said)
    assert report["published"] is None and report["passed"] is False and report["ap50_end"] is None
    assert host.announced == [] and not (tmp_path / "run/weights").exists()
    assert not (tmp_path / "run/published.json").exists() and "nothing is published" in said[-1] + said[-2]
    assert set(world.models) == {"start"}
    assert run(tmp_path / "run", host, world)["published"] is None and host.started == 1


@pytest.mark.parametrize("stop_at", [1, 2, 3, 6])
def test_a_stopped_run_goes_on_and_every_step_is_recorded_once(tmp_path: Path, stop_at: int) -> None:
    host = Host()
    host.stop_at = stop_at
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", host)
    assert tuning.steps(tmp_path / "run") == list(range(1, stop_at + 1))
    with (tmp_path / "run/metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')
    report = run(tmp_path / "run", host)
    assert tuning.steps(tmp_path / "run") == [1, 2, 3, 4, 5, 6]
    assert report["resumed_from"] == stop_at // 2 * 2 and report["published"]


def test_steps_that_only_a_checkpoint_knows_come_back(tmp_path: Path) -> None:
    host = Host()
    host.stop_at = 5
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", host)
    (tmp_path / "run/metrics.jsonl").unlink()
    run(tmp_path / "run", host)
    assert tuning.steps(tmp_path / "run") == [1, 2, 3, 4, 5, 6]


def test_a_set_that_has_changed_since_is_refused_while_a_new_run_takes_it(tmp_path: Path) -> None:
    mined = make_set(tmp_path / "set")
    host = Host()
    host.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", host, None, f"finetune.mined={mined}")
    moved = shutil.move(mined / "train.jsonl", mined / "old")
    (mined / "train.jsonl").write_text("".join(Path(moved).read_text().splitlines(keepends=True)[:6]))
    with pytest.raises(ConfigError, match="mined further since"):
        run(tmp_path / "run", host, None, f"finetune.mined={mined}")
    run(tmp_path / "new", host, None, f"finetune.mined={mined}")
    shutil.move(mined / "old", mined / "train.jsonl")
    copied = shutil.copytree(mined, tmp_path / "elsewhere")
    assert run(tmp_path / "run", host, None, f"finetune.mined={copied}")["steps"] == 6


def test_settings_that_matter_cannot_change_once_training_has_begun(tmp_path: Path) -> None:
    run(tmp_path / "run", Host())
    known = tuning.config().finetune
    with pytest.raises(
        ConfigError, match=r"detector\.box_threshold .* -> 0\.31"
    ):  # decides what is rehearsed
        run(tmp_path / "run", Host(), None, "detector.box_threshold=0.31")
    for name, value in (("learning_rate", "1.0"), ("gate_limit", "9.0"), ("ema", "0.5")):
        said = re.escape(f"finetune.{name} {getattr(known, name)} -> {value}")
        with pytest.raises(ConfigError, match=said):
            run(tmp_path / "run", Host(), None, f"finetune.{name}={value}")
    with pytest.raises(ConfigError, match=r"finetune\.workers 1 -> 2"):
        run(tmp_path / "run", Host(), None, "finetune.workers=2")
    run(tmp_path / "run", Host(), None, "finetune.threads=2", "finetune.save_every=50")


def test_what_stopped_a_run_before_its_first_step_can_be_changed_as_advised(tmp_path: Path) -> None:
    host = Host()
    host.no_gpu = ConfigError("2 GPUs are wanted. Give --set finetune.workers=N")
    with pytest.raises(ConfigError, match="GPUs are wanted"):
        run(tmp_path / "run", host, None, "finetune.workers=2")
    host.no_gpu = None
    other = make_set(tmp_path / "other") / "pictures"
    changed = ("finetune.batch=1", "finetune.seed=4", f"finetune.replay_pictures={other}")
    assert run(tmp_path / "run", host, None, *changed)["set"]["steps"] == tuning.STEPS
    assert host.tasks[0].replay_pictures == other


def test_a_replay_set_fixes_what_made_it_and_nothing_else(tmp_path: Path) -> None:
    host = Host()
    host.stop_at = 1  # no checkpoint yet
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", host)
    (tmp_path / "run/replay/set").mkdir()
    host.no_gpu = ConfigError("stop here")
    for changed in ("detector.box_threshold=0.31", "finetune.seed=3", "finetune.replay_limit=7"):
        with pytest.raises(ConfigError, match=re.escape(changed.partition("=")[0]) + ".*Give them again"):
            run(tmp_path / "run", host, None, changed)
    host.no_gpu = None
    report = run(tmp_path / "run", host, None, "finetune.steps=3", "finetune.batch=1")
    assert report["set"]["steps"] == 3


def test_a_general_set_in_the_home_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    general = tuning.make_general(tmp_path / "general")
    named = tuning.config("finetune.general=~/general/coco.json", "finetune.general_images=~/general")
    checked = named_general(named)
    assert checked is not None and len(checked.images) == 2
    host = Host()
    run(
        tmp_path / "run",
        host,
        None,
        "finetune.general=~/general/coco.json",
        "finetune.general_images=~/general",
    )
    assert (host.tasks[0].general, host.tasks[0].general_images) == (general, general.parent)


def test_held_out_ap_is_measured_again_where_other_scenes_are_wanted(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for scenes, measured in ((3, True), (3, False), (0, False), (5, True), (0, False), (5, False)):
        world = World(folder, scenes=scenes)
        run(folder, Host(), world)
        assert ("evaluate" in world.asked) == measured, scenes
    assert json.loads((folder / "evaluation.json").read_text())["scenes"] == 5


def test_another_run_in_the_folder_and_another_commands_folder_are_refused(tmp_path: Path) -> None:
    with locked(tmp_path / "run", "--run"), pytest.raises(ConfigError, match="another run"):
        run(tmp_path / "run", Host())
    with claimed(tmp_path / "mine", MINE):
        pass
    with pytest.raises(ConfigError, match="not of `valor train grounding`"):
        run(tmp_path / "mine", Host())


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("detector.model=owner/name",), "general for the shipped detector"),
        (("detector.model=/no/such/folder",), "not found"),
        (("finetune.general=no.json",), "Cannot read the general set no.json"),
        (("finetune.replay_pictures=nowhere",), "finetune.replay_pictures nowhere is no folder"),
        (("finetune.service=http://127.0.0.1:9",), "finetune.service http://127.0.0.1:9: no answer"),
    ],
)
def test_what_would_fail_later_is_refused_before_mining(tmp_path: Path, overrides: tuple, said: str) -> None:
    world = World(tmp_path / "run")
    with pytest.raises(ConfigError, match=said):
        run(tmp_path / "run", Host(), world, *overrides)
    assert world.asked == []


def test_a_replica_that_refuses_leaves_the_run_to_go_on_at_the_publication(tmp_path: Path) -> None:
    host, world = Host(), World(tmp_path / "run")
    host.trouble = ServiceError("not every replica carries it")
    with pytest.raises(ServiceError):
        run(tmp_path / "run", host, world)
    assert "evaluate" not in world.asked
    report = run(tmp_path / "run", host, world)
    assert report["published"] == "step-000006" and len(host.tasks) == 1 and len(host.announced) == 1


def test_what_no_replica_carried_in_time_is_announced_again_by_the_same_command(tmp_path: Path) -> None:
    host, world = Host(), World(tmp_path / "run")
    host.late = ServiceError("not every replica carries it")
    with pytest.raises(ServiceError):
        run(tmp_path / "run", host, world)
    assert "evaluate" not in world.asked
    assert run(tmp_path / "run", host, world)["replicas"] == 2
    assert len(host.announced) == 2 and number(tmp_path / "run") == 2


class Service:
    """In place of `client.carried`: raises each trouble once, then five replicas carry all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, str]] = []
        self.troubles: list[Exception] = []
        monkeypatch.setattr("valor_ray.grounding.finetune.run.check_service", lambda url, run: None)
        monkeypatch.setattr("valor_ray.grounding.finetune.run.wait_carried", self.wait)

    def wait(self, url: str, run: Path, version: str, timeout_s: float, say: Any) -> int:
        self.asked.append((str(run), version))
        if self.troubles:
            raise self.troubles.pop(0)
        return 5


def number(folder: Path) -> int | None:
    published = PublishedFile(folder).read()
    return None if published is None else published.number


WITH_SERVICE = "finetune.service=http://far"


def test_a_service_is_waited_for_until_it_carries_the_weights(tmp_path: Path, monkeypatch) -> None:
    service, host, world = Service(monkeypatch), Host(), World(tmp_path / "run")
    service.troubles = [ServiceError("late"), ServiceError("late")]
    for _ in range(2):
        with pytest.raises(ServiceError, match="late"):
            run(tmp_path / "run", host, world, WITH_SERVICE)
    assert "evaluate" not in world.asked
    assert run(tmp_path / "run", host, world, WITH_SERVICE)["replicas"] == 5
    assert service.asked == [(str(tmp_path / "run"), "step-000006")] * 3
    assert host.started == 1 and number(tmp_path / "run") == 1  # late is no reason to publish again


def test_what_a_service_refused_is_announced_again_under_a_new_number(tmp_path: Path, monkeypatch) -> None:
    service, host = Service(monkeypatch), Host()
    service.troubles = [CheckpointError("they do not fit")]
    with pytest.raises(CheckpointError):
        run(tmp_path / "run", host, None, WITH_SERVICE)
    assert run(tmp_path / "run", host, None, WITH_SERVICE)["published"] == "step-000006"
    assert len(host.announced) == 2 and number(tmp_path / "run") == 2 and len(host.tasks) == 1


def test_a_service_that_is_named_later_is_waited_for(tmp_path: Path, monkeypatch) -> None:
    service, host = Service(monkeypatch), Host()
    assert run(tmp_path / "run", host)["replicas"] == 2 and service.asked == []
    assert run(tmp_path / "run", host, None, WITH_SERVICE)["replicas"] == 5 and len(service.asked) == 1
    run(tmp_path / "no", Host(passed=False), None, WITH_SERVICE)
    assert len(service.asked) == 1  # nothing is published there


def test_nobody_on_this_ray_does_not_mean_nobody(tmp_path: Path, monkeypatch) -> None:
    host, said = Host(), list[str]()
    monkeypatch.setattr(
        host, "announce", lambda version, folder: publish_by_file(tmp_path / "run", version, folder)
    )
    assert run(tmp_path / "run", host, said=said)["replicas"] == 0
    assert (
        "published step-000006 (no replica on this Ray follows; services that follow by file take it up)"
        in said
    )


def test_a_full_disk_at_publishing_leaves_no_half_weights(tmp_path: Path, monkeypatch) -> None:
    def full(source: Path, target: Path) -> None:
        target.mkdir()
        (target / "model.safetensors").write_bytes(b"half")
        raise shutil.Error([("a", "b", OSError(errno.ENOSPC, "No space left on device"))])

    host = Host()
    with monkeypatch.context() as patch:
        patch.setattr("valor_ray.grounding.finetune.publish.shutil.copytree", full)
        with pytest.raises(
            StorageError, match=r"No space left.*Services go on with what they have.*same command"
        ):
            run(tmp_path / "run", host)
    assert list((tmp_path / "run/weights").iterdir()) == [] and host.announced == []
    assert not (tmp_path / "run/published.json").exists()
    assert run(tmp_path / "run", host)["published"] and len(host.tasks) == 1


def test_nothing_is_trained_on_a_set_that_cannot_be(tmp_path: Path) -> None:
    empty = make_set(tmp_path / "empty", confirmed=False)
    few = make_set(tmp_path / "few", 2)
    host = Host()
    with pytest.raises(ConfigError, match="no confirmed box"):
        run(tmp_path / "run", host, None, f"finetune.mined={empty}")
    with pytest.raises(ConfigError, match=r"1 pictures to train on .* takes 2"):
        run(tmp_path / "run", host, None, f"finetune.mined={few}")
    assert host.started == 0 and not FolderCheckpoints(tmp_path / "run/checkpoints").folder.exists()
    run(
        tmp_path / "run", host, None, f"finetune.mined={make_set(tmp_path / 'good')}"
    )  # the folder is not spoilt
