"""By hand: how fast `valor eval` answers tabletop questions, against one at a time; time and memory as questions grow.

    python tests/by_hand/service/evaluation_speed.py --ratio [--questions 500]              about 8 minutes
    python tests/by_hand/service/evaluation_speed.py --growth [--questions 100,1000,4000]   about 15 minutes

Each run has a folder, services and caches of its own. --ratio counts from the first answer to the last; --growth from
the 64th, as those that are under way together come all at once, which flatters a short run.
Prints JSON; exit code 1: under 6 times as fast, ten times the questions took more than 10.5 times the time, or memory
grew by more than 5 % after the first third.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from soak_memory import Memory, cpu_seconds

LEAST_RATIO, MOST_SLOWER, MOST_GROWTH = 6.0, 1.05, 0.05
_FIRST_WAVE = 64  # answers, more than are under way at a time
_LOOK_S, _MEMORY_EVERY = 0.2, 25  # looks at the answers; of them one in so many at the memory


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--ratio", action="store_true", help="as it is, and with one question at a time")
    what.add_argument("--growth", action="store_true", help="several numbers of questions")
    parser.add_argument("--questions", help="how many (500; of --growth 100,1000,4000)")
    args = parser.parse_args()
    found = ratio(int(args.questions or 500)) if args.ratio else growth(args.questions or "100,1000,4000")
    print(json.dumps(found, indent=1))
    return 0 if found["well"] else 1


def ratio(questions: int) -> dict[str, Any]:
    ours, single = evaluated(questions), evaluated(questions, "--concurrency", "1")
    times = round(ours["per_second"] / single["per_second"], 2)
    return {"well": times >= LEAST_RATIO, "ratio": times, "ours": ours, "one_at_a_time": single}


def growth(sizes: str) -> dict[str, Any]:
    runs = [evaluated(int(size), after=_FIRST_WAVE) for size in sizes.split(",")]
    slower = [
        round(small["per_second"] / large["per_second"], 3)  # 1: the time is linear
        for small, large in itertools.pairwise(runs)
    ]
    flat = runs[-1]["memory_growth"] <= MOST_GROWTH
    return {
        "well": max(slower, default=1.0) <= MOST_SLOWER and flat,
        "time_a_question_against_fewer": slower,
        "runs": runs,
    }


def evaluated(questions: int, *options: str, after: int = 1) -> dict[str, Any]:
    """One `valor eval`: answers a second, CPU of each part for one, memory."""
    with tempfile.TemporaryDirectory(prefix="valor-speed-") as folder:
        out = Path(folder) / "out"
        command = [sys.executable, "-m", "valor_ray", "eval", "tabletop", "--limit", str(questions)]
        with (Path(folder) / "log.txt").open("w") as log:
            run = subprocess.Popen(
                [*command, "--out", str(out), "--json", *options], stdout=subprocess.PIPE, stderr=log
            )
            seen = watched(run, out / "answers.jsonl", questions, after)
        said, _ = run.communicate()
        if run.returncode:
            sys.exit((Path(folder) / "log.txt").read_text())
    figures = {"questions": questions, "accuracy": json.loads(said)["accuracy"], **seen}
    print(figures, file=sys.stderr, flush=True)
    return figures


def watched(run: subprocess.Popen[bytes], answers: Path, questions: int, after: int) -> dict[str, Any]:
    """From when `after` answers are there."""
    memory, first, last, there = Memory(run.pid), None, None, 0
    for look in itertools.count():
        now, count = time.monotonic(), answers.read_bytes().count(b"\n") if answers.exists() else 0
        if first is None and count >= after:
            first, before, began_with = now, cpu_seconds(run.pid), count
        if count > there:
            last, there = now, count
        if count >= questions or run.poll() is not None:
            break
        if first == now or (first is not None and look % _MEMORY_EVERY == 0):
            memory.look()
        time.sleep(_LOOK_S)
    if first is None or last is None or last <= first:
        return {"per_second": float("nan"), "memory_growth": float("nan")}
    counted = there - began_with
    used = {part: spent - before.get(part, 0.0) for part, spent in cpu_seconds(run.pid).items()}
    return {
        "seconds": round(last - first, 1),
        "per_second": round(counted / (last - first), 2),
        "cpu_ms_a_question": {
            part: round(1000 * spent / counted, 1)
            for part, spent in sorted(used.items(), key=lambda one: -one[1])
            if spent > 0.05
        },
        "MiB": memory.last()["MiB"],
        "memory_growth": memory.growth(0),
    }


if __name__ == "__main__":
    sys.exit(main())
