"""By hand: the real app on a cluster of four nodes with two pretended GPUs each, all on this machine, on its CPU.

    python tests/by_hand/pretended_gpus.py [--lose]

About 4 minutes. Says where every process sat: engines and learner on GPUs of their own, the learner on one node, the
driver on none. --lose: the learner's node dies in mid-run, and another one comes a moment later. Exit code 1 when
anything is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import train_runs as runs

STEPS = 6
_LINE = re.compile(r"valor_ray: (\w+) on \S+ \((\w+)\), GPUs ([\d ]+)")
SETTINGS = [
    f"grpo.steps={STEPS}", "grpo.max_lag=0", "grpo.device=cpu", "grpo.num_gpus=1", "grpo.workers=2",
    "grpo.micro_batch=2",
    "policy.replicas=3", "policy.num_gpus=1", "detector.num_gpus=0.25", "depth.num_gpus=0.5",
]  # fmt: skip


def places(session: Path) -> list[tuple[str, str, str]]:
    """(part, node, GPUs) of every process that has said it."""
    lines = [
        line
        for path in sorted((session / "logs").glob("worker-*.out"))
        for line in path.read_text().splitlines()
    ]
    return [(match[1], match[2], match[3]) for line in lines if (match := _LINE.search(line))]


def main() -> int:
    from ray.cluster_utils import Cluster

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lose", action="store_true")
    lose = parser.parse_args().lose
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    nodes = [cluster.add_node(num_cpus=3, num_gpus=2) for _ in range(4)]
    session, began = Path(cluster.head_node.get_session_dir_path()), time.monotonic()
    outcome: dict[str, Any] = {}
    try:
        with tempfile.TemporaryDirectory() as parent, runs.counting_judge() as judge:
            settings = [*SETTINGS, *judge.settings()]
            with runs.Run(Path(parent) / "run", settings, RAY_ADDRESS=cluster.address) as run:
                run.wait_for_step(2)
                before = places(session)
                if lose:
                    (node_id,) = {node for part, node, _ in before if part == "learner"}
                    (lost,) = [node for node in nodes if node.node_id.startswith(node_id)]
                    cluster.remove_node(lost, allow_graceful=False)
                    cluster.add_node(num_cpus=3, num_gpus=2)
                    came = time.monotonic()
                    run.wait_for_step(3)
                    outcome["next_step_after_the_replacement_s"] = round(time.monotonic() - came, 1)
                report = run.finish()
            outcome |= {"steps": runs.steps(run.folder), "stopped": report["stopped"]}
            ids = runs.rollout_ids(run.folder)
            outcome["rollouts_once"] = len(ids) == len(set(ids))
    finally:
        cluster.shutdown()
    working = [place for place in before if place[0] in ("learner", "policy")]
    outcome |= {
        "places": before,
        "disjoint": max(Counter((node, gpu) for _, node, gpu in working).values()) == 1 and len(working) == 5,
        "learner_on_one_node": len({node for part, node, _ in before if part == "learner"}) == 1,
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(outcome), flush=True)
    whole = outcome["steps"] == list(range(1, STEPS + 1)) and outcome["rollouts_once"]
    return 0 if whole and outcome["disjoint"] and outcome["learner_on_one_node"] else 1


if __name__ == "__main__":
    sys.exit(main())
