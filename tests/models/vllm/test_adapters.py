"""Adapters in a running engine: what it adds to the base, which stays; room for one; what does not fit is refused."""

import asyncio
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import torch
import trained_adapters as trained
from bases import BASES
from looking_worker import LOOKING, correlation
from safetensors.torch import load_file, save_file

from valor_ray.config.tree import Config
from valor_ray.errors import CheckpointError, ConfigError
from valor_ray.models.checkpoint import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from valor_ray.models.vllm import arguments
from valor_ray.models.vllm.policy import VllmPolicy
from valor_ray.records import Reply, Sampling

QUESTIONS = ["How many red boxes are there?", "Which is higher, the yellow cone or the purple box?"]
PLAIN = Sampling(temperature=1.0, top_p=1.0, max_tokens=320)
SIZES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3)  # of B's numbers: the rate times the steps, at first


@dataclass
class Engine:
    """A policy, the learner's model of the same base, and replies on which both are compared."""

    policy: VllmPolicy
    model: torch.nn.Module
    sequences: list[tuple[tuple[int, ...], tuple[int, ...]]]
    folder: Path
    run: Callable  # of a coroutine

    def scores(self) -> torch.Tensor:
        scored = self.run(self.policy.score(self.sequences))
        return torch.tensor(list(itertools.chain.from_iterable(scored)))

    def ask(self, what: str, *args: object) -> object:
        (answer,) = self.run(self.policy._engine.collective_rpc(what, args=args))
        return answer

    def adapters(self, size: float) -> Path:
        return trained.save(trained.moved(self.model, size), self.folder / f"adapters-{size:g}")


def opened(loop: asyncio.Runner, folder: Path, lora_rank: int | None, *overrides: str) -> Iterator[Engine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arguments, "WORKER_EXTENSION", LOOKING)
        policy = VllmPolicy(Config.load("local", [*BASES, *overrides]).policy, lora_rank)
        loop.run(policy.start())
    replies = [
        reply
        for question in QUESTIONS
        for reply in loop.run(policy.generate(question, n=3, seed=1))
        if reply.finish_reason == "stop"
    ]
    model = trained.with_adapters()
    if policy.config.dtype == "bfloat16":  # the numbers that the engine has
        for parameter in model.get_base_model().parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.bfloat16().float()
    sequences = [(reply.prompt_ids, reply.token_ids) for reply in replies]
    trained.aim(model, sequences)
    yield Engine(policy, model, sequences, folder, loop.run)
    policy.close()


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def exact(loop: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """float32, for adapters of rank 16."""
    yield from opened(loop, tmp_path_factory.mktemp("exact"), trained.RANK)


@torch.no_grad()
def compared(engine: Engine, size: float) -> dict[str, float]:
    """Correlations with what was trained, of the change of weights and of log-probabilities, with adapters of a size.

    merged: where they are merged into the base in bfloat16 instead, as the learner once did.
    """
    engine.run(
        engine.policy.load_weights(trained.save(trained.with_adapters(), engine.folder / "none"), "none")
    )
    before, base = engine.scores(), trained.logprobs(trained.moved(engine.model, 0), engine.sequences)
    folder = engine.adapters(size)
    engine.run(engine.policy.load_weights(folder, f"size {size:g}"))
    meant = trained.logprobs(engine.model, engine.sequences) - base
    start, merged = trained.merged_in_place(engine.model)
    logprobs = [trained.logprobs(model, engine.sequences) for model in (start, merged)]
    change = trained.meant_change(engine.model)
    return {
        "size": size,
        "tokens": len(base),
        "weight change, rms": float(change.square().mean().sqrt()),
        "weights": engine.ask("likeness", str(folder), trained.SCALING),
        "weights, merged": correlation(trained.change_of(start, merged), change),
        "log-probability change, rms": float(meant.square().mean().sqrt()),
        "log-probabilities": correlation(engine.scores() - before, meant),
        "log-probabilities, merged": correlation(logprobs[1] - logprobs[0], meant),
        "log-probabilities, learner in bfloat16": correlation(
            trained.short_change(engine.model, engine.sequences), meant
        ),
    }


@pytest.mark.timeout(300)
def test_the_change_that_is_served_is_the_one_that_was_trained_however_small(exact: Engine) -> None:
    for size in SIZES[::2]:
        found = compared(exact, size)
        print(found)
        assert found["tokens"] > 300
        assert found["weights"] > 0.99999 and found["log-probabilities"] > 0.9999
    assert compared(exact, SIZES[0])["weights, merged"] < 0.3


@pytest.mark.timeout(300)
def test_versions_take_the_place_of_each_other_and_leave_the_base_as_it_was(exact: Engine) -> None:
    nothing = trained.save(trained.with_adapters(), exact.folder / "nothing")
    exact.run(exact.policy.load_weights(nothing, "step-000000"))
    before, digest, held = exact.scores(), exact.ask("base_digest"), exact.ask("adapters_held")
    worker = max(psutil.Process().children(recursive=True), key=lambda process: process.memory_info().rss)
    folders = [exact.adapters(size) for size in (1e-3, 2e-3, 3e-3, 4e-3)]
    memory = []
    for number in range(60):
        exact.run(exact.policy.load_weights(folders[number % 4], f"step-{number + 1:06d}"))
        assert exact.ask("adapters_held") == held == [1, 1, held[2]]
        memory.append(worker.memory_info().rss / 2**20)
    print(
        f"worker, MiB, every tenth version: {[round(size, 1) for size in memory[9::10]]}; room {held[2]} bytes"
    )
    assert memory[-1] - memory[9] < 10  # 50 versions of 0.8 MiB would be 40
    assert float((exact.scores() - before).abs().max()) > 0.1
    exact.run(exact.policy.load_weights(nothing, "step-000061"))
    assert torch.equal(exact.scores(), before) and exact.ask("base_digest") == digest


@pytest.mark.timeout(300)
def test_replies_in_work_go_on_with_new_adapters_and_say_so(exact: Engine) -> None:
    policy, states = exact.policy, exact.policy._engine.output_processor.request_states

    async def update_while_sampling() -> list[Reply]:
        sampling = asyncio.create_task(policy.sample(QUESTIONS[:1], n=8, seed=3, sampling=PLAIN))
        while not any(state.detokenizer.num_output_tokens() > 9 for state in states.values()):
            await asyncio.sleep(0)
        await policy.load_weights(new, "step-000007")
        return (await sampling)[0]

    def sampled() -> list[list[Reply]]:
        return exact.run(policy.sample(QUESTIONS, n=4, seed=9, sampling=PLAIN))

    old, new = exact.adapters(5e-4), exact.adapters(5e-3)
    exact.run(policy.load_weights(old, "step-000006"))
    before = sampled()
    both = [reply for reply in exact.run(update_while_sampling()) if len(reply.versions) == 2]
    assert both
    for reply in both:
        (first, cut), (second, rest) = reply.versions
        assert (first, second, cut + rest) == ("step-000006", "step-000007", len(reply.token_ids))
        pair = [(reply.prompt_ids, reply.token_ids)]
        with torch.no_grad():
            first_part = trained.logprobs(trained.moved(exact.model, 5e-4), pair)[:cut]
            second_part = trained.logprobs(trained.moved(exact.model, 5e-3), pair)[cut:]
        expected = torch.cat([first_part, second_part])
        assert torch.allclose(expected, torch.tensor(reply.logprobs), atol=1e-4)
    after = sampled()
    exact.run(policy.load_weights(old, "step-000006"))
    assert sampled() == before != after
    asked = exact.run(policy.generate(QUESTIONS[0], n=1, seed=1))
    assert asked[0].policy_version == "step-000006"


def changed(folder: Path, to: Path, tensors: Callable[[dict], dict], **settings: object) -> Path:
    shutil.copytree(folder, to)
    save_file(tensors(load_file(folder / ADAPTER_WEIGHTS)), to / ADAPTER_WEIGHTS)
    path = to / ADAPTER_CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return to


@pytest.mark.timeout(300)
def test_adapters_that_do_not_fit_are_refused_and_change_nothing(exact: Engine, tmp_path: Path) -> None:
    good = exact.adapters(1e-3)
    exact.run(exact.policy.load_weights(good, "step-000001"))
    before = exact.scores()
    torn = tmp_path / "torn"
    shutil.copytree(good, torn)
    with (torn / ADAPTER_WEIGHTS).open("rb+") as file:
        file.truncate(100_000)
    text = changed(good, tmp_path / "text", dict)
    (text / ADAPTER_CONFIG).write_text("{")
    head = {f"base_model.model.lm_head.lora_{side}.weight": torch.zeros(2, 2) for side in "AB"}
    wide = changed(good, tmp_path / "wide", lambda tensors: {k: v.repeat(1, 2) for k, v in tensors.items()})
    half = changed(good, tmp_path / "half", lambda tensors: {k: v for k, v in tensors.items() if "_A" in k})
    for folder, words in (
        (torn, "cut short"),
        (text, "not valid JSON"),
        (changed(good, tmp_path / "rank", dict, r=32), "have rank 32; the engine was started for 16"),
        (changed(good, tmp_path / "head", lambda tensors: tensors | head), "unexpected.*lm_head"),
        (wide, "of another shape"),
        (half, "missing.*lora_B"),
        (trained.SHIPPED, "holds no adapters"),
        (tmp_path / "gone", "holds no adapters"),
    ):
        with pytest.raises(CheckpointError, match=words):
            exact.run(exact.policy.load_weights(folder, "step-000009"))
    assert exact.policy.version == "step-000001" and torch.equal(exact.scores(), before)
    exact.run(exact.policy.healthy())


@pytest.mark.slow  # a second engine
@pytest.mark.timeout(300)
def test_a_folder_of_adapters_is_a_model_also_in_bfloat16(
    loop: asyncio.Runner, tmp_path: Path, exact: Engine
) -> None:
    """What is held is what was trained. What bfloat16's activations make of it is another matter: see sharding.md."""
    served = exact.adapters(1e-3)
    for engine in opened(loop, tmp_path, None, "policy.dtype=bfloat16", f"policy.model={served}"):
        assert engine.ask("likeness", str(served), trained.SCALING) > 0.9999
        figures = [compared(engine, size) for size in SIZES[::2]]
        for found in figures:
            print(found)
            assert found["weights"] > 0.9999
        assert figures[0]["weights, merged"] < 0.3
        largest = figures[-1]  # as good as the learner's own activations are in bfloat16
        assert largest["log-probabilities"] > largest["log-probabilities, learner in bfloat16"] - 0.05 > 0.5


def test_adapters_without_their_base_name_what_else_to_serve(tmp_path: Path) -> None:
    folder = trained.save(trained.with_adapters(base=str(tmp_path / "gone")), tmp_path / "adapters")
    with pytest.raises(ConfigError, match=r"holds adapters.*not there.*`merged` folder"):
        asyncio.run(VllmPolicy(Config.load("local", [f"policy.model={folder}"]).policy).start())
