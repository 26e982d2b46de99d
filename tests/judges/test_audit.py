"""The canaries are what they say, and a judge that fails them raises an alarm."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path

import pytest

from valor_ray.config.judging import RewardConfig
from valor_ray.config.tree import Config
from valor_ray.judges.audit import Audit, canaries, canaries_after
from valor_ray.judges.plan_heads import verdict_requests
from valor_ray.program.parse import parse_reply
from valor_ray.program.sandbox import Sandbox
from valor_ray.reasoning.syntax import SyntaxOfPrograms
from valor_ray.records import JUDGED, Head
from valor_ray.tabletop.judge.text.verdict import judge


def test_format_and_syntax_of_each_canary_are_as_expected() -> None:
    async def check() -> dict[str, str]:
        wrong = {}
        async with Sandbox(Config.load().sandbox) as sandbox:
            syntax = SyntaxOfPrograms(sandbox)
            for canary in canaries():
                parsed = parse_reply(canary.reply)
                if parsed.well_formed != canary.expected[Head.FORMAT]:
                    wrong[canary.canary_id] = f"format: {parsed.error}"
                elif parsed.well_formed and Head.SYNTAX in canary.expected:
                    verdict = await syntax(parsed.code)
                    if verdict.value != canary.expected[Head.SYNTAX]:
                        wrong[canary.canary_id] = verdict.reason
        return wrong

    assert asyncio.run(check()) == {}


def test_every_head_has_canaries_of_both_kinds() -> None:
    assert len(canaries()) >= 50
    for head in (
        head for head in Head if head is not Head.SCENES
    ):  # whose verdict depends on a judge's answers
        expected = [canary.expected[head] for canary in canaries() if head in canary.expected]
        assert expected.count(True) >= 5 and expected.count(False) >= 2, head


def test_offline_judge_agrees_with_the_canaries() -> None:
    wrong = []
    for canary in canaries():
        parsed = parse_reply(canary.reply)
        for head, request in (
            verdict_requests(canary.question, parsed.plan, parsed.code).items() if parsed.well_formed else ()
        ):
            expected = canary.expected.get(head)
            if (
                expected is not None
                and judge(head.value, str(request.messages[-1]["content"])).verdict != expected
            ):
                wrong.append((canary.canary_id, head.value))
    assert len(wrong) <= 3, wrong


def record(canary_id: str, verdict: bool | None) -> dict:
    return {"canary": canary_id, "format": True, **{head.value: verdict for head in JUDGED}}


def test_judge_that_says_yes_to_all_raises_an_alarm_once() -> None:
    audit = Audit(RewardConfig())
    told = [audit.add(record(canary.canary_id, True)) for canary in canaries()]
    assert any("logic judge" in text for text in told)
    assert sum("logic judge" in text for text in told) == 1
    report = audit.report()
    assert "logic judge" in report["alarm"] and report["heads"]["logic"]["asked"] > 30
    assert report["kinds"]["good"]["agreed"] == report["kinds"]["good"]["asked"]


def test_missing_verdicts_are_no_disagreement() -> None:
    audit = Audit(RewardConfig())
    assert [audit.add(record(canary.canary_id, None)) for canary in canaries()] == [""] * len(canaries())
    assert audit.report()["heads"]["logic"]["missing"] > 30 and audit.report()["alarm"] == ""


def test_heads_that_were_not_asked_or_do_not_apply_are_not_missing() -> None:
    weights = RewardConfig(logic=0, syntax=0.1, attribute=0.2, spatial=0, adherence=0, scenes=0.7)
    audit = Audit(weights)
    for canary in canaries():
        audit.add(record(canary.canary_id, None) | {"syntax": True, "left_out": ["attribute"]})
    assert set(audit.report()["heads"]) == {"format", "syntax"}
    assert all(counts["missing"] == 0 for counts in audit.report()["heads"].values())
    audit.add(record(canaries()[0].canary_id, True))
    assert audit.report()["heads"]["attribute"]["asked"] == 1 and "logic" not in audit.report()["heads"]


def test_canaries_come_mixed_and_go_on_after_an_earlier_run(tmp_path: Path) -> None:
    done = tmp_path / "audit.jsonl"
    first = [canary.canary_id for canary in itertools.islice(canaries_after(done), len(canaries()))]
    assert len(set(first)) == len(canaries())
    assert len({name.rpartition("-")[0] for name in first[:8]}) >= 4
    done.write_text("".join(json.dumps({"canary": name}) + "\n" for name in first[:3]))
    assert next(canaries_after(done)).canary_id == first[3]


@pytest.mark.parametrize("kind", ["instructs the judge", "fake fences", "keyword stuffing", "hard-coded"])
def test_hacks_are_among_them(kind: str) -> None:
    assert any(canary.kind == kind for canary in canaries())
