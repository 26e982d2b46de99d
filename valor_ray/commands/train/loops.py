"""`valor train`: which of the two loops, reasoning or grounding."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

from valor_ray.commands.train import grounding, reasoning

HELP = "Improve the policy, or the detector, without labels."
EPILOG = """\
examples:
  valor train reasoning --run runs/first                      the shipped tiny policy, offline, about 15 minutes
  valor train reasoning --run runs/first --dry-run            what it would do: steps, replies, judge calls
  valor train reasoning --run runs/mine --profile judge.yaml --queries photos/
  valor train grounding --run runs/eyes                       the shipped tiny detector, offline: mines, fine-tunes
  valor train grounding --run runs/eyes --mined runs/boxes    on what `valor mine` has confirmed
"""
_LOOPS = {"reasoning": reasoning, "grounding": grounding}


def add_arguments(parser: ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    for name, loop in _LOOPS.items():
        sub = kinds.add_parser(
            name,
            help=loop.HELP,
            description=loop.HELP,
            epilog=loop.EPILOG,
            formatter_class=RawDescriptionHelpFormatter,
        )
        loop.add_arguments(sub)


def run(args: Namespace) -> int:
    return _LOOPS[args.what].run(args)
