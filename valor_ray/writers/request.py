"""What a writer is sent: policy.* and a question as chat completions that any endpoint takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from valor_ray.judges.gateway.call.free_text import FreeText
from valor_ray.models.vllm.prompting import after, chat
from valor_ray.ports import Turn

if TYPE_CHECKING:
    from valor_ray.config.judging import WriterConfig
    from valor_ray.config.models import PolicyConfig

HEAD = "program"  # of requests, metrics and accounts
_VERSION = "1"  # of the messages' form; their text is in the key as it is
_ANY_TEXT: Mapping[str, Any] = {}
_LIMITS = {"max_tokens", "max_completion_tokens", "max_output_tokens"}  # names of one thing


def writer_request(
    question: str,
    config: PolicyConfig,
    *,
    seed: int,
    sample: int,
    patience_s: float | None,
    whole: bool = False,
    turns: Sequence[Turn] = (),
) -> FreeText:
    """A sample of a program for a question, or of one that is wanted in the last of `turns`. config.endpoint must be
    set. whole: the question is a whole prompt."""
    assert config.endpoint is not None
    messages = [{"role": "user", "content": question}] if whole else chat(question, config.prompt)
    if config.endpoint.merge_system and not whole:
        system, user = (message["content"] for message in messages)
        messages = [{"role": "user", "content": f"{system}\n\nQuestion: {user}"}]
    return FreeText(
        head=HEAD,
        version=_VERSION,
        messages=(*messages, *after(turns)),
        schema=_ANY_TEXT,
        patience_s=patience_s,
        fields=sampling_fields(config, config.endpoint),
        seed=seed,
        sample=sample,
    )


def sampling_fields(config: PolicyConfig, endpoint: WriterConfig) -> dict[str, Any]:
    """The fields of the API that `policy` has and `extra` does not. seed: filled in for each sample."""
    fields = {
        "temperature": config.temperature,
        "top_p": config.top_p,
        "max_tokens": config.max_tokens,
        "seed": 0,
    }
    if endpoint.extra.keys() & _LIMITS:
        del fields["max_tokens"]
    return {name: value for name, value in fields.items() if name not in endpoint.extra}


def sent_extra(config: PolicyConfig, endpoint: WriterConfig) -> dict[str, Any]:
    """`extra`, without what it only leaves out, and with how thinking is told."""
    thinking: dict[str, Any] = {}
    if endpoint.thinking_as == "chat_template":
        thinking = {"chat_template_kwargs": {"enable_thinking": config.thinking}}
    elif endpoint.thinking_as == "reasoning_effort" and not config.thinking:
        thinking = {"reasoning_effort": "none"}
    return {**thinking, **{name: value for name, value in endpoint.extra.items() if value is not None}}


def not_sent(config: PolicyConfig, endpoint: WriterConfig) -> list[str]:
    """Settings of the sampling that chat completions have no field for, as "top_k=20"."""
    ours = {"top_k": (config.top_k, -1), "min_p": (config.min_p, 0)}
    return [
        f"{name}={value:g}"
        for name, (value, neutral) in ours.items()
        if value != neutral and name not in endpoint.extra
    ]
