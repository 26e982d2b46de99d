"""Several samples over HTTP: what a caller may ask for, what he gets, and what the chat counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import http_app
import httpx
import pytest
from http_app import IMAGE, Asker, chat, error_of

from deployments.http.app import make_app
from deployments.http.endpoints import Parts
from valor_ray.config.tree import Config
from valor_ray.records import Head, Reply, Reward, Usage, Verdict
from valor_ray.selecting.select import Select

ASKED = {"image": IMAGE, "question": "How many red cubes?"}
VALUES = ("1", "2", "1", "3")


class Policy(http_app.Policy):
    """Answers 1, 2, 1, 3 in turn."""

    async def generate(self, question: str, *, n: int = 1, seed: int | None = None) -> list[Reply]:
        made = await super().generate(question, n=n, seed=seed)
        return [
            replace(reply, text=f"<plan>Say {value}.</plan><answer>final_answer = {value}</answer>")
            for reply, value in zip(made, VALUES, strict=False)
        ]


async def likes_three(question: str, reply: str) -> Reward:
    liked = "= 3" in reply
    used = {Head.LOGIC: Usage(tries=2, cost_usd=0.001)}
    return Reward(float(liked), {Head.LOGIC: Verdict(liked, "must say 3")}, used)


def post(
    asker: Asker, path: str, body: dict[str, Any], *settings: str, judged: bool = True
) -> httpx.Response:
    rewarding = {Select.JUDGE: likes_three} if judged else {}
    parts = Parts(
        Policy(""),
        http_app.Detector(),
        http_app.Depth(),
        http_app.Vqa(),
        asker.sandbox,
        http_app.healthy,
        rewarding,
    )
    transport = httpx.ASGITransport(make_app(Config.load("local", settings), parts))

    async def run() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://valor") as client:
            return await client.post(path, json=body)

    return asker.run(run())


def test_the_vote_of_four_and_its_candidates(asker: Asker) -> None:
    body = post(asker, "/v1/answer", ASKED | {"samples": 4}).json()
    assert body["answer"] == 1 and body["plan"] == "Say 1."
    assert body["selection"]["why"] == "2 of 4 replies answer so" and body["selection"]["select"] == "vote"
    assert [(one["answer"], one["votes"], one["score"]) for one in body["candidates"]] == [
        (1, 2, None),
        (2, 1, None),
        (1, 2, None),
        (3, 1, None),
    ]


def test_the_judge_chooses_and_is_paid_once_a_reply(asker: Asker) -> None:
    body = post(asker, "/v1/answer", ASKED | {"samples": 4, "select": "judge"}).json()
    assert body["answer"] == 3 and body["selection"]["calls"] == 6 and body["selection"]["cost_usd"] == 0.003
    assert body["candidates"][1]["reasons"] == "logic: must say 3"


def test_settings_choose_where_the_caller_does_not(asker: Asker) -> None:
    settings = ("answer.samples=4", "answer.select=judge")
    assert post(asker, "/v1/answer", ASKED, *settings).json()["answer"] == 3
    one = post(asker, "/v1/answer", ASKED | {"samples": 1}, *settings).json()
    assert one["answer"] == 1 and "candidates" not in one


def test_the_chat_counts_the_tokens_of_all_samples(asker: Asker) -> None:
    body = post(asker, "/v1/chat/completions", chat(samples=4, select="judge", trace=True)).json()
    assert body["choices"][0]["message"]["content"] == "3"
    assert body["choices"][0]["message"]["valor"]["selection"]["chosen"] == 3
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 16, "total_tokens": 19}


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"samples": 0}, "samples"),
        ({"samples": 17}, "samples"),
        ({"samples": "many"}, "samples"),
        ({"samples": 2, "select": "best"}, "select"),
        ({"samples": 2, "select": "scenes"}, "select"),
    ],
)
def test_what_cannot_be_is_refused_with_the_field(asker: Asker, wish: dict[str, Any], param: str) -> None:
    error = error_of(post(asker, "/v1/answer", ASKED | wish, judged=False), 400)
    assert error["param"] == param
