"""The syntax head: which programs survive the placeholder worlds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import numpy as np
import pytest

from valor_ray.config.tree import Config
from valor_ray.program.inside.placeholders import WORLDS, vqa_answer
from valor_ray.program.parse import parse_reply
from valor_ray.program.sandbox import Sandbox
from valor_ray.reasoning.syntax import SyntaxOfPrograms
from valor_ray.records import Verdict
from valor_ray.tabletop.questions import FAMILIES
from valor_ray.tabletop.replies.write import gold
from valor_ray.tabletop.sample_questions import free_blueprint


def check(codes: Iterable[str], fast: bool = True) -> list[Verdict]:
    async def once() -> list[Verdict]:
        async with Sandbox(Config.load("local", [f"sandbox.fast={fast}"]).sandbox) as sandbox:
            syntax = SyntaxOfPrograms(sandbox)
            return list(await asyncio.gather(*(syntax(code) for code in codes)))

    return asyncio.run(once())


def test_gold_programs_survive_every_world() -> None:
    rng = np.random.default_rng(3)
    codes = [parse_reply(gold(free_blueprint(rng, family))).code for family in FAMILIES for _ in range(10)]
    assert [verdict.reason for verdict in check(codes) if verdict.value is not True] == []


BAD = {
    "empty detection": ('d = gd_detect(img_pth, "cup")\nfinal_answer = d[0]["label"]', "nothing is detected"),
    "one box": (
        'd = gd_detect(img_pth, "cup")\nfinal_answer = d[1]["label"] if d else "none"',
        "one of everything",
    ),
    "second thing missing": (
        'a = gd_detect(img_pth, "cup")\nb = gd_detect(img_pth, "plate")\n'
        'final_answer = b[0]["bbox"][0] if a else 0',
        "only the first thing",
    ),
    "first thing missing": (
        'a = gd_detect(img_pth, "cup")\nb = gd_detect(img_pth, "plate")\n'
        'final_answer = a[0]["bbox"][0] if b else 0',
        "only later things",
    ),
    "no answer": ('x = len(gd_detect(img_pth, "cup"))', "final_answer"),
    "no answer in one branch": ('if gd_detect(img_pth, "cup"):\n    final_answer = 1', "nothing is detected"),
    "not Python": ("final_answer = (", "does not parse"),
    "another image": ('img_pth = "/etc/passwd"\nfinal_answer = len(gd_detect(img_pth, "cup"))', "img_pth"),
    "int of a colour": ('final_answer = int(vqa(img_pth, None, "What colour is it?"))', "ValueError"),
    "unknown keyword": ("final_answer = depth(img_pth, box=[0, 0, 9, 9])", "TypeError"),
}


@pytest.mark.parametrize("fast", [True, False])
def test_programs_that_fail_in_some_world_say_in_which(fast: bool) -> None:
    verdicts = check([code for code, _ in BAD.values()], fast)
    for (name, (_, reason)), verdict in zip(BAD.items(), verdicts, strict=True):
        assert verdict.value is False and reason in verdict.reason, (name, verdict)


@pytest.mark.parametrize("fast", [True, False])
def test_honest_programs_pass(fast: bool) -> None:
    honest = [
        'final_answer = int(vqa(img_pth, None, "How many cups are there?"))',
        'final_answer = vqa(img_pth, None, "Is it a cup?") == "yes"',
        'd = gd_detect(img_pth, "cup, plate")\nfinal_answer = sum(x["label"] == "cup" for x in d)',
        'found = sorted(gd_detect(img_pth, "cup"), key=lambda d: depth(img_pth, d["bbox"]))\n'
        'final_answer = found[0]["label"] if found else "none"',
        'GD = GD_DETECT("CAR")\nfinal_answer = DEPTH(image, 5, 5) if GD else 0',
    ]
    assert [verdict for verdict in check(honest, fast) if verdict.value is not True] == []


def test_worlds_differ_in_what_they_exercise() -> None:
    assert len({world.name for world in WORLDS}) == len(WORLDS) >= 4
    assert {0, 1} <= {box for world in WORLDS for box in world.boxes}
    assert {world.turn for world in WORLDS} == {0, 1}


@pytest.mark.parametrize(
    ("prompt", "answers"),
    [
        ("Which is it? Options: {red, blue}", ("red", "blue")),
        ("Is it a cup or a plate?", ("cup", "plate")),
        ("How many legs?", ("2", "1")),
        ("Is it round?", ("yes", "no")),
        ("What is it?", ("red", "wooden table")),
    ],
)
def test_vqa_answers_in_the_kind_that_is_asked_for(prompt: str, answers: tuple[str, str]) -> None:
    assert (vqa_answer(prompt, 0), vqa_answer(prompt, 1)) == answers
