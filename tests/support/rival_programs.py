"""Programs of rivals' kinds, written by hand, run on scenes that ask their question, over true tools.

As a command: how many answers are right, by method and family (`python tests/support/rival_programs.py [SCENES]`).
It shows that the engines are right; it is no accuracy of a method, whose programs somebody else writes.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valor_ray.benchmarks.methods import engine, vadar, viper, visprog
from valor_ray.config.tree import Config
from valor_ray.measure.answers import is_right
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import ProgramResult
from valor_ray.tabletop.dataset import PICTURE_SIDE
from valor_ray.tabletop.gold_check import TrueTools
from valor_ray.tabletop.judge.questions import Ask, describe, read_question
from valor_ray.tabletop.render import RenderedObject
from valor_ray.tabletop.truth_of_programs import SceneShelf, TrueScene, blueprint_of

PROGRAMS = Path(__file__).parents[1] / "benchmarks" / "methods" / "programs"
METHODS = ("viper", "visprog", "vadar")
SIZE = (PICTURE_SIDE, PICTURE_SIDE)


@dataclass(frozen=True)
class Ran:
    method: str
    family: str
    question: str
    result: ProgramResult
    truth: Any

    @property
    def right(self) -> bool:
        return is_right(engine.reply_of(self.result, "")["answer"], self.truth) and self.result.error is None


class TrueEyes(TrueTools):
    """True tools that also tell whether one thing is what is claimed, and which of some options it is."""

    def _look(self, bbox: list[float] | None, prompt: str) -> str:
        intent = read_question(prompt)
        if bbox is None or intent is None or intent.ask not in (Ask.IS_IT, Ask.NAME, Ask.CHOICE):
            return super()._look(bbox, prompt)
        seen = self.seen(bbox)
        if intent.ask is Ask.IS_IT:
            return "yes" if _is(seen, intent.thing) else "no"
        fitting = [each for each in intent.options if (thing := describe(each)) and _is(seen, thing)]
        return fitting[0] if fitting else "cannot tell"


def _is(seen: RenderedObject, thing: Any) -> bool:
    return thing.colour in (None, seen.colour) and thing.shape in (None, seen.shape)


def programs(method: str) -> dict[str, str]:
    """By question."""
    text = (PROGRAMS / f"{method}.txt").read_text()
    found = re.findall(r"^Question: (.+)\n((?:(?!Question: ).*\n?)+)", text, re.MULTILINE)
    return {question: program.strip("\n") for question, program in found}


def uses_depth(program: str) -> bool:
    """Whether a program is one of visprog-depth."""
    return re.search(r"=(?:DEPTH|SIZE)\(", program) is not None


async def run_all(
    shelf: SceneShelf, scenes: int, sandbox: Sandbox, methods: tuple[str, ...] = METHODS
) -> list[Ran]:
    """Every program in up to `scenes` scenes, a few at a time."""
    few = asyncio.Semaphore(8)

    async def one(method: str, question: str, program: str, scene: TrueScene, family: str) -> Ran:
        async with few:
            result = await _run(method, question, program, TrueEyes(scene.geometry), sandbox)
        name = "visprog-depth" if method == "visprog" and uses_depth(program) else method
        return Ran(name, family, question, result, scene.answer)

    work = []
    for method in methods:
        for question, program in programs(method).items():
            blueprint = blueprint_of(question)
            assert blueprint is not None, question
            work += [
                one(method, question, program, scene, blueprint.family)
                for scene in shelf.scenes(blueprint, scenes)
            ]
    return await asyncio.gather(*work)


async def _run(method: str, question: str, program: str, tools: TrueEyes, sandbox: Sandbox) -> ProgramResult:
    if method == "viper":
        return await viper.run(program, question, sandbox, tools, SIZE)
    if method == "visprog":
        return await visprog.run(program, sandbox, tools, SIZE, depths=uses_depth(program))
    functions = (PROGRAMS / "vadar_api.txt").read_text()
    return await vadar.run(program, functions, sandbox, tools, SIZE)


async def main(scenes: int) -> None:
    async with Sandbox(Config.load("local").sandbox) as sandbox:
        ran = await run_all(SceneShelf(), scenes, sandbox)
    total, right = Counter((each.method, each.family) for each in ran), Counter()
    for each in ran:
        right[each.method, each.family] += each.right
        if not each.right:
            print(
                f"wrong: {each.method}: {each.question} {each.result.answer!r} is {each.truth!r}; {each.result.error}"
            )
    for method in sorted({each.method for each in ran}):
        shares = {family: n for (name, family), n in sorted(total.items()) if name == method}
        told = ", ".join(f"{family} {right[method, family]}/{n}" for family, n in shares.items())
        asked = len({each.question for each in ran if each.method == method})
        print(
            f"{method}: {sum(right[method, f] for f in shares)}/{sum(shares.values())}, {asked} programs: {told}"
        )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
