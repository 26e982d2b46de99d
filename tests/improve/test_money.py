"""One limit over all stages: what is left goes to each, reached it ends the job, raised it goes on."""

import json
from pathlib import Path

import pytest
from improve_script import Script, job_at, run_job

from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError, JudgeError, ServiceError
from valor_ray.improve.child import Ended
from valor_ray.improve.figures import figures
from valor_ray.improve.money import asked_by, check_limit, payers, places, total
from valor_ray.improve.stages import Kind, Stage
from valor_ray.judges.gateway.answers import AnswerStore, StoredAnswer

JUDGE = ("judge.base_url=https://host/v1", "judge.model=llm", "judge.api_key_env=null", "judge.price_in=1")
VLM = ("vlm.base_url=https://host/v1", "vlm.model=vlm", "vlm.price_in=1")


def pay(folder: Path, part: str, model: str, usd: float) -> None:
    """As a gateway does: an answer in the store of the job."""
    store = AnswerStore(folder / "answers" / part)
    store.put_many({f"{model}-{len(store)}": StoredAnswer({}, model, 1, 1, usd, 0.0)})
    store.close()


def limits(words: list[str]) -> dict[str, float]:
    """The caps that a command line gives."""
    pairs = (word.split("=", 1) for word in words if ".max_cost_usd=" in word)
    return {key.removesuffix(".max_cost_usd"): float(value) for key, value in pairs}


def paying(folder: Path, usd: dict[str, float]) -> Script:
    """Each stage pays so much of the VLM."""

    def after(stage: Stage) -> None:
        if stage.name in usd:
            pay(folder, "vlm", "vlm", usd[stage.name])

    return Script(after=after)


def test_what_is_spent_is_subtracted_from_what_the_next_stages_may_spend(tmp_path: Path) -> None:
    script = paying(tmp_path, {"base/tabletop": 1.0, "round-1/mine": 2.5})
    run_job(job_at(tmp_path), script, *JUDGE, *VLM, most_usd=10.0)
    report = figures(tmp_path)
    # of a place that already holds $1, a limit of $10 more than the nothing that is left of it
    assert limits(script.told["base/tabletop"]) == {"vlm": 10.0}
    assert limits(script.told["round-1/reasoning"]) == {"judge": 6.75, "vlm": 1.0 + 2.25}
    assert limits(script.told["round-1/mine"]) == {"vlm": 10.0}
    assert limits(script.told["round-1/grounding"]) == {}
    assert limits(script.told["round-1/after-grounding/tabletop"]) == {"vlm": 10.0}
    assert report["cost_usd"] == 3.5
    by_stage = {stage["stage"]: stage["cost_usd"] for stage in report["stages"]}
    assert (
        by_stage["base/tabletop"] == 1.0
        and by_stage["round-1/mine"] == 2.5
        and not by_stage["round-1/grounding"]
    )


def test_all_stages_keep_their_answers_in_one_place(tmp_path: Path) -> None:
    script = Script()
    run_job(job_at(tmp_path), script, *JUDGE, *VLM)
    for words in script.told.values():
        assert (
            f'judge.cache_dir="{tmp_path}/answers/judge"' in words
            and f'vlm.cache_dir="{tmp_path}/answers/vlm"' in words
        )
        assert limits(words) == {}


def test_offline_nothing_is_paid_and_nothing_is_said_of_it(tmp_path: Path) -> None:
    script = Script()
    run_job(job_at(tmp_path), script, most_usd=0.0)
    assert figures(tmp_path)["cost_usd"] == 0.0
    assert not any(
        "cache_dir" in word or "max_cost" in word for words in script.told.values() for word in words
    )


def test_one_endpoint_for_both_is_one_account(tmp_path: Path) -> None:
    job, config = job_at(tmp_path), Config.load("local", JUDGE)
    assert [each.section for each in payers(job, config)] == ["judge"]
    place = f'cache_dir="{tmp_path}/answers/judge"'
    assert places(job, config) == [f"judge.{place}", f"vlm.{place}"]
    assert asked_by(Kind.REASONING, config) == ("judge",) and asked_by(Kind.MINE, config) == ("judge",)
    assert asked_by(Kind.EVALUATE, config, ("eval", "tabletop", "--select", "judge")) == ("judge",)
    two = Config.load("local", [*JUDGE, *VLM])
    assert asked_by(Kind.EVALUATE, two, ("eval", "tabletop", "--select", "judge")) == ("judge", "vlm")
    assert asked_by(Kind.EVALUATE, two, ("eval", "gqa")) == ("vlm", "judge")
    both = Config.load("local", [*JUDGE, *places(job, config), "judge.max_cost_usd=3"])
    assert both.vlm_part == "judge" and both.vlm.max_cost_usd == 3


def test_what_vlm_says_for_itself_is_no_way_round_the_limit(tmp_path: Path) -> None:
    own = [
        *JUDGE,
        "judge.max_cost_usd=20",
        "vlm.max_cost_usd=20",
        "vlm.cache_dir=null",
    ]  # as a saved config.yaml has it
    assert Config.load("local", own).vlm_part == "judge"
    run_job(job_at(tmp_path), script := Script(), *own, most_usd=4.0)
    words = [each.split("=", 1) for each in script.told["round-1/mine"] if "=" in each]
    told = Config.load(
        "local", [*own, *("=".join(pair) for pair in words if pair[0].startswith(("judge.", "vlm.")))]
    )
    assert (told.vlm_part, told.vlm.max_cost_usd) == ("judge", 4.0)
    assert told.vlm.cache_dir == told.judge.cache_dir == str(tmp_path / "answers/judge")


def test_two_sections_with_one_place_and_model_are_one_account(tmp_path: Path) -> None:
    shared = [*JUDGE, f"judge.cache_dir={tmp_path}/answers/judge", "vlm={max_side: 512}"]
    job, config = job_at(tmp_path), Config.load("local", shared)
    assert [each.section for each in payers(job, config)] == ["judge", "vlm"]
    pay(tmp_path, "judge", "llm", 2.0)
    assert total(payers(job, config)) == 2.0


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    job = job_at(tmp_path / "exp #3: é")
    config = Config.load("local", [*JUDGE, *places(job, Config.load("local", JUDGE))])
    assert config.judge.cache_dir == str(job.folder / "answers/judge")


def test_reached_it_ends_the_job_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    script = paying(tmp_path, {"round-1/mine": 5.0})
    with pytest.raises(
        JudgeError, match=r"--max-cost-usd 5 is reached at round-1/after-grounding/tabletop: \$5\.0000"
    ):
        run_job(job_at(tmp_path), script, *JUDGE, *VLM, most_usd=5.0)
    again = Script()
    assert run_job(job_at(tmp_path), again, *JUDGE, *VLM, most_usd=6.0)["finished"]
    assert set(again.count) == {"round-1/after-grounding/tabletop"}
    assert limits(again.told["round-1/after-grounding/tabletop"]) == {"vlm": 6.0}


def test_a_stage_that_its_gateway_ended_ends_the_job_in_the_jobs_words(tmp_path: Path) -> None:
    def spend(stage: Stage) -> None:
        if stage.name == "round-1/mine":
            pay(tmp_path, "vlm", "vlm", 4.99)

    ended = Ended(1, None, "vlm.max_cost_usd=5 is reached: 'vlm' has cost $4.99")
    with pytest.raises(JudgeError, match="--max-cost-usd 5 is reached at round-1/mine"):
        run_job(
            job_at(tmp_path), Script(before=spend, ends={"round-1/mine": ended}), *JUDGE, *VLM, most_usd=5.0
        )


def test_where_one_of_two_models_runs_out_its_stage_gets_what_the_other_left(tmp_path: Path) -> None:
    script = Script()

    def spend(stage: Stage) -> None:
        if stage.name == "round-1/reasoning" and script.count[stage.name] == 1:
            pay(tmp_path, "judge", "llm", 7.5)

    script.before = spend
    script.ends = {"round-1/reasoning": Ended(1, None, "judge.max_cost_usd=7.5 is reached")}
    assert run_job(job_at(tmp_path), script, *JUDGE, *VLM, most_usd=10.0)["finished"]
    assert script.count["round-1/reasoning"] == 2
    assert limits(script.told["round-1/reasoning"]) == {"judge": 7.5 + 0.75 * 2.5, "vlm": 0.625}


def test_an_evaluation_whose_questions_failed_for_money_is_no_result(tmp_path: Path) -> None:
    def failed(stage: Stage) -> None:
        if stage.name == "base/tabletop":
            stage.folder.mkdir(parents=True)
            row = {"query_id": "1", "error": "The judge failed: vlm.max_cost_usd=1 is reached"}
            (stage.folder / "answers.jsonl").write_text(json.dumps(row) + "\n")
            pay(tmp_path, "vlm", "vlm", 0.999)

    ended = Ended(1, {"unasked": 3, "n": 40})
    with pytest.raises(JudgeError, match="reached at base/tabletop"):
        run_job(
            job_at(tmp_path), Script(before=failed, ends={"base/tabletop": ended}), *JUDGE, *VLM, most_usd=1.0
        )


def test_answers_that_were_there_before_the_job_are_not_on_its_account(tmp_path: Path) -> None:
    place, job = tmp_path / "shared", job_at(tmp_path / "job")
    pay(tmp_path, "vlm", "vlm", 3.0)
    (tmp_path / "answers/vlm").rename(place)
    script = Script()
    run_job(job, script, *JUDGE, *VLM, f"vlm.cache_dir={place}", most_usd=2.0)
    assert figures(job.folder)["cost_usd"] == 0.0 and limits(script.told["base/tabletop"]) == {"vlm": 5.0}
    store = AnswerStore(place)
    store.put_many({"later": StoredAnswer({}, "vlm", 1, 1, 0.5, 0.0)})
    store.close()
    more, again = Script(), job_at(tmp_path / "job", rounds=2)
    assert run_job(again, more, *JUDGE, *VLM, f"vlm.cache_dir={place}", most_usd=2.0)["finished"]
    assert limits(more.told["round-2/mine"]) == {"vlm": 5.0}


def test_the_users_own_limit_of_a_model_holds_where_it_is_lower(tmp_path: Path) -> None:
    script = Script()
    run_job(job_at(tmp_path), script, *JUDGE, *VLM, "vlm.max_cost_usd=1", most_usd=10.0)
    assert limits(script.told["round-1/mine"]) == {"vlm": 1.0}
    ended = Ended(1, None, "vlm.max_cost_usd=1 is reached")
    with pytest.raises(ServiceError, match=r"round-1/mine: vlm\.max_cost_usd=1 is reached"):
        run_job(
            job_at(tmp_path / "b"),
            Script(ends={"round-1/mine": ended}),
            *JUDGE,
            *VLM,
            "vlm.max_cost_usd=1",
            most_usd=9.0,
        )


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (("judge.price_in=0",), "judge.price_in"),
        (("judge.others=[{base_url: https://b/v1, model: b, price_in: 1}]",), "judge.others"),
    ],
)
def test_a_limit_that_could_not_be_kept_is_refused(overrides: tuple[str, ...], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        check_limit(Config.load("local", [*JUDGE, *VLM, *overrides]))
