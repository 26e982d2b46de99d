"""The job over scripted stages: killed after any of them, changed, failed, continued; and what it comes to."""

import json
from collections import Counter
from pathlib import Path

import pytest
from improve_script import N, Script, job_at, run_job, written

from valor_ray.errors import ConfigError, ServiceError
from valor_ray.improve.child import Ended
from valor_ray.improve.figures import figures, write_report
from valor_ray.improve.stages import Evaluated, Stage
from valor_ray.runs.folder import IMPROVE, kind_of, locked

STAGES = (
    "base/tabletop",
    "round-1/reasoning",
    "round-1/after-reasoning/tabletop",
    "round-1/mine",
    "round-1/grounding",
    "round-1/after-grounding/tabletop",
)


class Killed(BaseException):
    """Nothing catches it, as nothing catches kill -9."""


def ends(folder: Path) -> Counter[str]:
    rows = [json.loads(line) for line in (folder / "stages.jsonl").read_text().splitlines()]
    return Counter(row["stage"] for row in rows if row["event"] == "ended" and row["done"])


def test_a_job_ends_with_the_two_figures_and_a_page(tmp_path: Path) -> None:
    run_job(job_at(tmp_path), Script())
    report = write_report(tmp_path)
    shares = {name: (share["n"], share["accuracy"]) for name, share in report["accuracy"].items()}
    assert shares == {"base": (N, 0.3), "reasoning": (N, 0.55), "grounding": (N, 0.8)}
    for name in ("reasoning", "grounding"):
        gain = report["gains"][name]
        assert gain["gain"] == 0.25 and 0 < gain["ci"][0] < 0.25 < gain["ci"][1] and gain["significant"]
    assert report["gains"]["total"]["gain"] == 0.5 and report["finished"]
    assert set(report["accuracy"]["base"]["by_family"]) == {"count", "size"}
    assert kind_of(tmp_path) is IMPROVE and json.loads((tmp_path / "report.json").read_text()) == report
    page = (tmp_path / "report.html").read_text()
    assert "+25.0" in page and "55.0%" in page and "not come to its end" not in page


def test_a_page_that_fails_between_stages_is_said_and_does_not_end_the_job(tmp_path: Path) -> None:
    said, made = list[str](), list[Path]()

    def report(folder: Path) -> dict[str, int]:
        made.append(folder)
        if len(made) == 2:
            raise KeyError("place")
        if len(made) == 3:
            raise ConfigError("the two folders answer other questions")
        return {"page": len(made)}

    run_job(job_at(tmp_path), script := Script(), report=report, said=said)
    assert script.count == Counter(dict.fromkeys(STAGES, 1)) and len(made) == len(STAGES) + 1
    assert any("KeyError: 'place'" in line and "goes on" in line for line in said)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_any_stage_the_same_command_does_each_once(tmp_path: Path, stage: str, when: str) -> None:
    whole, folder = Script(), tmp_path / "killed"
    run_job(job_at(tmp_path / "whole"), whole)

    def kill(at: Stage) -> None:
        if at.name == stage:
            raise Killed

    first, second = Script(**{when: kill}), Script()
    with pytest.raises(Killed):
        run_job(job_at(folder), first)
    assert run_job(job_at(folder), second)["finished"]
    assert ends(folder) == Counter(STAGES)
    assert first.count + second.count == Counter(STAGES) + Counter([stage])
    told = json.dumps(whole.told).replace(str(tmp_path / "whole"), str(folder))
    assert json.loads(told) == first.told | second.told


def test_a_kill_while_an_end_is_written_costs_that_stage_alone(tmp_path: Path) -> None:
    run_job(job_at(tmp_path), Script())
    records = tmp_path / "stages.jsonl"
    records.write_bytes(records.read_bytes()[:-40])
    again = Script()
    assert run_job(job_at(tmp_path), again)["finished"] and again.count == Counter([STAGES[-1]])


def test_a_job_that_is_over_launches_nothing(tmp_path: Path) -> None:
    run_job(job_at(tmp_path), Script())
    again = Script()
    assert run_job(job_at(tmp_path), again)["finished"] and not again.count


def test_a_stage_whose_folder_is_gone_is_done_again(tmp_path: Path) -> None:
    run_job(job_at(tmp_path), Script())
    (tmp_path / "round-1/mine").rmdir()
    again = Script()
    run_job(job_at(tmp_path), again)
    assert again.count == Counter(["round-1/mine"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("grpo.steps=7", "round-1/reasoning was done with other settings \\(grpo.steps 80 -> 7\\)"),
        (
            "policy.temperature=0.2",
            "base/tabletop was done with other settings \\(policy.temperature 0.7 -> 0.2\\)",
        ),
        ("grounding.query_limit=9", "round-1/mine was done with other settings"),
        ("finetune.batch=3", "round-1/grounding was done with other settings \\(finetune.batch 8 -> 3\\)"),
    ],
)
def test_changed_settings_of_what_is_done_are_refused_by_name(
    tmp_path: Path, change: str, named: str
) -> None:
    run_job(job_at(tmp_path), Script())
    with pytest.raises(ConfigError, match=named):
        run_job(job_at(tmp_path), Script(), change)


def test_settings_that_decide_nothing_may_change(tmp_path: Path) -> None:
    run_job(job_at(tmp_path), Script())
    free = (
        "policy.replicas=2",
        "grpo.threads=2",
        "judge.retries=9",
        "ray.num_cpus=4",
        "finetune.save_every=7",
    )
    assert run_job(job_at(tmp_path), Script(), *free)["finished"]


def test_settings_of_a_stage_that_is_to_come_may_change(tmp_path: Path) -> None:
    with pytest.raises(ServiceError):
        run_job(job_at(tmp_path), Script(ends={"round-1/grounding": Ended(1, None, "no memory")}))
    assert run_job(job_at(tmp_path), Script(), "finetune.batch=3")["finished"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"questions": 8}, "questions None -> 8"),
        ({"images": "/photos"}, "images None -> /photos"),
        ({"evaluated": (Evaluated("own", "/x"),)}, "eval \\['tabletop'\\] -> \\['own:/x'\\]"),
        ({"rounds": 1}, "rounds 2 -> 1"),
        ({"controls": False}, "without --controls"),
    ],
)
def test_changed_options_are_refused_by_name(tmp_path: Path, change: dict, named: str) -> None:
    usual = {"rounds": 2, "controls": True}
    run_job(job_at(tmp_path, **usual), Script())
    with pytest.raises(ConfigError, match=named):
        run_job(job_at(tmp_path, **{**usual, **change}), Script())


def test_a_second_round_begins_with_the_models_of_the_first(tmp_path: Path) -> None:
    run_job(job_at(tmp_path), Script())
    more = Script()
    run_job(job_at(tmp_path, rounds=2), more)
    report = figures(tmp_path)
    assert not set(more.count) & set(STAGES) and len(more.count) == 5
    words = more.told["round-2/reasoning"]
    assert f'policy.model="{tmp_path / "round-1/reasoning/chosen"}"' in words
    assert f'detector.model="{tmp_path / "round-1/grounding/weights/step-000550"}"' in words
    assert [one["round"] for one in report["rounds"]] == [1, 2] and report["gains"]["total"]["gain"] == 0.5
    assert report["rounds"][1]["start"]["policy"] == str(tmp_path / "round-1/reasoning/chosen")


def test_controls_may_be_added_to_a_job_that_is_over_and_stand_beside_its_gains(tmp_path: Path) -> None:
    run_job(job_at(tmp_path), Script())
    assert "No controls beside these figures" in (
        write_report(tmp_path) and (tmp_path / "report.html").read_text()
    )
    more = Script()
    run_job(job_at(tmp_path, controls=True), more)
    beside = ("greedy", "detector", "best-of-8")
    assert list(more.count) == [f"controls/{name}/tabletop" for name in beside]
    found = write_report(tmp_path)["benchmarks"]["tabletop"]["controls"]
    over = {one["control"].removeprefix("controls/"): (one["accuracy"], one["over"]["gain"]) for one in found}
    assert over == {"greedy": (0.3, 0.5), "detector": (0.55, 0.25), "best-of-8": (0.3, 0.5)}
    page = (tmp_path / "report.html").read_text()
    assert "the base with the new detector" in page and "No controls beside" not in page


def test_two_jobs_in_one_folder_are_refused(tmp_path: Path) -> None:
    with locked(tmp_path, "--run"), pytest.raises(ConfigError, match="another run"):
        run_job(job_at(tmp_path), Script())


def test_a_folder_of_another_command_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"kind": "mine"}')
    with pytest.raises(ConfigError, match="is a folder of `valor mine`"):
        run_job(job_at(tmp_path), Script())


@pytest.mark.parametrize(("code", "error"), [(1, ServiceError), (2, ConfigError), (137, ServiceError)])
def test_a_stage_that_fails_ends_the_job_with_its_message_and_nothing_after(
    tmp_path: Path, code: int, error: type[Exception]
) -> None:
    script = Script(ends={"round-1/mine": Ended(code, None, "the detector is gone")})
    with pytest.raises(error, match="round-1/mine: the detector is gone"):
        run_job(job_at(tmp_path), script)
    assert set(script.count) == set(STAGES[:4])
    assert run_job(job_at(tmp_path), Script())["finished"]


def test_a_training_that_stopped_itself_ends_the_job(tmp_path: Path) -> None:
    stopped = Ended(
        1, {"stopped": "divergence 12 is above grpo.max_kl"}, "divergence 12 is above grpo.max_kl"
    )
    with pytest.raises(ServiceError, match=r"stopped: divergence 12 is above grpo\.max_kl"):
        run_job(job_at(tmp_path), Script(ends={"round-1/reasoning": stopped}))


def test_a_gate_that_refuses_leaves_the_detector_and_the_gain_is_none(tmp_path: Path) -> None:
    refused = {"published": None, "weights": None, "verdict": "general detection fell by 3 points"}
    script, said = Script(gives={"round-1/grounding": refused}), []
    run_job(job_at(tmp_path), script, said=said)
    report = figures(tmp_path)
    assert STAGES[-1] not in script.count and report["finished"]
    gain = report["gains"]["grounding"]
    assert gain["gain"] == 0 and gain["same_models"] and not gain["significant"]
    assert "general detection fell" in report["rounds"][0]["detector_is"] and any(
        "fell by 3" in line for line in said
    )


@pytest.mark.parametrize(
    ("take", "policy", "which"),
    [
        (
            {"step": 60, "why": "", "weights": "chosen", "signals": []},
            "chosen",
            "step 60, chosen without labels",
        ),
        ({"step": 0, "why": "", "weights": None, "signals": []}, "tabletop:policy", "took step 0"),
        (None, "weights/step-000080", "the last weights"),
    ],
)
def test_what_is_handed_on_is_the_choice_or_the_last_weights_and_it_says_which(
    tmp_path: Path, take: dict | None, policy: str, which: str
) -> None:
    def publish(stage: Stage) -> None:
        if stage.name == "round-1/reasoning":
            (stage.folder / "weights/step-000080").mkdir(parents=True)

    script = Script(gives={"round-1/reasoning": {"take": take}}, after=publish)
    run_job(job_at(tmp_path), script)
    report = figures(tmp_path)
    told = report["rounds"][0]["policy"].removeprefix(f"{tmp_path}/round-1/reasoning/")
    assert told == policy and which in report["rounds"][0]["policy_is"]
    mined_with = next(word for word in script.told["round-1/mine"] if word.startswith("policy.model="))
    assert mined_with == f'policy.model="{report["rounds"][0]["policy"]}"'


def test_pictures_that_mining_leaves_out_do_not_end_the_job(tmp_path: Path) -> None:
    def partly(stage: Stage) -> None:
        stage.folder.mkdir(parents=True, exist_ok=True)

    left = {"round-1/mine": Ended(1, {"images": 5, "candidates": 9, "kept": 3, "calls": 1})}
    said: list[str] = []
    assert run_job(job_at(tmp_path), Script(before=partly, ends=left), said=said)["finished"]
    assert any("left out" in line for line in said)


def test_questions_without_a_reply_are_asked_by_the_next_start_and_then_count_as_wrong(
    tmp_path: Path,
) -> None:
    some = Ended(1, {"unasked": 2, "n": N})
    with pytest.raises(ServiceError, match="2 of 40 questions were not asked"):
        run_job(job_at(tmp_path), Script(ends={"base/tabletop": some}))

    def answered(stage: Stage) -> None:
        if stage.name == "base/tabletop":
            Script()(stage, [])

    said: list[str] = []
    again = Script(before=answered, ends={"base/tabletop": some})
    assert run_job(job_at(tmp_path), again, said=said)["finished"]
    assert any("they count as wrong" in line for line in said)


def test_bare_pictures_end_with_signals_and_the_page_says_what_is_not_measured(tmp_path: Path) -> None:
    job = job_at(tmp_path, images="/photos", evaluated=())
    run_job(job, Script())
    report = write_report(tmp_path)
    assert (report["accuracy"], report["gains"], report["measured"]) == (None, None, "no truth: not measured")
    page = (tmp_path / "report.html").read_text()
    assert "no truth: not measured" in page and "agreement of answers, step 60" in page
    parted = {
        name: (tmp_path / "questions" / name).read_text().count("\n")
        for name in ("train.jsonl", "signals.jsonl")
    }
    assert parted == {"train.jsonl": 21, "signals.jsonl": 3}


def test_too_few_questions_to_keep_some_apart_choose_no_checkpoint(tmp_path: Path) -> None:
    said, few = list[str](), Script(gives={"questions": {}})
    few.after = lambda stage: written(stage.folder, 7) if stage.name == "questions" else None
    assert run_job(job_at(tmp_path, images="/photos", evaluated=()), few, said=said)["finished"]
    assert "stopping.questions=0" in few.told["round-1/reasoning"]
    assert any("too few questions to keep some apart" in line for line in said)
    many = Script()
    run_job(job_at(tmp_path / "many", images="/photos", evaluated=()), many)
    assert "stopping.questions=0" not in many.told["round-1/reasoning"]


def test_the_page_links_into_every_part_that_has_one(tmp_path: Path) -> None:
    def page(stage: Stage) -> None:
        (stage.folder / "report.html").write_text("its own")

    run_job(job_at(tmp_path), Script(after=page))
    write_report(tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert all(f'href="{name}/report.html"' in text for name in STAGES)


def test_a_job_that_goes_on_has_a_page_of_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(ServiceError):
        run_job(job_at(tmp_path), Script(ends={"round-1/mine": Ended(1, None, "x")}))
    report = write_report(tmp_path)
    assert report["gains"]["reasoning"]["gain"] == 0.25 and report["gains"]["grounding"] is None
    assert not report["finished"] and "not come to its end" in (tmp_path / "report.html").read_text()


def test_the_plan_on_disk_states_the_start_models_and_those_of_every_stage(tmp_path: Path) -> None:
    run_job(job_at(tmp_path), Script())
    plan = json.loads((tmp_path / "improve.json").read_text())
    assert plan["start"] == {"policy": "tabletop:policy", "detector": "tabletop:detector"}
    assert plan["rule_based"] == ["judge", "vlm"]
    assert [stage["stage"] for stage in plan["stages"]] == list(STAGES)
    assert all(stage["done"] and stage["models"] for stage in plan["stages"])


def test_settings_that_a_later_version_knows_do_not_stand_in_the_way(tmp_path: Path) -> None:
    run_job(job_at(tmp_path), Script())
    records = tmp_path / "stages.jsonl"
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    for row in rows:
        (row.get("settings") or {}).pop("policy.temperature", None)
    records.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run_job(job_at(tmp_path), Script())["finished"]
