"""The policy on a real vLLM engine with the shipped checkpoint."""

import asyncio

import pytest
import torch
from transformers import AutoModelForCausalLM

from valor_ray.config import Config
from valor_ray.errors import QuestionError
from valor_ray.models.vllm_policy import VllmPolicy
from valor_ray.program.parse import parse_reply
from valor_ray.records import Reply

QUESTION = "How many red boxes are there?"


async def _session() -> tuple[list[int], list[Reply], list[Reply], str]:
    policy = VllmPolicy(Config.load("local").policy)
    await policy.start()
    try:
        first = await policy.generate(QUESTION, n=4, seed=1)
        again = await policy.generate(QUESTION, n=4, seed=1)
        with pytest.raises(QuestionError, match="no room") as caught:
            await policy.generate("red box " * 600)
        return policy.prompt_ids(QUESTION), first, again, str(caught.value)
    finally:
        policy.close()


@pytest.fixture(scope="module")
def session() -> tuple[list[int], list[Reply], list[Reply], str]:
    return asyncio.run(_session())


def test_replies_are_plans_and_programs(session: tuple[list[int], list[Reply], list[Reply], str]) -> None:
    _, replies, _, _ = session
    assert len(replies) == 4
    assert sum(parse_reply(reply.text).well_formed for reply in replies) >= 3
    assert all(len(reply.token_ids) == len(reply.logprobs) for reply in replies)


def test_the_same_seed_gives_the_same_replies(
    session: tuple[list[int], list[Reply], list[Reply], str],
) -> None:
    _, first, again, _ = session
    assert [r.token_ids for r in first] == [r.token_ids for r in again]


def test_logprobs_are_those_of_the_tempered_and_truncated_distribution(
    session: tuple[list[int], list[Reply], list[Reply], str],
) -> None:
    prompt, (reply, *_), _, _ = session
    config = Config.load("local").policy
    model = AutoModelForCausalLM.from_pretrained(VllmPolicy(config).model, dtype=torch.float32)
    with torch.no_grad():
        logits = model(torch.tensor([prompt + list(reply.token_ids)])).logits[0, len(prompt) - 1 : -1]
    scaled = logits / config.temperature
    scaled[scaled < scaled.topk(config.top_k).values[:, -1:]] = -torch.inf
    ordered, order = scaled.sort(descending=True)
    probabilities = ordered.softmax(-1)
    kept = probabilities.cumsum(-1) - probabilities < config.top_p
    cut = torch.full_like(scaled, -torch.inf).scatter(1, order, ordered.masked_fill(~kept, -torch.inf))
    expected = cut.log_softmax(-1).gather(1, torch.tensor(reply.token_ids)[:, None])[:, 0]
    assert torch.allclose(expected, torch.tensor(reply.logprobs), atol=2e-3)
