"""`valor bench`: how fast, against the plain way, on the same work in one run."""

from __future__ import annotations

import importlib
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from contextlib import redirect_stdout
from typing import Any

from valor_ray.commands.options import add_json, local_path, positive, print_json, show

HELP = "Measure a part against the plain way of doing the same, as a ratio."
EPILOG = """\
examples:
  valor bench sandbox          CPU per program: warm worker, fork, and a spawned process each (about a minute)
  valor bench judges --json    judged replies a second: the gateway, and threads with the sync client (about 5 minutes)
  valor bench grpo             samples trained on an hour: with lag 1 and 0, and by plain trl (about 10 minutes)
  valor bench boxes --json     pictures a second through the three box checks, and the plain way (about 4 minutes)
  valor bench serve            pictures a second of the detector on Serve, and of the same model alone (about 2 minutes)
  valor bench publish --json   new weights from memory into a replica, by files, and a bare broadcast (half a minute)
  valor bench checkpoint       how long a learner stands still for a checkpoint, and for a plain save (a minute)
  valor bench policies --json  rollouts a second with 1, 2, 4 policy replicas of a mock engine (about 4 minutes)
  valor bench gateways --json  judge calls a second with 1, 2, 4 gateways; what bends the curve (about 3 minutes)

Nothing else should run meanwhile. Every figure is of this run on this machine; both sides do the same work.
"""
NAMES = {
    "sandbox": "CPU seconds per program: warm worker, fork, a spawned process each",
    "judges": "judged replies a second, against a mock endpoint",
    "grpo": "samples trained on an hour, against plain trl with the same judge",
    "boxes": "pictures a second through the three box checks, against a mock endpoint",
    "serve": "pictures a second of the detector: Serve, the raw batched model, one at a time",
    "publish": "seconds of a publication from memory, against a bare broadcast of the same bytes",
    "checkpoint": "seconds in which a learner stands still for a checkpoint, against a plain save",
    "policies": "rollouts a second with 1, 2, 4 policy replicas of a mock engine, and what bends the curve",
    "gateways": "judge calls a second with 1, 2, 4 gateways against a mock endpoint, and what bends the curve",
}
MODULES = {
    "grpo": "training.grpo",
    "boxes": "boxes.bench",
    "publish": "weights.publish",
    "checkpoint": "weights.checkpoint",
    "policies": "scaling.policies",
    "gateways": "scaling.gateways",
}  # of valor_ray.perf, where the name is not the module's


def add_arguments(parser: ArgumentParser) -> None:
    names = parser.add_subparsers(dest="name", metavar="NAME", required=True)
    for name, text in NAMES.items():
        sub = names.add_parser(name, help=text, description=text)
        _OPTIONS[name](sub)
        add_json(sub)


def _sandbox(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--programs", type=positive, default=600, metavar="N", help="programs for our two paths (600)"
    )
    parser.add_argument(
        "--plain", type=positive, default=96, metavar="N", help="programs for the plain way (96)"
    )


def _judges(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--replies", type=positive, default=200, metavar="N", help="replies of four calls each (200)"
    )
    parser.add_argument(
        "--limit-seconds", type=positive, default=90, metavar="N", help="watching the account's limit (90)"
    )
    parser.add_argument(
        "--scaling-seconds", type=positive, default=12, metavar="N", help="for each number of replicas (12)"
    )
    parser.add_argument(
        "--out",
        type=local_path,
        metavar="DIR",
        help="write scaling.json there, for the report of a scoring run",
    )


def _grpo(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--steps",
        type=_steps,
        default=12,
        metavar="N",
        help="of each of the three runs, the first not measured (12)",
    )
    parser.add_argument(
        "--delay", type=float, default=0.3, metavar="S", help="the judge's time for one answer, seconds (0.3)"
    )


def _steps(text: str) -> int:
    if positive(text) < 2:
        raise ArgumentTypeError("the first step is not measured: give at least 2")
    return int(text)


def _boxes(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--images", type=positive, default=96, metavar="N", help="pictures of 20 boxes for our way (96)"
    )
    parser.add_argument(
        "--plain-images",
        type=positive,
        default=1,
        metavar="N",
        help="pictures for the plain way, 11 s each (1)",
    )
    parser.add_argument("--runs", type=positive, default=3, metavar="N", help="of both, in turn (3)")
    parser.add_argument(
        "--at-a-time", type=positive, default=16, metavar="N", help="pictures that our way works on (16)"
    )
    parser.add_argument(
        "--gateways",
        type=_numbers,
        default=(1, 2, 4),
        metavar="N,N",
        help="numbers of gateways to compare (1,2,4); none: leave Ray out",
    )
    parser.add_argument(
        "--in-flight", type=positive, default=4, metavar="N", help="calls of each of these gateways (4)"
    )
    parser.add_argument(
        "--seconds", type=positive, default=20, metavar="N", help="for each number of gateways (20)"
    )


def _serve(parser: ArgumentParser) -> None:
    parser.add_argument("--pictures", type=positive, default=256, metavar="N", help="different ones (256)")
    parser.add_argument(
        "--side", type=positive, default=256, metavar="PX", help="of the square pictures (256)"
    )
    parser.add_argument("--clients", type=positive, default=16, metavar="N", help="at a time (16)")
    parser.add_argument("--runs", type=positive, default=5, metavar="N", help="of all sides, in turn (5)")


def _publish(parser: ArgumentParser) -> None:
    _layers(parser, 12)
    parser.add_argument("--runs", type=positive, default=9, metavar="N", help="of all sides, in turn (9)")


def _checkpoint(parser: ArgumentParser) -> None:
    _layers(parser, 4)
    parser.add_argument("--runs", type=positive, default=5, metavar="N", help="of both, in turn (5)")
    parser.add_argument(
        "--out", type=local_path, metavar="DIR", help="on the disk to measure (the one of temporary files)"
    )


def _layers(parser: ArgumentParser, layers: int) -> None:
    parser.add_argument(
        "--layers",
        type=positive,
        default=layers,
        metavar="N",
        help=f"of a Qwen3, 13 million parameters each ({layers})",
    )


def _policies(parser: ArgumentParser) -> None:
    _scaling(parser, "policy replicas", 24)
    parser.add_argument(
        "--tokens-per-s",
        type=float,
        default=200.0,
        metavar="X",
        help="of one sequence of a mock engine, whose replies have 200 (200)",
    )


def _gateways(parser: ArgumentParser) -> None:
    _scaling(parser, "gateways", 16)
    parser.add_argument(
        "--in-flight", type=positive, default=64, metavar="N", help="calls of each gateway (64)"
    )
    parser.add_argument(
        "--latency", type=float, default=2.0, metavar="S", help="of the mock endpoint, seconds (2)"
    )


def _scaling(parser: ArgumentParser, what: str, seconds: int) -> None:
    parser.add_argument(
        "--replicas",
        type=_numbers,
        default=(1, 2, 4),
        metavar="N,N",
        help=f"numbers of {what} to compare (1,2,4)",
    )
    parser.add_argument(
        "--seconds", type=positive, default=seconds, metavar="N", help=f"for each number ({seconds})"
    )


def _numbers(text: str) -> tuple[int, ...]:
    """argparse type: whole numbers with commas, each once, smallest first; `none`: none."""
    return () if text == "none" else tuple(sorted({positive(word.strip()) for word in text.split(",")}))


_OPTIONS = {
    "sandbox": _sandbox, "judges": _judges, "grpo": _grpo, "boxes": _boxes, "serve": _serve, "publish": _publish,
    "checkpoint": _checkpoint, "policies": _policies, "gateways": _gateways,
}  # fmt: skip


def run(args: Namespace) -> int:
    with redirect_stdout(sys.stderr):  # Ray warns there; stdout is for the result alone
        result = _module(args.name).run(args, _say)
    if args.json:
        print_json(result)
    else:
        _show(result)
    return 0


def _module(name: str) -> Any:
    return importlib.import_module(f"valor_ray.perf.{MODULES.get(name, name)}")


def _show(result: dict[str, Any], indent: str = "") -> None:
    for key, value in result.items():
        if isinstance(value, dict):
            show(f"{indent}{key}")
            _show(value, indent + "  ")
        else:
            show(f"{indent}{key:<24}{value}")


def _say(line: str) -> None:
    show(f"valor bench: {line}", file=sys.stderr, flush=True)
