"""`valor compare`: runs of `valor eval` on the same questions, with how sure each difference is."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from valor_ray.commands.options import add_json, local_path, print_json, show
from valor_ray.errors import ConfigError

HELP = "Compare runs of `valor eval` on the same questions."
EPILOG = """\
examples:
  valor compare runs/base runs/trained              two --out folders of one benchmark
  valor compare runs/base runs/a runs/b --json      each of the others against the first; folders of folders will do

A RUN is the --out folder of `valor eval`, or a folder with one such folder a benchmark. Marks are the strict ones. The
interval (95 %) is a paired bootstrap over pictures; p is McNemar's exact test where answers are right or wrong, the
bootstrap's where marks are fractions, and p (Holm) is corrected for all lines printed. "visible" is the smallest
difference that so many questions show (two-sided 5 %, power 80 %): less than that may be there and not be seen.
Below stand the methods (valor eval --method) with what these runs measured, and the figures that others have published,
by the paper's rules unless it says otherwise, each with its n and source.
Runs may differ in policy, models, --samples, --select: what differs is printed. The questions may not.

Exit code 0: compared; 2: the runs did not ask the same, or are none.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="+",
        type=local_path,
        metavar="RUN",
        help="the first is what the others are compared with",
    )
    add_json(parser)


def run(args: Namespace) -> int:
    from valor_ray.benchmarks.comparison import compare

    if len(args.runs) < 2:
        raise ConfigError(
            f"{args.runs[0]}: give two runs or more, the first of which the others are compared with."
        )
    result = compare(args.runs)
    if args.json:
        print_json(result)
    else:
        _show(result)
    return 0


def _show(result: dict[str, Any]) -> None:
    show(f"against {result['base']}")
    titles = f"{'benchmark':<14}{'n':>5}{'before':>8}{'after':>8}{'change':>8}  {'95 % interval':<18}"
    show(f"{titles}{'p':>8}{'p (Holm)':>10}{'visible':>9}  run")
    for one in result["comparisons"]:
        between = f"{100 * one['ci'][0]:+.1f} … {100 * one['ci'][1]:+.1f}"
        show(
            f"{one['benchmark']:<14}{one['n']:>5}{one['before']:>8.1%}{one['after']:>8.1%}{100 * one['gain']:>+8.1f}  "
            f"{between:<18}{one['p']:>8.3g}{one['p_holm']:>10.3g}{100 * one['visible']:>9.1f}  {one['run']}"
        )
        if one["differs"]:
            show(f"  answered otherwise: {one['differs']}")
        if any(one["unasked"]):
            show(
                f"  {one['unasked'][0]} and {one['unasked'][1]} of its questions were not asked and count as wrong"
            )
    for name in result["not_compared"]:
        show(f"not compared: {name}")
    for name, table in result["methods"].items():
        _show_methods(name, table)


def _show_methods(benchmark: str, table: dict[str, Any]) -> None:
    """What was measured here by each method; beside it, in columns of its own, what others have published."""
    show(f"\n{benchmark} by method{'':<26}measured, strict")
    for one in table["measured"]:
        said = "not measured" if one["accuracy"] is None else f"{one['accuracy']:.1%} of {one['n']}"
        show(f"  {one['method']:<40}{said:>16}")
    if table["published"]:
        show(f"  {'':<40}{'':>16}  {'published':>10}  n; source")
    for one in table["published"]:
        rows = "" if one["same_rows"] else " (other rows or rules)"
        show(f"  {one['method']:<40}{'':>16}  {one['percent']:>9.1f}%  {one['n']}{rows}; {one['source']}")
