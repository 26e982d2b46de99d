"""`valor train grounding`: what it teaches, prints and refuses, exit codes; the learner is scripted."""

import json
from pathlib import Path

import finetuning as tuning
import pytest
from finetuning import Host, World, make_set
from s3 import bucket, s3_server  # noqa: F401

from valor_ray.cli import main
from valor_ray.errors import ServiceError
from valor_ray.runs.folder import MINE, claimed

FIRST = [
    *("ap50_start", "ap50_end", "gain_ci", "general_map_start", "general_map_end", "published", "minutes")
]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    """In place of the learner, and of rendering, mining and truth."""
    scripted = Host()
    monkeypatch.setattr("valor_ray.grounding.finetune.local.LocalFinetuneHost", lambda: scripted)
    monkeypatch.setattr(
        "valor_ray.commands.train.offline.OfflineWorld", lambda folder, *more, **options: World(folder)
    )
    return scripted


def words(run: Path, *more: str | Path) -> list[str]:
    small = [word for value in ("finetune.steps=6", "finetune.batch=2") for word in ("--set", value)]
    return ["train", "grounding", "--run", str(run), "--in-process", *small, *map(str, more)]


def test_help_teaches_by_examples(capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "grounding", "--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    for word in (
        "--mined",
        "--dry-run",
        "finetune.workers=2",
        "--follow",
        "general_images",
        "exit code 0",
        "130",
    ):
        assert word in said
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = capsys.readouterr().out
    assert "reasoning" in said and "grounding" in said


def test_json_is_the_report_alone_and_the_page_is_made_again(tmp_path: Path, host: Host, capsys) -> None:
    assert main(words(tmp_path / "run", "--json")) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert captured.out.count("\n") == 1 and list(report)[:7] == FIRST
    assert "step 6/6: loss 1.667, 4 boxes, 8.0 pictures/s" in captured.err
    (tmp_path / "run/report.html").unlink()
    assert main(["report", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert (
        "AP50 held-out 50.0 -> 64.0, change +11.0 … +17.0 (95 %)" in said and "published: step-000006" in said
    )
    assert (tmp_path / "run/report.html").exists()
    assert main(["report", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == report


def test_without_json_the_result_is_told_with_what_to_do_next(tmp_path: Path, host: Host, capsys) -> None:
    assert main(words(tmp_path / "run")) == 0
    said = capsys.readouterr().out
    assert "AP50 held-out     50.0 -> 64.0   gain +14.0 [+11.0, +17.0]" in said
    assert f"valor serve --follow {tmp_path / 'run'}" in said and "report.html" in said


def test_a_failed_gate_exits_0_and_says_that_nothing_is_published(tmp_path: Path, host: Host, capsys) -> None:
    host.passed = False
    assert main(words(tmp_path / "run")) == 0
    assert "published: nothing; services keep the detector they have" in capsys.readouterr().out
    assert main(words(tmp_path / "run", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["published"] is None


def test_errors_exit_1_and_2_and_ctrl_c_130(tmp_path: Path, host: Host, capsys) -> None:
    host.trouble = ServiceError("nobody answers")
    assert main(words(tmp_path / "run", "--json")) == 1
    assert json.loads(capsys.readouterr().out)["error"] == {"code": "service", "message": "nobody answers"}
    assert main(words(tmp_path / "run", "--set", "finetune.ema=0.5")) == 2
    assert "-> 0.5). Give them again" in capsys.readouterr().err
    host.stop_at = 3
    assert main(words(tmp_path / "other")) == 130
    empty = make_set(tmp_path / "empty", confirmed=False)
    assert main(words(tmp_path / "new", "--mined", empty)) == 2
    assert "no confirmed box" in capsys.readouterr().err
    for option in ("--dry-run", "--json"):
        with claimed(tmp_path / "mine", MINE):
            pass
        assert main(words(tmp_path / "mine", option)) == 2
    assert main(words(tmp_path / "new", "--mined", tmp_path / "run")) == 2
    assert (
        "folder of `valor train grounding`, not of `valor mine`. Give another --mined"
        in capsys.readouterr().err
    )


def test_the_plan_counts_and_does_nothing(tmp_path: Path, capsys) -> None:
    mined, general = make_set(tmp_path / "set"), tuning.make_general(tmp_path / "general")
    run = tmp_path / "run"
    own = ("--mined", mined, "--set", f"finetune.general={general}", "--json")
    assert main(words(run, "--dry-run", *own)) == 0
    planned = json.loads(capsys.readouterr().out)
    assert not run.exists()
    wanted = {
        "set": str(mined), "scenes_to_mine": 0, "pictures": 7, "held_back": 1, "boxes": 8, "phrases": 2, "steps": 6,
        "steps_to_make": 6, "pictures_per_step": 2, "replayed_per_step": 2, "gate_set": str(general),
        "gate_pictures": 2,
    }  # fmt: skip
    assert {name: planned[name] for name in wanted} == wanted
    assert planned["minutes_estimated"] > 0 and planned["disk_mib_estimated"] > 0
    assert main(words(run, "--dry-run", *own, "--set", "finetune.replay=0.1")) == 0
    assert json.loads(capsys.readouterr().out)["replayed_per_step"] == 1
    assert main(words(run, "--dry-run", "--set", "grounding.query_limit=24")) == 0
    said = capsys.readouterr().out
    assert "scenes_to_mine            12" in said and "tabletop scenes in the looks" in said
    assert main(words(run, "--dry-run", "--mined", tmp_path / "no")) == 2


def test_the_plan_says_who_sits_on_which_gpu_mining_first(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    gpus = ("--set", "finetune.num_gpus=1", "--set", "finetune.workers=2", "--set", "policy.num_gpus=1")
    run = ["train", "grounding", "--run", str(tmp_path / "run"), "--json", "--dry-run", *gpus]
    run += ["--set", "grounding.query_limit=24"]
    assert main(run) == 0
    placed = json.loads(capsys.readouterr().out)["placement"]
    assert list(placed) == ["policy/0", "learner/0", "learner/1"]
    assert placed["learner/1"] == {"node": "this machine", "gpus": [1], "share": 1.0}
    assert main([*run, "--in-process"]) == 0
    assert "placement" not in json.loads(capsys.readouterr().out)
    mined = make_set(tmp_path / "set")
    assert main([*run, "--mined", str(mined), "--set", "finetune.batch=1"]) == 0
    assert list(json.loads(capsys.readouterr().out)["placement"]) == ["learner/0", "learner/1"]
    assert main([*run, "--set", "finetune.workers=4"]) == 2
    said = json.loads(capsys.readouterr().out)["error"]["message"]
    assert "--set finetune.workers=2 --set finetune.batch=16, or --set finetune.num_gpus=0.5" in said


def test_a_learner_that_finds_no_room_is_refused_before_anything_is_mined(tmp_path: Path) -> None:
    from valor_ray.commands.train.offline import OfflineWorld
    from valor_ray.config.tree import Config
    from valor_ray.errors import ConfigError

    config = Config.load("local", ["finetune.num_gpus=1", "finetune.workers=99"])
    with pytest.raises(ConfigError, match=r"finetune.workers 99 x finetune.num_gpus 1"):
        OfflineWorld(tmp_path / "run", config, 0, in_process=False, say=print).mine()
    assert not (tmp_path / "run").exists()


def test_a_plan_over_a_run_that_has_begun_counts_what_is_left(tmp_path: Path, host: Host, capsys) -> None:
    host.stop_at = 5
    save = ("--set", "finetune.save_every=2")
    assert main(words(tmp_path / "run", *save)) == 130
    capsys.readouterr()
    assert main(words(tmp_path / "run", "--dry-run", "--json", *save)) == 0
    planned = json.loads(capsys.readouterr().out)
    assert (planned["steps"], planned["steps_to_make"], planned["boxes"]) == (6, 2, 8)


def test_evaluation_is_of_rendered_sets_only(tmp_path: Path) -> None:
    from valor_ray.commands.train.offline import rendered

    mine = make_set(tmp_path / "mine", mine=True)
    config = tuning.config(f"finetune.mined={mine}")
    assert not rendered(tmp_path / "run", config)
    (mine / "evaluation").mkdir()
    (mine / "evaluation/objects.jsonl").write_text("")
    assert rendered(tmp_path / "run", config)
    assert rendered(tmp_path / "run", tuning.config(f"finetune.mined={mine / 'dataset'}"))
    assert not rendered(tmp_path / "run", tuning.config(f"finetune.mined={make_set(tmp_path / 'bare')}"))


def test_a_run_at_a_url_is_whole_on_another_machine(
    tmp_path: Path,
    host: Host,
    bucket: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    reports = []
    for machine in ("one", "two"):
        monkeypatch.setenv("VALOR_STAGING", str(tmp_path / machine))
        at_url = words(tmp_path, "--json", "--set", "finetune.save_every=2")
        at_url[3] = f"{bucket}/runs/eyes"
        assert main(at_url) == 0
        reports.append(json.loads(capsys.readouterr().out))
    first, second = reports
    assert first["published"] == second["published"] == "step-000006"
    assert second["weights"].startswith(str(tmp_path / "two")) and Path(second["weights"]).is_dir()
    changing = ("minutes", "stages_s", "weights", "set")
    assert {k: v for k, v in first.items() if k not in changing} == {
        k: v for k, v in second.items() if k not in changing
    }
