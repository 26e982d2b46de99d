"""The control table of a run, with a learner that copies weights: what each control is trained on, and when again."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bases import BASES
from mined import box, mined

from valor_ray.config.grounding import GroundingConfig
from valor_ray.config.models import resolve_model
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.grounding.dataset.export import export
from valor_ray.grounding.finetune.mined_set import open_set
from valor_ray.grounding.learner.learn import LearnEnd, LearnTask
from valor_ray.grounding.learner.select import Selection
from valor_ray.records import MinedImage
from valor_ray.runs.folder import save_settings
from valor_ray.tabletop.finetune.controls import compare, runs
from valor_ray.tabletop.finetune.controls.compare import Asked, controls
from valor_ray.tabletop.finetune.controls.runs import ABLATIONS, CONTROLS, Source, check_names
from valor_ray.tabletop.finetune.controls.sets import OBJECTS

STEPS = 40
START, END = {"map": 50.0, "ap50": 70.0}, {"map": 49.5, "ap50": 69.0}


def quiet(line: str) -> None:
    pass


def write_selection(folder: Path, passed: bool = True, alpha: float = 0.5) -> None:
    general = {"start": START, "baseline_map": 50.0, "end": END if passed else None, "1": {"map": 44.0}}
    weights = folder / "chosen" if passed else None
    selection = Selection(alpha if passed else None, [], general, passed, "", weights)
    (folder / "selection.json").write_text(json.dumps(selection.to_record()))
    for name in ("averaged", "chosen") if passed else ("averaged",):
        shutil.copytree(resolve_model("tabletop:detector"), folder / name, dirs_exist_ok=True)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run on four mined pictures."""
    path = tmp_path / "run"
    ways = (("kkk", "d"), ("kkk", "kd"), ("kkd", "kkk"), ("kkk", "u"))
    places = ((10, 20, 60, 70), (80, 20, 130, 70))
    pictures = []
    for n, (first, other) in enumerate(ways):
        boxes = box(first, bbox=places[0], score=0.9), box(other, bbox=places[1], score=0.3)
        image = mined(path / "mined" / "data" / f"lamp-{n}.png", *boxes)
        pictures.append(replace(image, key=f"key {n}"))
    (path / "mined" / "run.json").write_text('{"kind": "mine"}')
    (path / "mined" / "images.jsonl").write_text(
        "".join(json.dumps(each.to_record()) + "\n" for each in pictures)
    )
    objects = path / "mined" / OBJECTS
    objects.parent.mkdir()
    there = [{"bbox": places[0], "colour": "red", "shape": "ball", "visible": 1.0}]
    objects.write_text(
        "".join(json.dumps({"image": f"lamp-{n}.png", "objects": there}) + "\n" for n in range(len(ways)))
    )
    export(pictures, path / "mined" / "dataset", GroundingConfig())
    shutil.copytree(path / "mined" / "dataset", path / "replay" / "set")
    save_settings(
        path / "config.yaml", Config.load("local", [*BASES, "finetune.batch=2", "finetune.replay=0.5"])
    )
    (path / "run.json").write_text('{"kind": "grounding"}')
    plan = open_set(path / "mined").record() | {"steps": STEPS}
    (path / "plan.json").write_text(json.dumps(plan))
    (path / "learned.json").write_text(json.dumps({"steps": STEPS}))
    steps = ({"step": step + 1, "seconds": 0.5} for step in range(STEPS))
    (path / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in steps))
    write_selection(path)
    return path


@pytest.fixture
def learnt(monkeypatch: pytest.MonkeyPatch) -> list[LearnTask]:
    """Tasks that the learner was given; the weights that come out are the shipped ones."""
    tasks: list[LearnTask] = []

    def learner(source: Source, task: LearnTask, say: Any, step_done: Callable[[Any], None]) -> LearnEnd:
        tasks.append(task)
        steps = task.config.finetune.number_of_steps(3)
        for step in range(steps):
            step_done({"step": step + 1, "seconds": 0.6, "loss": 1.0})
        write_selection(task.run, passed=task.run.name != "random_verifier")
        return LearnEnd(steps, 0, task.run / "averaged", 3, 1)

    monkeypatch.setattr(runs, "_learn_and_select", learner)
    return tasks


@pytest.fixture(autouse=True)
def held_out(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Calls of `held_out_ap`, which says that each model is a point better than the one before."""
    calls: list[dict[str, Any]] = []

    def ap(models: Any, scenes: int, looks: Any, first: int, say: Any, *, over: Any, cache: Path) -> Any:
        calls.append({"models": dict(models), "scenes": scenes, "cache": cache})
        places = {name: place for place, name in enumerate(models)}
        sets = ("together", "seen", *looks)

        def gain(name: str, other: str) -> dict[str, Any]:
            by = float(places[name] - places[other])
            made = {"ap50": by, "ap50_ci": [by - 0.5, by + 0.5], "map": by, "map_ci": [by - 1, by + 1]}
            return {"model": name, "over": other, "sets": dict.fromkeys(sets, made)}

        return {
            "scenes": scenes,
            "models": {
                name: {"sets": {each: {"ap50": 50.0 + place, "map": 30.0 + place} for each in sets}}
                for name, place in places.items()
            },
            "gains": [gain(name, other) for other in over for name in models if name != other],
        }

    monkeypatch.setattr(compare, "held_out_ap", ap)
    return calls


def test_every_control_has_the_runs_steps_and_pictures(run: Path, learnt: list[LearnTask]) -> None:
    record = controls(run, Asked((*CONTROLS, *ABLATIONS)), quiet)
    by = {task.run.name: task for task in learnt}
    assert set(by) == {*CONTROLS, *ABLATIONS}
    for name, task in by.items():
        settings = task.config.finetune
        assert settings.steps == STEPS, name
        replayed = round(settings.replay * settings.batch) if task.replay is not None else 0
        assert settings.batch + replayed == 3, name
    assert by["replay_only"].dataset == run / "replay" / "set" and by["replay_only"].replay is None
    assert by["replay_only"].config.finetune.alphas == (1.0,)
    assert by["without_replay"].replay is None and by["without_replay"].dataset == run / "mined" / "dataset"
    off = by["without_negatives"].config.finetune
    assert not off.absent and not off.hard_negatives
    assert by["self_training"].dataset == run / "controls" / "self_training" / "set"
    assert [row["control"] for row in record["rows"]] == ["start", "verified", *CONTROLS, *ABLATIONS]


def test_the_table_is_written_for_page_and_people(run: Path, learnt: list[LearnTask], held_out: Any) -> None:
    record = controls(run, Asked(("self_training", "random_verifier"), scenes=7), quiet)
    assert json.loads((run / "controls.json").read_text()) == record
    start, main, own, random = record["rows"]
    assert (start["ap50"], start["general_map"], start["over_verified"]) == (50, 50, -1)
    assert (main["gain"], main["gain_ci"], main["alpha"]) == (
        1,
        [0.5, 1.5],
        0.5,
    ) and "over_verified" not in main
    assert (main["steps"], main["minutes"], main["pictures"], main["boxes"]) == (STEPS, 0.33, 3, 4)
    assert (own["over_verified"], own["general_map"], own["minutes"]) == (1, 49.5, 0.4)
    assert "does not earn its place" in own["note"]
    assert (random["alpha"], random["general_map"]) == (None, 44) and "averaged ones" in random["note"]
    text = (run / "controls.txt").read_text()
    assert "random verifier" in (run / "report.html").read_text()
    assert "self-training, .35" in text and "+2.0 [+1.5, +2.5]" in text
    (call,) = held_out
    assert (call["scenes"], call["cache"]) == (7, run / "evaluation")
    assert call["models"]["verified"].model == str(run / "chosen")
    assert call["models"]["random_verifier"].model == str(run / "controls" / "random_verifier" / "averaged")


def test_a_finished_control_is_not_trained_again(run: Path, learnt: list[LearnTask]) -> None:
    before = controls(run, Asked(("self_training",)), quiet)
    assert controls(run, Asked(("self_training",)), quiet) == before and len(learnt) == 1
    with pytest.raises(ConfigError, match=r"learning_rate \S+ -> 1"):
        controls(run, Asked(("self_training",)), quiet, ["finetune.learning_rate=1"])
    controls(run, Asked(("self_training", "true_boxes")), quiet, ["finetune.threads=2"])
    assert [task.run.name for task in learnt] == ["self_training", "true_boxes"]


def test_fewer_minutes_train_the_main_way_too(run: Path, learnt: list[LearnTask]) -> None:
    record = controls(run, Asked(("replay_only",), minutes=0.1), quiet)
    assert [task.run.name for task in learnt] == ["verified", "replay_only"]
    assert {task.config.finetune.steps for task in learnt} == {12}  # of 0.5 s
    assert [row.get("steps") for row in record["rows"]] == [None, 12, 12]


@pytest.mark.parametrize("began", ["chosen", "weights/step-000040"])
def test_a_second_round_is_a_row_that_tells_its_steps(
    run: Path, learnt: list[LearnTask], tmp_path: Path, began: str
) -> None:
    shutil.copytree(run / "chosen", run / "weights" / "step-000040")
    second = started(run, tmp_path / "second", str(run / began))
    record = controls(run, Asked((), second=second), quiet)
    assert [row["name"] for row in record["rows"]] == ["start", "verified boxes", "two rounds"]
    assert f"{2 * STEPS} in all, more than any other row" in record["rows"][2]["note"]
    assert "Every row but the start and two rounds has" in record["note"]
    assert learnt == []


@pytest.mark.parametrize("began", ["tabletop:detector", "averaged", "other/chosen"])
def test_a_run_that_did_not_begin_with_these_weights_is_no_second_round(
    run: Path, learnt: list[LearnTask], tmp_path: Path, began: str
) -> None:
    if began == "other/chosen":
        shutil.copytree(run / "chosen", tmp_path / began)
        began = str(tmp_path / began)
    second = started(run, tmp_path / "second", str(run / began) if began == "averaged" else began)
    with pytest.raises(ConfigError, match="not with weights of"):
        controls(run, Asked(("self_training",), second=second), quiet)
    assert learnt == []


def started(run: Path, folder: Path, weights: str) -> Path:
    """A copy of a run that began with other weights."""
    shutil.copytree(run, folder)
    save_settings(
        folder / "config.yaml", Config.load(str(folder / "config.yaml"), [f"detector.model={weights}"])
    )
    return folder


@pytest.mark.parametrize("setting", ["finetune.learning_rate=1", "detector.image_side=96"])
def test_a_setting_that_changes_what_is_learnt_trains_the_main_way_too(
    run: Path, learnt: list[LearnTask], held_out: Any, setting: str
) -> None:
    record = controls(run, Asked(("replay_only",)), quiet, [setting])
    assert [task.run.name for task in learnt] == ["verified", "replay_only"]
    assert held_out[0]["models"]["verified"].model == str(run / "controls" / "verified" / "chosen")
    assert "Trained anew for this table" in record["rows"][1]["note"]
    with pytest.raises(ConfigError, match="made with other settings"):
        controls(run, Asked(("replay_only",)), quiet, [setting, "detector.text_threshold=0.9"])


def test_a_set_that_was_mined_further_is_refused(run: Path, learnt: list[LearnTask]) -> None:
    about = run / "mined" / "dataset" / "dataset.json"
    about.write_text(about.read_text() + " ")
    with pytest.raises(ConfigError, match=r"not the one that .* was trained on"):
        controls(run, Asked(CONTROLS), quiet)
    assert learnt == []


def test_pictures_without_a_box_are_in_the_sets_as_in_the_runs_own(
    run: Path, learnt: list[LearnTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the set, which mining made with settings of its own, not by the run's."""
    records = (run / "mined" / "images.jsonl").read_text().splitlines()
    none = replace(
        MinedImage.from_record(json.loads(records[0])), key="none", boxes=(), presence={"red ball": "absent"}
    )
    none = replace(none, phrases=("red ball",))
    images = [*(MinedImage.from_record(json.loads(line)) for line in records), none]
    (run / "mined" / "images.jsonl").write_text(
        "".join(json.dumps(each.to_record()) + "\n" for each in images)
    )
    for kept, count in (("negative", 5), ("leave_out", 4)):
        shutil.rmtree(run / "mined" / "dataset")
        export(images, run / "mined" / "dataset", GroundingConfig(all_rejected=kept))
        plan = open_set(run / "mined").record() | {"steps": STEPS}
        (run / "plan.json").write_text(json.dumps(plan))
        assert plan["images"] == count
        shutil.rmtree(run / "controls", ignore_errors=True)
        controls(run, Asked(("random_verifier",)), quiet)
        about = json.loads((learnt[-1].dataset / "dataset.json").read_text())
        assert about["all_rejected"] == kept


def test_what_is_no_finished_run_is_refused(run: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder of `valor mine`"):
        controls(run / "mined", Asked(CONTROLS), quiet)
    (run / "selection.json").unlink()
    with pytest.raises(ConfigError, match="has not come to its end"):
        controls(run, Asked(CONTROLS), quiet)


def test_a_set_without_its_mining_run_has_no_other_verdicts(run: Path, learnt: list[LearnTask]) -> None:
    plan = json.loads((run / "plan.json").read_text())
    (run / "plan.json").write_text(json.dumps(plan | {"mine": None}))
    with pytest.raises(ConfigError, match="without its mining run"):
        controls(run, Asked(("self_training",)), quiet)
    controls(run, Asked(("replay_only",)), quiet)


def test_steps_are_the_runs(run: Path) -> None:
    with pytest.raises(ConfigError, match="leave out finetune"):
        controls(run, Asked(CONTROLS), quiet, ["finetune.steps=3"])


def test_names_of_controls() -> None:
    check_names((*CONTROLS, *ABLATIONS))
    with pytest.raises(ConfigError, match="No control 'self'"):
        check_names(("self",))
