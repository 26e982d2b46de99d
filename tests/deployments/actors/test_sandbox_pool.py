"""RemoteSceneRuns without Ray's processes: what travels together, and what a lost pool means."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from deployments.actors.sandbox_pool import RemoteSceneRuns
from valor_ray.records import SceneObject, SceneRun, SymbolicScene


class Pool:
    """The actor's handle: its `tour` answers with the program, and keeps what came in one call."""

    def __init__(self, lost: bool = False) -> None:
        self.lost = lost
        self.calls: list[tuple[list[str], str, int, dict[str, Any]]] = []
        self.tour = self

    async def remote(
        self,
        codes: Sequence[str],
        question: str,
        scenes: tuple[SymbolicScene, ...],
        words: Mapping[str, Sequence[str]],
    ) -> list[list[SceneRun]]:
        self.calls.append((list(codes), question, len(scenes), dict(words)))
        if self.lost:
            raise ray.exceptions.RayError("gone")
        return [[SceneRun("answered", code)] * len(scenes) for code in codes]


def scenes(count: int) -> tuple[SymbolicScene, ...]:
    objects = (SceneObject("box", {"colour": "red"}, (0, 0, 1, 1), 1.0, 1.0, 1.0),)
    return (SymbolicScene((9, 9), objects),) * count


def test_programs_of_a_question_go_in_one_call_and_others_in_theirs() -> None:
    pool = Pool()

    async def use() -> list[list[Any]]:
        runs = RemoteSceneRuns(pool)  # type: ignore[arg-type]
        asked = [
            ("a", "q", scenes(2), {}),
            ("b", "other", scenes(1), {}),
            ("c", "q", scenes(2), {}),
            ("d", "q", scenes(2), {"carton": ["box"]}),
            ("a", "q", scenes(2), {}),
        ]
        given = await asyncio.gather(*(runs(*each) for each in asked))
        return [[run.answer for run in each] for each in given]

    assert asyncio.run(use()) == [["a", "a"], ["b"], ["c", "c"], ["d", "d"], ["a", "a"]]
    assert sorted(pool.calls, key=str) == [
        (["a", "c", "a"], "q", 2, {}),
        (["b"], "other", 1, {}),
        (["d"], "q", 2, {"carton": ("box",)}),
    ]


def test_a_lost_pool_is_undecided_everywhere() -> None:
    runs = RemoteSceneRuns(Pool(lost=True))  # type: ignore[arg-type]
    given = asyncio.run(runs("a", "q", scenes(3), {}))
    assert [run.status for run in given] == ["undecided"] * 3 and "pool failed" in given[0].why
    assert not any(run.phrase for run in given)
