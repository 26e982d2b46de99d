"""The engines are right: hand-written programs of each kind, over true tools, give the right answers."""

import asyncio

from rival_programs import METHODS, Ran, programs, run_all

from valor_ray.config.tree import Config
from valor_ray.program.sandbox import Sandbox
from valor_ray.tabletop.questions import FAMILIES
from valor_ray.tabletop.truth_of_programs import SceneShelf


async def _ran() -> list[Ran]:
    async with Sandbox(Config.load("local").sandbox) as sandbox:
        return await run_all(SceneShelf(), 1, sandbox)


def test_hand_written_programs_of_every_kind_and_family_are_right() -> None:
    ran = asyncio.run(_ran())
    wrong = [
        (each.method, each.question, each.result.answer, each.result.error) for each in ran if not each.right
    ]
    assert wrong == []
    for method in METHODS:
        mine = [each for each in ran if each.method.split("-")[0] == method]
        assert len({each.question for each in mine}) == len(programs(method)) == 48
        assert {each.family for each in mine} == set(FAMILIES)
    assert {each.family for each in ran if each.method == "visprog-depth"} == {
        "choice", "closer", "height", "nested", "order", "ratio",
    }  # fmt: skip
    assert all(each.result.level.startswith("fork seccomp") for each in ran)
