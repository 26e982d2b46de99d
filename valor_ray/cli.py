"""The `valor` command: finds the sub-command, runs it, and turns its errors into messages and exit codes.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

from valor_ray import __version__
from valor_ray.commands.options import exit_code

COMMANDS = {  # and the module of each, in valor_ray.commands
    "demo": "ask.demo",
    "serve": "ask.serve",
    "ask": "ask.ask",
    "detect": "ask.detect",
    "run-program": "tools.run_program",
    "tabletop": "tools.tabletop",
    "eval": "evaluate.eval",
    "score": "train.score",
    "train": "train.loops",
    "improve": "train.improve",
    "mine": "train.mine",
    "compare": "evaluate.compare",
    "report": "evaluate.report",
    "controls": "evaluate.controls",
    "bench": "evaluate.bench",
    "plan": "tools.plan",
    "doctor": "tools.doctor",
}

EPILOG = """\
first steps:
  valor doctor                                      is this machine ready?
  valor demo --out demo/                            20 questions about rendered scenes, and a page to look at
  valor serve                                       start the app (and its page) on http://127.0.0.1:8000
  valor ask photo.png "How many red boxes are there?"
  valor detect photos/ "red box, ball"              boxes alone, by the detector that programs use
  valor train reasoning --run runs/first            improve the policy without labels
  valor eval omni3d --out runs/omni3d                a benchmark; `valor compare` sets two runs against each other
  valor mine --run runs/boxes                       a detection set that a vision verifier has confirmed
  valor train grounding --run runs/eyes             fine-tune the detector on it, and publish what a gate lets pass
  valor improve --run runs/paper                    all of that in one job, measured before, between and after
  valor controls --run runs/eyes                    what would explain the gain away, measured beside it

`valor COMMAND --help` explains one command, `valor doctor --settings` every setting.

jobs (`--help` explains each):
  python -m jobs.write_queries                      has a VLM write questions about bare pictures, to train on
  python -m jobs.gather_queries                     one list of several sets, without what evaluation measures with
  python -m jobs.sample_replies                     samples replies from the policy, to score
"""


class _Parser(argparse.ArgumentParser):
    """argparse, with errors that name the nearest valid word and say where help is."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\nTry: {self.prog} --help\n")


def build_parser(commands: Iterable[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of these commands; each one's module is imported, so `main` asks for one where it can."""
    parser = _Parser(
        prog="valor",
        description="Answer questions about pictures with programs: a policy writes a plan and a program, the program "
        "calls GroundingDINO, MoGe-2 and VQA, and running it gives the answer.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"valor_ray {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in commands:
        module = importlib.import_module(f"valor_ray.commands.{COMMANDS[command]}")
        sub = subparsers.add_parser(
            command,
            help=module.HELP,
            description=module.HELP,
            epilog=getattr(module, "EPILOG", None),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    known = [words[0]] if words and words[0] in COMMANDS else COMMANDS
    args = build_parser(known).parse_args(words)
    return exit_code(
        f"valor {args.command}", lambda: int(args.run(args)), as_json=getattr(args, "json", False)
    )
