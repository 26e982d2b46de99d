"""By hand: kill -9 of a whole run at random moments, and how far the weights then are from an uninterrupted run's.

    python tests/by_hand/resume_exactness.py --kills 5

About a minute for each start. Prints a JSON line for each kill; exit code 1 when anything is not exact.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import train_runs as runs

STEPS = 6
SETTINGS = [f"grpo.steps={STEPS}", "grpo.max_lag=0", "grpo.learning_rate=1e-3"]


def uninterrupted(folder: Path, judge: Any) -> tuple[Path, float]:
    """A run that nobody kills, and the seconds that its steps take."""
    with runs.Run(folder, [*SETTINGS, *judge.settings()], "--in-process") as run:
        run.wait_for_step(0)
        began = time.monotonic()
        run.finish()
    return folder, (time.monotonic() - began) / STEPS


def killed_and_resumed(
    whole: Path, folder: Path, judge: Any, draw: random.Random, step_s: float
) -> dict[str, Any]:
    """One run that is killed at a random moment and started again; what differs from the `whole` one."""
    options = [*SETTINGS, *judge.settings()]
    step, more_s = draw.randrange(STEPS), draw.uniform(0, 1.2 * step_s)
    with runs.Run(folder, options, "--in-process") as run:
        run.wait_for_step(step)
        time.sleep(more_s)
        assert run.process.poll() is None, "over before it was killed"
        run.kill_all()
    kept, asked = runs.stored(folder), runs.settled(lambda: judge.asked)
    before = runs.records(folder / "rollouts.jsonl")
    checkpoint = max((folder / "checkpoints").glob("step-*"), default=None)
    at = len(runs.steps(folder))
    runs.Run(folder, options, "--in-process").finish()
    after = runs.records(folder / "rollouts.jsonl")
    ids = [row["rollout_id"] for row in after]
    return {
        "killed_after_step": at,
        "seconds_later": round(more_s, 2),
        "from_checkpoint": checkpoint.name if checkpoint else None,
        "rollouts_recorded": len(before),
        "weight_difference": runs.difference(whole, folder, STEPS),
        "rollouts_once": len(set(ids)) == len(ids) and set(ids) == set(runs.rollout_ids(whole)),
        "steps_once": runs.steps(folder) == list(range(1, STEPS + 1)),
        "recorded_unchanged": after[: len(before)] == before,
        "verdicts_asked_again": judge.asked - asked - (runs.stored(folder) - kept),
    }


def exact(outcome: dict[str, Any]) -> bool:
    return (
        outcome["weight_difference"] <= 1e-6
        and outcome["rollouts_once"]
        and outcome["steps_once"]
        and outcome["recorded_unchanged"]
        and outcome["verdicts_asked_again"] == 0
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument(
        "--seed", type=int, default=None, help="of the moments; default: another one each time"
    )
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(10**6)
    draw, good = random.Random(seed), True
    with tempfile.TemporaryDirectory() as parent, runs.counting_judge() as judge:
        whole, step_s = uninterrupted(Path(parent) / "whole", judge)
        print(json.dumps({
            "seed": seed, "steps": STEPS, "step_s": round(step_s, 2), "weights_moved_by": runs.movement(whole, STEPS),
        }), flush=True)  # fmt: skip
        for number in range(args.kills):
            outcome = killed_and_resumed(whole, Path(parent) / str(number), judge, draw, step_s)
            print(json.dumps(outcome), flush=True)
            good = good and exact(outcome)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
