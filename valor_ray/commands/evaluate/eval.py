"""`valor eval`: ask all questions of a benchmark, and say how many answers are right."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from valor_ray.commands.evaluate.questions import load, note_settings, pictures_of, show_planned
from valor_ray.commands.options import (
    EVAL_FILES,
    RUN_AT,
    add_json,
    add_profile,
    add_repairs,
    interrupt_on_signals,
    load_config,
    local_path,
    positive,
    print_json,
    show,
)
from valor_ray.errors import ConfigError
from valor_ray.runs.store.place import looked_at, run_path, stored

if TYPE_CHECKING:
    from valor_ray.asking.kept import Replied
    from valor_ray.benchmarks.figures import EvalReport
    from valor_ray.benchmarks.reading.pictures import Pictures
    from valor_ray.benchmarks.results.repairs import Mended
    from valor_ray.benchmarks.results.row import AnswerRow
    from valor_ray.benchmarks.runner import AnswerFn, Progress
    from valor_ray.benchmarks.settings import Asking
    from valor_ray.config.tree import Config
    from valor_ray.records import Query

    Evaluate = Callable[[str, Any, Any, Path, Progress, str], EvalReport]

HELP = "Measure accuracy on a benchmark (starts the models, or asks a running server)."
NAMES = {  # of the benchmarks (valor_ray/benchmarks/data/), and what they are
    "omni3d": "Omni3D-Bench, 501 questions; the paper has the first 100",
    "robospatial": "RoboSpatial-Home, compatibility and configuration, 228",
    "blink": "BLINK, Counting and Spatial_Relation, 263",
    "vsr": "VSR, zero-shot split, dev, 340",
    "realworldqa": "RealWorldQA, 765",
    "gqa": "GQA, GRIT's subset, 509; with judge.base_url a judge's mark beside the exact one",
    "tallyqa": "TallyQA, GRIT's subset, 491",
    "countbenchqa": "CountBenchQA, 491",
    "tabletop": "rendered scenes",
    "own": "your questions, with --data",
}
_PATIENCE_S, _PATIENCE_A_SAMPLE_S = 300.0, 60.0  # with one answer
_HTTP_AT_ONCE = 4  # questions
METHODS = {  # of valor_ray/benchmarks/methods/
    "valor": "plan and program of the policy",
    "direct": "the VLM (`vlm`) answers from picture and question",
    "viper": "ViperGPT: a program over image patches; like all below it wants policy.endpoint",
    "visprog": "VisProg: a module a line",
    "visprog-depth": "VisProg with modules for depth and size, which are ours",
    "vadar": "VADAR: an API first (--api-questions), then programs over it",
}
_METHODS = "\n".join(f"  {name:<14}{text}" for name, text in METHODS.items())
_LISTED = "\n".join(f"  {name:<14}{text}" for name, text in NAMES.items())
EPILOG = f"""\
benchmarks:
{_LISTED}

methods (--method; docs/design/methods.md):
{_METHODS}

examples:
  valor eval tabletop --out runs/eval --limit 200
  valor eval tabletop --out runs/new --looks lamp quilt                    scenes that the base detector does not know
  valor eval omni3d --out runs/omni3d --profile gpu                        from the hub; the commit is kept in OUT
  valor eval blink --data downloads/BLINK --out runs/blink --json          a folder, parquet or TSV; no network
  valor eval own --data scenes/ --url http://127.0.0.1:8000 --out runs/own
  valor eval tabletop --out runs/best --samples 8 --select judge           of eight replies the best by the judge
  valor eval tabletop --out runs/eight --samples 8                         eight answers a question, each an eighth
  valor eval tabletop --out runs/mended --repairs 2                        a failed program goes back to its writer
  valor eval tabletop --out runs/direct --method direct                    the VLM alone, without programs
  valor compare runs/base runs/trained                                     two runs on the same questions

Two marks are computed from each result: accuracy is strict (no answer is wrong), paper_accuracy is by the rules of the
paper's released script (docs/design/benchmarks.md). Intervals are 95 %, clustered by picture.
With --select the report says what choosing has brought: accuracy of the answers taken beside that of the same samples
taken singly, with a paired interval, judge calls and cost. OUT/answers.jsonl keeps each sample's answer and score.

--data of tabletop and own is {EVAL_FILES}

Every answer is appended to OUT/answers.jsonl as it comes; the same command goes on where it was stopped. Pictures that
rows name by URL are fetched once and kept; one that cannot be had is a failed row, and asked again by the next start.
Exit code 0: every question was asked; 1: the service gave no reply to some, or their pictures could not be had; 2:
wrong usage or settings.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("benchmark", choices=list(NAMES), metavar="NAME", help="which questions, see below")
    parser.add_argument(
        "--data",
        type=local_path,
        metavar="PATH",
        help="a folder or file of the benchmark (default: from the hub; tabletop: rendered)",
    )
    parser.add_argument(
        "--method",
        choices=list(METHODS),
        default="valor",
        metavar="M",
        help="how it is answered, see below (valor)",
    )
    parser.add_argument(
        "--api-questions",
        type=local_path,
        metavar="FILE",
        help="vadar: questions that are not tested, one a line; ten of them show what its API is for",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N questions")
    parser.add_argument(
        "--looks",
        nargs="+",
        default=(),
        metavar="NAME",
        help="of the tabletop's rendered scenes (tiles, wood, dusk and loud in turn), or lamp and quilt, which are new "
        "to the base detector",
    )
    parser.add_argument(
        "--leave-out-trained",
        action="store_true",
        help="ask the other questions, where policy or detector come from a run that was trained on some of these "
        "(without it such are refused)",
    )
    parser.add_argument("--dry-run", action="store_true", help="read the set, say what is in it, ask nothing")
    parser.add_argument(
        "--wording",
        choices=["clean", "reference"],
        default="clean",
        help="how questions are put: clean (default), or reference: the strings of the paper's released script",
    )
    parser.add_argument(
        "--revision", metavar="REV", help="of the hub set: commit, tag or branch (default: the newest)"
    )
    parser.add_argument(
        "--samples",
        type=positive,
        metavar="N",
        help="replies to each question (default: answer.samples, which is 1)",
    )
    parser.add_argument(
        "--select",
        choices=("vote", "judge", "scenes"),
        help="take one answer of them, as `valor ask` does (without it each of the N is an answer of its own)",
    )
    add_repairs(parser, "answer.repairs, which is 0")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of the sampling: another one, other replies (0)"
    )
    parser.add_argument(
        "--out", type=run_path, required=True, metavar="DIR", help=f"where answers and report go: {RUN_AT}"
    )
    parser.add_argument(
        "--pictures",
        type=local_path,
        metavar="DIR",
        help="where pictures of benchmarks are kept ($VALOR_PICTURES, or ~/.cache/valor_ray/pictures)",
    )
    parser.add_argument(
        "--url",
        metavar="URL",
        help="a running `valor serve` (default: policy, detector, depth and judges are started meanwhile)",
    )
    parser.add_argument("--token-env", metavar="NAME", help="variable with the bearer token of --url")
    parser.add_argument(
        "--concurrency",
        type=positive,
        metavar="N",
        help="questions at a time (16 a policy replica; of --url 4)",
    )
    add_profile(parser)
    add_json(parser)


def run(args: Namespace) -> int:
    from valor_ray.runs.folder import EVAL, check_kind, claimed

    interrupt_on_signals()
    if args.dry_run:
        with looked_at(args.out, "--out") as args.out, TemporaryDirectory() as scratch:
            check_kind(args.out, EVAL)
            return _evaluate(args, Path(scratch))
    with stored(args.out, "--out", _say), claimed(args.out, EVAL):
        return _evaluate(args)


def _evaluate(args: Namespace, scratch: Path | None = None) -> int:
    import asyncio
    import json
    from dataclasses import asdict, replace

    from valor_ray.benchmarks.judged import judge_open_answers
    from valor_ray.benchmarks.registry import benchmark
    from valor_ray.benchmarks.runner import recorded
    from valor_ray.report.evaluation.page import write_eval_page
    from valor_ray.wiring import judging

    config, chosen = load_config(args), benchmark(args.benchmark)
    asking = _asking(args, config)
    pictures = pictures_of(args, config)
    loaded = load(args, chosen, pictures, asking, config, scratch)
    for note in loaded.notes:
        _say(note)
    if scratch is not None:
        show_planned(chosen, loaded, pictures, as_json=args.json)
        return 0
    note_settings(args, loaded, asking, config)

    def told(done: int, row: AnswerRow) -> None:
        mark = "right" if row.right else "wrong" if not row.mark else f"{row.mark:.1f} of 1"
        said = row.error or ", ".join(str(one.answer) for one in row.answers())
        _say(f"[{done}/{len(loaded.queries)}] {mark}  {row.question} -> {said}  ({row.seconds:.1f} s)")

    ask = _evaluator(args, config, pictures, asking, loaded.queries)
    with redirect_stdout(sys.stderr):  # Ray prints there; stdout is for the result alone
        report = ask(args.benchmark, loaded.queries, loaded.truths, args.out, told, chosen.macro)
    if chosen.judged and config.judge.base_url is None:
        _say("no judge beside exact match: judge.base_url is not set, so paper_accuracy is null")
    elif chosen.judged:
        wanted = {query.query_id for query in loaded.queries}
        rows = [row for row in recorded(args.out) if row.query_id in wanted]
        judge = judging(config.judge, args.out / "judge_cache")
        report = asyncio.run(judge_open_answers(report, rows, judge, args.out))
    result = asdict(replace(report, notes=loaded.notes)) | {"method": _said_of(args, asking)}
    (args.out / "report.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    page = write_eval_page(args.out, result)
    if args.json:
        print_json(result)
    else:
        _show(report)
        show(f"page: {page.resolve()}")
    return 1 if report.unasked else 0


def _asking(args: Namespace, config: Config) -> Asking:
    """How questions are answered. Raises ConfigError."""
    from valor_ray.benchmarks.settings import Asking

    own = config.answer
    samples = args.samples or own.samples
    select = args.select or (own.select if args.samples is None and own.samples > 1 else "")
    repairs = own.repairs if args.repairs is None else args.repairs
    if repairs > own.max_repairs:
        raise ConfigError(
            f"--repairs {repairs}: at most {own.max_repairs} (answer.max_repairs). Give fewer, or raise the setting."
        )
    if select and samples == 1:
        raise ConfigError(f"--select {select} chooses among several samples: give --samples N, 2 or more.")
    if samples > 1 and config.policy.temperature == 0 and args.url is None:
        raise ConfigError(
            f"policy.temperature is 0, so that all {samples} samples are the same: give a higher one, or --samples 1."
        )
    if select in ("judge", "scenes") and config.judge.base_url is None and args.url is None:
        _say(
            "the offline judge chooses, which is rule-based and knows tabletop questions only (judge.base_url)"
        )
    if args.method != "valor":
        from valor_ray.benchmarks.methods.registry import method

        if samples > 1:
            raise ConfigError(f"--samples is of --method valor: {args.method} gives one answer a question.")
        if repairs:
            raise ConfigError(f"--repairs is of --method valor: {args.method} has its own way with failures.")
        method(args.method).check(config, args.api_questions)
    return Asking(samples, select, args.seed, args.method, repairs)


def _said_of(args: Namespace, asking: Asking) -> dict[str, Any]:
    """What the report says of the method."""
    from valor_ray.benchmarks.methods.registry import method
    from valor_ray.benchmarks.methods.run import said_of
    from valor_ray.benchmarks.runner import recorded

    return said_of(method(asking.method), args.out, recorded(args.out))


def _evaluator(
    args: Namespace, config: Config, pictures: Pictures, asking: Asking, queries: Sequence[Query]
) -> Evaluate:
    """What asks: another method, a server that runs, or Ray."""
    if asking.method != "valor":
        from valor_ray.commands.evaluate.by_method import by_method

        return by_method(args, config, pictures, asking, queries)
    return _served(args, pictures, asking) if args.url else _on_ray(args, config, pictures, asking)


def _on_ray(args: Namespace, config: Config, pictures: Pictures, asking: Asking) -> Evaluate:
    """Asks on Ray: this machine's own, or the cluster of RAY_ADDRESS."""
    from valor_ray.benchmarks.runner import evaluate_streamed
    from valor_ray.selecting.select import Select

    select = Select(asking.select or "vote")  # which costs nothing, and all samples come back

    def replies(queries: Sequence[Query]) -> Iterable[Replied]:
        from deployments.evaluation.host import RayEvalHost
        from deployments.evaluation.workers import Order

        orders = [
            Order(query, asking.seed_of(query.query_id), asking.samples, select, asking.repairs)
            for query in queries
        ]
        host = RayEvalHost(config, args.out, pictures.local, args.concurrency, _say)
        with closing(host.replies(orders)) as stream:
            yield from stream

    def ask(name: str, queries: Any, truths: Any, out: Path, told: Progress, macro: str) -> EvalReport:
        return evaluate_streamed(
            name, queries, truths, replies, out, progress=told, macro=macro, asking=asking
        )

    return ask


def _served(args: Namespace, pictures: Pictures, asking: Asking) -> Evaluate:
    """Asks a running server over HTTP."""
    import asyncio

    from valor_ray.benchmarks.runner import evaluate
    from valor_ray.config.service import ServerConfig  # the one place that reads the environment

    token = ServerConfig(token_env=args.token_env).token()
    one = _asker(args.url, token, pictures, asking)

    def ask(name: str, queries: Any, truths: Any, out: Path, told: Progress, macro: str) -> EvalReport:
        return asyncio.run(
            evaluate(
                name, queries, truths, one, out,
                concurrency=args.concurrency or _HTTP_AT_ONCE, progress=told, macro=macro, asking=asking,
            )
        )  # fmt: skip

    return ask


def _asker(url: str, token: str | None, pictures: Pictures, asking: Asking) -> AnswerFn:
    import asyncio

    from valor_ray.asking.kept import Kept, kept
    from valor_ray.client.ask import ask

    async def answer(query: Query) -> Kept:
        picture = await asyncio.to_thread(pictures.local, query.image)
        shown = await asyncio.to_thread(
            ask,
            picture,
            query.question,
            url=url,
            token=token,
            timeout_s=_PATIENCE_S + _PATIENCE_A_SAMPLE_S * asking.samples * (1 + asking.repairs),
            samples=asking.samples,
            repairs=asking.repairs,
            select=asking.select or "vote",
            seed=asking.seed_of(query.query_id),
        )
        return kept(shown)

    return answer


def _show(report: EvalReport) -> None:
    from valor_ray.benchmarks.figures import Share

    subsets = {name: share for name, share in report.by_subset.items() if name not in report.by_family}
    total = Share(report.n, report.accuracy, report.ci, report.paper_accuracy)
    show(f"{'family':<18}{'n':>6}{'right':>8}   {'95 % interval':<18}{'paper':>8}")
    for name, share in {**report.by_family, **subsets, "all": total}.items():
        between = f"{share.ci[0]:.1%} – {share.ci[1]:.1%}"
        paper = "–" if share.paper_accuracy is None else f"{share.paper_accuracy:.1%}"
        show(f"{name:<18}{share.n:>6}{share.accuracy:>8.1%}   {between:<18}{paper:>8}")
    if (macro := report.macro) is not None:
        show(f"mean over each {macro.over}: {macro.accuracy:.1%}   {macro.ci[0]:.1%} – {macro.ci[1]:.1%}")
    if (gain := report.selection) is not None:
        show(
            f"{gain.select} of {gain.samples}: {gain.selected:.1%}; the same samples singly {gain.single:.1%}; gain "
            f"{100 * gain.gain:+.1f} [{100 * gain.ci[0]:+.1f}, {100 * gain.ci[1]:+.1f}] points; any right "
            f"{gain.best_possible:.1%}; {gain.calls} judge calls, ${gain.cost_usd:.4f}"
        )
    if report.repairs is not None:
        _show_repairs(report.repairs)
    if report.rmse is not None:
        show(f"RMSE of the answers that are numbers: {report.rmse:.2f}")
    show(f"answers: {_counted(report.kinds)}" + (f"; {_counted(report.habits)}" if report.habits else ""))
    if (used := report.used) is not None and any(used.tokens):
        show(
            f"{used.replies:,} replies, {used.tokens[0]:,} prompt and {used.tokens[1]:,} reply tokens, "
            f"{used.tool_calls:,} tool calls, {used.seconds / max(report.n, 1):.1f} s a question"
        )
    show(f"{report.failures} without an answer; {report.seconds:.0f} s")


def _show_repairs(mended: Mended) -> None:
    show(
        f"repairs: {mended.failed} of {mended.replies} first replies failed, {mended.retried} were written anew, "
        f"{mended.repaired} of these answer, {mended.right} right; {mended.accuracy:.1%}, the same without repairs "
        f"{mended.without:.1%}; gain {100 * mended.gain:+.1f} [{100 * mended.ci[0]:+.1f}, {100 * mended.ci[1]:+.1f}] "
        f"points; {mended.calls} calls, {sum(mended.tokens):,} tokens, ${mended.cost_usd:.4f}; "
        f"{mended.replies_a_question:.2f} replies a question"
    )


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _say(line: str) -> None:
    show(f"valor eval: {line}", file=sys.stderr, flush=True)
