"""Does our learner run on this card, and how fast? One GPU, no Ray, no vLLM, at most 5 minutes; one JSON object.

`python -m valor_ray.perf.gpu_check` makes models of the published sizes with random weights and takes them through our
own code: nothing is fetched. Four parts, each of which may fail by itself:

policy    A Qwen3-0.6B-shaped policy, trained by the whole of valor_ray.reasoning.learner.learn: strict loading, trl's
          GRPO trainer as we subclass it, reference, micro-batches, loss, backward, clipping, AdamW, token figures,
          weights written for an engine. On recorded rollouts and on rows of the paper's lengths; in float32, bfloat16,
          and bfloat16 with LoRA; and how far their log-probabilities are apart. Not covered: FSDP, several processes,
          Ray Train, an engine that loads the weights, checkpoints.
detector  GroundingDINO-tiny behind models.grounding_dino: strict loading, captions, network, boxes; 800 x 1333 px.
finetune  GroundingDINO-tiny through the whole of valor_ray.grounding.learner.learn in one process: a set, targets, the
          network with text and backbone frozen, losses, pairing, rehearsal beside the frozen start detector, AdamW,
          averages, a checkpoint, weights written; 2 + 1 pictures of 800 x 1333 px a step, float32. Not covered: several
          processes, the choice of weights, the gate. Skipped where scipy is missing.
depth     MoGe-2 ViT-L behind models.moge: strict loading, network, focal length and shift; 800 x 1333 px. Skipped where
          scipy or OpenCV, which MoGe imports, is missing.

Needs torch, transformers, accelerate and peft with what they need, and these wheels (MB, Python 3.12 on x86-64):

    trl==1.16.0 1.0, pandas 12.1, python-dateutil 0.1, six 0.1, pydantic 0.5, pydantic-core 2.3, annotated-types 0.1,
    typing-inspection 0.1, pillow 7.2

23.5 MB in all. For finetune also scipy 35.3; for depth scipy, dlr-moge==2.0.0 0.2, dlr-utils3d==1.3 0.2,
dlr-pipeline==1.0.0 0.1 and opencv-python-headless 61.3.

Neither pyarrow (48 MB) nor datasets is needed: perf/gpu/lent.py says how. docs/gpu.md: how to run it on a bare machine,
and how to read the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valor_ray.perf.gpu.attempt import Say
    from valor_ray.perf.gpu.card import Card

PARTS = ("policy", "detector", "finetune", "depth")
_MODULES = {"policy": "policy", "detector": "eyes", "finetune": "finetune", "depth": "eyes"}  # of perf/gpu


def main(argv: list[str] | None = None) -> int:
    """0: every part ran, or was skipped for want of a package. 1: a part failed. 2: no such device."""
    args = _parser().parse_args(argv)
    os.environ.setdefault(
        "HF_HUB_OFFLINE", "1"
    )  # before transformers is imported: nothing is fetched or reported
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # trl's trainer refuses several GPUs in one process
    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        print(
            f"torch {torch.__version__} sees no GPU here. Check nvidia-smi and that torch is not a CPU build, or try "
            "the check itself with --device cpu --tiny.",
            file=sys.stderr,
        )
        return 2
    result = check(args.device, args.tiny, args.parts, _say)
    print(json.dumps(result, indent=None if args.json else 2), flush=True)
    return 1 if result["failed"] else 0


def check(device: str, tiny: bool, parts: list[str], say: Say) -> dict[str, Any]:
    """The result of each of the parts, the card, and the names of what failed."""
    from valor_ray.perf.gpu.attempt import attempt, failures
    from valor_ray.perf.gpu.card import card, versions

    started = time.monotonic()
    on = card(device)
    say(f"{on.name}, {on.memory_gib} GiB" if on.on_gpu else on.name)
    results: dict[str, Any] = {}
    for name in parts:
        since = time.monotonic()
        results[name] = attempt(name, lambda name=name: _part(name)(on, tiny, say), say)  # type: ignore[misc]
        results[name]["seconds"] = round(time.monotonic() - since, 1)
    return {
        "card": {
            "name": on.name,
            "memory_gib": on.memory_gib,
            "capability": on.capability,
            "peak_tflops": on.peak_tflops,
        },
        "versions": versions(),
        "tiny": tiny,
        **results,
        "failed": failures(results),
        "seconds": round(time.monotonic() - started, 1),
    }


def _part(name: str) -> Callable[[Card, bool, Say], dict[str, Any]]:
    """Imported here, so that a package which only one part needs fails that part alone."""
    from importlib import import_module

    module = import_module(f"valor_ray.perf.gpu.{_MODULES[name]}")
    return getattr(module, f"check_{name}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m valor_ray.perf.gpu_check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="default: cuda, the first GPU"
    )
    parser.add_argument(
        "--tiny", action="store_true", help="the tabletop's sizes: a trial of the check, under a minute"
    )
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=PARTS,
        default=list(PARTS),
        metavar="PART",
        help=f"of {', '.join(PARTS)}",
    )
    parser.add_argument("--json", action="store_true", help="the result in one line")
    return parser


if __name__ == "__main__":
    sys.exit(main())
