"""A program in symbolic scenes, on both paths: what it answered, why it failed, what the scenes could not tell."""

import asyncio
import resource
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from valor_ray.config.service import SandboxConfig
from valor_ray.program import gate, warm_pool
from valor_ray.program.sandbox import Sandbox
from valor_ray.program.tour import StrangeReply, read_pairs, same
from valor_ray.records import BBox, ProgramResult, ProgramStatus, SceneObject, SceneRun, SymbolicScene

CONFIG = SandboxConfig(workers=1, wall_seconds=2, cpu_seconds=1, memory_mib=256)
QUESTION = "How many boxes are red?"


def scene(colours: Sequence[str], ball_depth: float = 2.0) -> SymbolicScene:
    def box(i: int) -> BBox:
        return (100.0 * i, 100.0 * i, 100.0 * i + 50, 100.0 * i + 50)

    boxes = [SceneObject("box", {"colour": c}, box(i), 3.0 + i, 150.0, 150.0) for i, c in enumerate(colours)]
    ball = SceneObject("ball", {"colour": "red"}, box(6), ball_depth, 100.0, 100.0)
    return SymbolicScene((1000, 800), (*boxes, ball))


SCENES = (scene(["red", "blue"]), scene([]), scene(["red", "red", "blue"]), scene(["blue"]))


def in_sandbox(use: Callable[[Sandbox], Awaitable[Any]], fast: bool = True) -> Any:
    async def main() -> Any:
        async with Sandbox(CONFIG.model_copy(update={"fast": fast})) as sandbox:
            return await use(sandbox)

    return asyncio.run(main())


def tour(
    code: str, fast: bool = True, words: Mapping[str, Sequence[str]] | None = None, question: str = QUESTION
) -> list[SceneRun]:
    runs: list[SceneRun] = in_sandbox(lambda s: s.tour(code, SCENES, question, words or {}), fast)
    assert len(runs) == len(SCENES) and {run.level[:4] for run in runs} <= {"fast", "fork", ""}
    return runs


def outcomes(runs: list[SceneRun]) -> list[Any]:
    return [run.answer if run.status == "answered" else f"<{run.status}>" for run in runs]


FAILED, UNDECIDED, HANDED_ON = ["<failed>"] * 4, ["<undecided>"] * 4, ["<handed_on>"] * 4
PROGRAMS = [
    ('final_answer = len(gd_detect(img_pth, "red box"))', [1, 0, 2, 0]),
    (
        'final_answer = sum(vqa(img_pth, d["bbox"], "What colour is it?") == "red" '
        'for d in gd_detect(img_pth, "box"))',
        [1, 0, 2, 0],
    ),
    ('d = gd_detect(img_pth, "box")\nfinal_answer = len(d) / len(d)', [1.0, "<failed>", 1.0, 1.0]),
    ('d = gd_detect(img_pth, "box")\nfinal_answer = d[0]["bbox"][0] if d else 0', ["<failed>", 0, "<failed>", 0.0]),
    ('final_answer = sorted(d["label"] for d in gd_detect(img_pth, "box, ball"))[0]', ["ball", "ball", "ball", "ball"]),
    ('final_answer = [d["bbox"] for d in gd_detect(img_pth, "ball")]', [[[600.0, 600.0, 650.0, 650.0]]] * 4),
    ('final_answer = {"a": (1, np.float32(0.5))}', [{"a": [1, 0.5]}] * 4),
    ('final_answer = len(gd_detect(img_pth, "unicorn"))', UNDECIDED),
    ('try:\n    gd_detect(img_pth, "unicorn")\nexcept Exception:\n    pass\nfinal_answer = 3', UNDECIDED),
    ('try:\n    gd_detect(img_pth, "unicorn")\nfinally:\n    final_answer = 3', UNDECIDED),
    (
        'def f():\n    try:\n        gd_detect(img_pth, "unicorn")\n    finally:\n        return 3\nfinal_answer = f()',
        UNDECIDED,
    ),
    ('final_answer = vqa(img_pth, None, "How many boxes are red?")', HANDED_ON),
    ('final_answer = vqa(img_pth, None, "How open is the door?")', UNDECIDED),
    ("final_answer = None", FAILED),
    ("x = 1", FAILED),
    ("final_answer = float('nan')", FAILED),
    ("final_answer = (1", FAILED),
    ("final_answer = 'x' * 5000", FAILED),
    ("final_answer = 'x' * 2000000", FAILED),
    ("final_answer = lambda: 1", FAILED),
    ("def f(n):\n    return f(n + 1)\nfinal_answer = f(0)", FAILED),
    ("x = []\nfor i in range(900):\n    x = [x]\nfinal_answer = x", FAILED),
    ('final_answer = len(gd_detect(img_pth, "é" * 3000))', FAILED),
    ('final_answer = len(gd_detect(img_pth, "é" * 1999))', UNDECIDED),
    ("depth(img_pth, [0, 0, 0, 0])\nfinal_answer = 1", FAILED),
    ("x = [0] * (10 ** 9)\nfinal_answer = 1", FAILED),
    ("for i in range(100000):\n    print('x' * 100)\nfinal_answer = 1", FAILED),
    ("for i in range(5000):\n    gd_detect(img_pth, 'box')\nfinal_answer = 1", FAILED),
    ("import os\nfinal_answer = 1", FAILED),
    ("final_answer = image.size[0]", [1000] * 4),
    ("final_answer = '\\ud800'", FAILED),
]  # fmt: skip


@pytest.mark.parametrize(("code", "expected"), PROGRAMS, ids=lambda value: str(value)[:30])
def test_both_paths_say_the_same_of_a_program_in_every_scene(code: str, expected: list[Any]) -> None:
    fast, fork = tour(code), tour(code, fast=False)
    assert outcomes(fast) == outcomes(fork) == expected
    assert all(run.level.startswith("fork") for run in fork)
    if gate.passes(code) and "failed" not in str(expected):
        assert all(run.level.startswith("fast") for run in fast)
    told = [[(run.why, run.phrase) for run in runs if run.status != "failed"] for runs in (fast, fork)]
    assert told[0] == told[1] and all(run.why for run in fast if run.status != "answered")


def test_whys_say_what_happened() -> None:
    first = tour('d = gd_detect(img_pth, "box")\nfinal_answer = d[0]["bbox"][0]')
    assert "depends on the order of detections" in first[0].why and "IndexError" in first[1].why
    assert "line 2" in first[1].why
    unknown = tour('final_answer = len(gd_detect(img_pth, "box, the crimson carton"))')[0]
    assert unknown.why == unknown.phrase == "the crimson carton"
    asked = tour('final_answer = vqa(img_pth, None, "Is it open?")')[0]
    assert (asked.why, asked.phrase) == ("Is it open?", "")


def test_the_judges_word_decides_a_phrase() -> None:
    code = 'final_answer = len(gd_detect(img_pth, "crimson carton"))'
    words = {"crimson carton": ["red box"]}
    assert outcomes(tour(code, words=words)) == outcomes(tour(code, False, words)) == [1, 0, 2, 0]


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("fast", [True, False])
def test_an_endless_loop_is_paid_for_once(fast: bool) -> None:
    before = cpu_of_children()
    runs = tour("while True:\n    pass", fast)
    assert outcomes(runs) == FAILED and cpu_of_children() - before < 3.8  # four times the limit: over 4 s
    assert len({run.why for run in runs}) == 1


def test_scenes_before_a_limit_keep_their_answers() -> None:
    code = 'x = len(gd_detect(img_pth, "box"))\nwhile x == 3:\n    pass\nfinal_answer = x'
    assert outcomes(tour(code)) == outcomes(tour(code, False)) == [2, 0, "<failed>", "<failed>"]


def test_no_scenes_and_too_long_a_program() -> None:
    assert in_sandbox(lambda s: s.tour("final_answer = 1", (), QUESTION, {})) == []
    assert outcomes(tour("#" * (1 << 20))) == FAILED


def test_a_worker_goes_on_to_other_questions_and_to_surveys() -> None:
    from valor_ray.program.inside.placeholders import WORLDS

    async def use(sandbox: Sandbox) -> list[Any]:
        count = 'final_answer = len(gd_detect(img_pth, "box"))'
        one = await sandbox.tour(count, SCENES, QUESTION, {})
        survey = await sandbox.survey(count, WORLDS, (640, 480))
        two = await sandbox.tour(count, SCENES[2:], QUESTION, {})
        return [outcomes(one), [r.status for r in survey], outcomes(two)]

    assert in_sandbox(use) == [[2, 0, 3, 1], [ProgramStatus.OK] * 5, [3, 1]]


def test_a_question_with_half_a_character_is_answered_all_the_same() -> None:
    assert outcomes(tour('final_answer = len(gd_detect(img_pth, "box"))', question="\ud800 red?")) == [
        2,
        0,
        3,
        1,
    ]


def test_a_program_cannot_spoil_the_scenes_of_the_next() -> None:
    spoil = (
        'for d in gd_detect(img_pth, "box, ball"):\n    d["bbox"].clear()\n    d["label"] = 1\n'
        "final_answer = 1"
    )

    async def use(sandbox: Sandbox) -> list[Any]:
        await sandbox.tour(spoil, SCENES, QUESTION, {})
        runs = await sandbox.tour(
            'final_answer = gd_detect(img_pth, "ball")[0]["bbox"][0]', SCENES, QUESTION, {}
        )
        return outcomes(runs)

    assert in_sandbox(use) == [600.0] * 4


def item(status: str = "ok", answer: Any = 1, error: str = "", **more: Any) -> dict[str, Any]:
    return {"status": status, "answer": answer, "error": error, "line": None, **more}


@pytest.mark.parametrize(
    "items",
    [
        [], [[item()]] * 3, [[item()]] * 5, [[item("odd")]] * 4, [[]] * 4, [[item(), item(), item()]] * 4, None, 7,
        [[item("undecided")]] * 4, [[item(answer=None)]] * 4, [item()] * 4, [[{}]] * 4, {"a": 1}, "four",
        [[item("error")]],
    ],
)  # fmt: skip
def test_what_no_worker_says_is_not_believed(items: Any) -> None:
    pool = warm_pool.WarmPool(CONFIG, None, 1.0)  # type: ignore[arg-type]
    with pytest.raises(StrangeReply):
        read_pairs(items, 4, pool._result)


def test_after_a_limit_a_worker_may_say_less() -> None:
    pool = warm_pool.WarmPool(CONFIG, None, 1.0)  # type: ignore[arg-type]
    pairs = read_pairs([[item()], [item("killed", None, "too much")]], 4, pool._result)
    assert [pair.status for pair in pairs] == [ProgramStatus.OK, ProgramStatus.KILLED]


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (1, 1.0, True), (1.0, 1.0 + 1e-9, True), (1, 2, False), ("a", "a", True), ("a", "b", False), (True, 1, True),
        ([1, 2], [2, 1], True), ([1], [1, 1], False), ({"a": 1}, {"a": 1}, True), ("1", 1, False), ([], {}, False),
    ],
)  # fmt: skip
def test_answers_that_only_differ_in_order_or_rounding_are_the_same(a: Any, b: Any, equal: bool) -> None:
    assert same(a, b) is equal


def test_results_of_the_sandbox_become_failures_with_a_line() -> None:
    from valor_ray.program.tour import SceneResult

    result = ProgramResult(ProgramStatus.ERROR, error="KeyError: 'x'", line=3, level="fork seccomp")
    assert SceneResult(result).run() == SceneRun("failed", why="KeyError: 'x' (line 3)", level="fork seccomp")
