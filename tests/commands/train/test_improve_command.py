"""`valor improve`: options, what is refused before anything is begun, what is printed."""

import json
from pathlib import Path

import pytest
from improve_script import Script
from PIL import Image

from valor_ray.cli import main
from valor_ray.improve.child import Ended


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """In place of the stages' processes."""
    scripted = Script()
    monkeypatch.setattr("valor_ray.improve.child.launch", lambda stage, words: scripted(stage, words))
    monkeypatch.setattr("valor_ray.improve.estimate.dry_run", lambda words: Ended(0, {}))
    return scripted


def test_json_is_one_object_with_the_two_figures(tmp_path: Path, script: Script, capsys) -> None:
    assert main(["improve", "--run", str(tmp_path / "job"), "--json"]) == 0
    out = capsys.readouterr().out
    report = json.loads(out)
    assert out.count("\n") == 1
    assert {"run", "rounds", "accuracy", "gains", "cost_usd", "minutes", "report"} <= set(report)
    assert set(report["accuracy"]) == {"base", "reasoning", "grounding"}
    assert set(report["accuracy"]["base"]) >= {"n", "accuracy", "ci", "by_family"}
    assert Path(report["report"]).exists()


def test_the_end_names_figures_models_and_the_page(tmp_path: Path, script: Script, capsys) -> None:
    assert main(["improve", "--run", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "round-1/grounding" in shown.out and "+25.0" in shown.out and "chosen without labels" in shown.out
    assert shown.out.rstrip().endswith(f"page: {tmp_path / 'report.html'}")
    assert "valor improve: round-1/mine: valor mine --run" in shown.err


def test_the_page_is_made_again_by_valor_report(tmp_path: Path, script: Script, capsys) -> None:
    assert main(["improve", "--run", str(tmp_path)]) == 0
    (tmp_path / "report.html").unlink()
    capsys.readouterr()
    assert main(["report", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert (
        "6 of 6 stages done" in out
        and "gain of reasoning: +25.0%" in out
        and (tmp_path / "report.html").exists()
    )


@pytest.mark.parametrize("key", ["grpo", "grounding"])
def test_all_of_omni3d_after_training_on_its_rows_is_refused_at_once(
    tmp_path: Path, script: Script, key: str, capsys
) -> None:
    given = ["improve", "--run", str(tmp_path / "job"), "--eval", "omni3d", "--dry-run"]
    given += ["--set", f"{key}.queries=hf:dmarsili/Omni3D-Bench:train[100:]"]
    for more in ([], ["--questions", "101"]):
        assert main([*given, *more]) == 2
        assert f"{key}.queries" in (said := capsys.readouterr().err) and "--questions 100" in said
    assert main([*given, "--questions", "100"]) == 0


def test_what_a_stage_would_refuse_is_refused_before_the_first_one(
    tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def refused(words: list[str]) -> Ended:
        return Ended(2, None, "grpo.micro_batch does not divide") if "reasoning" in words else Ended(0, {})

    monkeypatch.setattr("valor_ray.improve.estimate.dry_run", refused)
    assert main(["improve", "--run", str(tmp_path / "job")]) == 2
    assert "round-1/reasoning: grpo.micro_batch does not divide" in capsys.readouterr().err
    assert not script.count and not (tmp_path / "job").exists()


@pytest.mark.parametrize("code", [1, 2, 130])
def test_a_stages_failure_is_the_jobs_with_its_code(
    tmp_path: Path, script: Script, code: int, capsys
) -> None:
    script.ends = {"round-1/mine": Ended(code, None, "no room for the detector")}
    assert main(["improve", "--run", str(tmp_path)]) == code
    assert code == 130 or "round-1/mine: no room for the detector" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--eval", "omni"), "'omni' is no benchmark. Valid: omni3d"),
        (("--eval", "own"), "--eval own:DIR"),
        (("--eval", "own:/nowhere"), "/nowhere is not there"),
        (("--eval", "none", "--eval", "tabletop"), "--eval none measures nothing"),
        (("--eval", "tabletop", "--eval", "tabletop"), "given twice"),
        (("--eval", "none", "--controls"), "--controls asks the first --eval"),
        (("--controls", "--set", "policy.temperature=0"), "all replies are greedy"),
        (("--images", "photos"), "judge.base_url is not set"),
        (("--set", "finetune.mined=runs/boxes"), "finetune.mined"),
        (("--set", "detector.follow=runs/eyes"), "detector.follow"),
        (
            ("--set", "detector.model=IDEA/other"),
            "finetune.general and finetune.replay_pictures: null is tabletop",
        ),
        (("--set", "policy.endpoint={base_url: https://h/v1, model: m}"), "policy.endpoint"),
        (("--set", "grpo.stepz=1"), "grpo.steps"),
    ],
)
def test_what_would_fail_later_is_refused_before_anything_is_begun(
    tmp_path: Path, script: Script, words: tuple[str, ...], named: str, capsys
) -> None:
    assert main(["improve", "--run", str(tmp_path / "job"), *words]) == 2
    assert named in capsys.readouterr().err
    assert not script.count and not (tmp_path / "job").exists()


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_picture_that_is_mined_and_measured_is_refused_before_anything_is_begun(
    tmp_path: Path, script: Script, more: tuple[str, ...], capsys
) -> None:
    photos, held = tmp_path / "photos", tmp_path / "held"
    for folder, names in ((photos, ("a", "b")), (held, ("c", "d"))):
        folder.mkdir()
        for name in names:
            Image.new("RGB", (8, 8), ord(name)).save(folder / f"{name}.png")
    rows = [{"query_id": name, "question": "Is it red?", "image": f"{name}.png"} for name in "cd"]
    truths = [{"query_id": name, "answer": True, "family": "colour"} for name in "cd"]
    for name, lines in (("queries.jsonl", rows), ("truth.jsonl", truths)):
        (held / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    given = [
        "improve",
        "--run",
        str(tmp_path / "job"),
        "--images",
        str(photos),
        "--eval",
        f"own:{held}",
        *PRICED,
    ]
    (photos / "copy.png").write_bytes((held / "d.png").read_bytes())
    assert main([*given, *more]) == 2
    said = capsys.readouterr().err
    assert "d.png (question 'd') is also in --images (copy.png)" in said and not script.count
    (photos / "copy.png").unlink()
    assert main([*given, "--dry-run"]) == 0


def test_the_plan_is_printed_and_nothing_is_done(
    tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    plan = Ended(0, {"judge_cost_usd": 2.0, "judge_calls": 9, "minutes_estimated": 3.0})
    monkeypatch.setattr("valor_ray.improve.estimate.dry_run", lambda words: plan)
    assert main(["improve", "--run", str(tmp_path / "job"), "--dry-run", "--max-cost-usd", "1", *PRICED]) == 0
    out = capsys.readouterr().out
    assert "round-1/after-grounding/tabletop" in out and "tabletop:policy; tabletop:detector" in out
    assert "to do: about $2.00" in out and "more than --max-cost-usd 1" in out
    assert not script.count and not (tmp_path / "job").exists()


PRICED = (
    "--set",
    "judge.base_url=https://h/v1",
    "--set",
    "judge.price_in=1",
    "--set",
    "judge.api_key_env=null",
)
