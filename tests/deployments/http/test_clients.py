"""The openai package as users have it, against the app: what it asks, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx2
import openai
import pytest
from http_app import Asker, chat
from pydantic import BaseModel

T = TypeVar("T")
MESSAGES: Any = chat()["messages"]


@pytest.fixture
def using(asker: Asker) -> Callable[[Callable[[openai.AsyncOpenAI], Awaitable[T]]], T]:
    """Runs something with a client of the app."""

    def run(work: Callable[[openai.AsyncOpenAI], Awaitable[T]]) -> T:
        async def connected() -> T:
            transport = httpx2.ASGITransport(asker.app())
            async with httpx2.AsyncClient(transport=transport) as http:
                client = openai.AsyncOpenAI(
                    base_url="http://valor/v1/", api_key="any", max_retries=0, http_client=http
                )
                return await work(client)

        return asker.run(connected())

    return run


def test_answer_and_usage(using: Any) -> None:
    reply = using(lambda client: client.chat.completions.create(model="valor", messages=MESSAGES))
    assert reply.choices[0].message.content == "1" and reply.choices[0].finish_reason == "stop"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens == 7


def test_stream_with_usage(using: Any) -> None:
    async def streamed(client: openai.AsyncOpenAI) -> list[Any]:
        stream = await client.chat.completions.create(
            model="valor", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        return [chunk async for chunk in stream]

    chunks = using(streamed)
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == "1"
    assert [chunk.usage and chunk.usage.total_tokens for chunk in chunks] == [None, None, 7]


def test_stream_helper_gathers_the_answer(using: Any) -> None:
    async def gathered(client: openai.AsyncOpenAI) -> Any:
        async with client.chat.completions.stream(model="valor", messages=MESSAGES) as stream:
            return await stream.get_final_completion()

    assert using(gathered).choices[0].message.content == "1"


def test_models_are_listed_and_retrieved(using: Any) -> None:
    assert [model.id for model in using(lambda client: client.models.list()).data] == ["valor"]
    assert using(lambda client: client.models.retrieve("valor")).id == "valor"
    with pytest.raises(openai.NotFoundError) as caught:
        using(lambda client: client.models.retrieve("gpt-5"))
    assert caught.value.code == "model_not_found" and caught.value.param == "model"


def test_refusals_are_the_errors_of_the_package(using: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="`n` must be 1") as caught:
        using(lambda client: client.chat.completions.create(model="valor", messages=MESSAGES, n=2))
    assert (caught.value.code, caught.value.param) == ("request", "n")
    assert caught.value.type == "invalid_request_error"


def test_an_answer_in_a_schema_is_refused_and_says_so(using: Any) -> None:
    class Count(BaseModel):
        count: int

    with pytest.raises(openai.BadRequestError, match="response_format"):
        using(
            lambda client: client.chat.completions.parse(
                model="valor", messages=MESSAGES, response_format=Count
            )
        )


@pytest.mark.parametrize("name", ["responses", "completions", "embeddings", "moderations", "images"])
def test_what_is_not_there_says_what_there_is(using: Any, name: str) -> None:
    asked = {
        "responses": lambda client: client.responses.create(model="valor", input="How many?"),
        "completions": lambda client: client.completions.create(model="valor", prompt="How many?"),
        "embeddings": lambda client: client.embeddings.create(model="valor", input="How many?"),
        "moderations": lambda client: client.moderations.create(input="How many?"),
        "images": lambda client: client.images.generate(prompt="a cube"),
    }[name]
    with pytest.raises(openai.NotFoundError, match=f"/v1/{name}.*There are .*/v1/chat/completions"):
        using(asked)
