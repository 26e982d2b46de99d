"""`valor doctor` tries the judge and the VLM for real: what it finds of good ones and of odd ones."""

from __future__ import annotations

import json
from typing import Any

import odd_judge
import pytest
from odd_judge import NO, YES, behaving, chat, fails, says, takes
from rough_endpoint import endpoint

from valor_ray.config.tree import Config
from valor_ray.doctor.checks import Check
from valor_ray.doctor.judge import examine_judge

SEES_NOTHING = fails(400, "this model does not take image_url")


def good(n: int, body: dict[str, Any], text: str) -> odd_judge.Answer:
    """Knows the canaries and the square."""
    if "square in the middle" in text:
        return 200, {}, chat(json.dumps({"answer": "yes" if "a red square" in text else "no"}))
    return 200, {}, chat(YES if "Find all white plates" in text else NO)


def found(manner: odd_judge.Manner, *changes: str) -> dict[str, Check]:
    with endpoint(behaving(manner)) as rough:
        settings = [f"judge.base_url={rough.url}", "judge.price_in=1", "judge.price_out=10", *changes]
        settings = [change.replace("URL", rough.url) for change in settings]
        return {check.name: check for check in examine_judge(Config.load("local", settings))}


def test_a_good_judge_is_well_and_says_what_its_answers_take() -> None:
    checks = found(good)
    assert list(checks) == ["judge yes", "judge no", "judge picture yes", "judge picture no", "judge calls"]
    assert all(check.ok for check in checks.values()), checks
    assert (
        "json_schema" in checks["judge calls"].detail and "900 + 100 tokens" in checks["judge calls"].detail
    )
    assert "$1.90 per 1,000 answers" in checks["judge calls"].detail


def test_one_that_always_says_yes_fails_the_second_canary() -> None:
    checks = found(says(YES))
    assert checks["judge yes"].ok and not checks["judge no"].ok and checks["judge no"].needed
    assert "no basis for training" in checks["judge no"].fix


def test_a_judge_that_sees_no_pictures_is_one_for_texts_and_a_vlm_must_see() -> None:
    blind = odd_judge.unless("image_url", SEES_NOTHING, good)
    checks = found(blind)
    assert (
        checks["judge yes"].ok
        and not checks["judge picture yes"].ok
        and not checks["judge picture yes"].needed
    )
    checks = found(blind, "vlm.base_url=URL", "vlm.model=eyes", "vlm.api_key_env=null")
    assert list(checks)[:2] == ["judge yes", "judge no"] and not any(
        name.startswith("judge picture") for name in checks
    )
    assert not checks["vlm picture yes"].ok and checks["vlm picture yes"].needed


@pytest.mark.parametrize("manner", ["quota (OpenAI)", "key", "model", "region"])
def test_what_would_end_a_run_is_said_once_in_its_words(manner: str) -> None:
    odd, words = odd_judge.ENDS[manner]
    checks = found(odd)
    assert list(checks) == ["judge yes"] and not checks["judge yes"].ok
    assert words in checks["judge yes"].detail and checks["judge yes"].fix


def test_the_form_that_it_takes_and_a_missing_usage_and_price_are_told() -> None:
    refusal = fails(400, "response_format json_schema is not supported")
    calls = found(takes(("json_object",), refusal), "judge.price_in=0", "judge.price_out=0")["judge calls"]
    assert "json_object" in calls.detail and "no price" in calls.detail
    assert "judge.price_in" in calls.fix and not calls.needed
    assert "does not say: estimated" in found(says(YES, usage=None))["judge calls"].detail


def test_nobody_is_called_without_an_endpoint_or_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    assert list(examine_judge(Config.load())) == []
    assert list(examine_judge(Config.load("gpu"))) == []
