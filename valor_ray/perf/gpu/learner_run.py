"""One run of our learner on one card: `learn` of reasoning/learner, with a step that is repeated, and watched."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.config.tree import Config
from valor_ray.perf.gpu.card import Card, most_memory_gib, start_counting_memory
from valor_ray.perf.gpu.rollouts import CheckedRows
from valor_ray.reasoning.learner.learn import learn
from valor_ray.reasoning.learner.ports import StepBatch
from valor_ray.records import Rollout
from valor_ray.runs.checkpoints import FolderCheckpoints
from valor_ray.runs.weight_channel import FileChannel, Probe, Published, Weights, to_nobody

if TYPE_CHECKING:
    import torch

SAMPLES = 4  # rows that count as a group, and in a micro-batch of a large card
_LARGE_GIB = 40.0  # cards below it take one row at a time
_LORA_RANK = 16


@dataclass(frozen=True)
class Precision:
    """A way to train that the learner's settings offer."""

    name: str
    dtype: str  # grpo.dtype
    lora_rank: int | None
    passes: (
        int  # floating-point operations per parameter and token: forward 2, backward 4, of frozen weights 2
    )


PRECISIONS = (
    Precision("float32", "float32", None, 6),
    Precision("bfloat16", "bfloat16", None, 6),
    Precision("bfloat16_lora", "bfloat16", _LORA_RANK, 4),
)


@dataclass(frozen=True)
class LearnerRun:
    """What one run has shown. Log-probabilities are of the reply tokens of its first step, short rows first."""

    records: list[Mapping[str, Any]]  # a metrics record of each step
    behaviour: list[list[float]]  # a row each: what the rows were said to be sampled with
    trained: torch.Tensor  # by the forward pass of training, (tokens,)
    sampled: torch.Tensor  # `behaviour` of the same tokens, (tokens,)
    again: (
        torch.Tensor | None
    )  # differences of two scorings of the recorded rows; None: `behaviour` was given
    publish_s: float  # from weights on the card to a folder that an engine loads
    memory_gib: float | None  # the most that tensors took

    @property
    def step_s(self) -> float:
        """The median step after the first, which warms up."""
        seconds = [record["seconds"]["learn"] for record in self.records]
        return statistics.median(seconds[1:] or seconds)


def learner_config(card: Card, model: Path, rows: CheckedRows, precision: Precision) -> Config:
    """The settings of the profile `gpu`, on one card."""
    lora = "null" if precision.lora_rank is None else precision.lora_rank
    settings = {
        "policy.model": model,
        "grpo.prompts": len(rows.all) // SAMPLES,
        "grpo.samples": SAMPLES,
        "grpo.micro_batch": micro_batch(card),
        "grpo.micro_batch_tokens": "null",
        "grpo.dtype": precision.dtype,
        "grpo.lora_rank": lora,
        "grpo.workers": 1,
        "grpo.fsdp": "false",
        "grpo.num_gpus": int(card.on_gpu),
    }
    return Config.load("gpu", [f"{key}={value}" for key, value in settings.items()])


def micro_batch(card: Card) -> int:
    """Rows in a forward pass: the profile's four, or one where they would not fit."""
    return 1 if card.memory_gib is not None and card.memory_gib < _LARGE_GIB else SAMPLES


def run_learner(
    card: Card,
    config: Config,
    rows: CheckedRows,
    behaviour: list[list[float]] | None,
    steps: int,
    limit_s: float,
    folder: Path,
) -> LearnerRun:
    """Train `steps` steps on the same rows, or fewer when `limit_s` is over. `folder`: empty, for what is written.

    behaviour: log-probabilities that the rows were sampled with; None: those of the start policy, as it is loaded here.
    """
    import torch

    start_counting_memory(card)
    watch = _Watch(rows, behaviour, steps, time.monotonic() + limit_s)
    channel = _FirstPublication(folder / "weights")
    records: list[Mapping[str, Any]] = []
    # One step more than is trained: the run is stopped before it, so no checkpoint of gigabytes is written.
    end = learn(
        config,
        FolderCheckpoints(folder / "checkpoints"),
        steps + 1,
        watch,
        channel,
        lambda text: None,  # its alarm speaks of replicas; the gap is in the records
        records.append,
        watch.attach,
    )
    if not records:
        raise RuntimeError(f"the learner made no step: {end.stopped}")
    return LearnerRun(
        records,
        watch.behaviour or [],
        torch.cat(watch.trained),
        torch.cat(watch.sampled),
        watch.again,
        channel.seconds,
        most_memory_gib(card),
    )


class _Watch:
    """learner.ports.BatchSource of the same rows at each step; keeps what the trainer makes of them at the first.

    `learn` gives it the trainer before training, then asks it for each step's rows.
    Waits for nothing but the scoring of the rows, at the first step.
    """

    def __init__(
        self, rows: CheckedRows, behaviour: list[list[float]] | None, steps: int, until: float
    ) -> None:
        self.behaviour = behaviour
        self.trained: list[torch.Tensor] = []  # log-probabilities of each micro-batch of the first step
        self.sampled: list[torch.Tensor] = []
        self.again: torch.Tensor | None = None
        self._rows, self._steps, self._until = rows, steps, until

    def attach(self, trainer: Any) -> Any:
        self._trainer = trainer
        compute_loss = trainer._compute_loss

        def watched(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
            loss = compute_loss(model, inputs)
            if trainer.state.global_step == 0:
                counts = inputs["completion_mask"].bool()
                self.trained.append(trainer._last_logps[counts].float().cpu())
                self.sampled.append(inputs["old_per_token_logps"][counts].cpu())
            return loss

        trainer._compute_loss = watched
        return trainer

    def batch(self, step: int) -> StepBatch | None:
        if step > self._steps or (step > 1 and time.monotonic() > self._until):
            return None
        if self.behaviour is None:
            self.behaviour = self._score()
        rows = [
            dataclasses.replace(row, logprobs=tuple(logprobs))
            for row, logprobs in zip(self._rows.all, self.behaviour, strict=True)
        ]
        return StepBatch(step, rows, rows, counts={}, lags=[0] * len(rows), sample_s=0.0, judge_s=0.0)

    def checkpointed(self, step: int) -> None:
        """No checkpoint is made."""

    def _score(self) -> list[list[float]]:
        """The start policy's log-probabilities, a row at a time, as the learner compares itself with an engine."""
        import torch

        logprobs = self._trainer._score(_pairs(self._rows.all))
        recorded = self._trainer._score(_pairs(self._rows.recorded))
        self.again = torch.cat([once - twice for once, twice in zip(logprobs, recorded, strict=False)])
        return [row.tolist() for row in logprobs]


def _pairs(rows: Sequence[Rollout]) -> Probe:
    return [(list(row.prompt_ids), list(row.token_ids)) for row in rows]


class _FirstPublication:
    """WeightChannel that writes the start weights, as a publication does, and none of the later ones.

    Called by the learner as any channel. Blocks on the disk, once; nobody loads what is written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.seconds = 0.0
        self._files = FileChannel(folder, 1, to_nobody, first=True)

    def publish(self, step: int, weights: Weights, probe: Probe) -> Published | None:
        if step:
            return to_nobody(step, Path(), probe)
        started = time.monotonic()
        published = self._files.publish(step, weights, probe)
        self.seconds = time.monotonic() - started
        return published
