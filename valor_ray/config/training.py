"""Settings of training the policy, and of choosing among its checkpoints."""

from __future__ import annotations

import os
from typing import Literal, Self

from pydantic import Field, model_validator

from valor_ray.config.section import Section

_PROJECT = "valor"  # of runs at trackers, where no setting names one


class GrpoConfig(Section):
    """Training of the policy by GRPO on judged rewards, without labels (paper, section 3)."""

    queries: str | None = Field(
        None,
        description="queries to train on: JSON, CSV, parquet, a folder, hf:NAME, an fsspec URL; null = tabletop scenes",
    )
    query_limit: int | None = Field(800, ge=1, description="use the first N queries; paper: about 800")
    epochs: int = Field(4, ge=1, description="passes over the queries, where `steps` is null; paper: 4")
    steps: int | None = Field(None, ge=1, description="optimizer steps; null = as many as the epochs make")
    prompts: int = Field(64, ge=1, description="queries per step; paper: 64")
    samples: int = Field(5, ge=2, description="replies per query, a group; paper: 5")
    shards: int | None = Field(
        None,
        ge=1,
        description="assignments of a step, each sampled by one policy replica at a time; null = one for each replica "
        "of the first start; on GPUs four, and at least 8, so that replicas that come later find work",
    )
    curriculum: Literal["shuffled", "learnability"] = Field(
        "shuffled",
        description="how a step's queries are chosen; shuffled: each once an epoch; learnability: drawn by how "
        "much their last rewards varied: those near half more often, those all equal less, none never",
    )
    reserve: float = Field(
        0.5,
        ge=0,
        description="further queries a step may draw for groups without use, as a share of `prompts`",
    )
    temperature: float = Field(
        1.0,
        gt=0,
        description="of training samples; paper: 1.0. Their top-p is 1, as the importance ratio needs it",
    )
    max_tokens: int = Field(2000, ge=1, description="longest training sample, tokens; paper: 2000")
    max_lag: int = Field(
        1, ge=0, description="steps by which samples may be older than the weights they train; 0 = on-policy"
    )
    learning_rate: float = Field(1e-6, gt=0, description="AdamW, constant after warm-up; paper: 1e-6")
    warmup_steps: int = Field(0, ge=0, description="steps of linear warm-up")
    decay_steps: int = Field(
        0,
        ge=0,
        description="last steps, over which the learning rate falls linearly to nearly 0; paper: none",
    )
    ema: float = Field(
        0,
        ge=0,
        lt=1,
        description="share that a step keeps of the averaged weights, which are what is evaluated, and published after "
        "the last step; 0 = no average",
    )
    weight_decay: float = Field(0.0, ge=0, description="AdamW")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    kl: float = Field(
        0.01, ge=0, description="weight of the k3 divergence from the start policy; paper: 0.01"
    )
    clip: float = Field(0.2, gt=0, lt=1, description="of the importance ratio; paper: 0.2")
    delta: float | None = Field(
        None,
        gt=1,
        description="importance ratios above it move nothing, also where the advantage is negative, so that one token "
        "whose probability has leapt cannot be all of a step; above 1 + clip; null = no such bound, as in the paper",
    )
    workers: int = Field(1, ge=1, description="learner processes (Ray Train)")
    num_gpus: float = Field(0, ge=0, description="GPUs per learner process")
    device: Literal["auto", "cpu"] = Field(
        "auto",
        description="what it computes on: its GPUs, where it has any; cpu: placement can be tried without real GPUs",
    )
    gpu_gib: float | None = Field(
        None,
        gt=0,
        description="memory of a learner process's GPU, GiB: a run that cannot fit it is refused; null = not checked",
    )
    threads: int | None = Field(
        None, ge=1, description="CPU threads of a learner process; null = torch's choice"
    )
    micro_batch: int = Field(4, ge=1, description="replies in one forward pass of a learner process")
    micro_batch_tokens: int | None = Field(
        None,
        ge=1,
        description="most tokens of one forward pass, padding included, in place of micro_batch; a longer reply goes "
        "alone. null = as many replies as micro_batch says",
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the learner's forward pass; the weights that are trained are float32"
    )
    fsdp: bool = Field(False, description="shard weights and optimizer over the learner processes")
    gradient_checkpointing: bool = Field(False, description="less memory, a third more time")
    lora_rank: int | None = Field(
        None,
        ge=1,
        le=512,
        description="train LoRA adapters of this rank, which alone are published; null = all weights",
    )
    save_every: int = Field(5, ge=1, description="steps between checkpoints")
    keep_checkpoints: int = Field(
        2, ge=1, description="newest checkpoints kept, besides the first and the last"
    )
    keep_gib: float | None = Field(
        None,
        gt=0,
        description="GiB that checkpoints may take; the oldest go, the newest stays; null = no limit",
    )
    eval_questions: int = Field(504, ge=0, description="held-out questions asked before and after; 0 = none")
    eval_every: int | None = Field(
        None,
        ge=1,
        description="checkpoints of every so many steps are kept, and asked too when training is over",
    )
    gap_alarm: float = Field(
        0.01,
        gt=0,
        description="warn when engine and learner differ by more in a token's log-probability, on average (nat)",
    )
    max_kl: float = Field(
        10, gt=0, description="stop when the mean divergence from the start policy is above this"
    )
    seed: int = Field(0, ge=0, description="of query order and samples")
    scene_seed: int | None = Field(
        None, ge=0, description="of the rendered scenes, where no queries are given; null = grpo.seed"
    )
    trackers: tuple[Literal["wandb", "mlflow", "trackio", "comet_ml"], ...] = Field(
        (),
        description="where curves go besides TensorBoard, as in [mlflow]: each needs its pip package; project `valor`",
    )
    wandb_project: str | None = Field(
        None, description="curves also go to this Weights & Biases project (needs wandb)"
    )

    def tracker_projects(self) -> dict[str, str]:
        """The project of each tracker that is wanted besides TensorBoard, by the tracker's name."""
        projects: dict[str, str] = dict.fromkeys(self.trackers, _PROJECT)
        return projects if self.wandb_project is None else projects | {"wandb": self.wandb_project}

    @model_validator(mode="after")
    def _delta_leaves_the_clip_alone(self) -> Self:
        if self.delta is not None and self.delta <= 1 + self.clip:
            raise ValueError(f"delta {self.delta:g} must be above 1 + clip ({1 + self.clip:g}), or null")
        return self

    def number_of_steps(self, queries: int) -> int:
        """Steps of a run over so many queries."""
        return self.steps or max(1, self.epochs * queries // self.prompts)

    @property
    def learner_seed(self) -> int:
        """`seed` as numpy's and torch's global generators take it: 32 bits."""
        return self.seed % 2**32


class StoppingConfig(Section):
    """Which checkpoint of `valor train reasoning` is to be taken, by signals that need no label. Ours."""

    every: int | None = Field(
        None,
        ge=1,
        description="checkpoints of every so many steps are kept and compared; null = those of grpo.eval_every",
    )
    questions: int = Field(96, ge=0, description="questions asked of each of them; 0 = nothing is chosen")
    queries: str | None = Field(
        None,
        description="what is asked, a source as of grpo.queries, kept apart from it; null = the held-out questions, "
        "without their answers",
    )
    samples: int = Field(4, ge=2, description="replies to a question, whose answers may agree")
    temperature: float = Field(0.7, gt=0, description="of these replies")
    judged: int = Field(1, ge=0, description="of a question's replies, how many the text heads judge")


def learn_on_cpu() -> None:
    """Of a learner process that has GPUs: Ray Train names one in this variable, which accelerate believes."""
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"


def learner_processes() -> int:
    """Of the run that this process is one of, as torch's launchers say it."""
    return int(os.environ.get("WORLD_SIZE", "1"))
