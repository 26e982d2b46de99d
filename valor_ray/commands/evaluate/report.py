"""`valor report`: the page of a run folder, made from its records."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from valor_ray.commands.options import add_json, local_path, print_json, show
from valor_ray.errors import ConfigError

HELP = "Make the page of a run: curves, before and after, rollouts to read."
EPILOG = """\
examples:
  valor report runs/train                 the page of a training run, also while it goes on or after a kill
  valor report runs/train --json          its numbers alone, e.g. `| jq .gain_ci`
  valor report runs/score                 the page of a scored file again
  valor report runs/boxes                 the page of a mining run again
  valor report runs/eyes                  the page of a fine-tuned detector, also while it trains
  valor report runs/omni3d                the page of an evaluation again
  valor report runs/paper                 the page of a job of `valor improve`, also while it goes on

RUN is the folder given to `valor train reasoning --run`, `valor train grounding --run`, `valor score --out`,
`valor eval --out`, `valor mine --run` or `valor improve --run`. It gets report.html (one file, no server needed: copy
it anywhere); of `train reasoning` and `improve` report.json is made anew, too. gain_ci is the 95 % interval of the
change of the held-out accuracy over the same questions, or of AP50 over the same scenes; a family of questions is
significantly worse when it has lost and McNemar's test says so after Holm's correction for all families (p_holm below
0.05).

Exit code 0: the page is written; 1: it cannot be written; 2: RUN is no run folder.
"""
# Of a training folder without run.json, perhaps a part of one that was copied: any of them, and config.yaml.
_TRAINING = ("metrics.jsonl", "rollouts.jsonl", "queries.jsonl", "evaluation.jsonl")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run_folder", type=local_path, metavar="RUN", help="the folder of a run")
    add_json(parser)


def run(args: Namespace) -> int:
    try:
        page, report, lines = _write(args.run_folder)
    except OSError as error:
        raise ConfigError(f"Cannot read {args.run_folder}: {error}.") from error
    if args.json:
        print_json(report)
    else:
        show("\n".join([*lines, f"page: {page.resolve()}"]))
    return 0


def _write(folder: Path) -> tuple[Path, dict[str, Any], list[str]]:
    """The page, the numbers, and the lines that are printed. Raises ConfigError when the folder is no run."""
    from valor_ray.runs.folder import EVAL, GROUNDING, IMPROVE, MINE, REASONING, SCORE, kind_of

    kind = kind_of(folder)
    if kind is SCORE:
        from valor_ray.report.score.again import write_score_page

        report = write_score_page(folder)
        return folder / "report.html", report, _scored(report)
    if kind is MINE:
        from valor_ray.report.grounding.again import write_mining_page

        report = write_mining_page(folder)
        return folder / "report.html", report, _mined(report)
    if kind is GROUNDING:
        from valor_ray.report.finetuning.again import write_finetuning_page

        report = write_finetuning_page(folder)
        return folder / "report.html", report, _fine_tuned(report)
    if kind is EVAL:
        from valor_ray.report.evaluation.page import write_eval_page_again

        report = write_eval_page_again(folder)
        return folder / "report.html", report, _evaluated(report)
    if kind is IMPROVE:
        from valor_ray.improve.figures import write_report

        report = write_report(folder)
        return folder / "report.html", report, _improved(report)
    if kind is REASONING or (kind is None and _holds_training(folder)):
        from valor_ray.report.reasoning.page import write_train_page_again

        page = write_train_page_again(folder)
        report = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
        return page, report, _trained(report)
    raise ConfigError(_no_run(folder))


def _holds_training(folder: Path) -> bool:
    return (folder / "config.yaml").exists() and any((folder / name).exists() for name in _TRAINING)


def _no_run(folder: Path) -> str:
    problem = "is no folder" if not folder.is_dir() else "is no run folder"
    return (
        f"{folder} {problem}. The folder of a training run holds config.yaml with metrics.jsonl, rollouts.jsonl, "
        "queries.jsonl or evaluation.jsonl (made by `valor train reasoning --run DIR`); that of a scored file holds "
        "rewards.jsonl (made by `valor score --replies FILE --out DIR`), that of mining images.jsonl (made by "
        "`valor mine --run DIR`), that of an evaluation answers.jsonl (made by `valor eval NAME --out DIR`)."
    )


def _evaluated(report: Mapping[str, Any]) -> list[str]:
    low, high = report["ci"]
    paper = report.get("paper_accuracy")
    lines = [
        f"{report['benchmark']}: {report['accuracy']:.1%} of {report['n']} right [{low:.1%}, {high:.1%}]"
    ]
    lines += [] if paper is None else [f"by the paper's rule {paper:.1%}"]
    return [*lines, f"{report['failures']} without an answer"]


def _improved(report: Mapping[str, Any]) -> list[str]:
    done = sum(stage["done"] for stage in report["stages"])
    lines = [f"{done} of {len(report['stages'])} stages done"]
    for name, share in (report["accuracy"] or {}).items():
        if share is not None:
            low, high = share["ci"]
            lines.append(f"{name}: {share['accuracy']:.1%} of {share['n']} right [{low:.1%}, {high:.1%}]")
    for name, gain in (report["gains"] or {}).items():
        if gain is not None:
            low, high = gain["ci"]
            lines.append(f"gain of {name}: {gain['gain']:+.1%} [{low:+.1%}, {high:+.1%}]")
    return lines + ([report["measured"]] if report["measured"] else [])


def _scored(report: Mapping[str, Any]) -> list[str]:
    mean = report["mean_reward"]
    return [
        f"mean reward {'–' if mean is None else f'{mean:.3f}'} over {report['scored']} of {report['replies']} replies"
    ]


def _mined(report: Mapping[str, Any]) -> list[str]:
    lines = [f"{report['kept']} of {report['candidates']} boxes confirmed in {report['images']} pictures"]
    if precision := report["precision_by_stage"]:
        stages = ", ".join(
            f"{stage} {'–' if share is None else f'{share:.3f}'}" for stage, share in precision.items()
        )
        lines.append(f"precision: {stages}")
    return lines


def _fine_tuned(report: Mapping[str, Any]) -> list[str]:
    if not report:
        return ["no report yet: training has not come to its end; the page shows how far it is"]
    lines = []
    for title, name in (("AP50 held-out", "ap50"), ("general mAP", "general_map")):
        start, end = report.get(f"{name}_start"), report.get(f"{name}_end")
        if start is not None:
            lines.append(f"{title} {start:.1f}" + ("" if end is None else f" -> {end:.1f}"))
    if lines and (interval := report.get("gain_ci")):
        lines[0] += f", change {interval[0]:+.1f} … {interval[1]:+.1f} (95 %)"
    return [*lines, f"published: {report.get('published') or 'nothing'}"]


def _trained(report: Mapping[str, Any]) -> list[str]:
    planned = f" of {report['planned_steps']}" if report["planned_steps"] else ""
    lines = [f"{report['steps']}{planned} steps, {report['rollouts']['all']} rollouts"]
    for title, name in (("reward", "reward"), ("all heads yes", "all_heads")):
        start, end = report[f"{name}_start"], report[f"{name}_end"]
        if start is not None and end is not None:
            lines.append(f"{title} {start:.3f} -> {end:.3f}")
    start, end, interval = report["accuracy_start"], report["accuracy_end"], report["gain_ci"]
    if start is not None:
        after = "" if end is None else f" -> {end:.1%}"
        sure = "" if interval is None else f", change {interval[0]:+.1%} … {interval[1]:+.1%} (95 %)"
        lines.append(f"held-out accuracy {start:.1%}{after}{sure}")
    worse = [name for name, family in report["by_family"].items() if family["significantly_worse"]]
    if worse:
        lines.append(f"significantly worse: {', '.join(worse)}")
    return lines
