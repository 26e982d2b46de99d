"""`python -m jobs.sample_replies`: what is missing is sampled, and wrong files are refused before an host starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from valor_ray.commands.train import sample_replies
from valor_ray.errors import PolicyError
from valor_ray.models.vllm import policy as vllm_policy
from valor_ray.records import Reply


class Policy:
    """In the place of VllmPolicy: the host is the only part that is not real here."""

    asked: list[tuple[str, int]]
    started = 0

    def __init__(self, config: Any) -> None:
        pass

    async def start(self) -> None:
        type(self).started += 1

    def close(self) -> None:
        pass

    async def generate(self, question: str, *, n: int = 1) -> list[Reply]:
        self.asked.append((question, n))
        if "broken" in question:
            raise PolicyError("the host has died")
        return [Reply(f"reply {i}", (1,), (0.0,), "base", "stop") for i in range(n)]


@pytest.fixture(autouse=True)
def policy(monkeypatch: pytest.MonkeyPatch) -> type[Policy]:
    monkeypatch.setattr(vllm_policy, "VllmPolicy", Policy)
    monkeypatch.setattr(sample_replies, "interrupt_on_signals", lambda: None)
    Policy.asked, Policy.started = [], 0
    return Policy


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    rows = [{"query_id": f"q{i}", "question": f"How many {i}?"} for i in range(3)]
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "queries.jsonl"


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["sample_replies", *map(str, words)])
    return sample_replies.main()


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_only_what_is_missing_is_sampled(
    tmp_path: Path, queries: Path, policy: type[Policy], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "replies.jsonl"
    assert run(monkeypatch, "--queries", queries, "--n", 2, "--out", out) == 0
    assert sorted(row["reply_id"] for row in rows(out)) == ["q0#1", "q0#2", "q1#1", "q1#2", "q2#1", "q2#2"]
    assert set(rows(out)[0]) == {
        "reply_id", "query_id", "question", "reply", "policy_version", "finish_reason",
    }  # fmt: skip
    out.write_bytes(out.read_bytes()[:-5])  # as a kill leaves it
    policy.asked.clear()
    assert run(monkeypatch, "--queries", queries, "--n", 2, "--out", out) == 0
    assert len(rows(out)) == 6 and [n for _, n in policy.asked] == [1]
    started = policy.started
    assert run(monkeypatch, "--queries", queries, "--n", 2, "--out", out) == 0
    assert policy.started == started  # nothing to do: no host


def test_wrong_files_exit_2_before_an_engine_starts(
    tmp_path: Path, queries: Path, policy: type[Policy], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "file").write_text("not a folder")
    foreign = tmp_path / "foreign.jsonl"
    foreign.write_text('{"id": 1}\n{"half')
    other = tmp_path / "other.jsonl"
    other.write_text('{"reply_id": "a", "reply": "b"}\n')
    spoilt = tmp_path / "spoilt.jsonl"
    spoilt.write_text('{"reply_id": }\n')
    for words, message in (
        ((tmp_path / "none.jsonl", tmp_path / "out.jsonl"), "no such file or folder"),
        ((queries, tmp_path / "file" / "out.jsonl"), "Give a file that can be written"),
        ((queries, tmp_path), "Give a file that can be written"),
        ((queries, foreign), "something other than the replies of this job"),
        ((queries, other), "something other than the replies of this job"),
        ((queries, spoilt), f"{spoilt} line 1 is not a record"),
    ):
        assert run(monkeypatch, "--queries", words[0], "--out", words[1]) == 2, words
        assert message in capsys.readouterr().err, words
    assert policy.started == 0
    assert foreign.read_text() == '{"id": 1}\n{"half'  # nobody else's file is cut


def test_failing_engine_exits_1_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps({"query_id": "a", "question": "Is it broken?"}) + "\n")
    assert run(monkeypatch, "--queries", path, "--out", tmp_path / "r.jsonl") == 1
    said = capsys.readouterr().err
    assert said.splitlines()[-1] == "sample_replies: the host has died" and "Traceback" not in said
