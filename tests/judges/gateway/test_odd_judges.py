"""Judges with the manners of many providers: read as meant, missing in their words, or a clear end; never wrong."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import odd_judge
import pytest
from odd_judge import NO, OK, YES, behaving, chat, fails, form_of, says
from rough_endpoint import Rough, endpoint

from valor_ray.config.judging import JudgeConfig
from valor_ray.errors import JudgeError
from valor_ray.judges.gateway.gateway import CallEvent, Gateway
from valor_ray.judges.gateway.ledger import Ledger
from valor_ray.judges.plan_heads import SCHEMA
from valor_ray.records import JudgeReply, JudgeRequest


def settings(url: str, **changes: Any) -> JudgeConfig:
    values = {
        "base_url": url,
        "model": "m",
        "api_key_env": None,
        "timeout_s": 30,
        "retries": 1,
        "patience_s": 60,
    }
    return JudgeConfig.model_validate({**values, "price_in": 1, "price_out": 10, **changes})


def ask(config: JudgeConfig, folder: Path, *texts: str, observe: Any = None) -> list[JudgeReply]:
    async def once() -> list[JudgeReply]:
        ledger = Ledger(folder)
        gateway = Gateway(config, config, ledger, observe=observe)
        asked = [JudgeRequest("logic", "v1", ({"role": "user", "content": text},), SCHEMA) for text in texts]
        try:
            return await gateway.ask(asked)
        finally:
            await gateway.close()
            ledger.close()

    return asyncio.run(once())


def judged(
    manner: odd_judge.Manner, folder: Path, *texts: str, **changes: Any
) -> tuple[list[JudgeReply], Rough]:
    with endpoint(behaving(manner)) as rough:
        return ask(settings(rough.url, **changes), folder, *(texts or ("a",))), rough


def test_an_answer_is_taken_out_of_whatever_is_around_it(tmp_path: Path) -> None:
    replies, rough = judged(odd_judge.by_name(odd_judge.READ), tmp_path, *odd_judge.READ)
    for manner, reply in zip(odd_judge.READ, replies, strict=True):
        assert reply.content is not None, (manner, reply.missing)
        assert (manner, reply.content["verdict"], set(reply.content)) == (
            manner,
            "yes",
            {"reason", "verdict"},
        )
        assert reply.usage.prompt_tokens and reply.usage.completion_tokens and reply.usage.tries == 1
    assert rough.calls == len(odd_judge.READ)


def test_what_cannot_be_read_or_says_two_things_is_missing_after_one_more_try(tmp_path: Path) -> None:
    replies, _ = judged(odd_judge.by_name(odd_judge.UNREAD), tmp_path, *odd_judge.UNREAD)
    for manner, reply in zip(odd_judge.UNREAD, replies, strict=True):
        assert reply.content is None and "answer format" in reply.missing, manner
        assert reply.usage.tries == 2 and len(reply.missing) < 600, manner
    told = dict(zip(odd_judge.UNREAD, (reply.missing for reply in replies), strict=True))
    for manner, words in {
        "capital letter": "message.content holds an object at character 1 that is not what was asked for: verdict:",
        "only words": "19 characters and no such JSON object",
        "a draft where it thinks": "message.reasoning_content holds",
        "two verdicts": "different answers",
        "thinking without an end": "after the thinking, which has no end, holds nothing",
        "html": "no chat completion (not JSON: Expecting value (line 1, column 1))",
    }.items():
        assert words in told[manner]


def test_one_request_without_an_answer_costs_no_other_its_own(tmp_path: Path) -> None:
    manners = {name: manner for name, (manner, _) in odd_judge.MISSING.items()}
    texts = [text for name in manners for text in (name, f"beside {name}")]
    replies, rough = judged(odd_judge.by_name(manners), tmp_path, *texts)
    for (manner, (_, words)), odd, other in zip(
        odd_judge.MISSING.items(), replies[::2], replies[1::2], strict=True
    ):
        assert odd.content is None and words in odd.missing, (manner, odd.missing)
        assert other.content == {"reason": "it holds", "verdict": "yes"}
    assert rough.calls == len(texts)


def test_what_every_further_request_would_meet_ends_the_run_at_once_with_words(tmp_path: Path) -> None:
    manners = {name: manner for name, (manner, _) in odd_judge.ENDS.items()}
    with endpoint(behaving(odd_judge.by_name(manners))) as rough:
        for manner, (_, words) in odd_judge.ENDS.items():
            config, before = settings(rough.url, first_in_flight=4, extra={"temperature": 0}), rough.calls
            with pytest.raises(JudgeError) as caught:
                ask(config, tmp_path, *(f"{manner}\n{number}" for number in range(100)))
            assert words in str(caught.value) and rough.calls - before < 20, (manner, str(caught.value))


def test_what_passes_is_waited_out(tmp_path: Path) -> None:
    replies, _ = judged(odd_judge.by_name(odd_judge.WAITED), tmp_path, *odd_judge.WAITED)
    for manner, reply in zip(odd_judge.WAITED, replies, strict=True):
        assert reply.content == {"reason": "it holds", "verdict": "yes"}, (manner, reply.missing)
        assert reply.usage.tries > 1


def test_the_form_of_the_schema_is_found_once_and_remembered(tmp_path: Path) -> None:
    async def use(config: JudgeConfig, manner: str) -> list[JudgeReply]:
        ledger = Ledger(tmp_path)
        gateway = Gateway(config, config, ledger)
        replies = []
        for number in range(6):
            messages = ({"role": "user", "content": f"{manner}\n{number}"},)
            replies += await gateway.ask([JudgeRequest("logic", "v1", messages, SCHEMA)])
        await gateway.close()
        ledger.close()
        return replies

    manners = {name: manner for name, (manner, _) in odd_judge.FORMS.items()}
    with endpoint(behaving(odd_judge.by_name(manners))) as rough:
        for manner, (_, form) in odd_judge.FORMS.items():
            before = rough.calls
            assert all(reply.content for reply in asyncio.run(use(settings(rough.url), manner)))
            assert rough.calls - before <= 6 + 3
            last = rough.bodies[-3:]
            assert [form_of(body) for body in last] == [form] * 3 and len(
                {str(b["messages"]) for b in last}
            ) == 3


def test_a_form_that_is_set_is_kept_to(tmp_path: Path) -> None:
    takes_all = odd_judge.takes(("json_schema", "json_object", "prompt"), OK)
    for form in ("json_schema", "json_object", "prompt"):
        (reply,), rough = judged(takes_all, tmp_path / form, answer_format=form)
        assert reply.content and [form_of(body) for body in rough.bodies] == [form]
    odd, _ = odd_judge.FORMS["takes json_object"]
    with (
        endpoint(behaving(odd)) as rough,
        pytest.raises(JudgeError, match=r"judge\.answer_format=json_schema"),
    ):
        ask(settings(rough.url, answer_format="json_schema"), tmp_path / "end", "a")


def test_another_form_is_the_same_question(tmp_path: Path) -> None:
    odd, _ = odd_judge.FORMS["takes neither"]
    with endpoint(behaving(odd)) as rough:
        for _ in range(2):
            ask(settings(rough.url), tmp_path, "a")
        ask(settings(rough.url, answer_format="prompt"), tmp_path, "a")
    assert rough.calls == 3  # two that found the form, and one answer


def test_tokens_of_failed_tries_are_in_the_account(tmp_path: Path) -> None:
    events: list[CallEvent] = []
    with endpoint(behaving(odd_judge.first(1, says("words"), OK))) as rough:
        (reply,) = ask(settings(rough.url), tmp_path / "a", "a", observe=events.append)
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.tries) == (1800, 200, 2)
    assert events[0].usage.cost_usd == pytest.approx((1800 + 10 * 200) / 1e6)
    for manner, tries in (
        (says("words"), 2),
        (says('{"reason": "', "length"), 1),
        (says(None, refusal="no"), 1),
    ):
        folder = tmp_path / f"{tries}{len(list(tmp_path.iterdir()))}"
        (reply,), _ = judged(manner, folder)
        assert reply.content is None and reply.usage.prompt_tokens == 900 * tries
        assert spent(folder) == pytest.approx(tries * (900 + 10 * 100) / 1e6)


async def hangs(n: int, body: dict[str, Any], request: Any) -> Any:
    await asyncio.sleep(30)


@pytest.mark.parametrize(("changes", "tries"), [({"timeout_s": 1}, 2), ({"patience_s": 1.2}, 1)])
def test_a_try_that_was_sent_and_not_heard_of_is_in_the_account(
    tmp_path: Path, changes: dict[str, Any], tries: int
) -> None:
    """Providers make and bill a completion whose client has gone; how many tokens, nobody says."""
    with endpoint(hangs) as rough:
        (reply,) = ask(settings(rough.url, **changes), tmp_path, "x" * 4000)
        free = ask(settings(rough.url, price_in=0, price_out=0, **changes), tmp_path / "free", "a")
    usage = reply.usage
    assert reply.content is None and usage.tries == tries and rough.calls == 2 * tries
    assert (usage.prompt_tokens, usage.completion_tokens) == (1001 * tries, 200 * tries)  # none was seen yet
    assert spent(tmp_path) == pytest.approx(tries * (1001 + 10 * 200) / 1e6)
    assert free[0].usage.cost_usd == 0 == spent(tmp_path / "free")


def test_what_is_not_heard_of_takes_as_much_as_others_have(tmp_path: Path) -> None:
    async def behave(n: int, body: dict[str, Any], request: Any) -> Any:
        return await (hangs if n == 30 else behaving(OK))(n, body, request)

    async def use(url: str) -> JudgeReply:
        ledger, config = Ledger(tmp_path), settings(url, timeout_s=3, hedge=False)
        gateway = Gateway(config, config, ledger)
        asked = [
            JudgeRequest("logic", "v1", ({"role": "user", "content": str(n)},), SCHEMA) for n in range(31)
        ]
        await gateway.ask(asked[:30])
        (reply,) = await gateway.ask(asked[30:])
        await gateway.close()
        ledger.close()
        return reply

    with endpoint(behave) as rough:
        reply = asyncio.run(use(rough.url))
    assert reply.content and reply.usage.tries == 2
    assert 200 <= reply.usage.completion_tokens <= 205  # each said 100; the first guess was 200


def test_a_try_that_found_no_connection_costs_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # takes a connection, and says nothing to TLS
        url = f"https://127.0.0.1:{deaf.getsockname()[1]}/v1"
        (reply,) = ask(settings(url, timeout_s=0.5, retries=0), tmp_path, "a")
    assert reply.content is None and reply.usage.tries == 1
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (0, 0) and spent(tmp_path) == 0


def test_odd_numbers_of_tokens_count_as_none_said_and_cost_no_answer_of_the_batch(tmp_path: Path) -> None:
    odd = [10**30, -1, "many", True, None, 1e300, [], {}, 0.5]
    manners = {
        repr(value): says(YES, usage={"prompt_tokens": value, "completion_tokens": value}) for value in odd
    }
    texts = [*manners, *map(str, range(20))]
    replies, _ = judged(odd_judge.by_name(manners), tmp_path, *texts)
    assert all(reply.content for reply in replies)
    for reply in replies[: len(odd)]:
        assert 0 < reply.usage.prompt_tokens < 100 and 0 < reply.usage.completion_tokens < 100
    again, rough = judged(OK, tmp_path, *texts)
    assert all(reply.usage.cached for reply in again) and rough.calls == 0


def test_limits_are_kept_where_nobody_says_what_a_call_took(tmp_path: Path) -> None:
    """1,200 tokens are charged for each call in advance: a hundred calls are 3 minutes of 40,000."""
    with endpoint(behaving(says(YES, usage=None))) as rough:
        replies = ask(
            settings(rough.url, tokens_per_minute=40_000, patience_s=1.5), tmp_path, *map(str, range(100))
        )
    assert 0 < rough.calls < 20 and sum(reply.content is None for reply in replies) == 100 - rough.calls


def spent(folder: Path) -> float:
    ledger = Ledger(folder)
    try:
        return ledger._store.spent_usd("m")
    finally:
        ledger.close()


def test_a_limit_in_dollars_ends_the_run_and_a_higher_one_goes_on_without_paying_twice(
    tmp_path: Path,
) -> None:
    each, texts = (900 + 10 * 100) / 1e6, [str(number) for number in range(40)]
    with endpoint(behaving(odd_judge.unless("7", says("words"), OK))) as rough:
        for limit in (10.5 * each, 20.5 * each):
            with pytest.raises(
                JudgeError, match=r"judge\.max_cost_usd=.* is reached.*higher judge\.max_cost_usd"
            ):
                ask(settings(rough.url, max_cost_usd=limit, first_in_flight=4), tmp_path, *texts)
            assert limit * 0.2 < spent(tmp_path) <= limit
        assert spent(tmp_path) == pytest.approx(rough.calls * each)
        replies = ask(settings(rough.url, max_cost_usd=1), tmp_path, *texts)
    answered = [body["messages"][0]["content"] for body in rough.bodies if "7" not in str(body["messages"])]
    assert sorted(answered) == sorted(text for text in texts if "7" not in text)
    assert sum(reply.content is None for reply in replies) == 4


def test_a_limit_in_dollars_holds_for_gateways_together_and_where_nobody_says_what_calls_took(
    tmp_path: Path,
) -> None:
    async def use(url: str) -> None:
        ledger, config = Ledger(tmp_path), settings(url, max_cost_usd=0.05, first_in_flight=8)
        gateways = [Gateway(config, config, ledger) for _ in range(3)]
        asked = [
            [
                JudgeRequest("logic", "v1", ({"role": "user", "content": f"{i} {k} " + "x" * 4000},), SCHEMA)
                for k in range(40)
            ]
            for i in range(3)
        ]
        pairs = zip(gateways, asked, strict=True)
        ended = await asyncio.gather(*(one.ask(requests) for one, requests in pairs), return_exceptions=True)
        assert all(isinstance(error, JudgeError) for error in ended)
        await asyncio.gather(*(gateway.close() for gateway in gateways))
        ledger.close()

    with endpoint(behaving(says(YES, usage=None))) as rough:
        asyncio.run(use(rough.url))
    assert 0.01 < spent(tmp_path) <= 0.05 and 10 < rough.calls < 120


def test_an_end_is_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is mended, the account topped up: the same gateway, of a service say, answers again."""
    monkeypatch.setattr("valor_ray.judges.gateway.endpoint._ENDED_FOR_S", 0.3)
    refused, _ = odd_judge.ENDS["quota (OpenAI)"]

    async def use(url: str) -> None:
        ledger, config = Ledger(tmp_path), settings(url)
        gateway = Gateway(config, config, ledger)
        one = JudgeRequest("logic", "v1", ({"role": "user", "content": "a"},), SCHEMA)
        for _ in range(3):
            with pytest.raises(JudgeError, match="Top it up"):
                await gateway.ask([one])
        assert not gateway.up
        await asyncio.sleep(0.4)
        assert gateway.up and (await gateway.ask([one]))[0].content
        await gateway.close()
        ledger.close()

    with endpoint(behaving(odd_judge.first(1, refused, OK))) as rough:
        asyncio.run(use(rough.url))
    assert rough.calls == 2


def test_what_was_in_flight_at_the_end_is_paid_for_and_kept(tmp_path: Path) -> None:
    refused, _ = odd_judge.ENDS["402"]

    async def slow_unless_refused(n: int, body: dict[str, Any], request: Any) -> Any:
        if n == 8:
            return await behaving(refused)(n, body, request)
        await asyncio.sleep(0.5)
        return await behaving(OK)(n, body, request)

    texts = [str(number) for number in range(40)]
    with endpoint(slow_unless_refused) as rough:
        with pytest.raises(JudgeError, match="Top it up"):
            ask(settings(rough.url, first_in_flight=9, max_in_flight=9, hedge=False), tmp_path, *texts)
        assert rough.calls == 9
        replies = ask(settings(rough.url), tmp_path, *texts)
    assert sum(reply.usage.cached for reply in replies) == 8 and rough.calls == 9 + 32


def test_a_key_that_is_withdrawn_without_a_word_ends_the_run(tmp_path: Path) -> None:
    manner = odd_judge.first(3, OK, odd_judge.replies(b"", 403))
    with endpoint(behaving(manner)) as rough, pytest.raises(JudgeError, match="403"):
        ask(settings(rough.url, first_in_flight=2, max_in_flight=2), tmp_path, *map(str, range(300)))
    assert rough.calls < 60


def test_words_of_a_request_that_an_error_repeats_decide_nothing(tmp_path: Path) -> None:
    """A program under judgement holds what an account without quota would say."""
    hostile = (
        "invalid value in message 1: " + "x" * 80 + " insufficient quota, your credit balance is too low"
    )
    manner = odd_judge.unless("hostile", fails(400, hostile), OK)
    replies, _ = judged(manner, tmp_path, "hostile", "b")
    assert replies[0].content is None and replies[1].content is not None


def test_no_verdict_is_a_no_when_a_third_of_the_calls_fail(tmp_path: Path) -> None:
    def a_third_fails(n: int, body: dict[str, Any], text: str) -> odd_judge.Answer:
        number = int(body["messages"][0]["content"].split()[0])
        failing = (fails(500, "no"), says("words"), says(None, "content_filter"), says('{"verdict": null}'))
        return failing[number // 3 % 4](n, body, text) if number % 3 == 0 else (200, {}, chat(YES))

    replies, _ = judged(a_third_fails, tmp_path, *map(str, range(60)), retries=0)
    said = [reply.content and reply.content["verdict"] for reply in replies]
    assert said == [None if number % 3 == 0 else "yes" for number in range(60)] and NO not in str(replies)


def test_a_bomb_is_unpacked_no_further_than_is_read(tmp_path: Path) -> None:
    import gzip
    import tracemalloc

    bomb = gzip.compress(b" " * (64 << 20), 1)
    manner = odd_judge.replies(bomb, **{"Content-Encoding": "gzip"})
    with endpoint(behaving(manner)) as rough:
        tracemalloc.start()
        try:
            (reply,) = ask(settings(rough.url), tmp_path, "a")
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert "1 MiB" in reply.missing and most < 16 << 20
