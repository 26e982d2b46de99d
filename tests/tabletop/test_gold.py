"""Gold programs: with true tools every answer is right. This is what makes a wrong answer elsewhere mean something."""

import asyncio
from typing import Any

from valor_ray.config.tree import Config
from valor_ray.program.sandbox import Sandbox
from valor_ray.tabletop.dataset import items
from valor_ray.tabletop.gold_check import TrueTools, gold_rows


async def _rows() -> list[dict[str, Any]]:
    async with Sandbox(Config.load("local").sandbox) as sandbox:
        return await gold_rows(items(36, 1, None, "val"), lambda item: TrueTools(item.rendering), sandbox)


def test_gold_programs_with_true_tools_are_all_right() -> None:
    rows = asyncio.run(_rows())
    assert len(rows) == 72
    assert [row for row in rows if not row["right"]] == []
