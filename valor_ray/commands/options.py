"""The options that several commands share."""

from __future__ import annotations

import json
import os
import select
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from valor_ray.config.on_disk import on_disk
from valor_ray.errors import ConfigError, ValorError
from valor_ray.untrusted.terminal import safe, safe_json

if TYPE_CHECKING:
    from types import FrameType

    from valor_ray.config.tree import Config

JUDGE_FILE = """\
judge.yaml, your own judge over the profile local (with a line `base: gpu`, over gpu; `valor doctor --settings judge`):
  judge:                         # text heads
    base_url: https://host/v1
    model: my-llm
    api_key_env: JUDGE_API_KEY   # the variable that holds the key; null: none is needed
    requests_per_minute: 600     # the account's limit
    price_in: 0.25               # US dollars per million tokens, for estimates and accounts
    price_out: 2.0
    max_cost_usd: 20             # then the run ends; the same command with a higher one goes on
    extra: {reasoning_effort: minimal}   # further fields of each request
  vlm:                           # what is asked about pictures; without this section, judge
    base_url: https://host/v1
    model: my-vlm
    api_key_env: JUDGE_API_KEY
"""  # for the help of the commands that ask a judge
EVAL_FILES = """\
a folder with queries.jsonl (query_id, image, question) and truth.jsonl (query_id, answer, family: any word to
group by). An answer of yes, no, text or a whole number must be met exactly, one with a point within 20 %."""


def add_profile(parser: ArgumentParser, default: str = "local") -> None:
    """Add `--profile` and `--set`. default: the profile where none is given."""
    parser.add_argument(
        "--profile",
        default=default,
        metavar="NAME|FILE",
        help="local, gpu, gpu-1x24, gpu-1x80, gpu-2, gpu-4x8, hosted, or a YAML file over one of them "
        f"(default {default})",
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


def add_selection(parser: ArgumentParser) -> None:
    """Add `--samples`, `--select`, `--repairs` and `--seed`, which the server checks."""
    parser.add_argument(
        "--samples",
        type=positive,
        default=None,
        metavar="N",
        help="sample N replies, run them all and take one answer (default: as the server is set, which is 1)",
    )
    parser.add_argument(
        "--select",
        choices=("vote", "judge", "scenes"),
        default=None,
        help="how it is taken: what most programs answer (vote, the default), the reply that the judges like best, or "
        "a program that answers as a judge does in made-up scenes",
    )
    add_repairs(parser, "as the server is set, which is 0")
    parser.add_argument(
        "--seed", type=int, default=None, metavar="S", help="of the sampling: 0 to 2147483647 (default: any)"
    )


def add_repairs(parser: ArgumentParser, default: str) -> None:
    """Add `--repairs`. default: said in the help, where it is not given."""
    parser.add_argument(
        "--repairs",
        type=whole,
        default=None,
        metavar="K",
        help="up to K times, give a reply whose program failed back to its writer with error and trace (default: "
        f"{default}; most: answer.max_repairs)",
    )


def load_config(args: Namespace, *overrides: str) -> Config:
    """The settings that the command line asks for; `overrides` of the command win. Raises ConfigError."""
    from valor_ray.config.tree import Config

    return Config.load(args.profile, [*args.overrides, *overrides])


def load_training_config(args: Namespace, say: Callable[[str], None], *overrides: str) -> Config:
    """As `load_config`, of a command that trains or measures training: on the bases of shipped trained weights, and
    `say` is told so. Raises ConfigError."""
    from valor_ray.models.shipped import on_bases

    config, line = on_bases(load_config(args, *overrides))
    if line:
        say(line)
    return config


def exit_code(
    name: str, work: Callable[[], int], *, as_json: bool = False, interrupted: str = "interrupted"
) -> int:
    """What a command or job ends with: its own code, or that of its error, which becomes a message.

    name: before each message. as_json: an error is one JSON object on stdout too.
    """
    try:
        return work()
    except ValorError as error:
        show(f"{name}: {error}", file=sys.stderr)
        if as_json:
            print_json({"error": {"code": error.code, "message": str(error)}})
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        show(f"{name}: {interrupted}", file=sys.stderr)
        return 130
    except BrokenPipeError as error:
        if _from_ctrl_c(error):  # a process that the same Ctrl-C has ended was still told something
            show(f"{name}: {interrupted}", file=sys.stderr)
            return 130
        if not _reader_gone():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # as with `valor ... | head`
        return 1


def _from_ctrl_c(error: BaseException) -> bool:
    """Whether the error came up while a Ctrl-C was being attended to."""
    met: BaseException | None = error
    while met is not None and not isinstance(met, KeyboardInterrupt):
        met = met.__context__
    return met is not None


def _reader_gone() -> bool:
    """Whether nobody reads any more what we print."""
    watched = select.poll()
    watched.register(1, 0)
    watched.register(2, 0)
    return bool(watched.poll(0))


def show(*values: object, file: TextIO | None = None, end: str = "\n", flush: bool = False) -> None:
    """Print for a user. What others said (programs, models, judges, servers) cannot speak to the terminal.

    Characters that the stream cannot take are spelt out.
    """
    encoding = (file or sys.stdout).encoding or "utf-8"
    texts = (safe(str(value)).encode(encoding, "backslashreplace").decode(encoding) for value in values)
    print(*texts, file=file, end=end, flush=flush)


def print_json(value: Any) -> None:
    """One line of JSON on stdout, all of it ASCII where stdout cannot take more."""
    plain = "utf" not in (sys.stdout.encoding or "utf-8").lower()
    print(safe_json(json.dumps(value, ensure_ascii=plain)), flush=True)


def local_path(text: str) -> Path:
    """argparse type: a file or folder of this machine."""
    try:
        return Path(on_disk(text))
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


# for the help of run folders
RUN_AT = "a folder, or a URL such as s3://bucket/runs/first (docs/design/object-store.md)"


def whole(text: str) -> int:
    """argparse type: a whole number of at least 0."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def positive(text: str) -> int:
    """argparse type: a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def interrupt_on_signals() -> None:
    """`kill` and `ray job stop` end a job the way Ctrl-C does, also where a shell has put it in its background."""
    import signal

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _as_ctrl_c)


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    """What Ctrl-C does now: asyncio then ends its main task, where a KeyboardInterrupt would come up in any task."""
    import signal

    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(signal.SIGINT, frame)
