from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from valor_ray.asking.kept import Replied
from valor_ray.benchmarks.figures import EvalReport
from valor_ray.benchmarks.runner import ANSWERS, evaluate, evaluate_streamed
from valor_ray.benchmarks.settings import Asking
from valor_ray.benchmarks.truth import Truth
from valor_ray.errors import ConfigError, ServiceError, StorageError
from valor_ray.records import Query
from valor_ray.runs.record_file import RecordFile

QUERIES = [Query(f"q{i}", f"question {i}", "x.png") for i in range(4)]
TRUTHS = {
    "q0": Truth("no", "existence"),
    "q1": Truth(2, "count"),
    "q2": Truth("red", "attribute"),
    "q3": Truth(30.0, "height"),
}


class Service:
    """Replies by query_id; an exception among them is raised."""

    def __init__(self, **replies: Any) -> None:
        self.replies, self.asked, self.inside, self.most = replies, [], 0, 0

    async def __call__(self, query: Query) -> dict[str, Any]:
        self.asked.append(query.query_id)
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(0.01)
        self.inside -= 1
        reply = self.replies[query.query_id]
        if isinstance(reply, Exception):
            raise reply
        return {"error": None, **reply} if isinstance(reply, dict) else {"answer": reply, "error": None}


def run(service: Service, out: Path, **more: Any) -> EvalReport:
    return asyncio.run(evaluate("tabletop", QUERIES, TRUTHS, service, out, **more))


def test_report_counts_by_family_with_intervals(tmp_path: Path) -> None:
    report = run(Service(q0="no", q1=2.9, q2="Red.", q3=33.0), tmp_path)
    assert (report.n, report.accuracy, report.failures) == (4, 0.75, 0)
    assert report.ci[0] < 0.75 < report.ci[1]
    assert report.by_family["count"].accuracy == 0 and report.by_family["height"].accuracy == 1


def test_crashed_program_is_not_a_no(tmp_path: Path) -> None:
    crash = {"answer": "no", "error": "The program ended with status error"}
    report = run(Service(q0=crash, q1=None, q2="", q3="unknown"), tmp_path)
    assert report.accuracy == 0 and report.failures == 1 and report.unasked == 0


def test_failed_question_is_a_row_and_is_asked_again_on_resume(tmp_path: Path) -> None:
    first = run(Service(q0="no", q1=ServiceError("gone"), q2="red", q3=30), tmp_path)
    assert first.failures == first.unasked == 1 and first.n == 4 and first.accuracy == 0.75
    service = Service(q1=2)
    second = run(service, tmp_path)
    assert service.asked == ["q1"] and second.accuracy == 1 and second.failures == 0


def test_resume_survives_a_line_cut_by_a_kill(tmp_path: Path) -> None:
    run(Service(q0="no", q1=2, q2="red", q3=30.0), tmp_path)
    path = tmp_path / ANSWERS
    path.write_bytes(path.read_bytes()[:-20])
    (lost,) = {"q0", "q1", "q2", "q3"} - {
        json.loads(line)["query_id"] for line in path.read_text().splitlines()[:-1]
    }
    service = Service(q0="no", q1=2, q2="red", q3=30.0)
    assert run(service, tmp_path).accuracy == 1
    assert service.asked == [lost]
    again = Service()
    assert run(again, tmp_path).n == 4 and again.asked == []


def test_line_that_was_torn_by_an_earlier_version_is_passed_over(tmp_path: Path) -> None:
    run(Service(q0="no", q1=2, q2="red", q3=30.0), tmp_path)
    path = tmp_path / ANSWERS
    path.write_bytes(b'{"query_id": "q\n' + path.read_bytes())
    again = Service()
    assert run(again, tmp_path).accuracy == 1 and again.asked == []


def test_answers_that_cannot_be_written_end_the_run_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: RecordFile, record: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(RecordFile, "append", full)
    with pytest.raises(StorageError, match="disk is full"):
        run(Service(q0="no", q1=2, q2="red", q3=30.0), tmp_path)


def test_other_questions_in_the_output_folder_are_refused(tmp_path: Path) -> None:
    run(Service(q0="no", q1=2, q2="red", q3=30.0), tmp_path)
    others = [Query("q0", "something else", "x.png")]
    with pytest.raises(ConfigError, match="--out"):
        asyncio.run(evaluate("tabletop", others, TRUTHS, Service(), tmp_path))


def several(*answers: Any, chosen: int = 0) -> dict[str, Any]:
    """The reply of a service to several samples; an exception's text is an error."""
    shown = [
        {"answer": None, "error": str(one), "score": 0.5}
        if isinstance(one, Exception)
        else {"answer": one, "error": None, "score": 0.5}
        for one in answers
    ]
    selection = {"select": "judge", "chosen": chosen, "calls": 4, "cost_usd": 0.01}
    return {**shown[chosen], "plan": "p", "code": "c", "candidates": shown, "selection": selection}


CRASH = ValueError("The program ended with status timeout in line 3: too slow")
REPLIES = {
    "q0": several("yes", "no", chosen=1), "q1": several(2, CRASH), "q2": several("red", "red"),
    "q3": several(CRASH, ValueError("The policy's reply is malformed: no plan.")),
}  # fmt: skip


def test_samples_are_kept_with_scores_and_choosing_is_set_beside_them(tmp_path: Path) -> None:
    report = run(Service(**REPLIES), tmp_path, asking=Asking(2, "judge"))
    gain = report.selection
    assert gain is not None and (report.accuracy, gain.single, gain.gain) == (0.75, 0.5, 0.25)
    assert (gain.calls, gain.cost_usd, report.samples, report.failures) == (16, 0.04, 2, 1)
    rows = {row["query_id"]: row for row in map(json.loads, (tmp_path / ANSWERS).read_text().splitlines())}
    assert rows["q1"]["samples"] == [
        {"answer": 2, "status": "ok", "score": 0.5}, {"answer": None, "status": "timeout", "score": 0.5},
    ]  # fmt: skip
    assert run(Service(), tmp_path, asking=Asking(2, "judge")).selection == gain  # goes on, and asks nothing


def test_votes_in_the_place_of_judges_are_no_choice_by_judges(tmp_path: Path) -> None:
    failed = several("no", "no")
    failed["selection"]["unjudged"] = "judge.max_cost_usd=1 is reached"
    report = run(Service(**{**REPLIES, "q0": failed}), tmp_path, asking=Asking(2, "judge"))
    assert (
        report.unasked == 1
        and "Not chosen by judge: judge.max_cost_usd=1" in (tmp_path / ANSWERS).read_text()
    )
    again = Service(**REPLIES)
    assert run(again, tmp_path, asking=Asking(2, "judge")).unasked == 0 and again.asked == ["q0"]


def test_samples_without_a_choice_are_answers_of_their_own(tmp_path: Path) -> None:
    report = run(Service(**REPLIES), tmp_path, asking=Asking(2))
    assert (report.n, report.accuracy, report.selection, report.failures) == (4, 0.5, None, 1)
    assert report.failed == {"timeout": 2, "malformed": 1} and report.well_formed == 0.875


def test_one_answer_where_several_were_asked_for_is_no_answer(tmp_path: Path) -> None:
    report = run(Service(q0="no", q1=2, q2="red", q3=30.0), tmp_path, asking=Asking(2))
    assert report.unasked == 4 and "one answer where 2 samples" in (tmp_path / ANSWERS).read_text()


def test_concurrency_is_kept(tmp_path: Path) -> None:
    service = Service(q0="no", q1=2, q2="red", q3=30.0)
    run(service, tmp_path, concurrency=2)
    assert service.most == 2


def streamed(out: Path, replies: list[Replied], asked: list[str]) -> EvalReport:
    def source(queries: Sequence[Query]) -> Iterator[Replied]:
        asked.extend(query.query_id for query in queries)
        yield from replies

    return evaluate_streamed("tabletop", QUERIES, TRUTHS, source, out)


def kept(answer: object, **more: object) -> dict[str, Any]:
    one = {
        "answer": answer,
        "error": None,
        "status": "ok",
        "well_formed": True,
        "tokens": [10, 5],
        "tools": 2,
    }
    return {**one, **more}


def test_a_stream_s_replies_are_rows_once_in_any_order_and_a_resumed_one_asks_the_rest(
    tmp_path: Path,
) -> None:
    asked: list[str] = []
    crash = {
        "error": "The program ended with status error",
        "status": "error",
        "failure": "tool",
    }
    first = [
        Replied("q2", kept("red"), 1.0),
        Replied("q2", kept("blue"), 1.0),  # a worker had died after the first
        Replied("q0", None, 1.0, "the policy cannot be reached"),
        Replied("q1", kept(None, **crash), 1.0),
        Replied("q3", kept("unknown", habits=["refuses"]), 1.0),
    ]
    report = streamed(tmp_path, first, asked)
    assert report.kinds == {"right": 1, "service": 1, "tool": 1, "wrong": 1}
    assert report.by_family["count"].kinds == {"tool": 1} and report.habits == {"refuses": 1}
    assert report.used is not None and (report.used.tokens, report.used.tool_calls) == ((30, 15), 6)
    again = streamed(tmp_path, [Replied("q0", kept("no"), 2.0)], asked)
    assert asked == ["q0", "q1", "q2", "q3", "q0"] and again.kinds == {"right": 2, "tool": 1, "wrong": 1}
    assert streamed(tmp_path, [], asked) == replace(again, seconds=0.0) and len(asked) == 5


def test_what_repairs_brought_stands_in_rows_and_report_and_a_kill_asks_nothing_again(tmp_path: Path) -> None:
    failed = {"status": "error", "failure": "program", "error": "NameError"}
    took = {"calls": 1, "tokens": [7, 3], "cost_usd": 0.25}
    told = {"attempts": [failed], "repairs": took, "writer_cost_usd": 0.5}
    still = {**failed, "answer": None, "unrepaired": "it is too long", "well_formed": True}
    replies = {"q0": kept("no", **told), "q1": kept(7, **told), "q2": kept("red"), "q3": still}
    report = run(Service(**replies), tmp_path, asking=Asking(repairs=2))
    mended = report.repairs
    assert mended is not None and (report.accuracy, mended.without, mended.gain) == (0.5, 0.25, 0.25)
    counted = (mended.failed, mended.retried, mended.repaired, mended.right, mended.replies)
    assert counted == (3, 2, 2, 1, 4) and (mended.calls, mended.tokens, mended.cost_usd) == (2, (14, 6), 0.5)
    assert mended.replies_a_question == 1.5 and mended.ci[0] <= 0.25 <= mended.ci[1]
    assert report.used is not None and (report.used.replies, report.used.writer_cost_usd) == (6, 1.0)
    rows = {row["query_id"]: row for row in map(json.loads, (tmp_path / ANSWERS).read_text().splitlines())}
    assert rows["q0"]["attempts"] == [failed] and rows["q3"]["unrepaired"] == "it is too long"
    assert run(Service(), tmp_path, asking=Asking(repairs=2)).repairs == mended
    assert run(Service(q0="no", q1=2, q2="red", q3=30), tmp_path / "none").repairs is None


def test_a_stream_that_ends_early_is_said(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"3 of 4 questions came back from no worker.*The same command"):
        streamed(tmp_path, [Replied("q0", kept("no"), 1.0)], [])


def test_a_stream_that_breaks_keeps_what_came(tmp_path: Path) -> None:
    def broken(queries: Sequence[Query]) -> Iterator[Replied]:
        yield Replied("q0", kept("no"), 1.0)
        raise ServiceError("Ray could not go on")

    with pytest.raises(ServiceError):
        evaluate_streamed("tabletop", QUERIES, TRUTHS, broken, tmp_path)
    asked: list[str] = []
    streamed(tmp_path, [Replied(name, kept("no"), 1.0) for name in ("q1", "q2", "q3")], asked)
    assert asked == ["q1", "q2", "q3"]
