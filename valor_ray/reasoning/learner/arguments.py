"""The settings of training in the words of trl and transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trl.trainer.grpo_config import GRPOConfig

from valor_ray.config.training import GrpoConfig


def grpo_arguments(grpo: GrpoConfig, steps: int, out: Path, *, sharded: bool = False) -> GRPOConfig:
    """The paper's setting in trl's words.

    sharded: the model was loaded in parts, and knows by itself how to sum gradients and which precision to take.
    """
    total, rows = grpo.prompts * grpo.samples, grpo.micro_batch
    accumulated = total // (rows * grpo.workers)
    if grpo.micro_batch_tokens is not None:  # trl's rows are placeholders: `training_step` takes ours
        rows, accumulated = grpo.samples, 1
    arguments = GRPOConfig(
        output_dir=str(out),
        max_steps=steps,
        num_generations=grpo.samples,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=accumulated,
        max_completion_length=grpo.max_tokens,
        temperature=grpo.temperature,
        learning_rate=grpo.learning_rate,
        **_rate(grpo, steps),
        weight_decay=grpo.weight_decay,
        max_grad_norm=grpo.max_grad_norm,
        beta=0.0,  # trl would load a reference of its own, whole, for every process: `attach` has ours
        use_bias_correction_kl=False,  # trl's default is k3 times the ratio; the paper's is k3
        epsilon=grpo.clip,
        delta=grpo.delta,
        loss_type="grpo",
        scale_rewards="group",
        bf16=grpo.dtype == "bfloat16" and not sharded,
        fp16=False,
        use_cpu=grpo.num_gpus == 0 or grpo.device == "cpu",
        gradient_checkpointing=grpo.gradient_checkpointing,
        ddp_find_unused_parameters=False,
        seed=grpo.learner_seed,
        save_strategy="steps",
        save_steps=grpo.save_every,
        save_only_model=sharded,  # transformers refuses else; `attach` takes it back
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        ignore_data_skip=True,  # the source knows which step is which
        dataloader_num_workers=0,
    )
    # alone on a machine of several GPUs, transformers would take all of them by DataParallel, which trl refuses
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _rate(grpo: GrpoConfig, steps: int) -> dict[str, Any]:
    """How the learning rate goes over the steps, in transformers' words."""
    falling = min(grpo.decay_steps, max(0, steps - grpo.warmup_steps))
    if not falling:
        return {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": grpo.warmup_steps}
    return {
        "lr_scheduler_type": "warmup_stable_decay",
        "warmup_steps": grpo.warmup_steps,
        "lr_scheduler_kwargs": {"num_decay_steps": falling, "decay_type": "linear"},
    }
