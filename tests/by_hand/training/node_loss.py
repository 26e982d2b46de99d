"""By hand: a run on a Ray of three nodes (all on this machine), one of which dies in mid-run with all its processes.

    python tests/by_hand/training/node_loss.py

About 3 minutes. Prints what died, and JSON of what the run then did; exit code 1 when it did not finish whole.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

import train_runs as runs

STEPS, KILL_AFTER = 6, 2


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _raylet(node: Any) -> psutil.Process:
    return psutil.Process(node.all_processes["raylet"][0].process.pid)


def _names(processes: list[psutil.Process]) -> list[str]:
    names = [" ".join(_words(process))[:60] for process in processes]
    return sorted(name for name in names if name.startswith(("ray::", "VLLM::")) and "IDLE" not in name)


def main() -> int:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    workers = [cluster.add_node(num_cpus=3) for _ in range(2)]
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as parent, runs.counting_judge() as judge:
            folder = Path(parent) / "run"
            settings = [f"grpo.steps={STEPS}", "grpo.max_lag=1", "policy.replicas=2", *judge.settings()]
            with runs.Run(folder, settings, RAY_ADDRESS=cluster.address) as run:
                run.wait_for_step(KILL_AFTER)
                # the node with the most of the run on it
                node = max(workers, key=lambda node: len(_names(_raylet(node).children(recursive=True))))
                dying = _raylet(node).children(recursive=True)
                print("died:", ", ".join(_names(dying)), flush=True)
                before, killed = runs.records(folder / "rollouts.jsonl"), time.monotonic()
                cluster.remove_node(node, allow_graceful=False)
                left = psutil.wait_procs(dying, timeout=30)[1]
                run.wait_for_step(KILL_AFTER + 2, 1500)
                on_again = time.monotonic() - killed
                report = run.finish(1500)
            after = runs.records(folder / "rollouts.jsonl")
            ids = [row["rollout_id"] for row in after]
            outcome = {
                "steps": runs.steps(folder),
                "stopped": report["stopped"],
                "rollouts_once": len(ids) == len(set(ids)),
                "recorded_unchanged": after[: len(before)] == before,
                "missing": sum(row["fate"] == "missing" for row in after),
                "outlived_their_node": _names(left),
                "two_steps_after_the_loss_s": round(on_again, 1),
                "seconds": round(time.monotonic() - began, 1),
            }
            print(json.dumps(outcome), flush=True)
            print(run.said()[-2000:])
    finally:
        cluster.shutdown()
    whole = (
        outcome["steps"] == list(range(1, STEPS + 1)) and outcome["rollouts_once"] and not outcome["missing"]
    )
    return 0 if whole and outcome["recorded_unchanged"] and not outcome["outlived_their_node"] else 1


if __name__ == "__main__":
    sys.exit(main())
