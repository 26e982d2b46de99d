"""Which process of pytest runs which files (`make test`): a file stays whole, the files of one running app together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

APP = "the files that ask one running app"


class FilesInTurn(LoadFileScheduling):
    """As `--dist loadfile`, in the order of the collection; what uses the fixture `service` goes to one process."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False  # else files with many tests would come first
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return APP if asks_the_app(self.config.rootpath / file) else file


@cache
def asks_the_app(file: Path) -> bool:
    return "service: str" in file.read_text()


def longest_first(items: Sequence[pytest.Item], usual_s: float) -> list[pytest.Item]:
    """Files by what their tests may take at most, all together; so no process is left with a long one at the end."""
    limits: dict[Path, float] = {}
    for item in items:
        marker = item.get_closest_marker("timeout")
        limits[item.path] = limits.get(item.path, 0) + (float(marker.args[0]) - usual_s if marker else 0)
    return sorted(items, key=lambda item: -limits[item.path])
