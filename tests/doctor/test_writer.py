"""`valor doctor` tries the writer for real: what it finds of one that writes, and of those that do not."""

from __future__ import annotations

import json

import pytest
from odd_judge import Manner, behaving, fails, says
from rough_endpoint import endpoint

from valor_ray.config.tree import Config
from valor_ray.doctor.checks import Check
from valor_ray.doctor.writer import examine_writer

CODE = 'if 1:\n    final_answer = len(gd_detect(img_pth, "ball"))\nreturn'
GOOD = f"<plan>\n1. Count.\n</plan>\n<answer>\n{CODE}\n</answer>"


def found(manner: Manner, *changes: str) -> dict[str, Check]:
    with endpoint(behaving(manner)) as rough:
        own = {"base_url": rough.url, "model": "m", "api_key_env": None, "price_in": 1, "price_out": 10}
        settings = [f"policy.endpoint.{key}={json.dumps(value)}" for key, value in own.items()]
        return {check.name: check for check in examine_writer(Config.load("local", [*settings, *changes]))}


def test_a_good_writer_is_well_and_says_what_a_reply_takes() -> None:
    checks = found(says(GOOD))
    assert list(checks) == ["writer reply", "writer calls"] and all(check.ok for check in checks.values())
    told = checks["writer calls"].detail
    assert "900 + 100 tokens a reply; $1.90 per 1,000 replies; not sent: top_k=20" in told


@pytest.mark.parametrize(
    ("manner", "words"),
    [
        (says("final_answer = 3"), "there is no <plan> block: 'final_answer = 3'"),
        (says("<plan>1. Cou", "length"), "it was cut at its token limit: "),
        (says(None, refusal="I cannot."), "declined: I cannot."),
        (says(GOOD.replace("gd_detect", "find")), "the program calls no tool"),
        (says(GOOD.replace("if 1:", "if 1")), "the program is no Python"),
        (fails(401, "bad"), "it wants an API key"),
        (fails(429, "insufficient_quota", code="insufficient_quota"), "no quota or credit left"),
        (fails(400, "no"), "it refuses the request: no"),
    ],
)
def test_what_is_wrong_with_a_writer_is_said_with_what_to_do(manner: Manner, words: str) -> None:
    check = found(manner)["writer reply"]
    assert not check.ok and check.needed and words in check.detail and check.fix


def test_a_missing_price_is_a_note() -> None:
    check = found(says(GOOD), "policy.endpoint.price_in=0", "policy.endpoint.price_out=0")["writer calls"]
    assert not check.ok and not check.needed and "policy.endpoint.price_in" in check.fix


def test_nobody_is_called_without_an_endpoint_or_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert list(examine_writer(Config.load())) == []
    assert list(examine_writer(Config.load("hosted"))) == []
