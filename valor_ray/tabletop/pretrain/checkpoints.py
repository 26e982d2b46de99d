"""Makes the tabletop's checkpoints and their card: policy, detector and depth as parallel Ray tasks, then figures.

    python -m jobs.pretrain_tabletop --run runs/pretrain            # hours on two cores: the policy takes most of them
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from valor_ray.config.models import CHECKPOINTS
from valor_ray.tabletop.questions import Part

MODELS = ("policy", "detector", "depth")
SEEN_SCENES, LOOK_SCENES = 100, 60  # held-out scenes of the gold check, two questions each
QUESTIONS = 600  # that the base policy answers


def commands(run: Path, args: argparse.Namespace) -> dict[str, list[str]]:
    """The training command of each model; each resumes from its own state in RUN/NAME."""
    return {
        "policy": [
            "policy",
            "--out",
            f"{run}/policy",
            "--steps",
            str(args.policy_steps),
            "--batch",
            str(args.policy_batch),
            "--device",
            args.device,
            "--workers",
            str(args.workers),
        ],
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
    todo = {
        name: command
        for name, command in commands(run, args).items()
        if name in args.only and name not in minutes
    }
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


def collect(run: Path, only: Sequence[str]) -> Path:
    """Copy what ships (no optimiser state) to RUN/checkpoints; what was not trained anew comes from the package."""
    out = run / "checkpoints"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name in set(MODELS) - set(only):
        shutil.copytree(CHECKPOINTS / name, out / name)
    if "policy" in only:
        shutil.copytree(
            run / "policy", out / "policy", ignore=shutil.ignore_patterns("state.*", "figures.json")
        )
    if "detector" in only:
        shutil.copytree(run / "detector" / "best", out / "detector")
    if "depth" in only:
        (out / "depth").mkdir()
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


SETS: dict[
    str, tuple[str, tuple[Part, ...]]
] = {  # name: split, parts of wordings and pairs (none: the split's own)
    "held_out": ("held_out", ()),
    "development": ("val", ("training",)),  # pictures of development, wordings and pairs of training
    "development_wording": ("val", ()),
}


def policy_figures(run: Path, checkpoints: Path) -> dict[str, Any]:
    """The base policy through the whole app on the seen looks, sampled at T 0.7 and greedily, for each of SETS."""
    figures: dict[str, Any] = {}
    for name in SETS:
        data = _questions(run, name)
        figures[name] = {
            "t_0.7": _evaluated(run / "eval" / name, data, checkpoints, 0.7),
            "greedy": _evaluated(run / "eval" / f"{name}-greedy", data, checkpoints, 0.0),
        }
    return figures


def _questions(run: Path, name: str) -> Path:
    """QUESTIONS questions of a set, half of them in each seen look."""
    from valor_ray.tabletop.dataset import QUESTIONS_PER_SCENE, write_dataset
    from valor_ray.tabletop.scenes import SEEN_LOOKS

    split, parts = SETS[name]
    merged = run / name
    (merged / "images").mkdir(parents=True, exist_ok=True)
    rows: dict[str, str] = {"queries.jsonl": "", "truth.jsonl": ""}
    for look in SEEN_LOOKS:
        data = run / f"{name}-{look}"
        write_dataset(data, QUESTIONS // QUESTIONS_PER_SCENE // len(SEEN_LOOKS), 2, look, split, parts)
        rows = {file: text + (data / file).read_text() for file, text in rows.items()}
        shutil.copytree(data / "images", merged / "images", dirs_exist_ok=True)
    for file, text in rows.items():
        (merged / file).write_text(text)
    return merged


def _evaluated(out: Path, data: Path, checkpoints: Path, temperature: float) -> dict[str, Any]:
    """`valor eval`'s report: by family and by text, with the share of well-formed replies."""
    command = [sys.executable, "-m", "valor_ray", "eval", "tabletop", "--data", str(data), "--out", str(out)]
    command.append("--json")
    for value in (*settings(checkpoints), f"policy.temperature={temperature}"):
        command += ["--set", value]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--run", type=Path, required=True, metavar="DIR", help="run folder; the same command resumes"
    )
    parser.add_argument("--only", nargs="+", choices=MODELS, default=MODELS, help="train these alone")
    parser.add_argument("--policy-steps", type=int, default=6000, help="hours on CPU, minutes on a GPU")
    parser.add_argument("--policy-batch", type=int, default=64, help="texts a step")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of the policy")
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare the policy's texts")
    parser.add_argument("--detector-minutes", type=float, default=55, help="wall-clock minutes")
    parser.add_argument("--depth-minutes", type=float, default=17, help="CPU minutes")
    args = parser.parse_args(argv)
    run = args.run.resolve()
    run.mkdir(parents=True, exist_ok=True)
    minutes = train(run, args)
    checkpoints = collect(run, args.only)
    card = {"minutes": minutes, "policy": policy_figures(run, checkpoints)}
    if "policy" in args.only:
        card["training"] = json.loads((run / "policy" / "figures.json").read_text())
    if set(args.only) & {"detector", "depth"}:
        card["gold_live"] = asyncio.run(gold_figures(checkpoints))
    (run / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    print(json.dumps(card, indent=2))
    return 0
