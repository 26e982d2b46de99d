"""The part `policy`: a Qwen3-0.6B-shaped policy through our learner, in each precision, and the gaps between them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.config.models import CHECKPOINTS
from valor_ray.perf.gpu import shapes
from valor_ray.perf.gpu.attempt import Say, attempt
from valor_ray.perf.gpu.card import Card
from valor_ray.perf.gpu.learner_run import (
    PRECISIONS,
    LearnerRun,
    Precision,
    learner_config,
    micro_batch,
    run_learner,
)
from valor_ray.perf.gpu.lent import import_learner
from valor_ray.perf.gpu.rollouts import PAPER, TINY, CheckedRows, checked_rows

if TYPE_CHECKING:
    import torch

_STEPS = 4  # of each run; the first warms up
_LIMIT_S = 40.0  # after which a run makes no further step
# Random weights alone make all tokens about equally likely. A final norm of this gives their logits a deviation of 5,
# as a trained policy's have: the size of bfloat16's rounding depends on it.
_FINAL_NORM = 8.0


def check_policy(card: Card, tiny: bool, say: Say) -> dict[str, Any]:
    """A result for each precision that our learner trains in, and how far their log-probabilities are apart."""
    lent = import_learner()
    shape = shapes.policy(tiny)
    rows = checked_rows(TINY if tiny else PAPER, shape.vocab_size)
    runs: dict[str, LearnerRun] = {}
    figures: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        parameters = write_policy(shape, model)
        say(
            f"policy: {parameters / 1e6:.0f} M parameters, {len(rows.all)} rows of {rows.tokens} tokens a step"
        )
        for precision in PRECISIONS:

            def one(precision: Precision = precision) -> dict[str, Any]:
                behaviour = next((run.behaviour for run in runs.values()), None)
                run = run_learner(
                    card,
                    learner_config(card, model, rows, precision),
                    rows,
                    behaviour,
                    2 if tiny else _STEPS,
                    _LIMIT_S,
                    Path(folder) / precision.name,
                )
                runs[precision.name] = run
                return _figures(card, run, rows, parameters, precision)

            say(f"policy: {precision.name}")
            figures[precision.name] = attempt(f"policy.{precision.name}", one, say)
            shutil.rmtree(Path(folder) / precision.name, ignore_errors=True)
    return {
        "shape": "tabletop:policy" if tiny else "Qwen3-0.6B",
        "parameters": parameters,
        "rows": {"recorded": len(rows.recorded), "paper_length": len(rows.long)},
        "tokens": rows.tokens,  # of a step
        "reply_tokens": rows.reply_tokens,
        "micro_batch": micro_batch(card),
        "lent": lent,
        "runs": figures,
        "gaps": _gaps(runs, sum(len(row.token_ids) for row in rows.recorded)),
    }


def write_policy(shape: Any, folder: Path) -> int:
    """A policy of random weights with the tabletop's tokenizer, as the learner loads one; its number of parameters."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)  # drawn by the CPU, so that they are the same beside every card
    model = AutoModelForCausalLM.from_config(shape, dtype=torch.float32)
    torch.nn.init.constant_(model.model.norm.weight, _FINAL_NORM)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(CHECKPOINTS / "policy" / name, folder)
    return sum(weight.numel() for weight in model.parameters())


def _figures(
    card: Card, run: LearnerRun, rows: CheckedRows, parameters: int, precision: Precision
) -> dict[str, Any]:
    """Speed and memory of a run, and what the learner itself recorded of its first step."""
    first = run.records[0]
    tokens_per_s = rows.tokens / run.step_s
    return {
        "steps": len(run.records),
        "step_s": round(run.step_s, 3),
        "tokens_per_s": round(tokens_per_s),
        "share_of_peak": card.share_of_peak(precision.dtype, precision.passes * parameters * tokens_per_s),
        "memory_gib": run.memory_gib,
        "publish_s": round(run.publish_s, 2),
        **{name: first[name] for name in ("loss", "grad_norm", "entropy", "kl", "ratio_max", "logprob_gap")},
    }


def _gaps(runs: dict[str, LearnerRun], recorded: int) -> dict[str, Any]:
    """Differences of log-probabilities of the same tokens by the same weights, by what differs. recorded: tokens."""
    exact = runs.get("float32")
    if exact is None:
        return {}
    differences = {
        "float32_padded": exact.trained - exact.sampled,
        **{name: run.trained - exact.trained for name, run in runs.items() if run is not exact},
    }
    gaps: dict[str, Any] = {
        name: {"recorded": gap_figures(apart[:recorded]), "paper_length": gap_figures(apart[recorded:])}
        for name, apart in differences.items()
    }
    if exact.again is not None:
        gaps = {"float32_again": {"recorded": gap_figures(exact.again)}, **gaps}
    return gaps


def gap_figures(apart: torch.Tensor) -> dict[str, float]:
    """Of differences of log-probabilities, in nat."""
    sizes = apart.abs().double().sort().values
    return {
        "mean": float(sizes.mean()),
        "p99": float(sizes[int(0.99 * (len(sizes) - 1))]),
        "max": float(sizes[-1]),
    }
