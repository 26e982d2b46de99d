"""`valor plan`: which split of so many GPUs trains the policy fastest, and what a step then takes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

from valor_ray.commands.options import (
    add_json,
    add_profile,
    load_config,
    local_path,
    positive,
    print_json,
    show,
)

HELP = "Split a number of GPUs between learner and policy replicas: seconds of a step, and what that assumes."
EPILOG = """\
examples:
  valor plan --gpus 8                                  8 x H100, the profile gpu
  valor plan --gpus 64 --card h200 --reply-tokens 900  replies of 900 tokens on average
  valor plan --gpus 2 --set grpo.fsdp=false --set grpo.lora_rank=16 --set grpo.learning_rate=1e-5
  valor plan --gpus 16 --set policy.weight_transfer=nccl --json

A step takes as long as its longest stage (sampling, judging, learning; at most grpo.max_lag + 1 steps are in work at a
time), and then new weights are published. Nothing is started or measured: figures come from a file of constants, each
printed with its source, of which most are assumed (docs/design/scaling.md). What does not fit a GPU's memory is no
candidate. `valor train reasoning --dry-run` says what a run of these settings takes; `valor bench policies` measures
how sampling scales here.

Exit code 2 when so many GPUs do not hold the settings: the message says how many do.
"""
_COLUMNS = ("learner", "policy", "idle", "s a step", "bound by")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--gpus", type=positive, required=True, metavar="N", help="GPUs of the cluster, all of a kind"
    )
    parser.add_argument(
        "--card", default="h100", metavar="NAME", help="their kind: h100 (default), h200, a100, l40s, l4"
    )
    parser.add_argument(
        "--reply-tokens", type=positive, metavar="N", help="mean length of replies (0.3 x grpo.max_tokens)"
    )
    parser.add_argument("--prompt-tokens", type=positive, metavar="N", help="mean length of prompts (2000)")
    parser.add_argument(
        "--constants", type=local_path, metavar="FILE", help="figures of your own, in the form of ours"
    )
    add_profile(parser, default="gpu")
    add_json(parser)


def run(args: Namespace) -> int:
    from valor_ray.reasoning.planning.sizing.constants import FILE, read_constants
    from valor_ray.reasoning.planning.sizing.splits import plan_gpus
    from valor_ray.writers.writer import refuse_to_train

    config = load_config(args)
    refuse_to_train(config.policy)
    known = read_constants(args.card, args.constants or FILE)
    planned = plan_gpus(config, args.gpus, known, args.reply_tokens, args.prompt_tokens)
    if args.json:
        print_json(planned)
    else:
        _show(planned)
    return 0


def _show(planned: Mapping[str, Any]) -> None:
    split, stages = planned["split"], planned["stages"]
    best = {**split, "seconds_per_step": planned["seconds_per_step"], "bound_by": planned["bound_by"]}
    show(
        f"{planned['gpus']} x {planned['card']}: " + " ".join(f"--set {word}" for word in planned["settings"])
    )
    show("  ".join(f"{name:>9}" for name in _COLUMNS))
    for number, each in enumerate((best, *planned["alternatives"])):
        cells = (
            *(each["learner_processes"], each["policy_replicas"], f"{each['idle_gpus']:g}"),
            *(f"{each['seconds_per_step']:.1f}", each["bound_by"]),
        )
        show("  ".join(f"{cell:>9}" for cell in cells) + ("   <- best" if not number else ""))
    show("stages of a step, s:  " + ", ".join(f"{name} {value:g}" for name, value in stages.items()))
    show(
        "at work:              "
        + ", ".join(f"{name} {value:.0%}" for name, value in planned["utilisation"].items())
    )
    show(
        f"evaluation:           {split['evaluation_gpus']:g} GPUs, idle ones or the learner's, before and after"
    )
    if split["idle_gpus"] > 0:
        show("idle GPUs would help only with larger steps (grpo.prompts), or shorter other stages")
    show("assumes")
    for each in planned["assumptions"]:
        show(f"  {each['name']:<22}{each['value']:<9g}{each['source']}")
