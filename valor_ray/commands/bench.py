"""`valor bench`: how fast, against the plain way, on the same work in one run."""

from __future__ import annotations

import importlib
import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from valor_ray.commands.options import add_json, print_json

HELP = "Measure a part against the plain way of doing the same, as a ratio."
EPILOG = """\
examples:
  valor bench sandbox          CPU per program: warm worker, fork, and a spawned process each (about a minute)
  valor bench judges --json    judged replies a second: the gateway, and threads with the sync client (about 5 minutes)

Nothing else should run meanwhile. Every figure is of this run on this machine; both sides do the same work.
"""
NAMES = ("sandbox", "judges")


def add_arguments(parser: ArgumentParser) -> None:
    names = parser.add_subparsers(dest="name", metavar="NAME", required=True)
    for name in NAMES:
        module = _module(name)
        sub = names.add_parser(name, help=(module.__doc__ or "").splitlines()[0])
        module.add_arguments(sub)
        add_json(sub)


def run(args: Namespace) -> int:
    result = _module(args.name).run(args, _say)
    if args.json:
        print_json(result)
    else:
        _show(result)
    return 0


def _module(name: str) -> Any:
    return importlib.import_module(f"valor_ray.perf.{name}")


def _show(result: dict[str, Any], indent: str = "") -> None:
    for key, value in result.items():
        if isinstance(value, dict):
            print(f"{indent}{key}")
            _show(value, indent + "  ")
        else:
            print(f"{indent}{key:<24}{value}")


def _say(line: str) -> None:
    print(f"valor bench: {line}", file=sys.stderr, flush=True)
