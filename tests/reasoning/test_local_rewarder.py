"""The reward with a real sandbox: scene tests tell turned comparisons and vague phrases from right programs."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from valor_ray.config.judging import RewardConfig
from valor_ray.config.tree import Config
from valor_ray.program.sandbox import Sandbox
from valor_ray.reasoning.local_rewarder import local_rewarder
from valor_ray.reasoning.scenes.sample import sample_scenes
from valor_ray.records import (
    JudgeReply,
    JudgeRequest,
    NamedThing,
    QuestionThings,
    Reward,
    SceneObject,
    SymbolicScene,
    Usage,
)

QUESTION = "Is the red box left of the ball?"
SCENES_ONLY = RewardConfig(logic=0, syntax=0.1, attribute=0, spatial=0, adherence=0, scenes=0.9)
THINGS = QuestionThings(
    (NamedThing("box", {"colour": "red"}, False), NamedThing("ball", {}, False)),
    {"colour": ("red", "blue", "green")},
    ("cone",),
    "yes or no",
)


def answer(scene: SymbolicScene) -> str:
    def place(fits: Any) -> float:
        (one,) = [each for each in scene.objects if fits(each)]
        return one.bbox[0] + one.bbox[2]

    def red_box(each: SceneObject) -> bool:
        return each.noun == "box" and each.attributes.get("colour") == "red"

    return "yes" if place(red_box) < place(lambda each: each.noun == "ball") else "no"


class Judge:
    """Reads this one question as a person does."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        self.asked.update(request.head for request in requests)
        return [JudgeReply(self._said(request.head), usage=Usage(tries=1)) for request in requests]

    def _said(self, head: str) -> dict[str, Any]:
        if head == "scene_things":
            things = [
                {"noun": thing.noun, "attributes": named(thing), "several": thing.several}
                for thing in THINGS.things
            ]
            values = [{"name": name, "values": list(values)} for name, values in THINGS.attributes.items()]
            return {"things": things, "attributes": values, "others": ["cone"], "answer": THINGS.answer}
        if head == "scene_answers":
            scenes = enumerate(sample_scenes(QUESTION, THINGS), 1)
            return {"scenes": [{"scene": n, "working": "", "answer": answer(scene)} for n, scene in scenes]}
        assert head == "scene_words"
        return {"clear": True, "nouns": ["box"]}


def named(thing: NamedThing) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in thing.attributes.items()]


def reply(box: str, sign: str, ball: str = "ball") -> str:
    code = (
        f'a = gd_detect(img_pth, "{box}")\nb = gd_detect(img_pth, "{ball}")\n'
        "final_answer = 'no'\n"
        f"if a and b and a[0]['bbox'][0] + a[0]['bbox'][2] {sign} b[0]['bbox'][0] + b[0]['bbox'][2]:\n"
        "    final_answer = 'yes'"
    )
    return f"<plan>\n1. Compare.\n</plan>\n<answer>\n{code}\n</answer>"


def rewards(judge: Judge, *replies: str) -> list[Reward]:
    async def all_of_them() -> list[Reward]:
        async with Sandbox(Config.load().sandbox) as sandbox:
            rewarder = local_rewarder(SCENES_ONLY, judge, sandbox)
            return list(await asyncio.gather(*(rewarder(QUESTION, each) for each in replies)))

    return asyncio.run(all_of_them())


def test_scene_tests_tell_a_turned_comparison_from_the_right_one_at_three_calls_a_question() -> None:
    judge = Judge()
    right, turned, other = rewards(
        judge, reply("red box", "<"), reply("red box", ">"), reply("box", "<", "cone")
    )
    assert (right.value, turned.value) == (1.0, 0.1) and other.value == 0.1
    assert judge.asked == {"scene_things": 1, "scene_answers": 2}
    marks = [json.loads(each.scene_test)["marks"] for each in (right, turned)]
    assert marks == ["++++++++", "--------"]


def test_phrase_that_the_scenes_do_not_know_is_read_by_the_judge() -> None:
    judge = Judge()
    (crate,) = rewards(judge, reply("red crate", "<"))
    assert crate.value == 1.0 and judge.asked["scene_words"] <= 1


def test_without_a_weight_nothing_is_asked_about_scenes() -> None:
    async def one() -> Reward:
        async with Sandbox(Config.load().sandbox) as sandbox:
            weights = RewardConfig(logic=0, syntax=1, attribute=0, spatial=0, adherence=0)
            return await local_rewarder(weights, judge, sandbox)(QUESTION, reply("red box", "<"))

    judge = Judge()
    assert asyncio.run(one()).value == 1.0 and judge.asked == {}
