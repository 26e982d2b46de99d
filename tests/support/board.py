"""The Grafana board, as the tests read it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

BOARD = Path(__file__).parents[2] / "examples/cluster/grafana/valor_ray.json"
# Ray's agent of a machine exports these where it sees a GPU (ray/dashboard/modules/reporter/reporter_agent.py).
OF_GPUS = {"ray_node_gpus_utilization", "ray_node_gram_used", "ray_node_gram_available"}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(BOARD.read_text())["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def named() -> set[str]:
    """Metrics of the board."""
    return {name for query in queries() for name in re.findall(r"\bray_\w+", query)}


def of_grounding() -> set[str]:
    """Those that only mining and fine-tuning export."""
    return {name for name in named() if name.startswith(("ray_valor_mine", "ray_valor_finetune"))}
