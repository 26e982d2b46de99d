"""Makes the tabletop's checkpoints and their card: policy, detector and depth as parallel Ray tasks, then figures.

    python -m jobs.pretrain_tabletop --run runs/pretrain            # about an hour and a half on two cores
    ray job submit -- python -m jobs.pretrain_tabletop --run /shared/pretrain

Killed, the same command goes on. To ship the result, copy RUN/checkpoints/* to valor_ray/tabletop/checkpoints/.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SEEN_SCENES, LOOK_SCENES = 100, 60  # held-out scenes of the gold check, two questions each
QUESTIONS = 600  # that the base policy answers


def commands(run: Path, args: argparse.Namespace) -> dict[str, list[str]]:
    """The training command of each model; each resumes from its own state in RUN/NAME."""
    return {
        "policy": ["policy", "--out", f"{run}/policy", "--steps", str(args.policy_steps)],
        "detector": [
            "detector",
            "--out",
            f"{run}/detector",
            "--minutes",
            str(args.detector_minutes),
        ],
        "depth": ["depth", "--out", f"{run}/depth", "--minutes", str(args.depth_minutes)],
    }


def train(run: Path, args: argparse.Namespace) -> dict[str, float]:
    """Run what is not done yet, one Ray task a model; returns the wall-clock minutes of each."""
    import ray

    @ray.remote(num_cpus=1)
    def one(name: str, command: list[str]) -> tuple[str, float]:
        began = time.monotonic()
        with (run / f"{name}.log").open("a") as log:
            module, *rest = command
            subprocess.run(
                [sys.executable, "-m", f"valor_ray.tabletop.pretrain.{module}", *rest],
                stdout=log,
                stderr=log,
                check=True,
            )
        return name, (time.monotonic() - began) / 60

    minutes_file = run / "minutes.json"
    minutes: dict[str, float] = json.loads(minutes_file.read_text()) if minutes_file.exists() else {}
    todo = {name: command for name, command in commands(run, args).items() if name not in minutes}
    ray.init(num_cpus=max(2, len(todo)), include_dashboard=False)
    running = [one.remote(name, command) for name, command in todo.items()]
    while running:
        done, running = ray.wait(running)
        for name, took in ray.get(done):
            minutes[name] = round(took, 1)
            minutes_file.write_text(json.dumps(minutes))
            print(f"{name} done in {took:.0f} min", file=sys.stderr)
    ray.shutdown()
    return minutes


def collect(run: Path) -> Path:
    """Copy what ships (no optimiser state) to RUN/checkpoints."""
    out = run / "checkpoints"
    shutil.rmtree(out, ignore_errors=True)
    (out / "depth").mkdir(parents=True)
    shutil.copytree(run / "policy", out / "policy", ignore=shutil.ignore_patterns("state.*"))
    shutil.copytree(run / "detector" / "best", out / "detector")
    shutil.copy(run / "depth" / "model.pt", out / "depth" / "model.pt")
    return out


def settings(checkpoints: Path) -> list[str]:
    """`--set` values that use the new checkpoints in place of the shipped ones."""
    return [f"{name}.model={checkpoints / name}" for name in ("policy", "detector", "depth")]


async def gold_figures(checkpoints: Path) -> dict[str, Any]:
    """Share of gold programs that answer right with live tools, by look, and by family on the seen looks."""
    from valor_ray.config.tree import Config
    from valor_ray.images import from_array
    from valor_ray.measure.intervals import wilson
    from valor_ray.program.sandbox import Sandbox
    from valor_ray.tabletop.dataset import items
    from valor_ray.tabletop.gold_check import gold_rows
    from valor_ray.tabletop.scenes import SEEN_LOOKS, UNSEEN_LOOKS
    from valor_ray.wiring import vision

    config = Config.load("local", settings(checkpoints))
    rows = []
    async with vision(config) as parts, Sandbox(config.sandbox) as sandbox:
        for look in (*SEEN_LOOKS, *UNSEEN_LOOKS):
            scenes = items(SEEN_SCENES if look in SEEN_LOOKS else LOOK_SCENES, 1, look, "held_out")
            rows += await gold_rows(scenes, lambda item: parts.tools(from_array(item.rendering.rgb)), sandbox)
    (checkpoints.parent / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    seen = [row for row in rows if row["look"] in SEEN_LOOKS]

    def share(part: list[dict[str, Any]]) -> dict[str, Any]:
        right = sum(row["right"] for row in part)
        low, high = wilson(right, len(part))
        return {"n": len(part), "right": round(right / len(part), 3), "ci95": [round(low, 3), round(high, 3)]}

    return {
        "seen": share(seen),
        "by_look": {
            look: share([r for r in rows if r["look"] == look]) for look in sorted({r["look"] for r in rows})
        },
        "by_family_seen": {
            f: share([r for r in seen if r["family"] == f]) for f in sorted({r["family"] for r in rows})
        },
    }


def policy_figures(run: Path, checkpoints: Path) -> dict[str, Any]:
    """The base policy through the whole app on held-out questions of the seen looks: `valor eval`."""
    from valor_ray.tabletop.dataset import QUESTIONS_PER_SCENE, write_dataset
    from valor_ray.tabletop.scenes import SEEN_LOOKS

    for look in SEEN_LOOKS:
        data = run / f"held-out-{look}"
        write_dataset(data, QUESTIONS // QUESTIONS_PER_SCENE // len(SEEN_LOOKS), 2, look, split="held_out")
    merged = run / "held-out"
    (merged / "images").mkdir(parents=True, exist_ok=True)
    for name in ("queries.jsonl", "truth.jsonl"):
        (merged / name).write_text(
            "".join((run / f"held-out-{look}" / name).read_text() for look in SEEN_LOOKS)
        )
    for look in SEEN_LOOKS:
        shutil.copytree(run / f"held-out-{look}" / "images", merged / "images", dirs_exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "valor_ray",
        "eval",
        "tabletop",
        "--data",
        str(merged),
        "--out",
        str(run / "eval"),
        "--json",
    ]
    for value in settings(checkpoints):
        command += ["--set", value]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    rows = [json.loads(line) for line in (run / "eval" / "answers.jsonl").read_text().splitlines()]
    malformed = sum("malformed" in (row["error"] or "") for row in rows)
    result["well_formed"] = round(1 - malformed / len(rows), 3)
    return result


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--run", type=Path, required=True, metavar="DIR", help="run folder; the same command resumes"
    )
    parser.add_argument("--policy-steps", type=int, default=1600)
    parser.add_argument("--detector-minutes", type=float, default=55, help="wall-clock minutes")
    parser.add_argument("--depth-minutes", type=float, default=17, help="CPU minutes")
    args = parser.parse_args(argv)
    run = args.run.resolve()
    run.mkdir(parents=True, exist_ok=True)
    minutes = train(run, args)
    checkpoints = collect(run)
    card = {
        "minutes": minutes,
        "gold_live": asyncio.run(gold_figures(checkpoints)),
        "policy": policy_figures(run, checkpoints),
    }
    (run / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    print(json.dumps(card, indent=2))
    return 0
