"""`valor train reasoning`: GRPO on judged rewards, without labels."""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.commands.options import (
    EVAL_FILES,
    JUDGE_FILE,
    RUN_AT,
    add_json,
    add_profile,
    interrupt_on_signals,
    load_training_config,
    local_path,
    print_json,
    show,
)
from valor_ray.errors import ConfigError
from valor_ray.runs.store.place import looked_at, run_path, shown, stored, url_of

if TYPE_CHECKING:
    from valor_ray.benchmarks.held_out import HeldOut
    from valor_ray.config.tree import Config
    from valor_ray.records import Query
    from valor_ray.stopping.held_back import HeldBackQuestions

DATA = "data"  # in the run folder: rendered scenes
_APART = ("checkpoints", "weights")  # at a URL the learner brings them there, from whatever machine it is on
EVALUATION = "evaluation"  # in the run folder: held-out questions and their answers
SIGNALS = (
    "signals"  # in the run folder: what the versions reply to questions kept apart, for the choice of one
)
HELP = "Improve the policy by GRPO on judged rewards, without labels."
EPILOG = f"""\
examples:
  valor train reasoning --run runs/first
  valor train reasoning --run runs/mine --profile judge.yaml --queries photos/ --dry-run
  valor train reasoning --run runs/short --set grpo.steps=10 --set grpo.max_lag=0
  valor train reasoning --run runs/again --replay runs/first            the learner alone, on recorded rollouts
  ray job submit -- python -m jobs.train_reasoning --run /shared/run    on a cluster, with the same options
  valor serve --set policy.model=runs/first/chosen                      use the checkpoint that was chosen
  valor serve --set policy.model=runs/first/weights/step-000080         or the last one

SOURCE is a file of rows (query_id, question, image: JSON, CSV, parquet, Arrow, packed or not), a folder, or
hf:OWNER/NAME (docs/design/queries.md has all names that are known); without it tabletop scenes are rendered:
those of grpo.scene_seed, or else of grpo.seed. `python -m jobs.write_queries` writes questions for bare pictures.
Columns with answers are never read. The policy does not see the pictures.

--eval-data is {EVAL_FILES}
Without it tabletop questions are asked, whatever is trained on; none at all: --set grpo.eval_questions=0.

RUN gets config.yaml, rollouts.jsonl (every reply once, with its rewards and reasons), metrics.jsonl, tensorboard/,
evaluation.jsonl (held-out questions before and after), weights/ (the newest, Hugging Face format, to be used),
checkpoints/ (to go on from), signals.jsonl and chosen/ (the checkpoint to take, by signals that need no label:
`valor doctor --settings stopping`), report.html.
Stop it anywhere; the same command goes on: nothing recorded is sampled or judged again.

{JUDGE_FILE}
`valor doctor --settings grpo` lists every setting of the training with its value.

Exit code 0: all steps made; 1: stopped before (the reason is printed, the last good checkpoint stays); 2: wrong
usage or settings; 130: Ctrl-C.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--run", dest="folder", type=run_path, required=True, metavar="DIR", help=f"the run: {RUN_AT}"
    )
    parser.add_argument(
        "--queries", metavar="SOURCE", help="what to train on; the same as --set grpo.queries=SOURCE"
    )
    parser.add_argument(
        "--eval-data",
        type=local_path,
        metavar="DIR",
        help="your own held-out questions, see below (default: tabletop questions; "
        "none: --set grpo.eval_questions=0)",
    )
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--dry-run", action="store_true", help="print the plan and do nothing")
    modes.add_argument(
        "--replay", type=local_path, metavar="RUN", help="learn from the rollouts that RUN recorded"
    )
    modes.add_argument("--rollouts-only", action="store_true", help="sample and judge, without a learner")
    parser.add_argument("--in-process", action="store_true", help="one process without Ray, for debugging")
    add_profile(parser)
    add_json(parser)


def run(args: Namespace) -> int:
    from valor_ray.commands.train.planned import print_plan
    from valor_ray.config.judging import RULE_BASED

    interrupt_on_signals()
    from valor_ray.writers.writer import refuse_to_train

    config = load_training_config(args, _say, *([f"grpo.queries={args.queries}"] if args.queries else []))
    refuse_to_train(config.policy)
    if args.replay is None and not args.dry_run:
        config.judge.check_keys("judge")
        if config.grpo.eval_questions and not args.rollouts_only:
            config.vlm.check_keys(config.vlm_part)
    if args.replay is None and _rule_based(config):
        _say(RULE_BASED)
    with redirect_stdout(sys.stderr):  # Ray and trl print there; stdout is for the result alone
        if args.dry_run:
            with looked_at(args.folder, "--run", apart=_APART) as args.folder:
                report = _work(args, config)
        else:
            with stored(args.folder, "--run", _say, apart=_APART):
                report = _work(args, config)
    if args.json:
        print_json(report)
    elif args.dry_run:
        print_plan(report, 38)
    else:
        _show(report, args)
    return 1 if report.get("stopped") else 0


def _work(args: Namespace, config: Config) -> dict[str, Any]:
    from valor_ray.commands.train.planned import planned_nodes
    from valor_ray.judges.gateway.answers import taken
    from valor_ray.placement.training import placement, wanted_gpus
    from valor_ray.reasoning.learner.learn import check_shape
    from valor_ray.reasoning.planning.plan import plan
    from valor_ray.reasoning.training.local import LocalTrainHost, Replay
    from valor_ray.reasoning.training.run import replay, train
    from valor_ray.runs.folder import REASONING, check_kind, claimed

    if args.replay is not None or args.in_process:
        config = _one_learner(config)
    check_shape(config.grpo)
    if args.replay is not None:
        return replay(args.folder, config, Replay(config, args.replay), say=_say)
    if args.dry_run:
        check_kind(args.folder, REASONING)
        nodes = planned_nodes(config, partial(placement, config), wanted_gpus(config), _say)
        answers = Path(config.judge.cache_dir or args.folder / "judge_cache").expanduser()
        took = None if config.judge.base_url is None else taken(answers, config.judge.model)
        return plan(config, _planned_queries(args, config), nodes=nodes, taken=took)
    with claimed(args.folder, REASONING):
        queries = training_queries(config, args.folder)
        # refuses at once what would be refused after the rendering
        plan(config, queries, memory=config.grpo.num_gpus > 0)
        held_out = None
        if config.grpo.eval_questions and not args.rollouts_only:
            held_out = _held_out(args, config)
        _check_apart(queries, held_out)
        signals = _signals(args, config, queries, held_out)
    if args.in_process:
        host: Any = LocalTrainHost()
    else:
        from deployments.reasoning import RayTrainHost

        looks = held_out is not None or signals is not None
        host = RayTrainHost(evaluated=looks, learns=not args.rollouts_only)
    learner = not args.rollouts_only
    return train(args.folder, config, queries, host, held_out, say=_say, learner=learner, signals=signals)


def _rule_based(config: Config) -> bool:
    """Whether the offline judge is asked about what it was not made for: another policy, or other questions."""
    own = config.policy.model.startswith("tabletop:") and config.grpo.queries is None
    return config.judge.base_url is None and not own


def _one_learner(config: Config) -> Config:
    """Where there is no Ray Train, one process learns; that changes no figure."""
    return config.model_copy(update={"grpo": config.grpo.model_copy(update={"workers": 1})})


def _planned_queries(args: Namespace, config: Config) -> list[Query]:
    """What a run would ask, checked as far as that needs no rendering; writes nothing."""
    from valor_ray.records import Query

    if args.folder.exists() and not args.folder.is_dir():
        raise ConfigError(f"--run {args.folder} is a file. Give a folder.")
    if config.grpo.queries is None and not (args.folder / DATA).exists():
        return [Query(str(i), "about a tabletop scene") for i in range(_tabletop_queries(config))]
    queries = training_queries(config, args.folder)
    at_hand = args.eval_data is not None or (args.folder / EVALUATION / DATA).exists()
    asks = at_hand and config.grpo.eval_questions
    _check_apart(queries, _held_out(args, config) if asks else None)
    return queries


def training_queries(config: Config, folder: Path) -> list[Query]:
    """The queries that the settings name; without any, tabletop scenes are rendered into the run folder."""
    from valor_ray.benchmarks.leaks.reserved import without_reserved
    from valor_ray.queries.read import read_queries

    source = config.grpo.queries
    if source is None:
        from valor_ray.tabletop.dataset import QUESTIONS_PER_SCENE, write_queries

        scenes = -(-_tabletop_queries(config) // QUESTIONS_PER_SCENE)
        data = folder / DATA
        if not data.exists():
            _say(f"rendering {scenes} scenes to ask about")
            part = folder / "data.part"
            grpo = config.grpo
            write_queries(part, scenes, grpo.seed if grpo.scene_seed is None else grpo.scene_seed)
            part.rename(data)
        source = str(data)
    queries = read_queries(source, config.grpo.query_limit, _say, setting="grpo.query_limit")
    return without_reserved(queries, source, _say)


def _tabletop_queries(config: Config) -> int:
    return config.grpo.query_limit or 800


def _held_out(args: Namespace, config: Config) -> HeldOut:
    from valor_ray.benchmarks.held_out import HeldOut

    if args.eval_data is None and not (args.folder / EVALUATION / DATA).exists():
        _say(f"rendering scenes for {config.grpo.eval_questions} held-out questions")
    try:
        return HeldOut(config, args.folder / EVALUATION, config.grpo.eval_questions, args.eval_data)
    except ConfigError as error:
        if args.eval_data is None:
            raise
        raise ConfigError(f"--eval-data {error}") from error


def _signals(
    args: Namespace, config: Config, queries: Sequence[Query], held_out: HeldOut | None
) -> HeldBackQuestions | None:
    """What the checkpoints are compared by; None where nothing is to be chosen, or there are no questions for it."""
    from valor_ray.queries.apart import check_apart
    from valor_ray.queries.read import read_queries
    from valor_ray.stopping.held_back import HeldBackQuestions

    if not config.stopping.questions or args.rollouts_only:
        return None
    folder = args.folder / SIGNALS
    if config.stopping.queries is not None:
        pictures = folder / "pictures"
        asked = read_queries(config.stopping.queries, say=_say, setting="stopping.queries", pictures=pictures)
        check_apart(queries, [(query.query_id, query.question, query.image) for query in asked])
        return HeldBackQuestions(config, folder, asked)
    if held_out is None:
        _say(
            "no checkpoint will be chosen: without held-out questions that needs stopping.queries (no answers)"
        )
        return None
    return HeldBackQuestions(config, folder, held_out.queries, held_out.seen)


def _check_apart(queries: Sequence[Query], held_out: HeldOut | None) -> None:
    """Raises ConfigError when a training query is an evaluation question, or an example of the prompts."""
    from valor_ray.queries.apart import check_apart, prompt_examples

    asked = held_out.queries if held_out is not None else []
    evaluation = [(query.query_id, query.question, query.image) for query in asked]
    check_apart(queries, evaluation, prompt_examples())


def _show(report: dict[str, Any], args: Namespace) -> None:
    from valor_ray.runs.weight_channel import newest_weights

    def share(name: str) -> str:
        value = report.get(name)
        return "–" if value is None else f"{value:.3f}"

    show(f"steps {report['steps']}, {report['minutes'] or 0:.1f} minutes of training")
    show(f"mean reward     {share('reward_start')} -> {share('reward_end')}")
    show(f"all heads yes   {share('all_heads_start')} -> {share('all_heads_end')}")
    show(f"right answers   {share('accuracy_start')} -> {share('accuracy_end')}", end="")
    if report.get("gain_ci"):
        low, high = report["gain_ci"]
        show(f"   gain {report['gain']:+.3f} [{low:+.3f}, {high:+.3f}]", end="")
    if report.get("cut"):
        show(f"\ncut at the limit {report['cut']:.1%} of the replies (grpo.max_tokens)", end="")
    if take := report.get("take"):
        show(f"\ntake step {take['step']}: {take['why']}", end="")
    show(f"\npage: {shown(args.folder.resolve())}/report.html")
    if report.get("stopped"):
        show(f"stopped: {report['stopped']}")
    if url_of(args.folder) is not None:
        show(f"weights: {shown(args.folder)}/weights, Hugging Face format")
    elif (weights := _to_use(args.folder, report) or newest_weights(args.folder)) is not None:
        own = [word for word in args.overrides if word.startswith("policy.") and "policy.model=" not in word]
        words = ["" if args.profile == "local" else f" --profile {shlex.quote(args.profile)}"]
        words += [f" --set {shlex.quote(word)}" for word in (*own, f"policy.model={weights.resolve()}")]
        show(f"use it: valor serve{''.join(words)}   (the same with valor eval)")


def _to_use(folder: Path, report: Mapping[str, Any]) -> Path | None:
    """The chosen weights; None where none are, or the start policy is."""
    weights = (report.get("take") or {}).get("weights")
    return folder / weights if weights else None


def _say(line: str) -> None:
    show(f"valor train: {line}", file=sys.stderr, flush=True)
