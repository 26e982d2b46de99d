"""`valor improve --dry-run`: each stage's own plan, put together; nothing is written."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from improve_script import Script, job_at, run_job
from PIL import Image

from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.improve.child import Ended
from valor_ray.improve.estimate import estimate

PLANS = {
    "reasoning": {"steps": 80, "judge_calls": 20480, "judge_cost_usd": 3.5, "seconds_per_step": 30.0},
    "mine": {"verifier_calls_typical": 900, "cost_usd_typical": 1.25},
    "grounding": {"minutes_estimated": 4.0},
}


class Asked:
    """In place of the commands."""

    def __init__(self) -> None:
        self.lines: list[list[str]] = []
        self.queries: list[int] = []  # in the files that commands were given

    def __call__(self, words: Sequence[str]) -> Ended:
        self.lines.append(list(words))
        at = words.index("--queries") + 1 if "--queries" in words else 0
        if at:
            self.queries.append(len(Path(words[at]).read_text().splitlines()))
        return Ended(0, PLANS[words[1] if words[0] == "train" else words[0]])


def test_calls_cost_and_minutes_are_those_of_the_stages_own_plans(tmp_path: Path) -> None:
    job, asked = job_at(tmp_path / "job", rounds=2), Asked()
    planned = estimate(job, Config.load("local"), asked)
    one = {stage["stage"]: stage for stage in planned["stages"]}
    assert (one["round-1/reasoning"]["calls"], one["round-1/reasoning"]["minutes"]) == (20480, 40.0)
    assert (one["round-1/mine"]["calls"], one["round-2/mine"]["cost_usd"]) == (900, 1.25)
    assert one["base/tabletop"]["questions"] == 504 and one["base/tabletop"]["calls"] is None
    assert one["round-2/reasoning"]["models"]["policy"].endswith("round-1/reasoning/chosen")
    assert planned["cost_usd"] == 2 * (3.5 + 1.25) and planned["minutes"] == 2 * (40.0 + 4.0)
    assert not (tmp_path / "job").exists()


def test_each_kind_is_asked_once_and_grounding_without_a_set_that_is_not_there(tmp_path: Path) -> None:
    asked = Asked()
    estimate(job_at(tmp_path, rounds=3), Config.load("local"), asked)
    assert [words[:2] for words in asked.lines] == [
        ["train", "reasoning"],
        ["mine", "--run"],
        ["train", "grounding"],
    ]
    assert "--mined" not in asked.lines[2]


def test_what_is_done_costs_nothing_and_what_was_begun_goes_on(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        run_job(job_at(tmp_path), Script(ends={"round-1/grounding": Ended(2, None, "x")}))
    asked = Asked()
    planned = estimate(job_at(tmp_path), Config.load("local"), asked)
    states = {stage["stage"]: stage["state"] for stage in planned["stages"]}
    assert states["round-1/mine"] == "done" and states["round-1/grounding"] == "goes on"
    assert states["round-1/after-grounding/tabletop"] == "to do"
    assert planned["cost_usd"] == 0 and planned["minutes"] == 4.0 and len(asked.lines) == 1
    assert "--mined" in asked.lines[0]


def test_pictures_whose_questions_are_not_written_count_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / name)
    job = job_at(tmp_path / "job", images=str(tmp_path / "photos"), evaluated=())
    config = Config.load("local", ["vlm.base_url=https://host/v1", "vlm.model=m", "vlm.price_in=10"])
    asked = Asked()
    planned = estimate(job, config, asked)
    assert planned["stages"][0]["calls"] == 3 and planned["stages"][0]["cost_usd"] > 0
    assert any(word.startswith("grounding.queries=") for word in asked.lines[2])
    assert asked.queries == [3, 3]
    for number in range(21):
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / f"{number}.png")
    estimate(job, config, more := Asked())
    assert more.queries == [21, 24]  # an eighth is kept apart from reasoning, mining looks at all
    assert not (tmp_path / "job").exists()


def test_a_stage_that_would_be_refused_refuses_the_plan(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"round-1/reasoning: grpo\.prompts is more than"):
        estimate(
            job_at(tmp_path), Config.load("local"), lambda words: Ended(2, None, "grpo.prompts is more than")
        )
