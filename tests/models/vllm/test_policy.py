"""The policy on a real vLLM engine with the shipped checkpoint."""

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from bases import BASES
from transformers import AutoModelForCausalLM

from valor_ray.config.tree import Config
from valor_ray.errors import PolicyError, QuestionError
from valor_ray.models.vllm.policy import VllmPolicy, question_seed
from valor_ray.program.parse import parse_reply
from valor_ray.records import Reply, Sampling

QUESTION = "How many red boxes are there?"
QUESTIONS = [QUESTION, "How many objects are there?", "Which is higher, the yellow cone or the purple box?"]
PLAIN = Sampling(temperature=1.0, top_p=1.0, max_tokens=320)
CONFIG = Config.load("local", [*BASES, "policy.hang_s=1"]).policy


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def policy(loop: asyncio.Runner) -> Iterator[VllmPolicy]:
    policy = VllmPolicy(CONFIG)
    loop.run(policy.start())
    yield policy
    policy.close()


@pytest.fixture(scope="module")
def replies(policy: VllmPolicy, loop: asyncio.Runner) -> list[Reply]:
    return loop.run(policy.generate(QUESTION, n=4, seed=1))


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped weights, each moved a little: other log-probabilities, nearly the same replies."""
    folder = tmp_path_factory.mktemp("moved")
    torch.manual_seed(0)
    model = shipped()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.003 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return folder


def shipped() -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(VllmPolicy(CONFIG).model, dtype=torch.float32)


def logits_of(model: torch.nn.Module, reply: Reply) -> torch.Tensor:
    with torch.no_grad():
        ids = torch.tensor([reply.prompt_ids + reply.token_ids])
        return model(ids).logits[0, len(reply.prompt_ids) - 1 : -1]


def logprobs_of(model: torch.nn.Module, reply: Reply) -> torch.Tensor:
    return logits_of(model, reply).log_softmax(-1).gather(1, torch.tensor(reply.token_ids)[:, None])[:, 0]


@pytest.mark.timeout(300)
def test_replies_are_plans_and_programs(policy: VllmPolicy, replies: list[Reply]) -> None:
    assert len(replies) == 4
    assert sum(parse_reply(reply.text).well_formed for reply in replies) >= 3
    for reply in replies:
        assert len(reply.token_ids) == len(reply.logprobs)
        assert list(reply.prompt_ids) == policy.prompt_ids(QUESTION)
        assert reply.versions == (("base", len(reply.token_ids)),) and reply.policy_version == "base"


@pytest.mark.timeout(300)
def test_the_same_seed_gives_the_same_replies(
    policy: VllmPolicy, replies: list[Reply], loop: asyncio.Runner
) -> None:
    again = loop.run(policy.generate(QUESTION, n=4, seed=1))
    assert [r.token_ids for r in replies] == [r.token_ids for r in again]


@pytest.mark.timeout(300)
def test_logprobs_are_those_of_the_tempered_and_truncated_distribution(replies: list[Reply]) -> None:
    reply = replies[0]
    scaled = logits_of(shipped(), reply) / CONFIG.temperature
    scaled[scaled < scaled.topk(CONFIG.top_k).values[:, -1:]] = -torch.inf
    ordered, order = scaled.sort(descending=True)
    probabilities = ordered.softmax(-1)
    kept = probabilities.cumsum(-1) - probabilities < CONFIG.top_p
    cut = torch.full_like(scaled, -torch.inf).scatter(1, order, ordered.masked_fill(~kept, -torch.inf))
    expected = cut.log_softmax(-1).gather(1, torch.tensor(reply.token_ids)[:, None])[:, 0]
    assert torch.allclose(expected, torch.tensor(reply.logprobs), atol=2e-3)


@pytest.mark.timeout(300)
def test_a_question_that_leaves_no_room_is_refused(policy: VllmPolicy, loop: asyncio.Runner) -> None:
    with pytest.raises(QuestionError, match="no room"):
        loop.run(policy.generate("red box " * 600))


@pytest.mark.timeout(300)
def test_a_batch_is_the_same_bit_for_bit_whatever_else_is_asked(
    policy: VllmPolicy, loop: asyncio.Runner
) -> None:
    """24 samples of more prompt tokens than one step of the engine takes, between and beside other requests."""

    async def batch() -> list[list[Reply]]:
        return await policy.sample(QUESTIONS, n=24, seed=5, sampling=PLAIN)

    async def disturbed() -> list[list[Reply]]:
        others = [asyncio.create_task(policy.generate(question, n=2)) for question in QUESTIONS]
        await asyncio.sleep(0.1)
        sampling = asyncio.create_task(batch())
        await asyncio.sleep(0.1)
        others += [asyncio.create_task(policy.generate(question, n=2)) for question in QUESTIONS]
        replies = await sampling
        await asyncio.gather(*others)
        return replies

    first = loop.run(batch())
    assert loop.run(batch()) == first and loop.run(disturbed()) == first
    assert len({reply.token_ids for reply in first[0]}) > 1
    other = loop.run(policy.sample(QUESTIONS, n=24, seed=6, sampling=PLAIN))
    assert [r.token_ids for r in other[0]] != [r.token_ids for r in first[0]]


@pytest.mark.timeout(300)
def test_batches_that_share_the_engine_go_on_beside_each_other(
    policy: VllmPolicy, loop: asyncio.Runner
) -> None:
    """As on GPUs: the second batch does not wait for the end of the first, and every reply is one of the engine's."""
    order: list[str] = []

    async def batch(name: str, tokens: int) -> list[list[Reply]]:
        drawn = await policy.sample(QUESTIONS[:2], n=2, seed=5, sampling=replace(PLAIN, max_tokens=tokens))
        order.append(name)
        return drawn

    async def both() -> list[list[list[Reply]]]:
        return list(await asyncio.gather(batch("long", 200), batch("short", 4)))

    exact, policy.config = policy.config, policy.config.model_copy(update={"exact_samples": False})
    try:
        batches = loop.run(both())
    finally:
        policy.config = exact
    assert order == ["short", "long"]
    for (first, second), tokens in zip(batches, (200, 4), strict=True):
        assert len(first) == len(second) == 2
        for reply in (*first, *second):
            assert 0 < len(reply.token_ids) <= tokens and reply.versions == (
                (policy.version, len(reply.token_ids)),
            )
            assert torch.allclose(torch.tensor(reply.logprobs), logprobs_of(shipped(), reply), atol=1e-3)


def test_many_seeded_requests_at_a_time_do_not_end_the_engine(
    policy: VllmPolicy, loop: asyncio.Runner
) -> None:
    """vLLM on CPU died of a prompt that it had cut in two: "CPU Generator does not use offset"."""

    async def burst() -> list[list[Reply]]:
        return await asyncio.gather(
            *(policy.generate(f"{QUESTION} {'red box ' * 40}", seed=seed) for seed in range(30))
        )

    assert len(loop.run(burst())) == 30


@pytest.mark.timeout(300)
def test_replies_in_work_go_on_with_new_weights_and_say_so(
    policy: VllmPolicy, loop: asyncio.Runner, moved: Path
) -> None:
    async def update_while_sampling() -> tuple[list[Reply], list[list[float]]]:
        sampling = asyncio.create_task(policy.sample([QUESTION], n=8, seed=3, sampling=PLAIN))
        while not any(s.detokenizer.num_output_tokens() > 9 for s in states.values()):
            await asyncio.sleep(0)
        await policy.load_weights(moved, "step-000007")
        (replies,) = await sampling
        return replies, await policy.score([(reply.prompt_ids, reply.token_ids) for reply in replies])

    states = policy._engine.output_processor.request_states
    before = loop.run(policy.sample(QUESTIONS, n=4, seed=9, sampling=PLAIN))
    sampled, scores = loop.run(update_while_sampling())
    both = [reply for reply in sampled if len(reply.versions) == 2]
    assert both and all(sum(count for _, count in r.versions) == len(r.token_ids) for r in sampled)
    old, new = shipped(), AutoModelForCausalLM.from_pretrained(moved)
    for reply in both:
        (first, cut), (second, _) = reply.versions
        assert (first, second, reply.policy_version) == ("base", "step-000007", "base")
        expected = torch.cat([logprobs_of(old, reply)[:cut], logprobs_of(new, reply)[cut:]])
        assert torch.allclose(expected, torch.tensor(reply.logprobs), atol=1e-4)
    for reply, scored in zip(sampled, scores, strict=True):
        assert torch.allclose(logprobs_of(new, reply), torch.tensor(scored), atol=1e-4)

    after = loop.run(policy.sample(QUESTIONS, n=4, seed=9, sampling=PLAIN))
    loop.run(policy.load_weights(Path(policy.model), "base"))
    again = loop.run(policy.sample(QUESTIONS, n=4, seed=9, sampling=PLAIN))
    assert again == before and after != before
    assert {reply.policy_version for group in after for reply in group} == {"step-000007"}


@pytest.mark.timeout(300)
def test_an_engine_that_hangs_is_ill_and_one_that_is_idle_is_not(
    policy: VllmPolicy, loop: asyncio.Runner
) -> None:
    engine = [
        p
        for p in psutil.Process().children(recursive=True)
        if p.status() != psutil.STATUS_ZOMBIE and "VLLM::" in " ".join(p.cmdline())
    ]
    assert engine

    async def hang() -> None:
        for process in engine:
            os.kill(process.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(1.2)
            await policy.healthy()  # nothing to do
            asked = asyncio.create_task(policy.generate(QUESTION))
            await asyncio.sleep(0.5)
            await policy.healthy()
            await asyncio.sleep(1.0)
            with pytest.raises(PolicyError, match="it hangs"):
                await policy.healthy()
        finally:
            for process in engine:
                os.kill(process.pid, signal.SIGCONT)
        await asked
        await policy.healthy()

    loop.run(hang())


def test_no_two_samples_of_a_run_share_a_seed() -> None:
    seeds = {
        question_seed(seed, index) + sample
        for seed in range(50)
        for index in range(16)
        for sample in range(16)
    }
    assert len(seeds) == 50 * 16 * 16
