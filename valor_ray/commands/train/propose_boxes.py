"""Has a VLM propose boxes itself, on the pictures and phrases of a mining run, and sets them beside the verified ones.

    python -m jobs.propose_boxes --run runs/mine --out runs/generator
    python -m jobs.propose_boxes --run runs/mine --out runs/gpt --profile vlm.yaml --limit 200 --json

The paper's figure 4: does the same VLM verify boxes better than it generates them? First the VLM is shown 20 tabletop
scenes whose boxes are known, in each convention of boxes (pixels, 0-1000, y first, 0-1); the one of the best mean IoU
is used for the whole job. In --out: report.json, report.html, calibration.json, proposals.jsonl (a record a picture),
missing.jsonl (pictures without an answer, and why), vlm_cache/ (every answer, or vlm.cache_dir). Precision and recall
are known where the run's scenes were rendered, and are null elsewhere. Needs no Ray. Killed, the same command goes on
and pays nothing twice.

Exit code 0: every picture has its proposals; 1: some have none, or the VLM refuses; 2: wrong usage or settings;
130: Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
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
    from valor_ray.config.judging import JudgeConfig
    from valor_ray.config.tree import Config
    from valor_ray.grounding.generate.frozen import Frozen
    from valor_ray.judges.gateway.connect import Judges

FORMATS = ("auto", "xyxy_pixels", "xyxy_1000", "yxyx_1000", "xyxy_unit")
_KNOWN_SCENES = 20  # of the calibration
_OFFLINE = 2  # calls to the offline VLM at a time
_LOOK_EVERY_S = 10.0  # whether the VLM answers


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jobs.propose_boxes", description=__doc__, epilog=JUDGE_FILE
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--run", type=local_path, required=True, metavar="MINE_RUN", help="folder of `valor mine`, read only"
    )
    parser.add_argument("--out", type=local_path, required=True, metavar="DIR", help="folder of this job")
    parser.add_argument(
        "--format", choices=FORMATS, default="auto", help="convention of the VLM's boxes (auto: calibrate)"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N pictures of the run")
    add_profile(parser)
    add_json(parser)
    return parser


async def run(args: argparse.Namespace, config: Config) -> dict[str, Any]:
    """The report, which is also written. Raises ConfigError, JudgeError, StorageError."""
    from valor_ray.benchmarks.proposals import mined_pictures, shown_pictures, truths_of
    from valor_ray.grounding.generate.report import make_report
    from valor_ray.grounding.generate.run import Proposing
    from valor_ray.report.grounding.generator import write_generator_page
    from valor_ray.runs.folder import PROPOSALS, claimed
    from valor_ray.runs.record_file import replace_text
    from valor_ray.wiring import judging, vlm_cache

    start = time.monotonic()
    _check(args, config)
    pictures = mined_pictures(args.run, args.limit)
    truths = truths_of(args.run, pictures)
    with claimed(args.out, PROPOSALS):
        async with judging(_patient(config.vlm), vlm_cache(args.out), config.vlm_part) as judge:
            watching = asyncio.create_task(_watch(judge))
            try:
                frozen = await _frozen(args, config, judge)
                proposing = Proposing(
                    args.out,
                    frozen.convention,
                    _say,
                    judge,
                    config.vlm,
                    config.images,
                    config.grounding.picture_format,
                )
                proposed, missing = await proposing.run(pictures)
            finally:
                watching.cancel()
        report = make_report(pictures, proposed, truths, frozen)
        report |= {"missing": len(missing), "minutes": (time.monotonic() - start) / 60}
        replace_text(args.out / "report.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        write_generator_page(args.out, report, shown_pictures(pictures, proposed, truths, config.images))
    return report


def _patient(vlm: JudgeConfig) -> JudgeConfig:
    """The offline VLM searches a picture for seconds on a core: few at a time, or all would time out."""
    if vlm.base_url is not None:
        return vlm
    few = {"first_in_flight": _OFFLINE, "max_in_flight": _OFFLINE, "hedge": False, "timeout_s": 300.0}
    return vlm.model_copy(update=few)


def _check(args: argparse.Namespace, config: Config) -> None:
    """Raises ConfigError."""
    if not (args.run / "images.jsonl").is_file():
        raise ConfigError(f"--run {args.run} has no images.jsonl. Give the folder of a `valor mine` run.")
    if {other.model for other in config.vlm.others} - {config.vlm.model}:
        raise ConfigError(
            "vlm.others names other models, and a convention of boxes belongs to one model. Set vlm.others=[] for this "
            "job."
        )
    config.vlm.check_keys(config.vlm_part)


async def _frozen(args: argparse.Namespace, config: Config, judge: Judges) -> Frozen:
    """What the job keeps to: as an earlier start left it, as the user says, or by calibration."""
    from valor_ray.benchmarks.proposals import KNOWN, known_pictures
    from valor_ray.grounding.generate.calibrate import calibrate
    from valor_ray.grounding.generate.frozen import Frozen, as_sent, frozen_before

    wanted = None if args.format == "auto" else str(args.format)
    sent = as_sent(config)
    before = frozen_before(args.out, config.vlm.model, args.run, wanted, sent)
    if before is not None:
        return before
    calibration = None
    if wanted is None:
        _say(f"calibration on {_KNOWN_SCENES} tabletop scenes")
        known = await asyncio.to_thread(known_pictures, _KNOWN_SCENES)
        calibration = await calibrate(judge, known, config.vlm, config.grounding.picture_format)
        wanted = calibration.format
        _say(_scores(calibration.to_record()))
    frozen = Frozen(config.vlm.model, str(args.run.absolute()), wanted, calibration, KNOWN, sent)
    frozen.save(args.out)
    return frozen


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
        "propose_boxes",
        lambda: _work(args),
        as_json=args.json,
        interrupted="interrupted; the same command goes on",
    )


def _work(args: argparse.Namespace) -> int:
    report = asyncio.run(run(args, load_config(args)))
    if args.json:
        print_json(report)
    else:
        _show(report, args.out)
    return 1 if report["missing"] else 0


def _show(report: dict[str, Any], out: Path) -> None:
    show(f"{'':<14}{'generator':>24}{'verified':>24}")
    show(f"{'boxes':<14}{report['generator']['boxes']:>24}{report['verified']['boxes']:>24}")
    for name in ("precision", "recall", "f1", "mean_iou"):
        cells = (_figure(report[method], name) for method in ("generator", "verified"))
        show(f"{name.replace('_', ' '):<14}" + "".join(f"{cell:>24}" for cell in cells))
    slips = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in report["slips"].items())
    if report["calibration"] is not None:
        show(_scores(report["calibration"]))
    show(
        f"{report['images']} pictures in both columns, boxes by {report['model']} as {report['format']}; of its boxes: "
        f"{slips}; without an answer: {report['missing']} pictures\n"
        f"{report['calls']} calls, ${report['cost_usd']:.4f}; {report['minutes']:.1f} min; {out / 'report.html'}"
    )
    if report["note"]:
        show(report["note"])


def _figure(figures: dict[str, Any], name: str) -> str:
    if figures[name] is None:
        return "–"
    low, high = figures[f"{name}_ci"]
    return f"{figures[name]:.3f} ({low:.3f}–{high:.3f})"


def _scores(calibration: dict[str, Any]) -> str:
    scores = ", ".join(f"{name} {score:.3f}" for name, score in calibration["scores"].items())
    return f"calibration, mean IoU on {calibration['scenes']} scenes: {scores}"


def _say(line: str) -> None:
    show(f"propose_boxes: {line}", file=sys.stderr, flush=True)
