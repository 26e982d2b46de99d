"""By hand: a small `valor improve`, killed with kill -9 in each of three stages, beside one that nobody kills.

    python tests/by_hand/training/improve_kills.py [--seed N]

Fifteen starts of Ray; prints a JSON line for each kill and one at the end; exit code 1 when records are
lost or twice, or weights differ. On-policy (grpo.max_lag=0), as only then is what is sampled the same in both.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

import train_runs as runs

QUESTIONS, STEPS, FINETUNE_STEPS = 12, 4, 8
SETTINGS = (
    "grpo.prompts=2", "grpo.samples=4", "grpo.micro_batch=4", "grpo.max_tokens=300", "grpo.query_limit=40",
    "grpo.eval_questions=0", "grpo.save_every=2", f"grpo.steps={STEPS}", "grpo.max_lag=0", "grpo.learning_rate=1e-3",
    "stopping.questions=0", "grounding.query_limit=24", f"finetune.steps={FINETUNE_STEPS}", "finetune.warmup_steps=2",
    "finetune.save_every=4", "finetune.replay_limit=20",
)  # fmt: skip
KILLED_IN = {  # stage: the records that grow while it works, and how many there are at most when it is killed
    "round-1/reasoning": ("metrics.jsonl", STEPS - 1),
    "round-1/mine": ("images.jsonl", 8),
    "round-1/grounding": ("metrics.jsonl", FINETUNE_STEPS - 2),
}
RECORDS = {  # what is recorded once: by which field
    "base/tabletop/answers.jsonl": "query_id",
    "round-1/reasoning/metrics.jsonl": "step",
    "round-1/reasoning/rollouts.jsonl": "rollout_id",
    "round-1/after-reasoning/tabletop/answers.jsonl": "query_id",
    "round-1/mine/images.jsonl": "key",
    "round-1/after-grounding/tabletop/answers.jsonl": "query_id",
}
VALUES = (
    "answer",
    "right",
    "reply",
    "value",
    "boxes",
    "phrases",
)  # of a record, that may not depend on kills


class Job:
    """A start of `valor improve` on a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder.with_name(f"{folder.name}-{time.monotonic_ns()}.log")
        command = [sys.executable, "-m", "valor_ray", "improve", "--run", str(folder), "--json"]
        command += ["--questions", str(QUESTIONS), "--eval-scenes", "2"]
        command += [word for value in SETTINGS for word in ("--set", value)]
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stream, text=True)

    def kill_when(self, stage: str, file: str, rows: int, more_s: float) -> None:
        """kill -9 of all its processes at once, some time after the stage has recorded so much."""
        path = self.folder / stage / file
        runs.wait_until(self.process, self.log.read_text, lambda: len(runs.records(path)) >= rows, 3000)
        time.sleep(more_s)
        everything = runs.tree(self.process)
        for process in everything:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.communicate()
        runs.outlived(everything)

    def finish(self) -> dict[str, Any]:
        said, _ = self.process.communicate(timeout=3000)
        if self.process.returncode:
            sys.exit(self.log.read_text())
        return dict(json.loads(said))


def differences(whole: Path, killed: Path) -> Iterator[str]:
    """In words; none when the two jobs have come to the same."""
    for name, key in RECORDS.items():
        theirs, ours = (_values(folder, name, key) for folder in (whole, killed))
        if twice := [each for each, times in ours[1].items() if times > 1]:
            yield f"{name}: {len(twice)} twice"
        if theirs[0].keys() != ours[0].keys():
            yield f"{name}: {len(theirs[0].keys() ^ ours[0].keys())} in one of the two alone"
        other = [each for each in theirs[0].keys() & ours[0].keys() if theirs[0][each] != ours[0][each]]
        if other:
            yield f"{name}: {len(other)} of {len(ours[0])} differ, the first {other[0]}"
    sets = [(folder / "round-1/mine/dataset/odvg.jsonl").read_text() for folder in (whole, killed)]
    if sorted(sets[0].replace(str(whole), "").splitlines()) != sorted(
        sets[1].replace(str(killed), "").splitlines()
    ):
        yield "the mined sets differ"
    for path in sorted(whole.glob("round-1/*/*/step-*/model.safetensors")):
        name = path.relative_to(whole)
        if not (killed / name).exists():
            yield f"{name} is in one of the two alone"
        elif (most := _difference(path, killed / name)) > 0:
            yield f"{name}: weights differ by {most:.2g} at most"
    expected, ended = (_ended(folder) for folder in (whole, killed))
    if expected != ended:
        yield f"stages ended: {dict(ended)}"


def _ended(folder: Path) -> Counter[str]:
    rows = runs.records(folder / "stages.jsonl")
    return Counter(row["stage"] for row in rows if row["event"] == "ended" and row["done"])


def _values(folder: Path, name: str, key: str) -> tuple[dict[Any, Any], Counter[Any]]:
    """By key what a record says, without seconds and places; and how often each is there."""
    rows = runs.records(folder / name)
    said = {
        row[key]: json.dumps({field: row[field] for field in VALUES if field in row}, sort_keys=True)
        for row in rows
    }
    return said, Counter(row[key] for row in rows)


def _difference(one: Path, other: Path) -> float:
    from safetensors.torch import load_file

    ours, theirs = load_file(one), load_file(other)
    if ours.keys() != theirs.keys():
        return float("inf")
    return max(float((ours[name].float() - theirs[name].float()).abs().max()) for name in ours)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seed", type=int, default=None, help="of the moments; default: another one each time"
    )
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(10**6)
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="valor-improve-kills-") as parent:
        whole, killed = Path(parent) / "whole", Path(parent) / "killed"
        Job(whole).finish()
        for stage, (file, most) in KILLED_IN.items():
            rows, more_s = draw.randint(1, most), draw.uniform(0, 2)
            job = Job(killed)
            job.kill_when(stage, file, rows, more_s)
            print(
                json.dumps({"killed_in": stage, "records": rows, "seconds_later": round(more_s, 2)}),
                flush=True,
            )
        Job(killed).finish()
        found = list(differences(whole, killed))
        print(json.dumps({"seed": seed, "exact": not found, "differences": found}), flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
