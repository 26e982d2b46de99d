"""The held-out questions and the base policy's replies, which are made once."""

import json
from pathlib import Path
from typing import Any

import pytest
from bases import BASES

from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.program.parse import parse_reply
from valor_ray.tabletop.finetune import programs
from valor_ray.tabletop.finetune.programs import greedy_replies, questions
from valor_ray.tabletop.scenes import GROUNDING_LOOKS

COUNT = 10
CONFIG = Config.load("local", BASES)
POLICY = {name: getattr(CONFIG.policy, name) for name in ("model", "prompt", "max_tokens", "thinking")}


def quiet(line: str) -> None:
    pass


def test_questions_are_of_the_grounding_looks_and_two_a_picture() -> None:
    asked = questions(COUNT)
    assert len(asked) == COUNT and {each.look for each in asked} == set(GROUNDING_LOOKS)
    assert len({each.picture.key for each in asked}) == COUNT / 2
    assert len({each.query_id for each in asked}) == COUNT and {each.text for each in asked} == {
        "seen", "unseen"
    }  # fmt: skip
    assert all(parse_reply(each.gold).well_formed for each in asked)


def test_replies_are_asked_for_once_and_only_those_that_lack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled: list[list[str]] = []

    async def policy(config: Any, asked: list[str], folder: Path) -> list[str]:
        sampled.append(asked)
        return [f"reply to {each}" for each in asked]

    monkeypatch.setattr(programs, "_sampled", policy)
    asked = questions(COUNT)
    path = tmp_path / "kept" / "greedy.jsonl"
    few = greedy_replies(CONFIG, asked[:4], path, quiet)
    every = greedy_replies(CONFIG, asked, path, quiet)
    assert every[asked[5].query_id] == f"reply to {asked[5].question}" and list(every)[:4] == list(few)
    assert [len(each) for each in sampled] == [4, 6]
    assert greedy_replies(CONFIG, asked, path, quiet) == every and len(sampled) == 2


@pytest.mark.parametrize("setting", ["policy.prompt", "policy.model"])
def test_replies_of_another_policy_or_prompt_are_asked_for_and_kept_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    sampled: list[str] = []

    async def policy(config: Config, asked: list[str], folder: Path) -> list[str]:
        sampled.append(f"{config.policy.model} {config.policy.prompt}")
        return [sampled[-1] for _ in asked]

    monkeypatch.setattr(programs, "_sampled", policy)
    asked, path = questions(4), tmp_path / "greedy.jsonl"
    value = {
        "policy.prompt": "full" if CONFIG.policy.prompt == "short" else "short",
        "policy.model": "acme/other",
    }
    other = Config.load("local", [*BASES, f"{setting}={value[setting]}"])
    for _ in range(2):
        own, others = (greedy_replies(each, asked, path, quiet) for each in (CONFIG, other))
        assert set(own.values()) == {sampled[0]} and set(others.values()) == {sampled[1]}
    assert len(set(sampled)) == len(sampled) == 2


def test_replies_to_other_questions_are_refused(tmp_path: Path) -> None:
    asked = questions(2)
    row = {"query_id": asked[0].query_id, "question": "Another?", "reply": "x", "policy": POLICY}
    (tmp_path / "greedy.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(ConfigError, match="other questions"):
        greedy_replies(CONFIG, asked, tmp_path / "greedy.jsonl", quiet)
