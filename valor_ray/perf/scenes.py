"""What scene tests cost beside the syntax check: CPU of eight programs in eight scenes, over that of their survey."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from valor_ray.config.tree import Config
from valor_ray.program.inside.placeholders import WORLDS
from valor_ray.program.sandbox import Sandbox
from valor_ray.reasoning.scenes.sample import sample_scenes
from valor_ray.reasoning.syntax import IMAGE_SIZE
from valor_ray.records import NamedThing, QuestionThings, SymbolicScene

_COLOURS = {"colour": ("red", "blue", "green", "yellow")}
_FIND = """\
a = gd_detect(img_pth, "{a}")
b = gd_detect(img_pth, "{b}")
if not a or not b:
    final_answer = "unknown"
    return
a, b = a[0]["bbox"], b[0]["bbox"]
"""
_PAIR = _FIND.format(a="red ball", b="blue box")
# Question, what it names, and programs that a policy may write for it: right ones first, then flawed ones.
QUESTIONS: tuple[tuple[str, QuestionThings, tuple[str, ...]], ...] = (
    (
        "Which is taller, the red ball or the blue box?",
        QuestionThings(
            (NamedThing("ball", {"colour": "red"}, False), NamedThing("box", {"colour": "blue"}, False)),
            _COLOURS,
            ("cone",),
            "word",
        ),
        (
            _PAIR + "x = (a[3] - a[1]) * depth(img_pth, a)\ny = (b[3] - b[1]) * depth(img_pth, b)\n"
            'final_answer = "red ball" if x > y else "blue box"\n',
            "def tall(name):\n    boxes = gd_detect(img_pth, name)\n    if not boxes:\n        return 0\n"
            '    box = boxes[0]["bbox"]\n    return (box[3] - box[1]) * depth(img_pth, box)\n\n'
            'final_answer = max(["red ball", "blue box"], key=tall)\n',
            _PAIR + 'final_answer = "red ball" if a[3] - a[1] > b[3] - b[1] else "blue box"\n',
            'final_answer = vqa(img_pth, None, "Which is taller, the red ball or the blue box?")\n',
        ),
    ),
    (
        "What colour is the leftmost box?",
        QuestionThings((NamedThing("box", {}, True),), _COLOURS, ("ball", "cone"), "word"),
        (
            'boxes = gd_detect(img_pth, "box")\nif not boxes:\n    final_answer = "unknown"\n    return\n'
            'best = min(boxes, key=lambda d: d["bbox"][0])\n'
            'final_answer = vqa(img_pth, best["bbox"], "What colour is this object?")\n',
            'boxes = sorted(gd_detect(img_pth, "box"), key=lambda d: (d["bbox"][0] + d["bbox"][2]) / 2)\n'
            'final_answer = vqa(img_pth, boxes[0]["bbox"], "What is its colour?") if boxes else "none"\n',
            'boxes = gd_detect(img_pth, "leftmost box")\n'
            'final_answer = vqa(img_pth, boxes[0]["bbox"], "What colour is it?") if boxes else "none"\n',
            'boxes = gd_detect(img_pth, "box")\n'
            'final_answer = vqa(img_pth, max(boxes, key=lambda d: depth(img_pth, d["bbox"]))["bbox"],'
            ' "What colour is it?") if boxes else "none"\n',
        ),
    ),
    (
        "How many boxes are to the left of the red ball?",
        QuestionThings(
            (NamedThing("box", {}, True), NamedThing("ball", {"colour": "red"}, False)),
            _COLOURS,
            ("cone",),
            "count",
        ),
        (
            'boxes = gd_detect(img_pth, "box")\nball = gd_detect(img_pth, "red ball")\nif not ball:\n'
            '    final_answer = 0\n    return\nmid = (ball[0]["bbox"][0] + ball[0]["bbox"][2]) / 2\n'
            'final_answer = sum((d["bbox"][0] + d["bbox"][2]) / 2 < mid for d in boxes)\n',
            'count = 0\nball = gd_detect(img_pth, "red ball")\nfor d in gd_detect(img_pth, "box"):\n'
            '    if ball and d["bbox"][0] < ball[0]["bbox"][0]:\n        count += 1\nfinal_answer = count\n',
            'final_answer = len(gd_detect(img_pth, "box to the left of the red ball"))\n',
            "final_answer = 2\n",
        ),
    ),
)

PER_ROUND = 8 * len(QUESTIONS)  # programs


async def scenes_cost(cpu_s: Callable[[], float], rounds: int) -> dict[str, Any]:
    """{survey_ms, tour_ms, scenes_ratio}: CPU of all processes for one program; cpu_s: what they have used so far.

    As in a reward: first the syntax check, then the scenes; the gate has read a program once for both.
    """
    work = [(question, sample_scenes(question, things), codes) for question, things, codes in QUESTIONS]
    async with Sandbox(Config.load().sandbox) as sandbox:
        await _round(sandbox, work, "start", cpu_s)
        spent = [await _round(sandbox, work, str(number), cpu_s) for number in range(rounds)]
    survey, tour = (sum(part) for part in zip(*spent, strict=True))
    programs = PER_ROUND * rounds
    return {
        "programs": programs,
        "scenes": min(len(scenes) for _, scenes, _ in work),
        "survey_ms": round(1000 * survey / programs, 3),
        "tour_ms": round(1000 * tour / programs, 3),
        "scenes_ratio": round(tour / survey, 2),
    }


async def _round(
    sandbox: Sandbox,
    work: list[tuple[str, tuple[SymbolicScene, ...], tuple[str, ...]]],
    mark: str,
    cpu_s: Callable[[], float],
) -> tuple[float, float]:
    """CPU seconds of the survey and of the tour of eight programs a question, none of them seen before."""
    programs = [
        (f"{code}# {mark} {copy}\n", question, scenes)
        for question, scenes, codes in work
        for code in codes
        for copy in range(8 // len(codes))
    ]
    before = cpu_s()
    await asyncio.gather(*(sandbox.survey(code, WORLDS, IMAGE_SIZE) for code, _, _ in programs))
    between = cpu_s()
    await asyncio.gather(*(sandbox.tour(code, scenes, question, {}) for code, question, scenes in programs))
    return between - before, cpu_s() - between
