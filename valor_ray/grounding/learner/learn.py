"""Fine-tuning of GroundingDINO, in one process or several (torch.distributed), resumable at any step.

A step, in each process: draw this process's pictures (examples.py) -> forward, a batch a size (models.grounding_dino.
heads) -> sums of the loss and counts (loss.py; of rehearsed pictures rehearsal.distillation) -> counts, then gradients
are summed over the processes -> AdamW -> averages follow. So several processes have the loss and the step of one. The
first process writes checkpoints, notes records, and at the end the averaged weights.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

from valor_ray.errors import CheckpointError, ConfigError, StorageError
from valor_ray.grounding.learner.averages import follow
from valor_ray.grounding.learner.examples import Example, ExampleSet, Reader, batches
from valor_ray.grounding.learner.loss import COUNTS, Sums, loss_sums, means
from valor_ray.grounding.learner.rehearsal.distillation import Distillation
from valor_ray.grounding.learner.schedule import learning_rate
from valor_ray.grounding.learner.weights import copied, freeze, is_backbone, write_detector
from valor_ray.models.grounding_dino.heads import Forward
from valor_ray.models.grounding_dino.load import load_detector
from valor_ray.runs.checkpoints import FolderCheckpoints, Keep, write_metrics

if TYPE_CHECKING:
    from valor_ray.config.finetune import FinetuneConfig
    from valor_ray.config.tree import Config

AVERAGED = "averaged"  # in the run folder: the averaged weights when learning is over
_STATE = "state.pt"
_TOO_FAST = "Lower finetune.learning_rate, or finetune.max_grad_norm."
Record = Mapping[str, Any]


@dataclass(frozen=True)
class LearnTask:
    """What is to be learnt. Goes to other processes."""

    config: Config
    dataset: Path  # the mined set (grounding.dataset)
    replay: Path | None  # a set of the start detector's own boxes; None: no replay
    run: Path  # gets checkpoints/ and averaged/


@dataclass(frozen=True)
class LearnEnd:
    steps: int
    resumed_from: int  # updates that a checkpoint held at this start; 0: none
    weights: Path  # hub format
    pictures: int  # trained on, without replay
    held_back: int


class LearnerLeaves(Exception):
    """The processes end here, after a checkpoint of `step`, to be begun again on other machines."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the learner leaves after step {step}")
        self.step = step


def learn(
    task: LearnTask,
    say: Callable[[str], None],
    step_done: Callable[[Record], None],
    leaving: Callable[[], bool] = lambda: False,
) -> LearnEnd:
    """Train until the last step, from the newest checkpoint on; returns the averaged weights.

    Collective: every process calls it. step_done: given each step's record (after a checkpoint those since are given
    anew). leaving: whether the machine of this process is about to be taken away. Blocks for all of the training.
    Raises ConfigError (no confirmed box, a picture that cannot be had), CheckpointError, StorageError, and
    LearnerLeaves in all processes when one is leaving.
    """
    learner = _Learner(task)
    resumed = learner.resume(say, step_done)
    if learner.steps > learner.step and resumed == 0:
        say(f"fine-tuning on {len(learner.mined)} pictures, {len(learner.mined.held_back)} held back")
    while learner.step < learner.steps:
        learner.advance()
        step_done(learner.records[-1])
        leaves = learner.any_of(leaving()) and learner.step < learner.steps
        if leaves or learner.step % task.config.finetune.save_every == 0 or learner.step == learner.steps:
            learner.save()
        if leaves:
            raise LearnerLeaves(learner.step)
    weights = task.run / AVERAGED
    if learner.first:
        write_detector(learner.loaded, learner.average, weights)
    return LearnEnd(learner.steps, resumed, weights, len(learner.mined), len(learner.mined.held_back))


class _Learner:
    """One process."""

    def __init__(self, task: LearnTask) -> None:
        config = task.config.finetune
        self.config = config
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.device = "cuda" if config.num_gpus and torch.cuda.is_available() else "cpu"
        up = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank() if up else 0
        self.world = distributed.get_world_size() if up else 1
        self.first = self.rank == 0
        self.loaded = load_detector(task.config.detector.model)
        reader = Reader(self.loaded, task.config)
        self.mined = ExampleSet(task.dataset, reader, config, held_back=True)
        self.replay = ExampleSet(task.replay, reader, config) if task.replay and config.replay else None
        if not any(image.positives for image in self.mined.images):
            raise ConfigError(
                f"{task.dataset} holds no confirmed box to train on. Mine more pictures, or look at its report."
            )
        self.steps = config.number_of_steps(len(self.mined))
        model = self.loaded.model.to(self.device)
        self.forward = Forward(model)
        self.distillation: Distillation | None = None
        if self.replay is not None and config.replay_loss == "distillation":
            start = task.config.detector.model
            self.distillation = Distillation(start, self.device, config.replay_weight)
        self.trained = freeze(model, config.freeze)
        self.average = copied(self.trained)
        self.optimizer = _adamw(self.trained, config)
        self.checkpoints = FolderCheckpoints(task.run / "checkpoints")
        self.step = 0
        self.records: list[Record] = []

    def resume(self, say: Callable[[str], None], step_done: Callable[[Record], None]) -> int:
        """Updates that the newest checkpoint holds, which is loaded."""
        if not (newest := self.checkpoints.newest()):
            return 0
        path = self.checkpoints.checkpoint(newest) / _STATE
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
            raise CheckpointError(
                f"{path} cannot be read: {error}. Remove that folder: an older checkpoint goes on."
            ) from error
        try:
            self.optimizer.load_state_dict(state["optimizer"])
            _rates(self.optimizer, 0.0)
        except (ValueError, KeyError) as error:
            raise CheckpointError(
                f"{path} was written by another version of valor_ray ({error}). Go on with that one, or give another "
                "--run."
            ) from error
        with torch.no_grad():
            for name, value in state["trained"].items():
                self.trained[name].copy_(value)
        self.average = state["average"]
        self.step = newest
        self.records = list[Record](self.checkpoints.metrics(newest))
        for record in self.records:
            step_done(record)
        say(f"going on after step {newest} of {self.steps}")
        return newest

    def advance(self) -> None:
        """One update."""
        begun = time.monotonic()
        rate = learning_rate(self.config, self.step, self.steps)
        _rates(self.optimizer, rate)
        examples = self._examples(self.mined, self.config.batch * self.config.workers)
        rehearsed = [] if self.replay is None else self._examples(self.replay, self.config.replayed)
        parts, counts = self._gradients(examples, rehearsed)
        norm = torch.nn.utils.clip_grad_norm_(self.trained.values(), self.config.max_grad_norm)
        if not torch.isfinite(norm):
            raise CheckpointError(f"The gradient of step {self.step + 1} is not finite. {_TOO_FAST}")
        self.optimizer.step()
        self.step += 1
        follow(self.average, self.trained, self.config.ema, self.step)
        seconds = time.monotonic() - begun
        self.records.append(
            {
                "step": self.step,
                "loss": round(sum(parts.values()), 6),
                "parts": {name: round(value, 6) for name, value in parts.items()},
                "learning_rate": rate,
                "grad_norm": round(float(norm), 6),
                "boxes": int(counts["targets"]),
                "seconds": round(seconds, 3),
                "pictures_per_s": round((len(examples) + len(rehearsed)) * self.world / seconds, 2),
            }
        )

    def _examples(self, source: ExampleSet, count: int) -> list[Example]:
        """This process's share of the `count` pictures of a step."""
        first, past = count * self.rank // self.world, count * (self.rank + 1) // self.world
        return source.draw(self.step, count, first, past)

    def _gradients(
        self, examples: Sequence[Example], rehearsed: Sequence[Example]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Leaves the gradients of the loss of all processes; the loss's parts, and its counts."""
        self.optimizer.zero_grad(set_to_none=False)
        done = list(self._sums(examples, rehearsed))
        own = torch.tensor([sum(count.get(name, 0.0) for _, count in done) for name in COUNTS])
        counts = dict(zip(COUNTS, self._summed(own).tolist(), strict=True))
        # the same parts in every process, also in one that has no picture to rehearse in this step
        parts: Sums = {name: own.new_zeros(()).to(self.device) for name in self._rehearsed_parts}
        for sums, _count in done:
            for name, value in means(sums, counts).items():
                parts[name] = parts[name] + value if name in parts else value
        torch.stack(list(parts.values())).sum().backward()
        if self.world > 1:
            self._sum_gradients()
        values = self._summed(torch.stack([value.detach() for value in parts.values()]).cpu())
        return dict(zip(parts, values.tolist(), strict=True)), counts

    @property
    def _rehearsed_parts(self) -> tuple[str, ...]:
        return self.distillation.parts if self.distillation is not None else ()

    def _sums(
        self, examples: Sequence[Example], rehearsed: Sequence[Example]
    ) -> Iterator[tuple[Sums, Mapping[str, float]]]:
        """Of each forward pass."""
        labelled = examples if self.distillation is not None else [*examples, *rehearsed]
        dense = self.config.encoder_loss == "one_to_many"
        for batch in batches(labelled, self.config.hard_negatives):
            heads = self.forward(
                *(each.to(self.device) for each in (batch.pixels, batch.input_ids, batch.text_mask))
            )
            if not all(torch.isfinite(boxes).all() for boxes in heads.boxes):
                raise CheckpointError(f"The predictions of step {self.step + 1} are not numbers. {_TOO_FAST}")
            yield loss_sums(heads, [target.to(self.device) for target in batch.targets], dense=dense)
        if self.distillation is not None:
            for batch in batches(rehearsed, self.config.hard_negatives):
                yield self.distillation.sums(self.forward, batch)

    def _summed(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over the processes."""
        if self.world == 1:
            return values
        values = values.to(self.device)
        distributed.all_reduce(values)
        return values.cpu()

    def any_of(self, said: bool) -> bool:
        """Whether any process says so."""
        return bool(self._summed(torch.tensor([float(said)])).item())

    def _sum_gradients(self) -> None:
        gradients = [parameter.grad for parameter in self.trained.values() if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        for gradient, part in zip(gradients, flat.split([each.numel() for each in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def save(self) -> None:
        """A checkpoint, written by the first process."""
        if not self.first:
            return
        part = self.checkpoints.part
        self.checkpoints.forget_part()
        state = {
            "trained": copied(self.trained),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        try:
            part.mkdir(parents=True)
            torch.save(state, part / _STATE)
        except (OSError, RuntimeError) as error:  # torch says of a full disk that its writer failed
            self.checkpoints.forget_part()
            raise StorageError(
                f"Cannot write the checkpoint of step {self.step} to {part} ({error}). Free some space; the same "
                "command goes on from the one before."
            ) from error
        write_metrics(part, self.records)
        self.checkpoints.keep(part, self.step, Keep(self.config.keep_checkpoints))


def _adamw(trained: Mapping[str, torch.Tensor], config: FinetuneConfig) -> torch.optim.AdamW:
    """Two groups, of which one is empty where the backbone is frozen; "share": of the learning rate."""
    parts: dict[bool, list[torch.Tensor]] = {False: [], True: []}
    for name, value in trained.items():
        parts[is_backbone(name)].append(value)
    shares = ((parts[False], 1.0), (parts[True], config.backbone_rate))
    groups = [{"params": values, "share": share} for values, share in shares if values]
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def _rates(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Each group's learning rate. Raises KeyError for groups of a version that knew no shares."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]
