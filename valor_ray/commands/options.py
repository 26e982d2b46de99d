"""The options that several commands share."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valor_ray.config import Config


def add_profile(parser: ArgumentParser) -> None:
    """Add `--profile` and `--set`."""
    parser.add_argument(
        "--profile",
        default="local",
        metavar="NAME|FILE",
        help="local (default), gpu, or a YAML file over one of them",
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="a.b=c",
        help="change one setting, e.g. --set policy.temperature=0 (repeatable)",
    )


def add_json(parser: ArgumentParser) -> None:
    """Add `--json`: one JSON object alone on stdout."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object on stdout and nothing else"
    )


def load_config(args: Namespace, *overrides: str) -> Config:
    """The settings that the command line asks for; `overrides` of the command win. Raises ConfigError."""
    from valor_ray.config import Config

    return Config.load(args.profile, [*args.overrides, *overrides])


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


def positive(text: str) -> int:
    """argparse type: a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def interrupt_on_signals() -> None:
    """`kill` and `ray job stop` end a job the way Ctrl-C does, also where a shell has put it in its background."""
    import signal

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
