"""trl's GRPOTrainer, fed with rollouts that others have sampled and rewarded.

What trl 1.16 leaves to do (STACK.md): its own path ignores behaviour log-probabilities unless it owns a vLLM, so stale
samples would go uncorrected. Here they are given as `old_per_token_logps`: the clipped ratio of the loss is then
learner / behaviour, 1 for fresh samples and something else for stale ones.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from accelerate.utils import gather_object
from torch.distributed.tensor import DTensor
from transformers import PrinterCallback, TrainerCallback
from transformers.trainer import SCHEDULER_NAME
from trl.trainer.grpo_trainer import GRPOTrainer

from valor_ray.config.tree import Config
from valor_ray.reasoning.learner.averaged import AveragedWeights
from valor_ray.reasoning.learner.learned_weights import LearnedWeights
from valor_ray.reasoning.learner.micro_batches import micro_batches, token_micro_batches
from valor_ray.reasoning.learner.models import is_sharded, load_reference
from valor_ray.reasoning.learner.ports import LearnerLeaves, LearningStopped, Leave
from valor_ray.reasoning.learner.sharded_state import StateWriter, load_state
from valor_ray.reasoning.learner.step_figures import (
    Gap,
    TokenFigures,
    rollout_figures,
    step_token_figures,
    token_figures,
    widest,
)
from valor_ray.runs.checkpoints import MERGED, CheckpointStore, Keep, write_metrics
from valor_ray.runs.weight_channel import Probe, WeightChannel

if TYPE_CHECKING:
    from valor_ray.reasoning.learner.ports import BatchSource, StepBatch

_PROBES = 4  # sequences on which engine and learner are compared after each publication
_EXPLODED = 1e4  # a gradient norm before clipping above which the step is taken for broken


class ValorGrpoTrainer(GRPOTrainer):
    """trl's GRPOTrainer whose steps come from a source, whose weights leave by a channel, whose loss is ours.

    Called by `learn`, in every learner process: `attach`, then trl's `train`, which calls the methods here in turn.
    Waits, in each step, for the source's batch, for the other learner processes, and for the channel.
    """

    def attach(
        self,
        config: Config,
        checkpoints: CheckpointStore,
        source: BatchSource,
        channel: WeightChannel,
        say: Callable[[str], None],
        record: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """Before `train`, which goes on from the newest of `checkpoints`."""
        self._config, self._checkpoints, self._source, self._channel = config, checkpoints, source, channel
        self._say, self._write = say, record
        self.beta = config.grpo.kl
        self.ref_model = load_reference(config, self.model)
        self._sharded = is_sharded(config.grpo)
        self._average = AveragedWeights(self.model, config.grpo.ema) if config.grpo.ema else None
        self._state = StateWriter() if config.grpo.fsdp else None  # None: Hugging Face's own checkpoints
        self._saved = checkpoints.newest()  # the step of the last checkpoint
        self._written: Path | None = None  # a checkpoint that is whole as soon as `_state` is done
        self.args.save_only_model = False
        self._weights = LearnedWeights(self, self._tokenizer, config.policy.dtype)
        self._records: list[Mapping[str, Any]] = list(
            checkpoints.metrics(checkpoints.newest())
        )  # of all steps
        self._left: deque[dict[str, torch.Tensor]] = deque()  # micro-batches of the step in work
        self._turns = 1  # trl's micro-batches of a step, in all processes
        self._counting = 1  # rows of the step in work that count
        self._loss = 0.0
        self._parts: list[TokenFigures] = []  # of the micro-batches of the step in work
        self._tokens = step_token_figures([])  # of the step just made
        self._seconds: dict[str, float] = {}
        self._step_batch: StepBatch | None = None
        self._learning_since = 0.0
        self._published_gap: Gap | None = None  # |engine - learner| on the probes of the last publication
        self.remove_callback(PrinterCallback)
        self.add_callback(_AfterStep(self))

    # what a step trains on

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, torch.Tensor]:
        """trl's hook: the next micro-batch. The rows of trl's own dataset are placeholders."""
        if not self._left:
            self._left.extend(self._next_step())
        return self._left.popleft()

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any) -> torch.Tensor:
        """HF's hook. With grpo.micro_batch_tokens one call is a whole step, of as many micro-batches as it takes:
        processes sum their gradients with the last."""
        if self._config.grpo.micro_batch_tokens is None:
            return super().training_step(model, inputs, num_items_in_batch)
        self._left.extend(self._next_step())
        losses = []
        while self._left:
            with self.accelerator.no_sync(model) if len(self._left) > 1 else nullcontext():
                losses.append(super().training_step(model, inputs, num_items_in_batch))
        return torch.stack(losses).sum()

    def _next_step(self) -> list[dict[str, torch.Tensor]]:
        step = self.state.global_step + 1
        if self._state is not None and self._state.done():
            self.keep_checkpoint()
        asked = time.monotonic()
        step_batch = self._source.batch(step)
        if step_batch is None:
            raise LearningStopped("the run was stopped")
        if isinstance(step_batch, Leave):
            self._leave()
        self._learning_since = time.monotonic()
        self._seconds = {
            "wait": self._learning_since - asked,
            "sample": step_batch.sample_s,
            "judge": step_batch.judge_s,
        }
        self._step_batch, self._loss, self._parts = step_batch, 0.0, []
        batches = self._cut(step_batch)
        moved = [
            {name: value.to(self.accelerator.device) for name, value in batch.items()} for batch in batches
        ]
        if self.beta:
            for batch in moved:
                batch["ref_per_token_logps"] = self._reference(batch)
        return moved

    def _leave(self) -> NoReturn:
        """Save what no checkpoint holds, in every process, and end. Raises LearnerLeaves."""
        step = self.state.global_step
        if step > self._saved:
            self._save_checkpoint(self.model, None)
        self.keep_checkpoint()
        self.accelerator.wait_for_everyone()  # nobody goes before the first has named it
        raise LearnerLeaves(step)

    def _cut(self, step_batch: StepBatch) -> list[dict[str, torch.Tensor]]:
        """The micro-batches of this process."""
        rows, lags, grpo = step_batch.rows, step_batch.lags, self._config.grpo
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        pad_id = self._tokenizer.pad_token_id
        self._turns, self._counting = self.args.gradient_accumulation_steps * world, max(1, len(rows))
        if grpo.micro_batch_tokens is not None:
            tokens = grpo.micro_batch_tokens
            return token_micro_batches(rows, lags, tokens=tokens, rank=rank, world=world, pad_id=pad_id)
        total = grpo.prompts * grpo.samples
        return micro_batches(
            rows, lags, total=total, micro=grpo.micro_batch, rank=rank, world=world, pad_id=pad_id
        )

    @torch.no_grad()
    def _reference(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Log-probabilities of the start policy, (micro, C)."""
        from trl.models.utils import disable_gradient_checkpointing
        from trl.trainer.utils import use_adapter

        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        keep = batch["completion_ids"].size(1)
        if self.ref_model is not None:
            return self._get_per_token_logps_and_entropies(self.ref_model, ids, mask, keep)[0].float()
        with (
            disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs),
            use_adapter(self.accelerator.unwrap_model(self.model), adapter_name=None),
        ):
            return self._get_per_token_logps_and_entropies(self.model, ids, mask, keep)[0]

    # the loss

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        logps_and_more = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        self._last_logps = logps_and_more[0].detach()
        self._last_entropies = logps_and_more[1]  # None unless trl asked for them, which its loss does
        return logps_and_more

    def _compute_loss(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """trl's, as a mean over the rows that count: its own is of like micro-batches, and counts rows that fill up."""
        share = len(inputs["advantages"]) * self._turns / self._counting
        loss = super()._compute_loss(model, inputs) * share
        grpo, entropies = self._config.grpo, self._last_entropies.detach()
        self._parts.append(token_figures(self._last_logps, entropies, inputs, grpo.clip, grpo.delta))
        self._loss += float(loss.detach())
        return loss

    def _clip_grad_norm(self, model: Any) -> Any:
        """HF's hook before the update: a broken step must not reach the weights; one without rows moves nothing.

        All processes stop here or none does: one that stopped alone would leave the others waiting for it.
        """
        loss = sum(gather_object([self._loss]))
        if not math.isfinite(loss):
            raise LearningStopped(f"the loss of step {self.state.global_step + 1} is {loss}")
        norm = super()._clip_grad_norm(model)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        value = float(norm) if norm is not None else 0.0
        if not math.isfinite(value) or value > _EXPLODED:
            raise LearningStopped(
                f"the gradient of step {self.state.global_step + 1} has the norm {value:.3g}"
            )
        assert self._step_batch is not None
        if not self._step_batch.rows:
            self.model.zero_grad(set_to_none=True)  # AdamW would move on by momentum
        return norm

    # after an update

    def after_step(self) -> None:
        """Publish the new weights, unless the policy has run away. Raises LearningStopped."""
        self._tokens = step_token_figures(gather_object(self._parts))
        kl, most = self._tokens.kl, self._config.grpo.max_kl
        if kl is not None and kl > most:
            raise LearningStopped(
                f"the mean divergence from the start policy is {kl:.3g}, above grpo.max_kl {most:g}"
            )
        if self._average is not None:
            self._average.follow()
        self._seconds["learn"] = time.monotonic() - self._learning_since
        self._publish(self.state.global_step)

    def begin(self) -> None:
        """Publish the weights that training starts from, whatever the replicas carry."""
        self._publish(self.state.global_step)

    def _publish(self, step: int) -> None:
        start = time.monotonic()
        probe = self._probe()
        with self._to_keep(step == self.args.max_steps):
            mine = self._score(probe)
            published = self._channel.publish(step, self._weights, probe)
        if published is not None:  # in the first process
            self._published_gap = _gap(mine, published.logprobs)
        self._seconds["publish"] = time.monotonic() - start

    def _to_keep(self, last: bool = True) -> AbstractContextManager[None]:
        """The model as a run hands it on: with averaged weights, where there are any. last: else nothing changes."""
        return self._average.in_place() if self._average is not None and last else nullcontext()

    def _probe(self) -> Probe:
        """Sequences on which engine and learner are compared: of the step just trained, else one made of any tokens."""
        rows = self._step_batch.rows[:_PROBES] if self._step_batch else []
        if rows:
            return [(list(rollout.prompt_ids), list(rollout.token_ids)) for rollout in rows]
        tokens = [i % len(self._tokenizer) for i in range(7, 7 + 24 * 37, 37)]
        return [(tokens[:8], tokens[8:])]

    @torch.no_grad()
    def _score(self, probe: Probe) -> list[torch.Tensor]:
        """The learner's log-probabilities at temperature 1 of the second parts. Sharded models need all processes."""
        if not (self._sharded or self.accelerator.is_main_process):
            return []
        model = self.accelerator.unwrap_model(self.model)
        logprobs = []
        for prompt, tokens in probe:
            ids = torch.tensor([[*prompt, *tokens]], device=self.accelerator.device)
            with self.accelerator.autocast():
                logits = model(input_ids=ids, logits_to_keep=len(tokens) + 1).logits[0, :-1].float()
            said = torch.tensor(tokens, device=logits.device).unsqueeze(1)
            logprobs.append(logits.log_softmax(-1).gather(1, said).squeeze(1).cpu())
        return logprobs

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """trl's figures of a step, with ours, as one metrics record."""
        super().log(logs, start_time)
        if "grad_norm" not in logs or self._step_batch is None:
            return  # the summary at the end of training
        if not self.accelerator.is_main_process:
            return
        gap = widest((self._tokens.gap, self._published_gap))
        if gap is not None and gap.mean > self._config.grpo.gap_alarm:
            self._say(
                f"ALARM: engine and learner differ by {gap.mean:.2g} in a token's log-probability on average "
                f"(99 %: {gap.p99:.2g}, most: {gap.largest:.2g}) at step {self._step_batch.step} (grpo.gap_alarm "
                f"{self._config.grpo.gap_alarm:g}): the replicas do not carry the learner's weights"
            )
        record = self._record_of(self._step_batch, float(logs["loss"]), float(logs["grad_norm"]), gap)
        self._records.append(record)
        self._write(record)

    def _record_of(
        self, step_batch: StepBatch, loss: float, grad_norm: float, gap: Gap | None
    ) -> dict[str, Any]:
        """The metrics record of the step just made (a line of metrics.jsonl)."""
        tokens = self._tokens
        return {
            "step": step_batch.step,
            **rollout_figures(step_batch),
            "loss": loss,
            "grad_norm": grad_norm,
            "kl": tokens.kl,
            "entropy": tokens.entropy,
            "clip_share": tokens.clip_share,
            "ratio_mean": tokens.ratio_mean,
            "ratio_max": tokens.ratio_max,
            "logprob_gap": None if gap is None else gap.largest,
            "logprob_gap_mean": None if gap is None else gap.mean,
            "logprob_gap_p99": None if gap is None else gap.p99,
            "seconds": {name: round(value, 3) for name, value in self._seconds.items()},
            "time": time.time(),
        }

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """HF's checkpoint, or ours in parts: whole or not at all, under the run's own name."""
        self.keep_checkpoint()
        super()._save_checkpoint(model, trial)
        step, grpo = self.state.global_step, self._config.grpo
        self._saved = step
        written = Path(self.args.output_dir) / f"checkpoint-{step}"
        if (grpo.lora_rank is not None or grpo.fsdp or grpo.ema) and self._is_evaluated(step):
            with self._to_keep():  # HF's is of adapters alone or not averaged, and ours is for learners
                self._weights.save_whole(written / MERGED)
        if self.accelerator.is_main_process:
            if self._average is not None:
                self._average.save(written)
            write_metrics(written, self._records)  # who reads the notes may die before it has this step's
        self.accelerator.wait_for_everyone()
        self._written, rank = written, self.accelerator.process_index
        if self._state is not None:
            self._state.then(lambda: self._checkpoints.bring(written, rank))
            return
        self._checkpoints.bring(written, rank)
        self.accelerator.wait_for_everyone()
        self.keep_checkpoint()
        self.accelerator.wait_for_everyone()

    def keep_checkpoint(self) -> None:
        """Wait until the last checkpoint is written, and give it its name; the source may forget what it holds.

        In every process, at any time: only the first one names. Raises StorageError.
        """
        if self._state is not None:
            self._state.wait()
        written, self._written = self._written, None
        if written is None or not self.accelerator.is_main_process:
            return
        step, grpo = int(written.name.rpartition("-")[2]), self._config.grpo
        most = None if grpo.keep_gib is None else grpo.keep_gib * 2**30
        self._checkpoints.keep(written, step, Keep(grpo.keep_checkpoints, self._config.kept_every, most))
        self._source.checkpointed(step)

    def _is_evaluated(self, step: int) -> bool:
        """Or may be chosen."""
        return step == self.args.max_steps or any(step % every == 0 for every in self._config.kept_every)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """HF's hook for the weights of a checkpoint. With grpo.fsdp they come with the optimizer, in parts."""
        if self._state is None:
            super().save_model(output_dir, _internal_call)
        elif output_dir is not None:
            Path(output_dir).mkdir(parents=True, exist_ok=True)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self._state is None:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        self._state.start(Path(output_dir), self.model, self.optimizer.optimizer)
        if self.accelerator.is_main_process:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """HF's hook, before there is an optimizer: DCP's state is loaded when there is."""
        if self._state is None:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self._average is not None:
            self._average.load(Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or self._state is None:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        load_state(Path(checkpoint), self.model, self.optimizer.optimizer)
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER_NAME, weights_only=True))

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: the run folder says what the checkpoint is."""


def _gap(mine: list[torch.Tensor], replicas: list[list[list[float]]]) -> Gap | None:
    """Of the probe's tokens, between the learner and the replica that is furthest from it."""
    return widest(
        [
            Gap.of(
                torch.cat([(a - torch.tensor(b)).abs() for a, b in zip(mine, replica, strict=True)]).numpy()
            )
            for replica in replicas
        ]
    )


class _AfterStep(TrainerCallback):
    def __init__(self, trainer: ValorGrpoTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        state.compute_steps(
            args, state.max_steps
        )  # a checkpoint's state has those of the start that wrote it
        self._trainer.begin()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self._trainer.after_step()
