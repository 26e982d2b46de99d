"""`valor detect`: boxes of phrases in picture files, by the detector of the settings or of a running `valor serve`."""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.commands.options import add_json, add_profile, load_config, local_path, print_json, show
from valor_ray.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from valor_ray.config.tree import Config
    from valor_ray.ports import Detector

HELP = "Find what phrases name in pictures: boxes, by the detector that programs use."
EPILOG = """\
examples:
  valor detect photo.png "red box, ball"
  valor detect photos/ "sofa, coffee table" --threshold 0.2 --json > boxes.json
  valor detect photo.png "ball" --set detector.model=runs/eyes/chosen   of a run of `valor train grounding`
  valor detect photo.png "ball" --url http://127.0.0.1:8000          by the detector of a running `valor serve`

A box is [x1, y1, x2, y2] in pixels of the picture, left, top, right, bottom. With --json: {"phrases": […],
"pictures": [{"path", "width", "height", "detections": [{"bbox", "label", "score"}], "error"}]}.
Exit code 0: every picture was looked at; 1: some could not be read (their `error` says why); 2: wrong usage.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "paths", type=local_path, nargs="+", metavar="PATH", help="picture files, or folders of them"
    )
    parser.add_argument(
        "phrases", metavar="PHRASES", help="what to look for, phrases with commas between them"
    )
    parser.add_argument(
        "--threshold",
        type=_share,
        metavar="T",
        help="lowest score of a box, 0 to 1 (detector.box_threshold)",
    )
    parser.add_argument("--url", metavar="URL", help="a running `valor serve` (default: loads the detector)")
    parser.add_argument("--token-env", metavar="NAME", help="environment variable with its bearer token")
    add_profile(parser)
    add_json(parser)


def run(args: Namespace) -> int:
    from valor_ray.tools import MAX_PHRASES, split_phrases

    phrases = split_phrases(args.phrases)
    if not 1 <= len(phrases) <= MAX_PHRASES:
        raise ConfigError(
            f'PHRASES {args.phrases!r:.80} has {len(phrases)} phrases: give 1 to {MAX_PHRASES}, as in "red box, ball".'
        )
    files = list(_files(args.paths))
    found = asyncio.run(_looked(args, load_config(args), files, phrases))
    if args.json:
        print_json({"phrases": phrases, "pictures": found})
    return 1 if any(one["error"] for one in found) else 0


async def _looked(
    args: Namespace, config: Config, files: Iterable[Path], phrases: tuple[str, ...]
) -> list[dict[str, Any]]:
    """A record of each picture, told as it comes where no JSON is wanted."""
    from valor_ray.images import load_with_file

    found = []
    async with _detector(args, config) as detector:
        for path in files:
            record: dict[str, Any] = {"path": str(path), "width": None, "height": None, "detections": []}
            try:
                picture = load_with_file(path, config.images)
            except ImageError as error:
                record |= {"error": str(error)}
            else:
                boxes = await detector.detect(picture, phrases, box_threshold=args.threshold)
                record |= {"width": picture.width, "height": picture.height, "error": None}
                record["detections"] = [asdict(box) for box in boxes]
            found.append(record)
            if not args.json:
                _show(record)
    return found


@asynccontextmanager
async def _detector(args: Namespace, config: Config) -> AsyncIterator[Detector]:
    if args.url is not None:
        from valor_ray.client.ports import RemoteDetector, Service
        from valor_ray.config.service import ServerConfig

        async with Service(args.url, ServerConfig(token_env=args.token_env).token()) as service:
            yield RemoteDetector(service)
        return
    from valor_ray.models.grounding_dino.detector import GroundingDino
    from valor_ray.wiring import InProcessDetector

    yield InProcessDetector(GroundingDino(config.detector))


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Raises ConfigError for a path that is not there, and a folder without pictures."""
    from valor_ray.queries.pictures import pictures_in

    for path in paths:
        if not path.exists():
            raise ConfigError(f"PATH {path}: there is no such file or folder.")
        yield from pictures_in(path, f"PATH {path}") if path.is_dir() else [path]


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value


def _show(record: dict[str, Any]) -> None:
    if record["error"]:
        show(f"{record['path']}: {record['error']}", file=sys.stderr)
        return
    boxes = record["detections"]
    show(f"{record['path']} ({record['width']} x {record['height']}): {len(boxes) or 'no'} boxes")
    for box in boxes:
        corners = ", ".join(f"{side:.0f}" for side in box["bbox"])
        show(f"  {box['score']:.2f}  {box['label']}  [{corners}]")
