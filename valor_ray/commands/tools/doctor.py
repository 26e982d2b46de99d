"""`valor doctor`: is this machine ready for these settings, and what to do if not."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from valor_ray.commands.options import add_json, add_profile, load_config, print_json, show

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

HELP = "Check this machine: versions, memory, sandbox, port, model files, GPUs, mining, your judge; list the settings."
EPILOG = """\
examples:
  valor doctor
  valor doctor --profile judge.yaml        does your judge judge? two verdicts, a picture, tokens, price
  valor doctor --profile hosted            does the writer write? one question, tags, tokens, price
  valor doctor --profile gpu --json        also GPUs, driver, RAM, disks, the model hub, keys
  valor doctor --profile gpu --run s3://bucket/runs/first
  valor doctor --set grounding.queries=photos/queries.jsonl    would `valor mine` take these?
  valor doctor --settings                  every setting: key, value, what it does
  valor doctor --settings judge --profile judge.yaml

Exit code 1 when something that is needed is missing; each finding says what to do.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--settings",
        nargs="?",
        const="",
        metavar="PREFIX",
        help="check nothing: list the settings, or those whose keys begin with PREFIX, with their values",
    )
    parser.add_argument(
        "--run", dest="folder", metavar="DIR", help="where a run is to be: can this machine keep it there?"
    )
    parser.add_argument(
        "--no-calls",
        action="store_true",
        help="do not try judge and VLM (some five calls each, less than a cent) and policy.endpoint (one reply)",
    )
    add_profile(parser)
    add_json(parser)


def run(args: Namespace) -> int:
    config = load_config(args)
    if args.settings is not None:
        _show_settings(config, args.settings, args.json)
        return 0
    from dataclasses import asdict
    from itertools import chain

    from valor_ray.doctor.checks import examine
    from valor_ray.doctor.gpu import examine_gpu
    from valor_ray.doctor.judge import examine_judge
    from valor_ray.doctor.mining import examine_mining
    from valor_ray.doctor.writer import examine_writer
    from valor_ray.queries.read import read_queries

    checks = []
    for check in chain(
        examine(config),
        examine_gpu(config, args.folder),
        examine_mining(config, read_queries),
        () if args.no_calls else examine_judge(config),
        () if args.no_calls else examine_writer(config),
    ):
        checks.append(check)
        if not args.json:
            mark = "ok  " if check.ok else "FAIL" if check.needed else "note"
            show(f"{mark}  {check.name:<15} {check.detail}")
            if check.fix:
                show(f"      {'':<15} -> {check.fix}")
    well = all(check.ok for check in checks if check.needed)
    if args.json:
        print_json({"ok": well, "checks": [asdict(check) for check in checks]})
    elif well:
        show("Ready. Next: valor demo --out demo/" if not config.wants_gpus else "Ready.")
    return 0 if well else 1


def _show_settings(config: Config, prefix: str, as_json: bool) -> None:
    """Raises ConfigError when no key begins with the prefix."""
    from valor_ray.doctor.checks import settings

    chosen = settings(config, prefix)
    if as_json:
        print_json({"settings": chosen})
        return
    wide = max(len(setting["key"]) for setting in chosen)
    for setting in chosen:
        value = setting["value"]
        text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
        show(f"{setting['key']:<{wide}}  {text:<20}  {setting['description']}")
