"""Do JPEG and PNG lead the verifier to the same verdicts, and what does each cost? On the candidates of a mining run.

    python -m valor_ray.perf.box_formats --run runs/mine
    python -m valor_ray.perf.box_formats --run runs/mine --images 50 --set vlm.model=my-vlm --json

Asks the run's VLM (settings: RUN/config.yaml, then --set) about the recorded candidates of its first pictures with
boxes, once with JPEGs and once with PNGs, all three checks. Prints, for each check and for the end result, on how many
boxes both gave a verdict, on how many the same one, and the 95 % interval (Wilson) of that share; and the CPU and bytes
of a picture's requests (coarse, and a crop of every candidate) in both formats. Answers are kept in the run's
vlm_cache: those that mining has paid for are not paid for again. Nothing else is written.

Exit code 0; 1: the VLM refuses; 2: wrong usage or settings; 130: Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.errors import ConfigError, ImageError, ValorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from valor_ray.config.tree import Config
    from valor_ray.records import Detection, Picture

    Shown = Sequence[tuple[Picture, Sequence[Detection]]]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m valor_ray.perf.box_formats", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--run", type=Path, required=True, metavar="RUN", help="folder of `valor mine`")
    parser.add_argument("--images", type=int, metavar="N", help="its first N pictures with boxes (all)")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="a.b=c", help="change one setting"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object on stdout and nothing else"
    )
    return parser


def run(args: argparse.Namespace) -> dict[str, Any]:
    """{agreement: {check: {boxes, agreed, share, ci}}, cost: {format: {...}}, images, unreadable, ...}.

    Raises ConfigError (no run, no pictures), JudgeError.
    """
    from valor_ray.config.tree import Config

    settings = args.run / "config.yaml"
    if not settings.is_file():
        raise ConfigError(f"--run {args.run} has no config.yaml. Give the folder of a `valor mine` run.")
    config = Config.load(str(settings), args.overrides)
    return asyncio.run(_compare(args, config))


async def _compare(args: argparse.Namespace, config: Config) -> dict[str, Any]:
    from valor_ray.perf.boxes.agreement import compare_formats
    from valor_ray.wiring import judging, vlm_cache

    shown, unreadable = await recorded(args.run, config, args.images)
    cost(shown[:1], config, "jpeg")  # what is done once, as loading OpenCV, belongs to neither
    costs = {form: cost(shown, config, form) for form in ("jpeg", "png")}
    async with judging(config.vlm, vlm_cache(args.run), config.vlm_part) as judge:
        agreement = await compare_formats(judge, shown, config.grounding, config.vlm)
    return {
        "agreement": agreement,
        "cost": costs,
        "images": len(shown),
        "unreadable": unreadable,
        "candidates": sum(len(candidates) for _, candidates in shown),
        "vlm": config.vlm.model,
        "jpeg_quality": config.vlm.jpeg_quality,
    }


async def recorded(run: Path, config: Config, limit: int | None) -> tuple[Shown, int]:
    """Pictures of a run with their candidates, in the order of its records, and how many could not be read.

    At most `limit` of them; those without a candidate are left out. Raises ConfigError when there are none.
    """
    from valor_ray.grounding.mine.folder import MineFolder
    from valor_ray.grounding.mine.step import load_picture
    from valor_ray.records import Detection, MinedImage
    from valor_ray.runs.record_file import read_records

    shown: list[tuple[Picture, list[Detection]]] = []
    unreadable = 0
    path = MineFolder(run).images
    for record in map(MinedImage.from_record, read_records(path)):
        if limit is not None and len(shown) >= limit:
            break
        if not record.boxes:
            continue
        try:
            picture = await load_picture(record.image, config.images)
        except ImageError:
            unreadable += 1
            continue
        shown.append((picture, [Detection(box.bbox, box.label, box.score) for box in record.boxes]))
    if not shown:
        raise ConfigError(
            f"{path} names no picture with candidates that can be read here. Give the folder of a run of `valor mine` "
            "on this machine; pictures behind URLs are not fetched."
        )
    return shown, unreadable


def cost(shown: Shown, config: Config, form: str) -> dict[str, float]:
    """{cpu_ms_per_image, kib_per_image} of making the coarse requests and a crop of every candidate."""
    from valor_ray.judges.boxes.requests import coarse_request, crop_request, sent_picture
    from valor_ray.judges.gateway.call.body import request_body

    grounding = config.grounding.model_copy(update={"picture_format": form})
    most = grounding.boxes_per_picture
    started, size = time.process_time(), 0
    for picture, candidates in shown:
        sent = sent_picture(picture, grounding, config.vlm)
        parts = [candidates[at : at + most] for at in range(0, len(candidates), most)]
        requests = [coarse_request(sent, part, grounding, config.vlm) for part in parts]
        requests += [crop_request(picture, box, grounding, config.vlm) for box in candidates]
        size += sum(len(request_body(request, config.vlm.model)) for request in requests)
    spent = time.process_time() - started
    return {
        "cpu_ms_per_image": round(1000 * spent / len(shown), 2),
        "kib_per_image": round(size / 1024 / len(shown), 1),
    }


def show(result: dict[str, Any]) -> None:
    print(f"{result['images']} pictures, {result['candidates']} candidates, verifier {result['vlm']}")
    for check, said in result["agreement"].items():
        share = "-" if said["share"] is None else f"{said['share']:.4f}"
        low, high = said["ci"]
        print(f"{check:<12}{share}  [{low:.4f}, {high:.4f}]  {said['agreed']} of {said['boxes']} boxes")
    for form, each in result["cost"].items():
        print(f"{form:<12}{each['cpu_ms_per_image']:.1f} ms CPU, {each['kib_per_image']:.0f} KiB a picture")


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)

    try:
        result = run(args)
    except ValorError as error:
        print(f"box_formats: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return 130
    if args.json:
        print(json.dumps(result))
    else:
        show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
