"""ScenesOfPrograms: remembers, and says undecided where the sandbox fails."""

import asyncio
from collections.abc import Mapping, Sequence

from valor_ray.errors import ProgramError
from valor_ray.reasoning.scenes.run import ScenesOfPrograms
from valor_ray.records import SceneObject, SceneRun, SymbolicScene

SCENES = tuple(
    SymbolicScene((9, 9), (SceneObject("box", {"colour": "red"}, (0, 0, 1, 1), depth, 1.0, 1.0),))
    for depth in (1.0, 2.0)
)


class Sandbox:
    """Counts tours; fails while it is told to."""

    def __init__(self) -> None:
        self.tours = 0
        self.broken = False

    async def tour(
        self, code: str, scenes: Sequence[SymbolicScene], question: str, words: Mapping[str, Sequence[str]]
    ) -> list[SceneRun]:
        self.tours += 1
        if self.broken:
            raise ProgramError("no seccomp here")
        return [SceneRun("answered", scene.objects[0].depth_m) for scene in scenes]


def test_equal_tours_are_made_once_and_others_are_told_apart() -> None:
    sandbox = Sandbox()
    runs = ScenesOfPrograms(sandbox)  # type: ignore[arg-type]

    async def use() -> None:
        first = await runs("a", "q", SCENES, {})
        first.clear()  # what a caller does with its list is its own business
        assert [run.answer for run in await runs("a", "q", list(SCENES), {})] == [1.0, 2.0]
        assert sandbox.tours == 1
        assert [run.answer for run in await runs("a", "q", SCENES[::-1], {})] == [2.0, 1.0]
        await runs("b", "q", SCENES, {})
        await runs("a", "p", SCENES, {})
        await runs("a", "q", SCENES, {"carton": ["box"]})
        assert sandbox.tours == 5

    asyncio.run(use())


def test_a_broken_sandbox_is_undecided_and_tried_again() -> None:
    sandbox = Sandbox()
    runs = ScenesOfPrograms(sandbox)  # type: ignore[arg-type]
    sandbox.broken = True
    undecided = asyncio.run(runs("a", "q", SCENES, {}))
    assert undecided == [SceneRun("undecided", why="no seccomp here")] * 2
    sandbox.broken = False
    assert [run.status for run in asyncio.run(runs("a", "q", SCENES, {}))] == ["answered"] * 2
