"""A folder's answers come about in one way: what differs is named, what was not known once is not held against it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from valor_ray.benchmarks.settings import BENCHMARK, ONE_ANSWER, Asking, answering, asked_before, save
from valor_ray.benchmarks.truth import Loaded, Wording
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError

EIGHT = Asking(8, "judge")
LOADED = Loaded([], {}, "c0ffee")


def begin(out: Path, asking: Asking, *overrides: str, server: bool = False) -> str | None:
    settings = None if server else answering(Config.load("local", overrides), asking)
    found = asked_before(out, "blink", Wording.CLEAN, asking, settings)
    save(out, "blink", Wording.CLEAN, "hub", LOADED, asking, settings)
    return found


def test_same_settings_go_on_with_the_same_commit(tmp_path: Path) -> None:
    assert begin(tmp_path, EIGHT) is None
    assert begin(tmp_path, EIGHT, "policy.replicas=2", "judge.timeout_s=9") == "c0ffee"


@pytest.mark.parametrize(
    ("now", "overrides", "said"),
    [
        (Asking(4, "judge"), (), "samples 8 -> 4"),
        (Asking(8, "vote"), (), "select judge -> vote"),
        (Asking(8), (), "select judge -> None"),
        (Asking(8, "judge", 1), (), "seed 0 -> 1"),
        (Asking(8, "judge", repairs=2), (), "repairs 0 -> 2"),
        (EIGHT, ("policy.temperature=0.9",), r"policy\.temperature 0\.7 -> 0\.9"),
        (EIGHT, ("judge.base_url=http://me:secret@host/v1",), r"judge\.base_url None -> http://host/v1"),
        (EIGHT, ("reward.logic=0.2", "reward.syntax=0.2"), r"reward\.syntax 0\.1 -> 0\.2"),
    ],
)
def test_other_settings_are_refused_with_what_differs(
    tmp_path: Path, now: Asking, overrides: tuple[str, ...], said: str
) -> None:
    begin(tmp_path, EIGHT)
    with pytest.raises(ConfigError, match=said) as refused:
        begin(tmp_path, now, *overrides)
    assert "Give each its own --out" in str(refused.value) and "secret" not in str(refused.value)


def test_rewards_matter_only_where_judges_choose(tmp_path: Path) -> None:
    begin(tmp_path, Asking(8, "vote"))
    begin(tmp_path, Asking(8, "vote"), "reward.logic=0.2", "reward.syntax=0.2")


def test_a_folder_of_an_earlier_version_holds_one_answer_a_question(tmp_path: Path) -> None:
    (tmp_path / BENCHMARK).write_text(
        json.dumps({"benchmark": "blink", "wording": "clean", "revision": "c0ffee"})
    )
    assert begin(tmp_path, ONE_ANSWER, "policy.temperature=0.9") == "c0ffee"
    with pytest.raises(ConfigError, match="samples 1 -> 8"):
        begin(tmp_path, EIGHT)


def test_a_server_s_settings_are_not_known_and_what_was_known_stays(tmp_path: Path) -> None:
    begin(tmp_path, ONE_ANSWER)
    begin(tmp_path, ONE_ANSWER, server=True)
    with pytest.raises(ConfigError, match=r"policy\.top_k 20 -> 5"):
        begin(tmp_path, ONE_ANSWER, "policy.top_k=5")


def test_each_question_has_a_seed_of_its_own_that_the_run_s_seed_changes() -> None:
    assert Asking().seed_of("a") == Asking(8, "vote").seed_of("a") != Asking().seed_of("b")
    assert Asking(seed=1).seed_of("a") != Asking().seed_of("a")
    assert 0 <= Asking(seed=-3).seed_of("ä") < 2**31
