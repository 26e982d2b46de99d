"""The bench of scene tests: its programs are what it says, and it gives its ratio."""

import asyncio

from valor_ray.config.tree import Config
from valor_ray.perf.sandbox import _cpu_s
from valor_ray.perf.scenes import PER_ROUND, QUESTIONS, scenes_cost
from valor_ray.program import gate
from valor_ray.program.sandbox import Sandbox
from valor_ray.reasoning.scenes.sample import sample_scenes
from valor_ray.records import SceneRun


def test_right_programs_agree_in_every_scene_and_flawed_ones_do_not() -> None:
    async def tours() -> list[list[list[SceneRun]]]:
        async with Sandbox(Config.load().sandbox) as sandbox:
            return [
                [await sandbox.tour(code, sample_scenes(question, things), question, {}) for code in codes]
                for question, things, codes in QUESTIONS
            ]

    for runs in asyncio.run(tours()):
        right, same, *flawed = [[(run.status, run.answer) for run in each] for each in runs]
        assert right == same and len(right) == 8 and {status for status, _ in right} == {"answered"}
        assert len(set(right)) > 1
        assert all(each != right for each in flawed)


def test_the_bench_gives_its_ratio() -> None:
    cost = asyncio.run(scenes_cost(_cpu_s, 1))
    assert cost["programs"] == PER_ROUND and cost["scenes"] == 8
    assert 0 < cost["survey_ms"] < 1000 and 0 < cost["tour_ms"] < 1000
    assert all(gate.passes(code) for _, _, codes in QUESTIONS for code in codes)
