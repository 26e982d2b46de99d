"""`valor controls`: the same training on other sets, in one table: does the verifier earn its place?"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.commands.options import add_json, interrupt_on_signals, local_path, positive, print_json, show
from valor_ray.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from valor_ray.runs.folder import RunKind

HELP = "Train the controls of a fine-tuning run, and compare them on held-out scenes."
EPILOG = """\
examples:
  valor controls --run runs/eyes                                 the run's steps again for each control
  valor controls --run runs/eyes --minutes 3                     as many steps as fit; the main way too
  valor controls --run runs/eyes --only self_training replay_only
  valor controls --run runs/eyes --ablations --questions 300     also without each part, and right answers
  valor controls --run runs/eyes --second runs/eyes2             also a run that mined again with runs/eyes/chosen

RUN is the folder of a `valor train grounding` that has come to its end, on scenes that mining rendered. Each control
has the same learner, steps and pictures a step:
  self_training     the detector's own boxes with a score of .35 or more, no verifier
  random_verifier   the verifier's answers, dealt at random: as many yes at each stage
  replay_only       nothing mined: the start detector's own boxes on looks that it knows, as labels
  true_boxes        what is truly there, for the phrases that mining asked for: the ceiling
and with --ablations:
  without_coarse, without_crop, without_duplicates   a stage that says yes to all; what later stages were then never
                    asked counts as yes too, so this is the most that skipping it can cost
  without_negatives, without_replay                  neither hard negatives nor absent phrases; no rehearsal
  replay_of_boxes   the start detector's boxes rehearsed as if they were true, not all that it says

RUN gets controls/NAME (set, checkpoints, weights), controls.json, controls.txt; `valor report RUN` shows the table.
Stop it anywhere: the same command goes on, and trains nothing twice. Nothing of it reaches training or publication.

Exit code 0: the table is written, whatever it says; 1: stopped before; 2: wrong usage or settings; 130: Ctrl-C.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--run", dest="folder", type=local_path, required=True, metavar="DIR", help="the run folder"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these controls alone")
    parser.add_argument("--ablations", action="store_true", help="also without each part")
    parser.add_argument(
        "--minutes", type=_minutes, metavar="M", help="of training each (default: the run's steps)"
    )
    parser.add_argument("--second", type=local_path, metavar="DIR", help="a run that began with RUN/chosen")
    parser.add_argument(
        "--scenes", type=positive, default=300, metavar="N", help="held-out scenes a look (300)"
    )
    parser.add_argument(
        "--questions", type=_count, default=0, metavar="N", help="also right answers on N questions (0)"
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="a.b=c",
        help="change one of the run's settings, for the controls alone; the main way is trained again where it matters "
        "(repeatable)",
    )
    add_json(parser)


def run(args: Namespace) -> int:
    from valor_ray.runs.folder import kind_of

    interrupt_on_signals()
    kind = kind_of(args.folder)
    with redirect_stdout(sys.stderr):  # libraries print there; stdout is for the result alone
        record = _ways(kind, args.folder)(args)
    if args.json:
        print_json(record)
    else:
        show((args.folder / "controls.txt").read_text(encoding="utf-8"), end="")
        show(f"table: {(args.folder / 'controls.json').resolve()}")
    return 0


def _ways(kind: RunKind | None, folder: Path) -> Callable[[Namespace], dict[str, Any]]:
    """What makes the controls of a kind of run."""
    from valor_ray.runs.folder import GROUNDING

    if kind is GROUNDING:
        return _grounding
    of = "no run folder" if kind is None else f"a folder of `{kind.command}`"
    raise ConfigError(f"--run {folder} is {of}. Controls are known for `{GROUNDING.command}`.")


def _grounding(args: Namespace) -> dict[str, Any]:
    from valor_ray.tabletop.finetune.controls.compare import Asked, controls
    from valor_ray.tabletop.finetune.controls.runs import ABLATIONS, CONTROLS, check_names

    names = tuple(args.only or CONTROLS) + (ABLATIONS if args.ablations else ())
    check_names(names)
    asked = Asked(tuple(dict.fromkeys(names)), args.minutes, args.second, args.scenes, args.questions)
    return controls(args.folder, asked, _say, args.overrides)


def _minutes(text: str) -> float:
    """argparse type."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ArgumentTypeError(f"{text!r} is no number of minutes above 0")
    return value


def _count(text: str) -> int:
    """argparse type: a whole number from 0."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _say(line: str) -> None:
    show(f"valor controls: {line}", file=sys.stderr, flush=True)
