"""`valor improve`: the whole paper as one job, from the base to both trained models, measured."""

from __future__ import annotations

import math
import sys
import tempfile
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.commands.options import (
    JUDGE_FILE,
    add_json,
    add_profile,
    interrupt_on_signals,
    load_training_config,
    local_path,
    positive,
    print_json,
    show,
    whole,
)
from valor_ray.errors import ConfigError

if TYPE_CHECKING:
    from valor_ray.config.tree import Config
    from valor_ray.improve.stages import Evaluated, Job

HELP = "Do the paper in one job: evaluate, train reasoning, mine, train grounding, evaluate; base to both, measured."
EPILOG = f"""\
examples:
  valor improve --run runs/paper                                  all of it offline: tabletop scenes, shipped bases
  valor improve --run runs/paper --dry-run                        stages, folders, what is done, models, calls, cost
  valor improve --run runs/twice --rounds 2                       the second round starts from the first one's models
  valor improve --run runs/mine --images photos/ --profile judge.yaml --max-cost-usd 50
  valor improve --run runs/mine --images photos/ --profile judge.yaml --eval own:held-out/ --eval omni3d
  valor improve --run runs/tiny --questions 8 --eval-scenes 2 --set grpo.steps=2 --set grounding.query_limit=20
  ray job submit -- python -m jobs.improve --run /shared/paper    on a cluster, with the same options
  valor improve --run runs/paper --controls                       beside its figures what would explain them, also later
  valor report runs/paper                                         the page again, also while it goes on
  valor compare runs/paper/base runs/paper/round-1/after-grounding

What happens, a stage after the other, each a command of its own with a normal run folder in RUN:
  questions                 with --images: a question for each picture (jobs.write_queries)
  base                      valor eval with the models that the job starts from
  round-1/reasoning         valor train reasoning
  round-1/after-reasoning   valor eval: the trained policy (the checkpoint chosen without labels, else the last)
  round-1/mine              valor mine: that policy's programs, the detector as it is
  round-1/grounding         valor train grounding on what was confirmed; where its gate refuses, the detector stays
  round-1/after-grounding   valor eval: both
  controls/…                with --controls, on the first benchmark: the base at temperature 0, the base with the new
                            detector, the best of eight replies of the base by the judge (eight times the calls)
All evaluations ask the same questions. Without --eval: 504 held-out tabletop questions about the looks that are mined
(lamp, quilt; `--eval tabletop:DIR` for others); with --images none, as there is no truth: then the page shows what
judges and agreement say. No stage that trains sees an evaluation.

RUN gets improve.json (what was asked for, start models, the plan), stages.jsonl (begin and end of each stage),
report.json, report.html (the two figures with 95 % intervals, tables, links into every part), answers/ (of judges with
a base_url: paid once for all stages). Stop it anywhere; the same command goes on.

--set and --profile are for all stages: `valor doctor --settings grpo` (finetune, grounding, stopping, …) lists them.
--max-cost-usd is over all stages and starts; reached, the job ends with code 1, and goes on with a higher one.

{JUDGE_FILE}
Exit code 0: all stages have ended; else that of the stage that failed (1: stopped, the same command goes on; 2: wrong
usage or settings), whose message is printed; 130: Ctrl-C.
"""
_NONE = "none"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--run",
        dest="folder",
        type=local_path,
        required=True,
        metavar="DIR",
        help="the job's folder; on a cluster one that all nodes see",
    )
    parser.add_argument(
        "--rounds", type=positive, default=1, metavar="N", help="of both loops (1); may be raised later"
    )
    parser.add_argument(
        "--images",
        metavar="DIR|FILE",
        help="bare pictures, or JSONL naming them: their questions are written first",
    )
    parser.add_argument(
        "--eval",
        action="append",
        default=[],
        metavar="NAME[:DATA]",
        help="what is asked before, between and after, as `valor eval NAME --data DATA` (repeatable; the first makes "
        "the two figures); none: nothing (default: tabletop; with --images none)",
    )
    parser.add_argument(
        "--questions",
        type=positive,
        metavar="N",
        help="of each evaluation the first N (tabletop: 504; others: all)",
    )
    parser.add_argument(
        "--controls",
        action="store_true",
        help="measure beside it what a user could have had without training; may be added to a job that is over",
    )
    parser.add_argument(
        "--eval-scenes",
        type=whole,
        metavar="N",
        help="of `valor train grounding`: scenes a look for its own AP (300)",
    )
    parser.add_argument(
        "--max-cost-usd",
        type=_dollars,
        metavar="X",
        help="most US dollars for judges and VLM, all stages together",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and do nothing")
    add_profile(parser)
    add_json(parser)


def run(args: Namespace) -> int:
    from valor_ray.improve.child import launch
    from valor_ray.improve.figures import write_report
    from valor_ray.improve.run import improve

    interrupt_on_signals()
    config = load_training_config(args, _say)
    job = _job(args, config)
    _check(args, job, config)
    if args.dry_run:
        return _plan(args, job, config)
    _refuse_early(job, config)
    report = improve(job, config, launch, write_report, most_usd=args.max_cost_usd, say=_say)
    if args.json:
        print_json(report)
    else:
        _show(report)
    return 0


def _job(args: Namespace, config: Config) -> Job:
    from valor_ray.improve.stages import TABLETOP, Evaluated, Job, Models

    evaluated: Sequence[Evaluated] = [_evaluated(word) for word in args.eval if word != _NONE]
    if not args.eval and args.images is None:
        evaluated = [Evaluated(TABLETOP)]
    if _NONE in args.eval and evaluated:
        raise ConfigError("--eval none measures nothing: give it alone, or leave it out.")
    if args.controls and not evaluated:
        raise ConfigError(
            "--controls asks the first --eval, and none is given: name one, or leave --controls out."
        )
    if args.controls and config.policy.temperature == 0:
        raise ConfigError(
            "--controls puts greedy sampling and the best of eight replies beside the job, and with policy.temperature "
            "0 all replies are greedy, and the same. Give a higher one, or leave --controls out."
        )
    names = [one.benchmark for one in evaluated]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"--eval {twice} is given twice: its answers would be in one folder. Give it once.")
    return Job(
        folder=args.folder.absolute(),
        start=Models(_absolute(config.policy.model), _absolute(config.detector.model)),
        rounds=args.rounds,
        evaluated=tuple(evaluated),
        images=None if args.images is None else _absolute(args.images),
        questions=args.questions,
        eval_scenes=args.eval_scenes,
        profile=args.profile,
        overrides=tuple(args.overrides),
        controls=args.controls,
    )


def _evaluated(word: str) -> Evaluated:
    from valor_ray.commands.evaluate.eval import NAMES
    from valor_ray.improve.stages import Evaluated

    name, _, data = word.partition(":")
    if name not in NAMES:
        raise ConfigError(f"--eval {word}: {name!r} is no benchmark. Valid: {', '.join(NAMES)}, or none.")
    if name == "own" and not data:
        raise ConfigError("--eval own wants a folder: --eval own:DIR with queries.jsonl and truth.jsonl.")
    if data and not Path(data).expanduser().exists():
        raise ConfigError(f"--eval {word}: {data} is not there. Give a folder or file.")
    return Evaluated(name, _absolute(data) if data else None)


def _absolute(model: str) -> str:
    """A path for good, whatever the working directory of a later start is; what is no path here stays."""
    path = Path(model).expanduser()
    return str(path.resolve()) if path.exists() else model


def _check(args: Namespace, job: Job, config: Config) -> None:
    """Raises ConfigError for what would fail hours later."""
    from valor_ray.grounding.finetune.run import check_sources
    from valor_ray.improve.money import check_limit
    from valor_ray.writers.writer import refuse_to_train

    if job.folder.exists() and not job.folder.is_dir():
        raise ConfigError(f"--run {job.folder} is a file. Give a folder.")
    refuse_to_train(config.policy)
    if config.finetune.mined is not None:
        raise ConfigError("finetune.mined names a set, and `valor improve` mines its own. Leave it out.")
    if config.detector.follow is not None:
        raise ConfigError("detector.follow would change the detector between two evaluations. Leave it out.")
    if job.images is not None and config.vlm.base_url is None:
        raise ConfigError(
            f"--images wants a VLM that writes questions: {config.vlm_part}.base_url is not set, and the offline judge "
            f"cannot. Name one in a file and give it with --profile.\n{JUDGE_FILE.rstrip()}"
        )
    check_sources(config, job.folder)
    _check_rows(job, config)
    if args.max_cost_usd is not None:
        check_limit(config)
    if not args.dry_run:
        config.judge.check_keys("judge")
        config.vlm.check_keys(config.vlm_part)


def _check_rows(job: Job, config: Config) -> None:
    """Trained on rows of Omni3D-Bench, a model is measured by the rows that are kept for that alone."""
    from valor_ray.benchmarks.data import omni3d

    name, hub = omni3d.SET.name, f"hf:{omni3d.SET.hub}".lower()
    if name not in [one.benchmark for one in job.evaluated] or (job.questions or math.inf) <= omni3d.FIRST:
        return
    for key, source in (
        ("grpo.queries", config.grpo.queries),
        ("grounding.queries", config.grounding.queries),
    ):
        if source is not None and source.lower().startswith(hub):
            raise ConfigError(
                f"--eval {name} asks rows that {key} {source} trains on, and would be refused after the training. "
                f"Give --questions {omni3d.FIRST} (or fewer): the rows that the paper's tables are of."
            )


def _check_pictures(job: Job) -> None:
    """The detector is trained on all --images: no measure of them, which the last evaluation would find out."""
    from valor_ray.benchmarks.data import own
    from valor_ray.queries.pictures import list_shots

    measured = [one for one in job.evaluated if one.benchmark == "own"]
    if job.images is None or not measured:
        return
    with tempfile.TemporaryDirectory(prefix="valor-improve-") as held:
        shots = list_shots(job.images, None, Path(held))
        mined = {content: shot.query_id for shot in shots if (content := _content(shot.path))}
    for one in measured:
        queries, _ = own.load(Path(str(one.data)), job.questions)
        for query in queries:
            if (twin := mined.get(_content(Path(query.image)))) is not None:
                raise ConfigError(
                    f"--eval {one.word}: {query.image} (question {query.query_id!r}) is also in --images ({twin}), "
                    "which are trained on: what is answered there would measure nothing. Take it out of one of the two."
                )


def _content(picture: Path) -> str:
    """ "": it cannot be read, which its stage says."""
    from valor_ray.queries.gathering.measured import content

    try:
        return content(picture.read_bytes())
    except (OSError, ValueError):
        return ""


def _refuse_early(job: Job, config: Config) -> None:
    """Before the first stage: the plans of all, so that what one of them refuses is not found out hours later."""
    from valor_ray.improve.estimate import dry_run, estimate
    from valor_ray.improve.journal import Journal

    if not Journal(job.folder).rows():
        _check_pictures(job)
        planned = estimate(job, config, dry_run)
        _say(
            f"about ${planned['cost_usd']:.2f} and {planned['minutes']:.1f} min, without {planned['leaves_out']}"
        )


def _plan(args: Namespace, job: Job, config: Config) -> int:
    from valor_ray.improve.estimate import dry_run, estimate

    _check_pictures(job)
    planned = estimate(job, config, dry_run)
    if args.json:
        print_json(planned)
        return 0
    show(
        f"{'stage':<34}{'state':<9}{'questions':>10}{'calls':>9}{'US dollars':>12}{'minutes':>9}  policy; detector"
    )
    for one in planned["stages"]:
        figures = (_or_dash(one[name]) for name in ("questions", "calls", "cost_usd", "minutes"))
        questions, calls, cost, minutes = figures
        models = f"{one['models']['policy']}; {one['models']['detector']}"
        show(f"{one['stage']:<34}{one['state']:<9}{questions:>10}{calls:>9}{cost:>12}{minutes:>9}  {models}")
    show(
        f"to do: about ${planned['cost_usd']:.2f} and {planned['minutes']:.1f} min; left out: {planned['leaves_out']}"
    )
    if args.max_cost_usd is not None and planned["cost_usd"] > args.max_cost_usd:
        show(f"more than --max-cost-usd {args.max_cost_usd:g}: the job would end there")
    return 0


def _or_dash(value: Any) -> str:
    return "–" if value is None else str(value)


def _show(report: dict[str, Any]) -> None:
    for name, found in report["benchmarks"].items():
        show(f"{name}: right answers{'':<12}n   share   95 % interval")
        for point in found["points"]:
            low, high = point["ci"]
            show(f"  {point['place']:<24}{point['n']:>5}{point['accuracy']:>8.1%}   {low:.1%} – {high:.1%}")
        for title, gain in found["gains"].items():
            low, high = (100 * end for end in gain["ci"])
            show(f"  {title:<24}{100 * gain['gain']:>+13.1f}   [{low:+.1f}, {high:+.1f}]   p {gain['p']:.3g}")
        for one in (each for each in found["controls"] if each["over"] is not None):
            low, high = (100 * end for end in one["over"]["ci"])
            over = f"trained {100 * one['over']['gain']:+.1f} [{low:+.1f}, {high:+.1f}]"
            show(f"  {one['control']:<24}{one['n']:>5}{one['accuracy']:>8.1%}   {over}")
    if report["measured"]:
        show(report["measured"])
    for one in report["rounds"]:
        show(f"round {one['round']}: {one['policy_is']}; {one['detector_is']}")
    show(f"${report['cost_usd']:.4f}, {report['minutes']:.1f} min\npage: {report['report']}")


def _dollars(text: str) -> float:
    """argparse type: a finite amount from 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ArgumentTypeError(f"{text!r} is no amount of US dollars")
    return value


def _say(line: str) -> None:
    show(f"valor improve: {line}", file=sys.stderr, flush=True)
