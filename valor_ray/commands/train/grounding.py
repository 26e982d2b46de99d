"""`valor train grounding`: the detector fine-tuned on confirmed boxes, behind a gate, and published."""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from valor_ray.commands.options import (
    RUN_AT,
    add_json,
    add_profile,
    interrupt_on_signals,
    load_training_config,
    print_json,
    show,
)
from valor_ray.commands.train.offline import SCENES
from valor_ray.runs.store.place import looked_at, run_path, shown, stored, url_of

if TYPE_CHECKING:
    from valor_ray.config.tree import Config
    from valor_ray.grounding.finetune.host import FinetuneHost

HELP = (
    "Fine-tune the detector on boxes that a vision verifier has confirmed; a gate decides about publication."
)
EPILOG = """\
examples:
  valor train grounding --run runs/eyes                              mines tabletop scenes first: all offline, minutes
  valor train grounding --run runs/eyes --dry-run                    pictures, boxes, steps, gate, minutes, disk
  valor train grounding --run runs/eyes --mined runs/boxes           on what `valor mine --run runs/boxes` has confirmed
  valor train grounding --run runs/mine --mined runs/photos --profile mine.yaml
  valor train grounding --run runs/small --set grounding.query_limit=40 --set finetune.steps=50 --in-process
  valor train grounding --run runs/two --set finetune.workers=2      two learner processes: the loss of one
  valor serve --follow runs/eyes                                     a service that takes what is published, and goes on
  valor serve --set detector.model=runs/eyes/weights/step-000600     use what was trained
  ray job submit -- python -m jobs.train_grounding --run /shared/run on a cluster, with the same options

mine.yaml for photographs (the gate's set is the one place with labels, and for the gate alone):
  base: gpu
  finetune:
    general: coco/annotations/instances_val2017.json   # COCO instances JSON
    general_images: coco/val2017
    replay_pictures: coco/unlabeled2017                # unlabelled; what the start detector says there is rehearsed

What happens: the set (--mined, or mined into RUN/mined) is checked, and every picture of it; the start detector's boxes
on general pictures are noted, to be rehearsed; the detector learns from both; mixtures of old and new weights are
ranked by the boxes that the verifier has confirmed in held-back pictures; the first of them that keeps general
detection (mAP of the gate's set falls by finetune.gate_limit points at most) is published. Where none does, nothing is
published, and running services keep what they have: that is a result, reported as such, with exit code 0.

RUN gets plan.json, metrics.jsonl (every step once), checkpoints/ (to go on from), selection.json (candidates and the
gate's verdict), weights/step-N (what is published, Hugging Face format) with published.json, evaluation.json (AP on
held-out scenes before and after; of rendered sets only, nothing of it enters training), report.json, report.html.
Stop it anywhere; the same command goes on: the weights come out bit for bit as without the stop.
`valor report RUN` makes the page again.

`valor doctor --settings finetune` lists every setting of fine-tuning with its value.

Exit code 0: it has come to its end, published or not; 1: stopped before (the same command goes on); 2: wrong usage or
settings, or a set that cannot be trained on; 130: Ctrl-C.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--run", dest="folder", type=run_path, required=True, metavar="DIR", help=f"the run: {RUN_AT}"
    )
    parser.add_argument(
        "--mined",
        metavar="DIR",
        help="a run folder of `valor mine`, or a set it exported; the same as --set finetune.mined=DIR (default: mine "
        "into RUN/mined, by the settings grounding.*)",
    )
    parser.add_argument(
        "--eval-scenes",
        type=_count,
        default=SCENES,
        metavar="N",
        help="held-out tabletop scenes in each look, where the set is of rendered scenes "
        f"(default {SCENES}; 0: none); measured again where it was another number",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and do nothing")
    parser.add_argument("--in-process", action="store_true", help="one process without Ray, for debugging")
    add_profile(parser)
    add_json(parser)


def run(args: Namespace) -> int:
    interrupt_on_signals()
    config = load_training_config(args, _say, *([f"finetune.mined={args.mined}"] if args.mined else []))
    if args.in_process:
        config = config.model_copy(update={"finetune": config.finetune.model_copy(update={"workers": 1})})
    if args.dry_run:
        with looked_at(args.folder, "--run") as args.folder:
            return _plan(args, config)
    # Ray prints there; stdout is for the result alone
    with redirect_stdout(sys.stderr), stored(args.folder, "--run", _say):
        report = _finetune(args, config)
    if args.json:
        print_json(report)
    else:
        _show(report, args)
    return 0


def _plan(args: Namespace, config: Config) -> int:
    from valor_ray.commands.train.offline import planned_pictures
    from valor_ray.commands.train.planned import planned_nodes, print_plan
    from valor_ray.grounding.finetune.plan import placing, plan
    from valor_ray.placement.grounding import wanted_gpus
    from valor_ray.runs.folder import GROUNDING, check_kind

    check_kind(args.folder, GROUNDING)
    nodes = None
    if not args.in_process:
        nodes = planned_nodes(config, placing(args.folder, config), wanted_gpus(config), _say)
    planned = plan(args.folder, config, 0 if config.finetune.mined else planned_pictures(config), nodes)
    if args.json:
        print_json(planned)
    else:
        print_plan(planned, 26)
    return 0


def _finetune(args: Namespace, config: Config) -> dict[str, Any]:
    from valor_ray.commands.train.offline import OfflineWorld
    from valor_ray.grounding.finetune.run import finetune

    host: FinetuneHost
    if args.in_process:
        from valor_ray.grounding.finetune.local import LocalFinetuneHost

        host = LocalFinetuneHost()
    else:
        from deployments.finetune.host import RayFinetuneHost

        host = RayFinetuneHost()
    world = OfflineWorld(args.folder, config, args.eval_scenes, in_process=args.in_process, say=_say)
    return finetune(args.folder, config, host, world, say=_say)


def _show(report: dict[str, Any], args: Namespace) -> None:
    show(f"{report['steps']} steps on {report['pictures']} pictures, {report['minutes']:.1f} minutes")
    sure = ""
    if report["gain_ci"]:
        low, high = report["gain_ci"]
        sure = f"   gain {report['gain']:+.1f} [{low:+.1f}, {high:+.1f}]"
    show(f"AP50 held-out     {_points(report['ap50_start'])} -> {_points(report['ap50_end'])}{sure}")
    show(
        f"general mAP       {_points(report['general_map_start'])} -> {_points(report['general_map_end'])}"
        f"   {report['verdict'] or ''}"
    )
    if report["published"]:
        show(f"published: {report['published']}, {report['weights']}")
        words = "" if args.profile == "local" else f" --profile {shlex.quote(args.profile)}"
        if url_of(args.folder) is None:
            show(f"use it: valor serve{words} --follow {shlex.quote(str(args.folder))}")
    else:
        show("published: nothing; services keep the detector they have")
    show(f"page: {shown(args.folder.resolve())}/report.html")


def _points(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _count(text: str) -> int:
    """argparse type: a whole number from 0."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _say(line: str) -> None:
    show(f"valor train: {line}", file=sys.stderr, flush=True)
