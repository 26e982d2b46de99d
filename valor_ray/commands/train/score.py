"""`valor score`: the rewards of every reply of a file."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from valor_ray.commands.options import (
    JUDGE_FILE,
    RUN_AT,
    add_json,
    add_profile,
    interrupt_on_signals,
    load_config,
    local_path,
    positive,
    print_json,
    show,
)
from valor_ray.runs.store.place import run_path, shown, stored

HELP = "Give each reply of a file its rewards, with reasons, by LLM verifiers."
EPILOG = f"""\
examples:
  valor score --replies replies.jsonl --out runs/score
  valor score --replies replies.jsonl --out runs/mine --profile judge.yaml --set judge.replicas=4
  python -m jobs.sample_replies --queries scenes/queries.jsonl --n 4 --out replies.jsonl     # where replies come from

FILE is JSON lines or parquet, one reply a row: query_id, question, reply; several replies of a query are normal.
A row is named by its reply_id when it has one, else QUERY_ID#1, QUERY_ID#2, ... in the order of the file.

OUT gets rewards.jsonl (one line a reply: reward, its verdicts, reasons, tokens, cost), missing.jsonl (no verdict:
judged again by the next run), failed.jsonl (rows that cannot be scored, and why), audit.jsonl, metrics.jsonl,
config.yaml, report.json, and report.html to look at. Every judge answer is kept in OUT/judge_cache (or in
judge.cache_dir): the same command goes on where it was stopped, and pays nothing twice.
Without judge.base_url the offline judge is used; it is rule-based and knows tabletop questions only.
Scene tests (ours, off by default) in place of the text heads, at 3 calls a question instead of 4 a reply:
  --set reward.scenes=0.9 --set reward.logic=0 --set reward.attribute=0 --set reward.spatial=0 --set reward.adherence=0

{JUDGE_FILE}
Exit code 0: every reply has its reward; 1: some rows are missing or failed; 2: wrong usage or settings; 130: Ctrl-C.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--replies", type=local_path, required=True, metavar="FILE", help="JSONL or parquet, see below"
    )
    parser.add_argument(
        "--out", type=run_path, required=True, metavar="DIR", help=f"where rewards and report go: {RUN_AT}"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N rows")
    parser.add_argument(
        "--in-process", action="store_true", help="without Ray: starts at once, for small files and debugging"
    )
    add_profile(parser)
    add_json(parser)


def run(args: Namespace) -> int:
    from valor_ray.config.judging import RULE_BASED
    from valor_ray.reasoning.scoring.host import ScoreHost
    from valor_ray.reasoning.scoring.run import score

    config = load_config(args)
    config.judge.check_keys("judge")
    if config.judge.base_url is None:  # whose replies these are is not known
        _say(RULE_BASED)
    interrupt_on_signals()
    host: ScoreHost
    if args.in_process:
        from valor_ray.reasoning.scoring.local import LocalScoreHost

        host = LocalScoreHost()
    else:
        from deployments.scoring import RayScoreHost

        host = RayScoreHost(_say)
    # Ray prints there about workers that died; stdout is for the result alone
    with redirect_stdout(sys.stderr), stored(args.out, "--out", _say):
        report = score(args.replies, args.out, config, host, limit=args.limit, say=_say)
    if args.json:
        print_json(report)
    else:
        _show(report, args.out)
    return 1 if report["missing"] or report["failed"] else 0


def _show(report: dict[str, Any], out: Path) -> None:
    from valor_ray.report.score.summary import asked

    show(f"{'head':<12}{'yes':>8}{'no':>8}{'missing':>9}{'rate':>8}   95 % interval")
    for name, head in asked(report["heads"]).items():
        rate = "–" if head["rate"] is None else f"{head['rate']:.1%}"
        low, high = head["ci95"]
        show(
            f"{name:<12}{head['yes']:>8}{head['no']:>8}{head['missing']:>9}{rate:>8}   {low:.1%} – {high:.1%}"
        )
    if report["scenes_missing"] is not None:
        show(
            f"scene tests: {report['scenes_left_out']:.1%} of the replies are to questions that they do not apply to, "
            f"{report['scenes_missing']:.1%} have no verdict; {report['judge_calls_per_reply']:.2f} judge calls a reply"
        )
    mean = "–" if report["mean_reward"] is None else f"{report['mean_reward']:.3f}"
    show(
        f"mean reward {mean} over {report['scored']} of {report['replies']} replies; {report['missing']} missing, "
        f"{report['failed']} failed; {report['calls']} calls, {report['cache_hits']} answers from the cache, "
        f"${report['cost_usd']:.4f}; {report['seconds']:.1f} s\npage: {shown(out.resolve())}/report.html"
    )


def _say(line: str) -> None:
    show(f"valor score: {line}", file=sys.stderr, flush=True)
