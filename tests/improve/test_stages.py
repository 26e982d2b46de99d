"""Which stages a job has, what each is told, and what none may be told."""

from itertools import pairwise
from pathlib import Path

import pytest
from improve_script import START, job_at

from valor_ray.cli import build_parser
from valor_ray.config.tree import Config
from valor_ray.improve.stages import (
    Evaluated,
    Job,
    Kind,
    Models,
    common_words,
    controls,
    measured,
    models_of,
    stages,
)
from valor_ray.tabletop.scenes import GROUNDING_LOOKS

LOCAL = Config.load("local")
TRAINED = {
    "round-1/reasoning": {"policy": "/p1"},
    "round-1/grounding": {"detector": "/d1"},
    "round-2/reasoning": {"policy": "/p2"},
    "round-2/grounding": {"detector": "/d2"},
}


def line(job: Job, name: str, ended=TRAINED) -> list[str]:
    """The whole command line of a stage."""
    (stage,) = (each for each in stages(job, LOCAL, ended) if each.name == name)
    return [*stage.words, *common_words(job, stage)]


def holds(words: list[str], option: str, value: str) -> bool:
    return any(pair == (option, value) for pair in pairwise(words))


def test_a_round_is_the_paper_in_order(tmp_path: Path) -> None:
    names = [stage.name for stage in stages(job_at(tmp_path), LOCAL, {})]
    assert names == [
        "base/tabletop",
        "round-1/reasoning",
        "round-1/after-reasoning/tabletop",
        "round-1/mine",
        "round-1/grounding",
        "round-1/after-grounding/tabletop",
    ]


def test_every_stage_is_told_both_models_also_the_start_ones(tmp_path: Path) -> None:
    job = job_at(tmp_path, rounds=2, overrides=("policy.model=other",))
    told = {stage.name: (stage.models.policy, stage.models.detector) for stage in stages(job, LOCAL, TRAINED)}
    assert told == {
        "base/tabletop": ("tabletop:policy", "tabletop:detector"),
        "round-1/reasoning": ("tabletop:policy", "tabletop:detector"),
        "round-1/after-reasoning/tabletop": ("/p1", "tabletop:detector"),
        "round-1/mine": ("/p1", "tabletop:detector"),
        "round-1/grounding": ("/p1", "tabletop:detector"),
        "round-1/after-grounding/tabletop": ("/p1", "/d1"),
        "round-2/reasoning": ("/p1", "/d1"),
        "round-2/after-reasoning/tabletop": ("/p2", "/d1"),
        "round-2/mine": ("/p2", "/d1"),
        "round-2/grounding": ("/p2", "/d1"),
        "round-2/after-grounding/tabletop": ("/p2", "/d2"),
    }
    for stage in stages(job, LOCAL, TRAINED):
        words = common_words(job, stage)
        config = Config.load("local", [word for word in words if "=" in word and not word.startswith("--")])
        assert (config.policy.model, config.detector.model) == told[stage.name]


def test_grounding_learns_from_what_its_round_has_mined(tmp_path: Path) -> None:
    job = job_at(tmp_path, rounds=2)
    assert holds(line(job, "round-2/grounding"), "--mined", str(tmp_path / "round-2/mine"))


def test_later_rounds_render_and_sample_anew(tmp_path: Path) -> None:
    job = job_at(tmp_path, rounds=2)
    assert not any("seed" in word for word in line(job, "round-1/reasoning"))
    assert holds(line(job, "round-2/reasoning"), "--set", "grpo.seed=1")
    assert holds(line(job, "round-2/mine"), "--set", "grounding.seed=1")


@pytest.mark.parametrize("images", [None, "/photos"])
def test_no_stage_that_trains_mines_or_writes_is_told_of_an_evaluation(
    tmp_path: Path, images: str | None
) -> None:
    job = job_at(
        tmp_path, rounds=2, images=images, evaluated=(Evaluated("tabletop"), Evaluated("own", "/truth"))
    )
    evaluations = [str(place.folder) for place in measured(job, TRAINED)] + ["/truth"]
    plan = stages(job, LOCAL, TRAINED)
    assert {stage.kind for stage in plan} >= set(Kind) - {Kind.QUESTIONS}
    for stage in plan:
        words = " ".join([*stage.words, *common_words(job, stage)])
        told = any(folder in words for folder in evaluations)
        assert told is (stage.kind is Kind.EVALUATE), stage.name


def test_all_evaluations_ask_the_same_rendered_questions(tmp_path: Path) -> None:
    job = job_at(tmp_path)
    data = str(tmp_path / "base/tabletop/data")
    assert holds(line(job, "base/tabletop"), "--limit", "504") and "--data" not in line(job, "base/tabletop")
    for name in ("round-1/after-reasoning/tabletop", "round-1/after-grounding/tabletop"):
        assert holds(line(job, name), "--data", data) and holds(line(job, name), "--limit", "504")


def test_other_benchmarks_are_asked_whole_unless_a_number_is_given(tmp_path: Path) -> None:
    two = (Evaluated("own", "/truth"), Evaluated("omni3d"))
    assert holds(line(job_at(tmp_path, evaluated=two), "base/own"), "--data", "/truth")
    assert "--limit" not in line(job_at(tmp_path, evaluated=two), "base/omni3d")
    assert holds(line(job_at(tmp_path, evaluated=two, questions=8), "base/omni3d"), "--limit", "8")


def test_an_evaluation_with_the_models_of_an_earlier_one_is_that_one(tmp_path: Path) -> None:
    same = {"round-1/reasoning": {"policy": START.policy}, "round-1/grounding": {"detector": START.detector}}
    job = job_at(tmp_path)
    assert {place.folder for place in measured(job, same)} == {tmp_path / "base"}
    assert [stage.kind for stage in stages(job, LOCAL, same)].count(Kind.EVALUATE) == 1
    refused = {"round-1/reasoning": {"policy": "/p1"}, "round-1/grounding": {"detector": START.detector}}
    assert [place.folder.name for place in measured(job, refused)] == [
        "base",
        "after-reasoning",
        "after-reasoning",
    ]


def test_models_that_are_not_made_yet_stand_where_they_are_expected(tmp_path: Path) -> None:
    before, between, after = models_of(job_at(tmp_path, rounds=2), 2, {})
    assert before.policy == str(tmp_path / "round-1/reasoning/chosen")
    assert between.policy == str(tmp_path / "round-2/reasoning/chosen") and after.detector.endswith(
        "round-2/grounding"
    )


def test_bare_pictures_get_questions_first_and_nothing_is_measured(tmp_path: Path) -> None:
    job = job_at(tmp_path, images="/photos", evaluated=())
    plan = stages(job, LOCAL, {})
    assert [stage.name for stage in plan] == [
        "questions",
        "round-1/reasoning",
        "round-1/mine",
        "round-1/grounding",
    ]
    reasoning = line(job, "round-1/reasoning", {})
    assert holds(reasoning, "--queries", str(tmp_path / "questions/train.jsonl"))
    assert holds(reasoning, "--set", f'stopping.queries="{tmp_path / "questions/signals.jsonl"}"')
    assert holds(reasoning, "--set", "grpo.eval_questions=0")
    assert holds(line(job, "round-1/mine", {}), "--queries", str(tmp_path / "questions/queries.jsonl"))


def test_held_out_questions_that_the_user_wants_with_pictures_stay(tmp_path: Path) -> None:
    job = job_at(tmp_path, images="/photos", evaluated=(), overrides=("grpo.eval_questions=96",))
    assert not holds(line(job, "round-1/reasoning", {}), "--set", "grpo.eval_questions=0")


def test_every_command_line_is_one_that_its_command_takes(tmp_path: Path) -> None:
    from valor_ray.commands.train.write_queries import build_parser as of_questions

    job = job_at(
        tmp_path, rounds=2, images="/photos", eval_scenes=3, questions=8, overrides=("grpo.steps=2",)
    )
    for stage in stages(job, LOCAL, {}):
        words = [*stage.words, *common_words(job, stage)]
        parser = of_questions() if stage.kind is Kind.QUESTIONS else build_parser([words[0]])
        parser.parse_args(words)


def test_offline_questions_are_about_pictures_of_the_kind_that_is_mined(tmp_path: Path) -> None:
    base, after = (
        line(job_at(tmp_path), name) for name in ("base/tabletop", "round-1/after-grounding/tabletop")
    )
    assert base[base.index("--looks") + 1 :][: len(GROUNDING_LOOKS)] == list(GROUNDING_LOOKS)
    assert "--looks" not in after and holds(after, "--data", str(tmp_path / "base/tabletop/data"))
    assert build_parser().parse_args(base).looks == list(GROUNDING_LOOKS)


def test_controls_are_the_start_policy_at_zero_with_the_new_eyes_and_chosen_of_eight(tmp_path: Path) -> None:
    job = job_at(tmp_path, controls=True, evaluated=(Evaluated("tabletop"), Evaluated("own", "/truth")))
    beside = [stage for stage in stages(job, LOCAL, TRAINED) if stage.name.startswith("controls/")]
    assert {stage.name: stage.models for stage in beside} == {
        "controls/greedy/tabletop": START,
        "controls/detector/tabletop": Models("tabletop:policy", "/d1"),
        "controls/best-of-8/tabletop": START,
    }
    greedy, _, best = (line(job, stage.name) for stage in beside)
    assert holds(greedy, "--set", "policy.temperature=0") and holds(greedy, "--samples", "1")
    assert holds(best, "--samples", "8") and holds(best, "--select", "judge")
    for stage in beside:
        assert holds(line(job, stage.name), "--data", str(tmp_path / "base/tabletop/data"))
    assert not [stage for stage in stages(job_at(tmp_path), LOCAL, TRAINED) if "controls" in stage.name]


def test_a_detector_that_stayed_is_no_control_and_each_round_has_its_own(tmp_path: Path) -> None:
    stayed = TRAINED | {"round-1/grounding": {"detector": START.detector}}
    names = [place.name for place in controls(job_at(tmp_path, controls=True), stayed)]
    assert names == ["controls/greedy", "controls/best-of-8"]
    twice = controls(job_at(tmp_path, controls=True, rounds=2), TRAINED)
    assert [place.name for place in twice][1] == "controls/detector-2" and twice[1].models.detector == "/d2"
