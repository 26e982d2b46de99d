"""`valor eval`: ask all questions of a benchmark, and say how many answers are right."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.commands.options import (
    EVAL_FILES,
    RUN_AT,
    add_json,
    add_profile,
    load_config,
    local_path,
    positive,
    print_json,
    show,
)
from valor_ray.doctor.listening import free_port
from valor_ray.errors import ConfigError
from valor_ray.runs.store.place import run_path, stored

if TYPE_CHECKING:
    from valor_ray.benchmarks.runner import AnswerRow, EvalReport, Truth
    from valor_ray.records import Query

HELP = "Measure accuracy on a benchmark (starts the app, or asks a running one)."
EPILOG = f"""\
examples:
  valor eval tabletop --out runs/eval --limit 200
  valor eval tabletop --data scenes/ --url http://127.0.0.1:8000 --out runs/eval --json
  valor eval tabletop --out runs/trained --set policy.model=runs/first/weights/step-000080

--data is {EVAL_FILES}

Every answer is appended to OUT/answers.jsonl as it comes; the same command goes on where it was stopped.
Exit code 0: every question was asked; 1: the service gave no reply to some; 2: wrong usage or settings.
"""
DEFAULT_QUESTIONS = 100  # without --data and --limit


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("benchmark", choices=["tabletop"], help="which questions")
    parser.add_argument(
        "--data",
        type=local_path,
        metavar="DIR",
        help="a folder with queries.jsonl and truth.jsonl (default: rendered)",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N questions")
    parser.add_argument(
        "--out", type=run_path, required=True, metavar="DIR", help=f"where answers and report go: {RUN_AT}"
    )
    parser.add_argument(
        "--url", metavar="URL", help="a running `valor serve` (default: start the app meanwhile)"
    )
    parser.add_argument("--token-env", metavar="NAME", help="variable with the bearer token of --url")
    parser.add_argument(
        "--concurrency", type=positive, default=4, metavar="N", help="questions at a time (4)"
    )
    add_profile(parser)
    add_json(parser)


def run(args: Namespace) -> int:
    with stored(args.out, "--out", _say):
        return _evaluate(args)


def _evaluate(args: Namespace) -> int:
    import asyncio
    import json
    from dataclasses import asdict

    from valor_ray.benchmarks.runner import evaluate

    queries, truths = _questions(args)

    def told(done: int, row: AnswerRow) -> None:
        mark = "right" if row.right else "wrong"
        _say(
            f"[{done}/{len(queries)}] {mark}  {row.question} -> {row.error or row.answer}  ({row.seconds:.1f} s)"
        )

    with _app(args) as (url, token):
        report = asyncio.run(
            evaluate(
                args.benchmark,
                queries,
                truths,
                _asker(url, token),
                args.out,
                concurrency=args.concurrency,
                progress=told,
            )
        )
    result = asdict(report)
    (args.out / "report.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if args.json:
        print_json(result)
    else:
        _show(report)
    return 1 if report.unasked else 0


def _questions(args: Namespace) -> tuple[list[Query], dict[str, Truth]]:
    from valor_ray.benchmarks import tabletop

    if args.data is None:
        data = args.out / "data"
        tabletop.make(data, args.limit or DEFAULT_QUESTIONS)
        return tabletop.load(data, args.limit)
    try:
        return tabletop.load(args.data, args.limit)
    except ConfigError as error:
        raise ConfigError(f"--data {error}") from error


@contextmanager
def _app(args: Namespace) -> Iterator[tuple[str, str | None]]:
    """URL and token of the app to ask: the one given, or one that runs as long as the block."""
    if args.url is not None:
        from valor_ray.config.service import ServerConfig  # the one place that reads the environment

        yield args.url, ServerConfig(token_env=args.token_env).token()
        return
    config = load_config(args, f"server.port={free_port()}")
    _say("starting the app")
    from deployments.serving import serving

    with serving(config, _say) as url:
        yield url, config.server.token()


def _asker(url: str, token: str | None) -> Any:
    import asyncio

    from valor_ray.client.ask import ask

    async def answer(query: Query) -> dict[str, Any]:
        return await asyncio.to_thread(ask, Path(query.image), query.question, url=url, token=token)

    return answer


def _show(report: EvalReport) -> None:
    from valor_ray.benchmarks.runner import Share

    show(f"{'family':<14}{'n':>6}{'right':>8}   95 % interval")
    total = Share(report.n, report.accuracy, report.ci)
    for name, share in {**report.by_family, "all": total}.items():
        show(f"{name:<14}{share.n:>6}{share.accuracy:>8.1%}   {share.ci[0]:.1%} – {share.ci[1]:.1%}")
    show(f"{report.failures} without an answer; {report.seconds:.0f} s")


def _say(line: str) -> None:
    show(f"valor eval: {line}", file=sys.stderr, flush=True)
