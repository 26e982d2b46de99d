"""The policy on vLLM's AsyncLLM: replies with the log-probabilities they were sampled from; weights change in place."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from valor_ray.config.models import PolicyConfig, resolve_model
from valor_ray.errors import CheckpointError, ConfigError, PolicyError
from valor_ray.models.adapters import check_adapters, linear_layers, read_adapters, write_unchanging
from valor_ray.models.checkpoint import check_language_model
from valor_ray.models.hub import loadable
from valor_ray.models.vllm.adapters import adapter_arguments, adapter_request
from valor_ray.models.vllm.arguments import engine_arguments
from valor_ray.models.vllm.engine_end import own_engines
from valor_ray.models.vllm.prompting import fitting_prompt, prompt_ids
from valor_ray.models.vllm.turns import Turns
from valor_ray.models.vllm.watch import Watch
from valor_ray.models.vllm.weights import check_shapes, check_weights
from valor_ray.ports import Turn
from valor_ray.records import START_VERSION, Reply, Sampling
from valor_ray.runs.publications import Checksums, Transfer

_START_SECONDS = 600  # a large model on a slow disk; an engine that says nothing for longer hangs


class VllmPolicy:
    """ports.Policy and ports.Sampler on one vLLM engine, whose weights change while it answers; replies name them.

    Held by a policy replica, or by training in one process. `start` before use; `close` ends the engine's processes.
    `generate` and `score` share the engine and wait for what runs in it; `sample` waits until it has it alone;
    `load_weights` halts it, but not the requests in work. Not bounded in time: `healthy` tells an engine that hangs.
    """

    def __init__(
        self, config: PolicyConfig, lora_rank: int | None = None, stat_loggers: Sequence[Any] = ()
    ) -> None:
        """lora_rank: `load_weights` will be given adapters of at most this rank, for the model that `config` names;
        None: whole models, unless that model itself is a folder of adapters. stat_loggers: vLLM's, which are told what
        the engine does; without any it does not measure."""
        self.config = config
        self.model = resolve_model(config.model)
        self.version = START_VERSION  # the name of the weights in use
        self._rank = lora_rank
        self._stat_loggers = list(stat_loggers)
        self._adapters: Any = None  # that every request carries; None: the engine has whole weights alone
        self._engine: Any = None
        self._tokenizer: Any = None
        self._own = Sampling(config.temperature, config.top_p, config.max_tokens, config.top_k, config.min_p)
        self._turns = Turns()
        self._updated = False  # since the last batch of `sample` began
        self._pause_turn = asyncio.Lock()  # who pauses the engine also resumes it
        self._watch = Watch()
        self._group: str | None = None  # of the learner and replicas, that the engine is in
        self._broken: str | None = None  # why the weights in the engine are not to be used

    async def start(self) -> None:
        """Load the model. Raises CheckpointError for a broken folder, ConfigError for a model that is not there,
        PolicyError when the engine does not start."""
        self.model = await asyncio.to_thread(loadable, self.config.model)
        folder = Path(self.model)
        if (own := read_adapters(folder)) is not None:
            self._rank = max(own.rank, self._rank or 0)
            try:
                self.model = await asyncio.to_thread(loadable, own.base)
            except ConfigError as error:
                raise ConfigError(
                    f"policy.model {self.config.model!r} holds adapters, and the model under them is not there: "
                    f"{error} Or give the `merged` folder of a checkpoint of that run."
                ) from error
        if Path(self.model).is_dir():
            check_language_model(Path(self.model))
        try:
            await asyncio.wait_for(asyncio.to_thread(self._build), _START_SECONDS)
        except TimeoutError as error:
            raise PolicyError(
                f"vLLM has not started {self.config.model!r} within {_START_SECONDS} s. If it was still loading the "
                "model from the hub, fetch it first (hf download) and start again."
            ) from error
        except (RuntimeError, ValueError, OSError) as error:
            raise PolicyError(
                f"vLLM could not start {self.config.model!r}: {error}. `valor doctor` checks memory and versions."
            ) from error
        self._tokenizer = self._engine.get_tokenizer()
        await self._engine.update_weight_version(self.version)
        if own is not None:
            await self._load_adapters(folder, self.version)
        elif self._rank is not None:
            with TemporaryDirectory() as nothing:
                await asyncio.to_thread(write_unchanging, Path(nothing), self._hf_config())
                await self._load_adapters(Path(nothing), self.version)
        # the first reply builds kernels for seconds: no user should wait for that
        await self.generate("Is it ready?")

    def _build(self) -> None:
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        if self.config.kv_cache_gib is not None:
            os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, round(self.config.kv_cache_gib)))
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # leave the cores to the others too
        if self.config.threads is not None:
            os.environ["OMP_NUM_THREADS"] = str(self.config.threads)
        from vllm import AsyncEngineArgs
        from vllm.platforms import current_platform
        from vllm.v1.engine.async_llm import AsyncLLM
        from vllm.v1.executor.uniproc_executor import UniProcExecutor

        own_engines()
        # Kept here and not returned: the thread would hold it beyond `close`, and vLLM complain at exit.
        self._engine = AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                **engine_arguments(self.config, self.model, cpu=current_platform.is_cpu()),
                use_tqdm_on_load=False,  # a bar amid a job's own lines
                weight_transfer_config=self._transfer_config(),
                # On CPU vLLM puts its worker into a process of its own; each of the two then spins on a core while it
                # waits for the other, which everybody else here could use.
                distributed_executor_backend=UniProcExecutor if current_platform.is_cpu() else None,
                **self._adapter_arguments(),
            ),
            stat_loggers=self._stat_loggers,
        )

    def _adapter_arguments(self) -> dict[str, Any]:
        if self._rank is None:
            return {}
        from transformers import AutoConfig

        return adapter_arguments(self._rank, linear_layers(AutoConfig.from_pretrained(self.model)))

    def _hf_config(self) -> Any:
        return self._engine.model_config.hf_config

    def _transfer_config(self) -> Any:
        from vllm.config import WeightTransferConfig

        backend = self.config.weight_transfer
        return None if backend is None else WeightTransferConfig(backend=backend)

    def prompt_ids(self, question: str) -> list[int]:
        """Token ids of the chat prompt, the same in training and at inference."""
        return prompt_ids(question, self._tokenizer, self.config)

    def _fitting_prompt(self, question: str, turns: Sequence[Turn] = ()) -> list[int]:
        return fitting_prompt(question, self._tokenizer, self.config, turns)

    def _params(self, sampling: Sampling, prompt: Sequence[int], n: int, seed: int | None) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        # One token less than fits, so that prompt and reply together can be scored.
        room = self.config.max_model_len - len(prompt) - 1
        return SamplingParams(
            n=n,
            seed=seed,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
            max_tokens=min(sampling.max_tokens, room),
            logprobs=0,
            output_kind=RequestOutputKind.FINAL_ONLY,  # STACK: needed for n > 1
        )

    async def generate(
        self, question: str, *, n: int = 1, seed: int | None = None, turns: Sequence[Turn] = ()
    ) -> list[Reply]:
        """Sample n replies. Raises QuestionError when question or conversation do not fit, PolicyError when the engine
        fails."""
        self._check_usable()
        prompt = self._fitting_prompt(question, turns)
        with self._watch.working(), _engine_errors():
            async with self._turns.shared(), self._requests() as requests:
                requests.append(await self._add(prompt, self._params(self._own, prompt, n, seed)))
                final = await self._final(requests[0])
        return self._replies(prompt, final)

    async def sample(
        self, questions: Sequence[str], *, n: int, seed: int, sampling: Sampling
    ) -> list[list[Reply]]:
        """n replies to each question, on a CPU bit for bit the same for the same weights, questions, seed and number of
        threads. Raises QuestionError, PolicyError.

        Log-probabilities depend in their last bits on what is computed together. So the batch has the engine to itself,
        and the engine waits, with empty caches, until it has the whole batch. Unless policy.exact_samples is false (on
        GPUs, where nothing repeats bit for bit): then batches share the engine, and one begins while the last replies
        of another are written.
        """
        self._check_usable()
        prompts = [self._fitting_prompt(question) for question in questions]
        with self._watch.working(), _engine_errors():
            async with self._batch_turn(), self._requests() as requests:
                async with self._paused() if self.config.exact else nullcontext():
                    self._updated = False
                    for index, prompt in enumerate(prompts):
                        params = self._params(sampling, prompt, n, question_seed(seed, index))
                        requests.append(await self._add(prompt, params))
                finals = [await self._final(request) for request in requests]
        return [self._replies(prompt, final) for prompt, final in zip(prompts, finals, strict=True)]

    @property
    def seats(self) -> int | None:
        """Sequences that the engine works on at a time; None: a batch has it alone."""
        return None if self.config.exact else int(self._engine.vllm_config.scheduler_config.max_num_seqs)

    def _batch_turn(self) -> AbstractAsyncContextManager[None]:
        return self._turns.alone() if self.config.exact else self._turns.shared()

    async def score(self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """Log-probability at temperature 1 of each token of the second part, given all before it.

        Waits for a batch of `sample` in work, unless new weights have come into that already.
        sequences: (prompt token ids, completion token ids), together shorter than max_model_len. Raises PolicyError.
        """
        from vllm import SamplingParams

        self._check_usable()
        params = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0, detokenize=False)
        turn = nullcontext() if self._updated else self._turns.shared()
        with self._watch.working(), _engine_errors():
            async with turn, self._requests() as requests:
                for prompt, tokens in sequences:
                    requests.append(await self._add([*prompt, *tokens], params))
                finals = [await self._final(request) for request in requests]
        return [
            [
                float(options[token].logprob)
                for token, options in zip(tokens, final.prompt_logprobs[len(prompt) :], strict=True)
            ]
            for (prompt, tokens), final in zip(sequences, finals, strict=True)
        ]

    async def load_weights(self, folder: Path, version: str) -> None:
        """Put other weights of the same model into the running engine. Requests in work go on with them.

        folder: Hugging Face format; of adapters (peft's) where the engine was started for them. version: the name that
        replies carry from now on. Raises CheckpointError: when the folder does not fit, the old weights stay; when
        reading fails in the middle, the engine is useless, and `healthy` says so.
        """
        self._check_usable()
        if self._rank is not None:
            return await self._load_adapters(folder, version)
        await asyncio.to_thread(check_weights, folder, self._hf_config())
        async with self._changed_to(version, f"The weights in {folder} could not be read to their end"):
            await self._engine.collective_rpc("load_checkpoint", args=(str(folder),))

    async def _load_adapters(self, folder: Path, version: str) -> None:
        assert self._rank is not None
        await asyncio.to_thread(check_adapters, folder, self._hf_config(), self._rank)
        async with self._changed_to(version, f"The adapters in {folder} could not be read to their end"):
            await self._engine.add_lora(adapter_request(folder, load=True))
            self._adapters = adapter_request(folder)

    async def receive_weights(self, transfer: Transfer, replica: str, version: str) -> list[Checksums]:
        """As `load_weights`, of what a learner sends to this replica and others; waits for all of them to take part.

        replica: this one's name among the members. Returns the checksums of what each worker of the engine was given.
        Raises CheckpointError.
        """
        from vllm.distributed.weight_transfer.base import (
            WeightTransferInitRequest,
            WeightTransferUpdateRequest,
        )

        self._check_usable()
        update = json.loads(transfer.update)
        shapes = {name: tuple(shape) for name, shape in zip(update["names"], update["shapes"], strict=True)}
        await asyncio.to_thread(check_shapes, version, shapes, self._hf_config())
        async with self._changed_to(version, f"{version} did not come to its end"):
            if self._group != transfer.group:
                await self._engine.shutdown_weight_transfer_engine()
                init = json.loads(transfer.init)
                init["rank_offset"] += transfer.members.index(replica) * max(1, int(self.config.num_gpus))
                await self._engine.init_weight_transfer_engine(WeightTransferInitRequest(init_info=init))
                self._group = transfer.group
            await self._engine.collective_rpc("note_received")
            await self._engine.start_weight_update()
            await self._engine.update_weights(WeightTransferUpdateRequest(update_info=update))
            await self._engine.finish_weight_update()
            received: list[Checksums] = await self._engine.collective_rpc("received")
        return received

    @asynccontextmanager
    async def _changed_to(self, version: str, failed: str) -> AsyncIterator[None]:
        """The block puts the weights of `version` into the engine, which computes nothing meanwhile. failed: what is
        said when it does not come to its end: then the engine is useless. Raises CheckpointError."""
        with self._watch.working():
            async with self._paused():
                try:
                    yield
                    await self._engine.collective_rpc("repack_tied_head")
                    await self._engine.update_weight_version(version)
                except Exception as error:  # vLLM passes on what its worker raised as a bare Exception
                    self._broken = f"{failed}: {error}"
                    await self._engine.pause_generation(mode="abort")  # nothing may be sampled from a mixture
                    raise CheckpointError(
                        f"{failed} ({error}). The engine now holds a mixture of old and new ones: start it again."
                    ) from error
                self.version, self._updated = version, True

    @asynccontextmanager
    async def _paused(self) -> AsyncIterator[None]:
        """Nothing is computed in the block, nothing computed before is used after it, and requests keep their place."""
        async with self._pause_turn:
            await self._engine.pause_generation(mode="keep", clear_cache=True)
            try:
                yield
            finally:
                if self._broken is None:
                    await self._engine.resume_generation()

    async def _add(self, prompt: Sequence[int], params: Any) -> Any:
        return await self._engine.add_request(
            uuid.uuid4().hex, {"prompt_token_ids": list(prompt)}, params, lora_request=self._adapters
        )

    @asynccontextmanager
    async def _requests(self) -> AsyncIterator[list[Any]]:
        """A list for what `_add` gives; the engine forgets those requests when the block is left early."""
        requests: list[Any] = []
        try:
            yield requests
        except BaseException:
            await self._engine.abort([request.request_id for request in requests], internal=True)
            raise

    async def _final(self, request: Any) -> Any:
        while True:
            output = await request.get()
            if output.finished:
                break
        self._watch.answered()
        if output.outputs[0].finish_reason == "abort":
            raise PolicyError(f"The policy engine gave up a request: {self._broken or 'it was aborted'}.")
        return output

    def _replies(self, prompt: Sequence[int], final: Any) -> list[Reply]:
        return [self._reply(prompt, sample) for sample in final.outputs]

    def _reply(self, prompt: Sequence[int], sample: Any) -> Reply:
        ids = tuple(sample.token_ids)
        chosen = tuple(
            float(options[token].logprob) for token, options in zip(ids, sample.logprobs, strict=True)
        )
        versions = tuple((span.version, span.end - span.start) for span in sample.weight_versions or ())
        return Reply(
            text=sample.text,
            token_ids=ids,
            logprobs=chosen,
            policy_version=versions[0][0] if versions else self.version,
            finish_reason=sample.finish_reason or "stop",
            prompt_ids=tuple(prompt),
            versions=versions,
        )

    def _check_usable(self) -> None:
        if self._engine is None:
            raise PolicyError("The policy has not been started: await start() first.")
        if self._broken is not None:
            raise PolicyError(
                f"The policy engine is useless: {self._broken}. It is replaced by its health check."
            )

    async def healthy(self) -> None:
        """Raises PolicyError when the engine has died, holds half-loaded weights, or has work and does nothing."""
        from vllm.v1.engine.exceptions import EngineDeadError

        self._check_usable()
        try:
            await self._engine.check_health()
        except EngineDeadError as error:
            raise PolicyError(f"The policy engine died: {error}.") from error
        states = self._engine.output_processor.request_states
        idle_s = self._watch.idle_s(
            {
                name: state.detokenizer.num_output_tokens()
                for name, state in states.items()
                if state.detokenizer
            }
        )
        if idle_s > self.config.hang_s:
            raise PolicyError(
                f"The policy engine has work and has made no token for {idle_s:.0f} s (policy.hang_s "
                f"{self.config.hang_s:g}): it hangs."
            )

    def close(self) -> None:
        if self._engine is not None:
            self._engine.shutdown()
            self._engine = None


def question_seed(seed: int, index: int) -> int:
    """The engine's seed for the first sample of a question in a batch; it adds 1 for each further sample.

    Hashed, because neighbours must not share seeds: question 0, sample 1 would equal question 1, sample 0.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{index}".encode()).digest()[:6])


@contextmanager
def _engine_errors() -> Iterator[None]:
    """vLLM's errors as PolicyError."""
    from vllm.v1.engine.exceptions import VLLMServerError

    try:
        yield
    except (VLLMServerError, ValueError) as error:
        raise PolicyError(
            f"The policy engine failed: {error}. It is restarted by its health check."
        ) from error
