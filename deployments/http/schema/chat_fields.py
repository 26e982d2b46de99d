"""Which fields of OpenAI's chat completions do something here, and which values of the others are refused.

What would ask for another kind of answer is refused; what only tunes how a model samples text is passed over, as are
fields that nobody here knows.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from deployments.http.schema.fields import Repairs, Samples, Seed, Select

ROLES = ("user", "system", "developer", "assistant", "tool", "function")


class StreamOptions(BaseModel):
    include_usage: bool | None = None


class ResponseFormat(BaseModel):
    type: Literal["text"]


class ChatRequest(BaseModel):
    """Passed over: temperature, top_p, max_tokens, max_completion_tokens, stop, frequency_penalty, presence_penalty,
    logit_bias, tools, parallel_tool_calls, user, metadata, store, service_tier, reasoning_effort, verbosity and every
    field that is not here: the server's own settings hold, and an answer is a program's, not sampled text."""

    model_config = ConfigDict(extra="allow")

    model: Literal["valor"] = Field(description="valor")
    messages: list[dict[str, Any]] = Field(
        min_length=1,
        description="a list of objects with `role` and `content`: the question is the text of the user's last one, the "
        "picture that of the user's last one with a picture; one picture a question",
    )
    seed: Seed = None
    stream: bool | None = Field(
        None, description="true or false: the answer comes in one piece, when it is there"
    )
    stream_options: StreamOptions | None = Field(
        None, description='an object, {"include_usage": true} for a last chunk with the tokens'
    )
    trace: bool | None = Field(
        None, description="true or false: the whole answer record as `valor` of the message"
    )
    samples: Samples = None
    select: Select = None
    repairs: Repairs = None
    n: Literal[1] | None = Field(None, description="1 or left out: one question has one answer here")
    response_format: ResponseFormat | None = Field(
        None, description='{"type": "text"} or left out: answers follow no schema'
    )
    logprobs: Literal[False] | None = Field(
        None, description="false or left out: a program's answer has none"
    )
    top_logprobs: Literal[0] | None = Field(
        None, description="0 or left out: a program's answer has no log-probabilities"
    )
    modalities: list[Literal["text"]] | None = Field(
        None, description='["text"] or left out: answers are text'
    )
    audio: None = Field(None, description="left out: answers are text")
    tool_choice: Literal["none", "auto"] | None = Field(
        None, description="none, auto or left out: no tool of the caller is ever called"
    )
    function_call: Literal["none", "auto"] | None = Field(
        None, description="none, auto or left out: no function of the caller is ever called"
    )


class Message(BaseModel):
    role: Literal["assistant"]
    content: str = Field(description="the answer as text: yes or no for booleans, JSON for lists and objects")
    refusal: str | None = Field(description="why there is no answer")
    valor: dict[str, Any] | None = Field(None, description="with `trace`: as the reply of /v1/answer")


class Choice(BaseModel):
    index: Literal[0]
    message: Message
    logprobs: None
    finish_reason: Literal["stop"]


class Usage(BaseModel):
    """Of the policy's prompt and reply, as its engine counted them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatReply(BaseModel):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: Literal["valor"]
    choices: list[Choice]
    usage: Usage


class ModelReply(BaseModel):
    id: Literal["valor"]
    object: Literal["model"]
    created: int
    owned_by: str


class ModelsReply(BaseModel):
    object: Literal["list"]
    data: list[ModelReply]
