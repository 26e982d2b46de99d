"""Has a VLM write a question for each picture, to train on: query_id, image, question a line.

    python -m jobs.write_queries --images photos/ --out photos/queries.jsonl --profile judge.yaml
    python -m jobs.write_queries --images list.jsonl --out q.jsonl --profile gpu --per-image 6 --limit 400

In: a folder of pictures, or JSON lines with a field `image`. For each picture the VLM of the settings' section `vlm`
(without one: of `judge`) writes several questions; the one whose kind (count, size, relation, attribute, other) is
rarest so far is kept. Beside --out: failed.jsonl, the pictures without a question and why; vlm_cache/, every answer (or
vlm.cache_dir). Needs no Ray. Killed, the same command goes on and pays nothing twice; changed options hold for pictures
without a question.

Exit code 0: every picture has its question; 1: some have none, or the VLM refuses; 2: wrong usage or settings;
130: Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.commands.options import (
    JUDGE_FILE,
    add_json,
    add_profile,
    exit_code,
    interrupt_on_signals,
    load_config,
    local_path,
    positive,
    print_json,
    show,
)
from valor_ray.errors import ConfigError

if TYPE_CHECKING:
    from valor_ray.config.tree import Config
    from valor_ray.judges.gateway.connect import Judges

_LOOK_EVERY_S = 10.0  # whether the VLM answers


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jobs.write_queries", description=__doc__, epilog=JUDGE_FILE
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--images", required=True, metavar="DIR|FILE", help="pictures, or JSONL naming them")
    parser.add_argument("--out", type=local_path, required=True, metavar="FILE", help="JSONL that grows")
    parser.add_argument(
        "--per-image", type=positive, default=4, metavar="N", help="questions the VLM writes (4)"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N pictures")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of the choice among questions of one kind (0)"
    )
    add_profile(parser)
    add_json(parser)
    return parser


async def run(args: argparse.Namespace, config: Config) -> dict[str, Any]:
    """The summary. Raises ConfigError, JudgeError, StorageError."""
    from valor_ray.queries.pictures import list_shots
    from valor_ray.queries.write import Writing
    from valor_ray.runs.folder import locked
    from valor_ray.wiring import judging, vlm_cache

    part = config.vlm_part
    if config.vlm.base_url is None:
        raise ConfigError(
            f"{part}.base_url is not set, and the offline judge cannot write questions. Name a VLM in a file and give "
            f"it with --profile.\n{JUDGE_FILE.rstrip()}"
        )
    if args.out.is_dir():
        raise ConfigError(f"--out {args.out} is a folder. Give a file, as {args.out / 'queries.jsonl'}.")
    config.vlm.check_keys(part)
    with locked(args.out.parent, "--out"):
        shots = list_shots(args.images, args.limit, args.out.parent / "pictures")
        async with judging(config.vlm, vlm_cache(args.out.parent), part) as judge:
            watching = asyncio.create_task(_watch(judge))
            try:
                return await Writing(args.out, args.seed, _say).run(shots, judge, config, args.per_image)
            finally:
                watching.cancel()


async def _watch(judge: Judges) -> None:
    from valor_ray.judges.gateway.connect import gateways_of

    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        for gateway in gateways_of(judge):
            if not gateway.up:
                _say(f"{gateway.config.address} does not answer; waiting until it does")


def main() -> int:
    args = build_parser().parse_args()
    interrupt_on_signals()
    return exit_code(
        "write_queries",
        lambda: _work(args),
        as_json=args.json,
        interrupted="interrupted; the same command goes on",
    )


def _work(args: argparse.Namespace) -> int:
    summary = asyncio.run(run(args, load_config(args)))
    if args.json:
        print_json(summary)
    else:
        _show(summary, args.out)
    return 1 if summary["failed"] + summary["missing"] + summary["unusable"] else 0


def _show(summary: dict[str, Any], out: Path) -> None:
    kinds = ", ".join(f"{count} {kind}" for kind, count in summary["kinds"].items())
    show(
        f"{summary['written']} questions written to {out}, {summary['before']} were there; of all: {kinds}\n"
        f"bad pictures: {summary['failed']}; without an answer: {summary['missing']}; with no question of use: "
        f"{summary['unusable']} (see {out.with_name('failed.jsonl')})\n"
        f"{summary['calls']} calls, {summary['cache_hits']} answers from the cache, ${summary['cost_usd']:.4f}; "
        f"{summary['seconds']:.1f} s"
    )


def _say(line: str) -> None:
    show(f"write_queries: {line}", file=sys.stderr, flush=True)
