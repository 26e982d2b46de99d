"""The learner: trl's GRPO over the steps that a source hands out. Knows neither Ray nor where rollouts come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valor_ray.config.training import GrpoConfig, learn_on_cpu
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.reasoning.learner.ports import BatchSource, LearningStopped
from valor_ray.runs.checkpoints import CheckpointStore
from valor_ray.runs.weight_channel import WeightChannel

_ADAPTER_RATE = 1e-5  # below, bfloat16 rounds away what adapters add


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
    the trainer. Raises ConfigError for a model that cannot be trained; LearnerLeaves, all saved, when the source says
    that a machine will be taken; and nothing for a loss that explodes: that is an end with a reason.
    """
    _quiet()
    trainer = _trainer(config, steps, checkpoints.part)
    trainer.attach(config, checkpoints, source, channel, say, record)
    trainer = prepare(trainer)
    newest = checkpoints.newest()
    stopped = None
    try:
        trainer.train(resume_from_checkpoint=str(checkpoints.checkpoint(newest)) if newest else None)
    except LearningStopped as stop:
        stopped = stop.reason
    trainer.keep_checkpoint()
    trainer.accelerator.wait_for_everyone()  # nobody clears away what the first has yet to name
    checkpoints.forget_part()
    return LearnerEnd(checkpoints.newest(), stopped)


def _trainer(config: Config, steps: int, part: Path) -> Any:
    """A ValorGrpoTrainer of the start policy, on the device that the settings name. Raises ConfigError."""
    import torch
    from datasets import Dataset
    from transformers import set_seed

    from valor_ray.reasoning.learner.arguments import grpo_arguments
    from valor_ray.reasoning.learner.grpo_trainer import ValorGrpoTrainer
    from valor_ray.reasoning.learner.models import base_name, is_sharded, load_policy

    grpo = config.grpo
    if grpo.device == "cpu":
        learn_on_cpu()
    if grpo.threads is not None:
        torch.set_num_threads(grpo.threads)
    set_seed(grpo.learner_seed)
    model, tokenizer = load_policy(config)
    trainer = ValorGrpoTrainer(
        model=model,
        reward_funcs=[_no_reward],
        args=grpo_arguments(grpo, steps, part, sharded=is_sharded(grpo)),
        train_dataset=Dataset.from_dict(
            {"prompt": [""] * (max(grpo.prompts, grpo.workers) * steps)}
        ),  # counts steps, no more
        processing_class=tokenizer,
        peft_config=_lora(grpo.lora_rank),
    )
    if grpo.lora_rank is not None:  # peft names the folder that it was loaded from
        trainer.model.peft_config["default"].base_model_name_or_path = base_name(config.policy.model)
    return trainer


def check_shape(config: GrpoConfig) -> None:
    """Raises ConfigError for settings of the learner that do not go together, or a step that cannot be cut into equal
    micro-batches, with settings that can."""
    if config.fsdp and config.lora_rank is not None:
        raise ConfigError(
            "grpo.lora_rank and grpo.fsdp do not go together: adapters fit one GPU. Give --set grpo.fsdp=false, or "
            "--set grpo.lora_rank=null."
        )
    if config.ema and (config.fsdp or config.lora_rank is not None):
        raise ConfigError(
            "grpo.ema averages the weights of a whole model in each process, which goes with neither grpo.fsdp nor "
            "grpo.lora_rank. Give --set grpo.ema=0; --set grpo.decay_steps=N makes the last steps steady too."
        )
    if config.micro_batch_tokens is not None:
        return
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


def say_slow(config: GrpoConfig, say: Callable[[str], None]) -> None:
    """Tells who starts a run that its adapters will hardly move."""
    if config.lora_rank is not None and config.learning_rate < _ADAPTER_RATE:
        say(
            f"grpo.learning_rate {config.learning_rate:g} is small for adapters (grpo.lora_rank {config.lora_rank}): "
            f"{_ADAPTER_RATE:g} or more is advised"
        )


def check_transfer(config: Config) -> None:
    """Raises ConfigError when new weights cannot come as policy.weight_transfer says."""
    way, grpo = config.policy.weight_transfer, config.grpo
    if way is None:
        return
    if grpo.lora_rank is not None:
        raise ConfigError(
            f"policy.weight_transfer {way} sends whole models, and grpo.lora_rank trains adapters. Give --set "
            "policy.weight_transfer=null: those go by files, which are small."
        )
    if way == "nccl" and not (config.policy.num_gpus and grpo.num_gpus):
        raise ConfigError(
            "policy.weight_transfer nccl goes from GPU to GPU, and policy.num_gpus or grpo.num_gpus is 0. Give gloo, "
            "or null."
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
