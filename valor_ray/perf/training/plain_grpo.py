"""The plain way to train: trl's GRPOTrainer with its own generation, and a reward function that asks in sequence.

`python -m valor_ray.perf.training.plain_grpo --queries FILE --judge URL --steps N` prints one JSON object.
As in the reference, the reward function has 24 threads: each takes a reply, spawns a process for its program, and
makes four calls in turn.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from valor_ray.config.training import GrpoConfig
from valor_ray.config.tree import Config
from valor_ray.judges.plan_heads import verdict_requests
from valor_ray.models.hub import loadable
from valor_ray.models.shipped import on_bases
from valor_ray.models.vllm.prompting import chat
from valor_ray.perf.judge_load import TIMEOUT_S
from valor_ray.perf.plain_judges import THREADS
from valor_ray.perf.plain_program import run_in_process
from valor_ray.program.parse import parse_reply
from valor_ray.reasoning.reward import reward_value
from valor_ray.records import Head, Verdict


class PlainReward:
    """trl's reward function over a judge endpoint."""

    __name__ = "plain"

    def __init__(self, config: Config, url: str) -> None:
        import openai

        self._config = config
        self._client = openai.OpenAI(base_url=url, api_key="none", timeout=TIMEOUT_S)
        self.missing = 0

    def __call__(self, prompts: list[Any], completions: list[Any], **others: Any) -> list[float | None]:
        questions = [messages[-1]["content"] for messages in prompts]
        replies = [messages[0]["content"] for messages in completions]
        with ThreadPoolExecutor(THREADS) as threads:
            return list(threads.map(self._one, questions, replies))

    def _one(self, question: str, reply: str) -> float | None:
        parsed = parse_reply(reply)
        if not parsed.well_formed:
            return 0.0
        answer = run_in_process(parsed.code, (640, 480))
        right = answer is not None and not (isinstance(answer, str) and "Error" in answer)
        verdicts = {Head.FORMAT: Verdict(True), Head.SYNTAX: Verdict(right)}
        for head, request in verdict_requests(question, parsed.plan, parsed.code).items():
            verdicts[head] = Verdict(self._ask(request))
        value = reward_value(verdicts, self._config.reward)
        self.missing += value is None
        return value

    def _ask(self, request: Any) -> bool | None:
        import openai

        schema: Any = {"name": request.head, "strict": True, "schema": dict(request.schema)}
        try:
            said = self._client.chat.completions.create(
                model=self._config.judge.model,
                messages=list(request.messages),
                response_format={"type": "json_schema", "json_schema": schema},
            )
            return bool(json.loads(said.choices[0].message.content or "")["verdict"] == "yes")
        except (openai.APIError, ValueError, KeyError):
            return None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--judge", required=True)
    parser.add_argument("--steps", type=int, required=True)
    args = parser.parse_args(argv)
    print(json.dumps(measure(args.queries, args.judge, args.steps)), flush=True)
    return 0


def measure(queries: Path, url: str, steps: int) -> dict[str, Any]:
    """{samples, seconds, samples_per_hour, step_seconds}; the first step, which warms up, is left out."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl.trainer.grpo_trainer import GRPOTrainer

    config, _ = on_bases(Config.load("local"))
    grpo = config.grpo
    start = loadable(config.policy.model)
    rows = [json.loads(line) for line in queries.read_text(encoding="utf-8").splitlines()]
    prompts = [chat(row["question"], config.policy.prompt) for row in rows]
    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *words: Any, **others: Any) -> None:
            ends.append(time.monotonic())

    reward = PlainReward(config, url)
    with tempfile.TemporaryDirectory() as out:
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(start, dtype="float32"),
            reward_funcs=[reward],
            args=_settings(grpo, out, steps),
            train_dataset=Dataset.from_dict({"prompt": prompts}),
            processing_class=AutoTokenizer.from_pretrained(start),
            callbacks=[Clock()],
        )
        trainer.train()
    each = grpo.prompts * grpo.samples
    seconds = ends[-1] - ends[0]
    return {
        "samples": each * (steps - 1),
        "seconds": round(seconds, 2),
        "step_seconds": round(seconds / (steps - 1), 2),
        "samples_per_hour": round(3600 * each * (steps - 1) / seconds),
        "missing": reward.missing,
    }


def _settings(grpo: GrpoConfig, out: str, steps: int) -> Any:
    """trl's settings that say what ours say."""
    from trl.trainer.grpo_config import GRPOConfig

    return GRPOConfig(
        output_dir=out,
        max_steps=steps,
        num_generations=grpo.samples,
        per_device_train_batch_size=grpo.micro_batch,
        gradient_accumulation_steps=grpo.prompts * grpo.samples // grpo.micro_batch,
        max_completion_length=grpo.max_tokens,
        temperature=grpo.temperature,
        learning_rate=grpo.learning_rate,
        beta=grpo.kl,
        epsilon=grpo.clip,
        loss_type="grpo",
        bf16=False,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=grpo.learner_seed,
    )


if __name__ == "__main__":
    sys.exit(main())
