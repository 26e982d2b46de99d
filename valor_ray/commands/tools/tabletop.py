"""`valor tabletop render`: scenes of the offline world as image files, with their questions and truth."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from valor_ray.commands.options import add_json, local_path, positive, print_json, show

HELP = "Render tabletop scenes to files, with questions, boxes, depth and answers."
EPILOG = """\
example:
  valor tabletop render --out scenes/ --scenes 50 --seed 7 --look dusk
"""


def add_arguments(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    render = actions.add_parser("render", help="write scenes to a folder")
    render.add_argument(
        "--out", type=local_path, required=True, metavar="DIR", help="folder to write (made when missing)"
    )
    render.add_argument(
        "--scenes", type=positive, default=20, metavar="N", help="number of scenes (default 20)"
    )
    render.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="S",
        help="any whole number from 0 on: same seed, same scenes; no two seeds share a scene (default 0)",
    )
    render.add_argument(
        "--look",
        default=None,
        metavar="NAME",
        help="tiles, wood, dusk, loud (default: these four in turn), lamp or quilt",
    )
    add_json(render)


def run(args: Namespace) -> int:
    from valor_ray.tabletop.dataset import write_dataset

    counts = write_dataset(args.out, args.scenes, args.seed, args.look)
    if args.json:
        print_json({"out": str(args.out), **counts})
    else:
        show(
            f"Wrote {', '.join(f'{n} {what}' for what, n in counts.items())} to {args.out}/", file=sys.stderr
        )
    return 0
