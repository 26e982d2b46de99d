"""The policy on vLLM's AsyncLLM: one question in, n sampled replies out, with the log-probabilities sampled from."""

from __future__ import annotations

import asyncio
import os
import uuid
from pathlib import Path
from typing import Any

from valor_ray.config import PolicyConfig, resolve_model
from valor_ray.errors import PolicyError, QuestionError
from valor_ray.models.checkpoint import check_language_model
from valor_ray.prompting import chat
from valor_ray.records import Reply

_START_SECONDS = 600  # a large model on a slow disk; an engine that says nothing for longer hangs


class VllmPolicy:
    """Behind ports.Policy. `start` before use; `close` ends the engine's processes."""

    def __init__(self, config: PolicyConfig) -> None:
        self.config = config
        self.model = resolve_model(config.model)
        self.version = "base"  # the name of the weights in use
        self._engine: Any = None
        self._tokenizer: Any = None

    async def start(self) -> None:
        """Load the model. Raises CheckpointError for a broken folder, PolicyError when the engine does not start."""
        if Path(self.model).is_dir():
            check_language_model(Path(self.model))
        try:
            self._engine = await asyncio.wait_for(asyncio.to_thread(self._build), _START_SECONDS)
        except (RuntimeError, ValueError, OSError, TimeoutError) as error:
            raise PolicyError(
                f"vLLM could not start {self.config.model!r}: {error}. `valor doctor` checks memory and versions."
            ) from error
        self._tokenizer = self._engine.get_tokenizer()
        await self.generate(
            "Is it ready?"
        )  # the first reply builds kernels for seconds: no user should wait for that

    def _build(self) -> Any:
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        if self.config.kv_cache_gib is not None:
            os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, round(self.config.kv_cache_gib)))
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # leave the cores to the others too
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        return AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                model=self.model,
                dtype=self.config.dtype,
                max_model_len=self.config.max_model_len,
                enforce_eager=self.config.enforce_eager,
                logprobs_mode="processed_logprobs",
                disable_log_stats=True,
                generation_config="vllm",
            )
        )

    def prompt_ids(self, question: str) -> list[int]:
        """Token ids of the chat prompt, the same in training and at inference."""
        text = self._tokenizer.apply_chat_template(
            chat(question, self.config.prompt),
            add_generation_prompt=True,
            tokenize=False,
            enable_thinking=self.config.thinking,
        )
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _sampling(self, n: int, seed: int | None, room: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            n=n,
            seed=seed,
            temperature=self.config.temperature,
            top_p=self.config.top_p,
            top_k=self.config.top_k,
            min_p=self.config.min_p,
            max_tokens=min(self.config.max_tokens, room),
            logprobs=0,
            output_kind=RequestOutputKind.FINAL_ONLY,  # STACK: needed for n > 1
        )

    async def generate(self, question: str, *, n: int = 1, seed: int | None = None) -> list[Reply]:
        """Sample n replies. Raises QuestionError when the question does not fit, PolicyError when the engine fails."""
        if self._engine is None:
            raise PolicyError("The policy has not been started: await start() first.")
        ids = self.prompt_ids(question)
        room = self.config.max_model_len - len(ids)
        if room < 16:
            raise QuestionError(
                f"The question takes {len(ids)} of the policy's {self.config.max_model_len} tokens, which leaves no "
                "room for a reply. Shorten it, or raise policy.max_model_len."
            )
        from vllm.v1.engine.exceptions import VLLMServerError

        final: Any = None
        try:
            async for output in self._engine.generate(
                {"prompt_token_ids": ids}, self._sampling(n, seed, room), uuid.uuid4().hex
            ):
                final = output
        except (VLLMServerError, ValueError) as error:
            raise PolicyError(
                f"The policy engine failed: {error}. It is restarted by its health check."
            ) from error
        return [self._reply(sample) for sample in final.outputs]

    def _reply(self, sample: Any) -> Reply:
        ids = tuple(sample.token_ids)
        chosen = tuple(
            float(options[token].logprob) for token, options in zip(ids, sample.logprobs, strict=True)
        )
        return Reply(sample.text, ids, chosen, self.version, sample.finish_reason or "stop")

    async def healthy(self) -> None:
        """Raises PolicyError when the engine no longer answers."""
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            await self._engine.check_health()
        except EngineDeadError as error:
            raise PolicyError(f"The policy engine died: {error}.") from error

    def close(self) -> None:
        if self._engine is not None:
            self._engine.shutdown()
            self._engine = None
