"""A cluster on this machine alone: nodes with pretended GPUs, who sits where, and nodes that die or are taken."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

_LINE = re.compile(r"valor_ray: (\w+) on \S+ \((\w+)\), GPUs ([\d ]+)")


class PretendedCluster:
    """A head without GPUs, and nodes with some each."""

    def __init__(self, nodes: int, gpus: int, cpus: int = 3) -> None:
        from ray.cluster_utils import Cluster

        self._size = {"num_cpus": cpus, "num_gpus": gpus}
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
        self.nodes: list[Any] = []
        for _ in range(nodes):
            self.add()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(self, **size: int) -> Any:
        """A node, of the size of the others where no other is given."""
        node = self._cluster.add_node(**(self._size | size))
        self.nodes.append(node)
        return node

    def lose(self, node_id: str) -> None:
        """Kill a node with all that is on it. node_id: or its beginning."""
        (lost,) = [node for node in self.nodes if node.node_id.startswith(node_id)]
        self.nodes.remove(lost)
        self._cluster.remove_node(lost, allow_graceful=False)

    def places(self) -> list[tuple[str, str, str]]:
        """(part, node, GPUs) of every process with GPUs that has said it, in no order."""
        session = Path(self._cluster.head_node.get_session_dir_path())
        lines = [
            line
            for path in sorted((session / "logs").glob("worker-*.out"))
            for line in path.read_text().splitlines()
        ]
        return [(match[1], match[2], match[3]) for line in lines if (match := _LINE.search(line))]

    def node_of_actor(self, name: str) -> str:
        """Id of the node of a named actor that lives."""
        actors = self.asked(
            "from ray._private.state import actors\n"
            "print(*[a['Address']['NodeID'] for a in actors().values()"
            f" if a['Name'].startswith({name!r}) and a['State'] == 'ALIVE'])"
        )
        (node,) = actors.split()
        return node

    def hold_ledger(self, node_id: str) -> None:
        """The judges' ledger begins on that node; where that dies, it goes on anywhere."""
        self.asked(
            "from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On\n"
            "from deployments.actors.judge_ledger import NAME, JudgeLedger\n"
            "from deployments.actors.named import open_named\n"
            f"on = On({node_id!r}, soft=True)\n"
            "ledger = open_named(JudgeLedger, NAME, at_once=10_000, scheduling_strategy=on)\n"
            "ray.get(ledger.status.remote(''))"
        )

    def engines_since(self, moment: float) -> float:
        """CPU seconds of engines that were started since (s since 1970)."""
        spent = 0.0
        for node in self.nodes:
            for process in psutil.Process(node.all_processes["raylet"][0].process.pid).children(
                recursive=True
            ):
                with suppress(psutil.Error):
                    if process.create_time() > moment and "".join(process.cmdline()).startswith("VLLM::"):
                        spent += process.cpu_times().user
        return round(spent, 1)

    def take(self, node_id: str, seconds: float) -> str:
        """A notice that a node will be taken; returns when nothing is on it any more, or it is time: what was said."""
        return self.asked(
            "from deployments.learner.leaving import leave_node\n"
            "import time; since = time.monotonic()\n"
            f"(node,) = [n['NodeID'] for n in ray.nodes() if n['NodeID'].startswith({node_id!r})]\n"
            f"left = leave_node({seconds}, print, node)\n"
            "print('left' if left else 'still there', round(time.monotonic() - since, 1))"
        )

    def asked(self, code: str) -> str:
        """What code says in a process that is connected to the head."""
        start = (
            f"import ray; ray.init(address={self.address!r}, log_to_driver=False, logging_level='ERROR')\n"
        )
        asked = subprocess.run(
            [sys.executable, "-c", start + code], capture_output=True, text=True, check=True
        )
        return asked.stdout.strip()

    def close(self) -> None:
        self._cluster.shutdown()


@contextmanager
def pretended_cluster(nodes: int, gpus: int) -> Iterator[PretendedCluster]:
    cluster = PretendedCluster(nodes, gpus)
    try:
        yield cluster
    finally:
        cluster.close()
