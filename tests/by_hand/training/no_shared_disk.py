"""By hand: nodes that share no disk, and a run at s3://. A node dies in mid-run; no verdict is paid for twice.

    python tests/by_hand/training/no_shared_disk.py

As root, about 4 minutes: each node is in a mount namespace of its own, with an empty tmpfs where runs are kept. Prints
JSON of what the run did; exit code 1 when it did not finish whole.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

import at_url
import s3
import train_runs as runs

STEPS, KILL_AFTER = 6, 2


class Node:
    """A raylet whose machine has a disk of its own."""

    def __init__(self, address: str, staging: Path, cpus: int) -> None:
        ray = Path(sys.executable).with_name("ray")
        script = (
            f"mount -t tmpfs none {staging} && exec {ray} start --address={address} --num-cpus={cpus} --block"
        )
        self.process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        self._staging = staging

    def tree(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            return [
                psutil.Process(self.process.pid),
                *psutil.Process(self.process.pid).children(recursive=True),
            ]
        return []

    def holds(self) -> list[str]:
        """What is on its disk."""
        root = Path(f"/proc/{self.process.pid}/root{self._staging}")
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def work(self) -> list[str]:
        names = []
        for process in self.tree():
            with suppress(psutil.Error):
                names.append(" ".join(process.cmdline())[:60])
        return sorted(name for name in names if name.startswith(("ray::", "VLLM::")) and "IDLE" not in name)

    def die(self) -> None:
        for process in reversed(self.tree()):
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        self.process.wait()


def outcome_of(url: str, parent: Path, nodes: list[Node], address: str, judge: Any) -> dict[str, Any]:
    staging = parent / "staging"
    settings = [f"grpo.steps={STEPS}", "grpo.max_lag=1", "policy.replicas=2", *judge.settings()]
    environment = {"RAY_ADDRESS": address, "VALOR_STAGING": str(staging)}
    with runs.Run(at_url.folder_under(staging, url), settings, at=url, **environment) as run:
        run.wait_for_step(KILL_AFTER)
        node = max(nodes, key=lambda node: len(node.work()))
        print("died:", ", ".join(node.work()), flush=True)
        print("its disk:", *node.holds()[:40], sep="\n  ", flush=True)
        before, killed = runs.records(run.folder / "rollouts.jsonl"), time.monotonic()
        node.die()
        run.wait_for_step(KILL_AFTER + 2, 1500)
        on_again = time.monotonic() - killed
        report = run.finish(1500)
    end = at_url.copied(url, parent / "end")
    after = runs.records(end / "rollouts.jsonl")
    ids = [row["rollout_id"] for row in after]
    return {
        "steps": runs.steps(end),
        "stopped": report["stopped"],
        "rollouts_once": len(ids) == len(set(ids)),
        "recorded_unchanged": after[: len(before)] == before,
        "missing": sum(row["fate"] == "missing" for row in after),
        "questions_asked": len(judge.calls),
        "asked_twice": sum(count > 1 for count in judge.calls.values()),  # in work when the node died
        "verdicts_in_the_store": runs.stored(end),
        "two_steps_after_the_loss_s": round(on_again, 1),
    }


def main() -> int:
    from ray.cluster_utils import Cluster

    began = time.monotonic()
    with (
        s3.own_bucket() as bucket,
        tempfile.TemporaryDirectory() as parent,
        runs.counting_judge() as judge,
    ):
        (Path(parent) / "staging").mkdir()
        os.environ["VALOR_STAGING"] = str(Path(parent) / "staging")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
        nodes = [Node(cluster.address, Path(parent) / "staging", 3) for _ in range(2)]
        try:
            outcome = outcome_of(f"{bucket}/runs/first", Path(parent), nodes, cluster.address, judge)
        finally:
            for node in nodes:
                node.die()
            cluster.shutdown()
    outcome["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(outcome), flush=True)
    whole = (
        outcome["steps"] == list(range(1, STEPS + 1)) and outcome["rollouts_once"] and not outcome["missing"]
    )
    return 0 if whole and outcome["recorded_unchanged"] else 1


if __name__ == "__main__":
    sys.exit(main())
