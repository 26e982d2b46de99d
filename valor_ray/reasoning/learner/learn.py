"""The learner: trl's GRPO over the steps that a source hands out. Knows neither Ray nor where rollouts come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valor_ray.config.models import resolve_model
from valor_ray.config.training import GrpoConfig
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.models.checkpoint import check_language_model
from valor_ray.reasoning.learner.ports import BatchSource
from valor_ray.runs.checkpoints import CheckpointStore
from valor_ray.runs.weight_channel import WeightChannel


@dataclass(frozen=True)
class LearnerEnd:
    """How learning ended."""

    steps: int  # updates made, earlier runs' included
    stopped: str | None  # why before its time; None: all steps were made


def learn(
    config: Config,
    checkpoints: CheckpointStore,
    steps: int,
    source: BatchSource,
    channel: WeightChannel,
    say: Callable[[str], None],
    record: Callable[[Mapping[str, Any]], None],
    prepare: Callable[[Any], Any] = lambda trainer: trainer,
) -> LearnerEnd:
    """Train until `steps` updates have been made, going on from the newest of `checkpoints`.

    Called by every learner process, in the driver's own (training/local.py) or in Ray Train's (deployments/).
    Waits, in each step, for the source's batch, and for the channel to bring the new weights to all replicas.

    record: called with a metrics record for each step, by the first process only. prepare: what Ray Train wants done to
    the trainer. Raises ConfigError for a model that cannot be trained, and nothing for a loss that explodes: that is an
    end with a reason.
    """
    _quiet()
    from valor_ray.reasoning.learner.grpo_trainer import LearningStopped

    trainer = _trainer(config, steps, checkpoints.part)
    trainer.attach(config, checkpoints, source, channel, say, record)
    trainer = prepare(trainer)
    newest = checkpoints.newest()
    stopped = None
    try:
        trainer.train(resume_from_checkpoint=str(checkpoints.checkpoint(newest)) if newest else None)
    except LearningStopped as stop:
        stopped = stop.reason
    checkpoints.forget_part()
    return LearnerEnd(checkpoints.newest(), stopped)


def _trainer(config: Config, steps: int, part: Path) -> Any:
    """A ValorGrpoTrainer of the start policy, on the device that the settings name. Raises ConfigError."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

    from valor_ray.reasoning.learner.grpo_trainer import ValorGrpoTrainer, grpo_arguments

    grpo = config.grpo
    if grpo.threads is not None:
        torch.set_num_threads(grpo.threads)
    start = resolve_model(config.policy.model)
    if Path(start).is_dir():
        check_language_model(Path(start))
    set_seed(grpo.learner_seed)
    # Weights that are trained are float32 whatever the forward pass is: an update of 1e-6 is lost in bfloat16.
    dtype = torch.bfloat16 if grpo.dtype == "bfloat16" and grpo.lora_rank else torch.float32
    try:
        model = AutoModelForCausalLM.from_pretrained(start, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(start)
    except (OSError, ValueError) as error:
        raise ConfigError(f"policy.model {config.policy.model!r} cannot be trained: {error}") from error
    return ValorGrpoTrainer(
        model=model,
        reward_funcs=[_no_reward],
        args=grpo_arguments(grpo, steps, part),
        train_dataset=Dataset.from_dict({"prompt": [""] * (grpo.prompts * steps)}),  # counts steps, no more
        processing_class=tokenizer,
        peft_config=_lora(grpo.lora_rank),
    )


def check_shape(config: GrpoConfig) -> None:
    """Raises ConfigError when a step cannot be cut into equal micro-batches, with settings that can."""
    if config.fsdp and config.lora_rank is not None:
        raise ConfigError(
            "grpo.lora_rank and grpo.fsdp do not go together: adapters fit one GPU. Give --set grpo.fsdp=false, or "
            "--set grpo.lora_rank=null."
        )
    total, cut = config.prompts * config.samples, config.micro_batch * config.workers
    if total % cut:
        fitting = [n for n in range(1, total // config.workers + 1) if total % (n * config.workers) == 0]
        near = min(fitting, key=lambda n: abs(n - config.micro_batch), default=None)
        workers = max(n for n in range(1, config.workers + 1) if total % n == 0)
        advice = f"--set grpo.micro_batch={near}" if near else f"--set grpo.workers={workers} first"
        raise ConfigError(
            f"A step has {total} replies (grpo.prompts x grpo.samples), which grpo.workers {config.workers} x "
            f"grpo.micro_batch {config.micro_batch} do not divide. Give {advice}."
        )


def _no_reward(completions: list[Any], **others: Any) -> list[float]:
    """trl wants a reward function; ours are judged elsewhere, and its own are never asked."""
    raise AssertionError("rewards come with the rollouts")


def _lora(rank: int | None) -> Any:
    if rank is None:
        return None
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")


def _quiet() -> None:
    """trl and transformers warn about what is meant."""
    import logging
    import warnings

    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    for kind in (FutureWarning, UserWarning):
        warnings.filterwarnings("ignore", category=kind)
    for name in ("transformers", "trl", "accelerate"):
        logging.getLogger(name).setLevel(logging.ERROR)
