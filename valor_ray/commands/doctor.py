"""`valor doctor`: is this machine ready for these settings, and what to do if not."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from valor_ray.commands.options import add_json, add_profile, load_config, print_json

HELP = "Check this machine: versions, memory, sandbox, port, model files."
EPILOG = """\
examples:
  valor doctor
  valor doctor --profile gpu --json

Exit code 1 when something that is needed is missing; each finding says what to do.
"""


def add_arguments(parser: ArgumentParser) -> None:
    add_profile(parser)
    add_json(parser)


def run(args: Namespace) -> int:
    config = load_config(args)
    from dataclasses import asdict

    from valor_ray.doctor import examine

    checks = []
    for check in examine(config):
        checks.append(check)
        if not args.json:
            mark = "ok  " if check.ok else "FAIL" if check.needed else "note"
            print(f"{mark}  {check.name:<15} {check.detail}")
            if check.fix:
                print(f"      {'':<15} -> {check.fix}")
    well = all(check.ok for check in checks if check.needed)
    if args.json:
        print_json({"ok": well, "checks": [asdict(check) for check in checks]})
    elif well:
        print("Ready. Next: valor demo --out demo/")
    return 0 if well else 1
