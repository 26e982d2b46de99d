"""`valor mine`: a detection set whose boxes a vision verifier has confirmed, without labels."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.commands.options import (
    JUDGE_FILE,
    RUN_AT,
    add_json,
    add_profile,
    interrupt_on_signals,
    load_training_config,
    print_json,
    show,
)
from valor_ray.runs.store.place import commit, looked_at, run_path, shown, stored

if TYPE_CHECKING:
    from collections.abc import Iterable

    from valor_ray.config.tree import Config
    from valor_ray.grounding.mine.host import MineHost
    from valor_ray.records import MinedImage, Query

DATA = "data"  # in the run folder: rendered scenes
PICTURES = "pictures"  # in the run folder: those that the queries' file holds in itself
OBJECTS = Path("evaluation", "objects.jsonl")  # in the run folder: what is in them
OFFLINE = (
    "vlm.base_url is null: the offline verifier is rule-based and knows tabletop scenes only, as the shipped detector "
    "does. Boxes of other pictures are no basis for training: for these set vlm.base_url and detector.model."
)
HELP = "Mine a detection set from pictures and questions: boxes that a vision verifier confirms, no labels."
EPILOG = f"""\
examples:
  valor mine --run runs/boxes                             tabletop scenes, the shipped models, offline
  valor mine --run runs/boxes --dry-run                   what it would do: pictures, calls, cost
  valor mine --run runs/mine --queries photos/ --profile judge.yaml
  valor mine --run runs/small --set grounding.query_limit=40 --in-process
  ray job submit -- python -m jobs.mine --run /shared/run on a cluster, with the same options

SOURCE is a file of rows (query_id, question, image: JSON, CSV, parquet, Arrow, packed or not; pictures may stand in the
rows), a folder, or hf:OWNER/NAME (docs/design/queries.md has all names that are known); without it tabletop scenes
of grounding.seed are rendered, in the looks that the detector has not seen. `python -m jobs.write_queries` writes
questions for bare pictures. Columns with answers are never read.

The policy writes a program for each question; all that a picture's programs ask the detector for is looked for at a low
threshold (grounding.box_threshold), and the vision verifier (`vlm`) checks every box three times: in the whole picture,
alone, and for doubles.

RUN gets phrases.jsonl (every query with its program and phrases), images.jsonl (every picture with all candidates, and
what each check said), missing.jsonl (pictures with boxes that have no verdict: asked again by the next run),
failed.jsonl, audit.jsonl (boxes with known verdicts, slipped in), metrics.jsonl, pictures/ (those that SOURCE holds in
itself), dataset/ (decisions.parquet, odvg.jsonl with label_map.json, coco.json), report.json, report.html. Answers are
kept in RUN/vlm_cache (or in vlm.cache_dir), programs of policy.endpoint in RUN/writer_cache: stop it anywhere, the same
command goes on and pays nothing twice; further queries add to what is there.
Precision is measured afterwards, on rendered scenes only; nothing of it enters mining.
`valor report RUN` makes the page again.

{JUDGE_FILE}
`valor doctor --settings grounding` lists every setting of mining with its value.

Exit code 0: all is mined; 1: some pictures are missing verdicts or failed, or it stopped; 2: wrong usage or settings;
130: Ctrl-C.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--run", dest="folder", type=run_path, required=True, metavar="DIR", help=f"the run: {RUN_AT}"
    )
    parser.add_argument(
        "--queries", metavar="SOURCE", help="what to mine; the same as --set grounding.queries=SOURCE"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and do nothing")
    parser.add_argument(
        "--in-process", action="store_true", help="without Ray: starts at once, for small sets and debugging"
    )
    add_profile(parser)
    add_json(parser)


def run(args: Namespace) -> int:
    from valor_ray.grounding.mine.summary import result

    interrupt_on_signals()
    config = load_training_config(
        args, _say, *([f"grounding.queries={args.queries}"] if args.queries else [])
    )
    if args.dry_run:
        with looked_at(args.folder, "--run") as args.folder:
            return _plan(args, config)
    # Ray prints there; stdout is for the result alone
    with redirect_stdout(sys.stderr), stored(args.folder, "--run", _say):
        report = mine_into(args.folder, config, in_process=args.in_process)
    if args.json:
        print_json(result(report))
    else:
        _show(report, args.folder)
    return 1 if report["with_missing"] or report["failed"] else 0


def _plan(args: Namespace, config: Config) -> int:
    from valor_ray.commands.train.planned import planned_nodes, print_plan
    from valor_ray.grounding.mine.plan import plan
    from valor_ray.placement.grounding import mining_placement, wanted_gpus
    from valor_ray.records import Query
    from valor_ray.runs.folder import MINE, check_kind
    from valor_ray.tabletop.dataset import QUESTIONS_PER_SCENE
    from valor_ray.tabletop.mining.scenes import check_rendered, scenes_of

    check_kind(args.folder, MINE)
    scenes = 0
    grounding = config.grounding
    if grounding.queries is None:
        scenes = scenes_of(grounding.query_limit)
        if check_rendered(args.folder / DATA, scenes, grounding.seed):
            scenes = 0
    count = min(grounding.query_limit or QUESTIONS_PER_SCENE * scenes, QUESTIONS_PER_SCENE * scenes)
    queries = [Query(str(n), "about a tabletop scene", "scene.png") for n in range(count)]
    nodes = None
    if not args.in_process:
        nodes = planned_nodes(config, partial(mining_placement, config), wanted_gpus(config), _say)
    planned = plan(args.folder, config, queries if scenes else _read(args.folder, config), scenes, nodes)
    if args.json:
        print_json(planned)
    else:
        print_plan(planned, 26)
    return 0


def mine_into(folder: Path, config: Config, *, in_process: bool) -> dict[str, Any]:
    """All of the command but its options and what it prints; returns the report. `valor train grounding` calls it too.

    Raises as `grounding.mine.run.mine`, and ConfigError when the verifier's key is not set.
    """
    from valor_ray.config.judging import WRITER
    from valor_ray.grounding.mine.run import mine
    from valor_ray.runs.folder import MINE, claimed

    start = time.monotonic()
    config.vlm.check_keys(config.vlm_part)
    if config.policy.endpoint is not None:
        config.policy.endpoint.access(WRITER)
    if config.vlm.base_url is None and config.grounding.queries is not None:
        _say(OFFLINE)
    with claimed(folder, MINE):
        queries = _queries(folder, config)
    host: MineHost
    if in_process:
        from deployments.http.by_url.fetch import fetch
        from valor_ray.grounding.mine.local import LocalMineHost

        host = LocalMineHost(fetch)
    else:
        from deployments.mining.host import RayMineHost

        host = RayMineHost()

    def evaluate(images: Iterable[MinedImage]) -> dict[str, Any] | None:
        from valor_ray.tabletop.mining.truth import evaluate_mining

        rendered = config.grounding.queries is None
        return evaluate_mining(images, folder / OBJECTS) if rendered else None

    return mine(folder, config, queries, host, evaluate=evaluate, start=start, say=_say)


def _queries(folder: Path, config: Config) -> list[Query]:
    """Those that the settings name; without any, tabletop scenes are rendered into the run folder."""
    from valor_ray.tabletop.mining.scenes import render_scenes, scenes_of

    grounding = config.grounding
    if grounding.queries is None:
        scenes = scenes_of(grounding.query_limit)
        render_scenes(folder / DATA, folder / OBJECTS, scenes, grounding.seed, _say)
    queries = _read(folder, config, folder / PICTURES)
    commit(folder)  # workers may fetch pictures from there at once
    return queries


def _read(folder: Path, config: Config, pictures: Path | None = None) -> list[Query]:
    from valor_ray.benchmarks.leaks.reserved import without_reserved
    from valor_ray.queries.read import read_queries

    source = config.grounding.queries
    limit = config.grounding.query_limit
    named = str(folder / DATA) if source is None else source
    queries = read_queries(named, limit, _say, setting="grounding.query_limit", pictures=pictures)
    return without_reserved(queries, source, _say)


def _show(report: dict[str, Any], folder: Path) -> None:
    precision = report["precision_by_stage"] or {}
    show(f"{'stage':<14}{'boxes left':>12}{'precision':>12}")
    for stage, boxes in report["boxes_left"].items():
        share = precision.get(stage)
        show(f"{stage:<14}{boxes:>12}{'–' if share is None else f'{share:.3f}':>12}")
    lost = report["recall_lost"]
    if lost is not None:
        show(f"recall lost by the checks: {lost:.1f} points")
    writer = f" and ${report['writer_cost_usd']:.4f} for the writer" if report["writer_cost_usd"] else ""
    show(
        f"{report['images']} pictures, {report['with_missing']} of them lack verdicts, {report['failed']} failed; "
        f"{report['calls']} calls, {report['cache_hits']} answers from the cache, ${report['cost_usd']:.4f}{writer}; "
        f"{report['minutes']:.1f} min\nset: {shown(folder.resolve())}/dataset\n"
        f"page: {shown(folder.resolve())}/report.html"
    )


def _say(line: str) -> None:
    show(f"valor mine: {line}", file=sys.stderr, flush=True)
