"""`valor controls`: what else would have given a run's gain, in one table."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from valor_ray.commands.options import (
    EVAL_FILES,
    add_json,
    interrupt_on_signals,
    local_path,
    positive,
    print_json,
    show,
    whole,
)
from valor_ray.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from valor_ray.runs.folder import RunKind

HELP = "Put controls beside a training run: what else would have given its gain?"
EPILOG = f"""\
examples:
  valor controls --run runs/first                                all controls of a `valor train reasoning`
  valor controls --run runs/first --only vote judge ceiling      without training anything
  valor controls --run runs/first --questions 100 --samples 1    a first look
  valor controls --run runs/eyes                                 all controls of a `valor train grounding`
  valor controls --run runs/eyes --minutes 3                     as many steps as fit; the main way too
  valor controls --run runs/eyes --only self_training replay_only
  valor controls --run runs/eyes --ablations --questions 300     also without each part, and right answers
  valor controls --run runs/eyes --second runs/eyes2             also a run that mined again with runs/eyes/chosen

RUN is the folder of a training that has come to its end; what made it decides which controls there are.

`valor train reasoning`: right answers to the run's held-out questions. The policies before and after, greedy and at the
run's temperature, are always there; each row is paired with both rows of the base, and with the trained policy.
  vote, judge, scenes   one answer of 8 replies, as `valor ask --samples 8 --select …` takes it, before and after
  sft_full_reward   fine-tuning on the base's samples with full reward; they are judged anew, with at most the run's
                    judge calls (so it costs about what the run did), and learnt from in as many steps
  random_rewards    the same training on the run's rewards, dealt at random
  ceiling           the right program of each question with the live tools, by look: only what they see can be wrong
--eval-data is {EVAL_FILES}

`valor train grounding`: AP50 on held-out scenes that are rendered. Each control has the same learner, steps and
pictures a step:
  self_training     the detector's own boxes with a score of .35 or more, no verifier
  random_verifier   the verifier's answers, dealt at random: as many yes at each stage
  replay_only       nothing mined: the start detector's own boxes on looks that it knows, as labels
  true_boxes        what is truly there, for the phrases that mining asked for: the ceiling
and with --ablations:
  without_coarse, without_crop, without_duplicates   a stage that says yes to all; what later stages were then never
                    asked counts as yes too, so this is the most that skipping it can cost
  without_negatives, without_replay                  neither hard negatives nor absent phrases; no rehearsal
  replay_of_boxes   the start detector's boxes rehearsed as if they were true, not all that it says

RUN gets controls/ (what was trained, sampled, answered), controls.json, controls.txt; its page shows the table.
Stop it anywhere: the same command goes on, and repeats nothing. Nothing of it reaches training or publication.

Exit code 0: the table is written, whatever it says; 1: stopped before; 2: wrong usage or settings; 130: Ctrl-C.
"""
_OF_GROUNDING = ("ablations", "minutes", "second", "scenes")  # options of one kind of run alone
_OF_REASONING = ("samples", "eval_data")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--run", dest="folder", type=local_path, required=True, metavar="DIR", help="the run folder"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these controls alone")
    parser.add_argument(
        "--questions",
        type=whole,
        metavar="N",
        help="the first N held-out questions (reasoning: all); grounding: also right answers on N questions (0)",
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="a.b=c",
        help="change one of the run's settings, for the controls alone (repeatable). reasoning: none that would make "
        "it another run; grounding: the main way is trained again where it matters",
    )
    reasoning = parser.add_argument_group("of a `valor train reasoning`")
    reasoning.add_argument(
        "--samples", type=positive, metavar="N", help="replies to a question at the run's temperature (4)"
    )
    reasoning.add_argument(
        "--eval-data", type=local_path, metavar="DIR", help="the held-out questions that the run was given"
    )
    grounding = parser.add_argument_group("of a `valor train grounding`")
    grounding.add_argument("--ablations", action="store_true", default=None, help="also without each part")
    grounding.add_argument(
        "--minutes", type=_minutes, metavar="M", help="of training each (default: the run's steps)"
    )
    grounding.add_argument(
        "--second", type=local_path, metavar="DIR", help="a run that began with RUN/chosen"
    )
    grounding.add_argument("--scenes", type=positive, metavar="N", help="held-out scenes a look (300)")
    add_json(parser)


def run(args: Namespace) -> int:
    from valor_ray.runs.folder import kind_of

    interrupt_on_signals()
    kind = kind_of(args.folder)
    with redirect_stdout(sys.stderr):  # libraries print there; stdout is for the result alone
        record = _ways(kind, args)(args)
    if args.json:
        print_json(record)
    else:
        show((args.folder / "controls.txt").read_text(encoding="utf-8"), end="")
        show(f"table: {(args.folder / 'controls.json').resolve()}")
    return 0


def _ways(kind: RunKind | None, args: Namespace) -> Callable[[Namespace], dict[str, Any]]:
    """What makes the controls of a kind of run. Raises ConfigError: of none, or options of another kind."""
    from valor_ray.runs.folder import GROUNDING, REASONING

    known = {REASONING: (_reasoning, _OF_GROUNDING), GROUNDING: (_grounding, _OF_REASONING)}
    if kind is None or kind not in known:
        of = "no run folder" if kind is None else f"a folder of `{kind.command}`"
        commands = " and ".join(f"`{each.command}`" for each in known)
        raise ConfigError(f"--run {args.folder} is {of}. Controls are known for {commands}.")
    way, others = known[kind]
    if wrong := [name for name in others if getattr(args, name) is not None]:
        raise ConfigError(
            f"--{wrong[0].replace('_', '-')} is for another kind of run: {args.folder} was made by `{kind.command}`."
        )
    return way


def _reasoning(args: Namespace) -> dict[str, Any]:
    from valor_ray.benchmarks.controls.compare import CONTROLS, SAMPLES, Wishes, check_names, controls
    from valor_ray.benchmarks.controls.source import Source

    names = tuple(dict.fromkeys(args.only or CONTROLS))
    check_names(names)
    source = Source(args.folder, args.overrides, args.eval_data, args.questions or None)
    return controls(source, Wishes(names, args.samples or SAMPLES), _say)


def _grounding(args: Namespace) -> dict[str, Any]:
    from valor_ray.tabletop.finetune.controls.compare import Asked, controls
    from valor_ray.tabletop.finetune.controls.runs import ABLATIONS, CONTROLS, check_names

    names = tuple(args.only or CONTROLS) + (ABLATIONS if args.ablations else ())
    check_names(names)
    scenes, questions = args.scenes or 300, args.questions or 0
    asked = Asked(tuple(dict.fromkeys(names)), args.minutes, args.second, scenes, questions)
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


def _say(line: str) -> None:
    show(f"valor controls: {line}", file=sys.stderr, flush=True)
