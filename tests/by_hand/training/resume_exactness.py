"""By hand: kill -9 of a whole run at random moments, and how far the weights then are from an uninterrupted run's.

    python tests/by_hand/training/resume_exactness.py --kills 5 [--s3]

About a minute for each start. Prints a JSON line for each kill; exit code 1 when anything is not exact.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

import at_url
import s3
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
    whole: Path, folder: Path, judge: Any, draw: random.Random, step_s: float, url: str | None = None
) -> dict[str, Any]:
    """One run that is killed at a random moment and started again; what differs from the `whole` one.

    url: where it is; what the first start has left on the machine is then not there for the second one.
    """
    options = [*SETTINGS, *judge.settings()]
    step, more_s = draw.randrange(STEPS), draw.uniform(0, 1.2 * step_s)
    first, second = (machine(folder, name, url) for name in ("first", "second"))
    with runs.Run(first.folder, options, "--in-process", at=url, **first.environment) as run:
        run.wait_for_step(step)
        time.sleep(more_s)
        assert run.process.poll() is None, "over before it was killed"
        run.kill_all()
    asked = runs.settled(lambda: judge.asked)
    left = first.folder if url is None else at_url.copied(url, folder.with_name(f"{folder.name}-left"))
    kept, at = runs.stored(left), len(runs.steps(first.folder))
    before = runs.records(left / "rollouts.jsonl")
    checkpoint = max((left / "checkpoints").glob("step-*"), default=None)
    runs.Run(second.folder, options, "--in-process", at=url, **second.environment).finish()
    end = second.folder if url is None else at_url.copied(url, folder.with_name(f"{folder.name}-end"))
    after = runs.records(end / "rollouts.jsonl")
    ids = [row["rollout_id"] for row in after]
    return {
        "killed_after_step": at,
        "seconds_later": round(more_s, 2),
        "from_checkpoint": checkpoint.name if checkpoint else None,
        "rollouts_recorded": len(before),
        "weight_difference": runs.difference(whole, end, STEPS),
        "rollouts_once": len(set(ids)) == len(ids) and set(ids) == set(runs.rollout_ids(whole)),
        "steps_once": runs.steps(end) == list(range(1, STEPS + 1)),
        "recorded_unchanged": after[: len(before)] == before,
        "verdicts_asked_again": judge.asked - asked - (runs.stored(end) - kept),
    }


class Machine(NamedTuple):
    folder: Path  # of the run, here
    environment: dict[str, str]


def machine(folder: Path, name: str, url: str | None) -> Machine:
    if url is None:
        return Machine(folder, {})
    staging = folder.with_name(f"{folder.name}-{name}")
    return Machine(at_url.folder_under(staging, url), {"VALOR_STAGING": str(staging)})


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
    parser.add_argument(
        "--s3", action="store_true", help="runs in an object store, each start on a bare machine"
    )
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(10**6)
    draw, good = random.Random(seed), True
    with tempfile.TemporaryDirectory() as parent, runs.counting_judge() as judge:
        whole, step_s = uninterrupted(Path(parent) / "whole", judge)
        print(json.dumps({
            "seed": seed, "steps": STEPS, "step_s": round(step_s, 2), "weights_moved_by": runs.movement(whole, STEPS),
        }), flush=True)  # fmt: skip
        with s3.own_bucket() if args.s3 else nullcontext() as bucket:
            for number in range(args.kills):
                url = bucket and f"{bucket}/runs/{number}"
                outcome = killed_and_resumed(whole, Path(parent) / str(number), judge, draw, step_s, url)
                print(json.dumps(outcome), flush=True)
                good = good and exact(outcome)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
