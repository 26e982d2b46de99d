"""ViperGPT: patches that count upwards, the result's form, the fallback, and questions to the writer."""

import asyncio
from collections.abc import Mapping
from typing import Any

from writers_of_tests import Says

from valor_ray.benchmarks.methods import viper
from valor_ray.benchmarks.methods.method import FELL_BACK_FROM
from valor_ray.config.tree import Config
from valor_ray.program.sandbox import Sandbox

SIZE = (100, 80)
BOXES = [[10, 20, 30, 50], [60, 0, 90, 10]]  # y downwards


async def tools(tool: str, args: dict[str, Any]) -> Any:
    if tool == "gd_detect":
        return [{"bbox": box, "label": args["prompt"]} for box in BOXES if "image_bbox" not in args]
    return args["bbox"][1] if tool == "depth" else f"seen {args['bbox']}"


def run(*bodies: str, writer: Says | None = None) -> list[Mapping[str, Any]]:
    async def all_of() -> list[Mapping[str, Any]]:
        host = viper.ViperTools(tools, writer or Says())
        async with Sandbox(Config.load("local").sandbox) as sandbox:
            return [await viper.answered(body, "what?", sandbox, host, SIZE) for body in bodies]

    return asyncio.run(all_of())


def of(value: str) -> str:
    return f"def execute_command(image):\n    p = ImagePatch(image).find('x')\n    return {value}"


def test_patches_count_upwards_from_below() -> None:
    edges, shown, depth, inner, far, near, meets = run(
        of("[[p[0].left, p[0].lower, p[0].right, p[0].upper, p[0].vertical_center]]"),
        of("p[0].simple_query('q')"),
        of("p[1].compute_depth()"),
        of("ImagePatch(p[0], 5, 0, 20, 10).simple_query('q')"),
        of("distance(p[0], p[1])"),
        of("distance(p[0], p[0])"),
        of("p[0].overlaps_with(0, 0, 15, 31)"),
    )
    assert edges["answer"] == [10, 30, 30, 60, 45]
    assert shown["answer"] == "seen [10.0, 20.0, 30.0, 50.0]" and depth["answer"] == 0
    assert inner["answer"] == "seen [15.0, 40.0, 30.0, 50.0]"
    assert abs(far["answer"] - (30**2 + 10**2) ** 0.5) < 1e-9 and near["answer"] == -1
    assert meets["answer"] == "yes"


def test_results_take_the_papers_form() -> None:
    said = run(*map(of, ("True", "None", "[]", "['a', 'b']", "3", "coerce_to_numeric('about 1,250.5 m')")))
    assert [one["answer"] for one in said] == ["yes", "no", "no", "a", 3, 1250.5]
    assert all(one["status"] == "ok" and FELL_BACK_FROM not in one for one in said)


def test_a_program_that_fails_becomes_a_question_about_the_whole_picture() -> None:
    broken, crashed, empty, lost = run(
        "def execute_command(image:", of("p[7]"), "x = 1", of("ImagePatch(image, 5, 5, 5, 9)")
    )
    for one in (broken, crashed, empty, lost):
        assert one["answer"] == "seen None" and one["error"] is None
    assert "line 3: IndexError" in crashed[FELL_BACK_FROM] and "line 1" in broken[FELL_BACK_FROM]
    assert "execute_command" in empty[FELL_BACK_FROM]


def test_llm_query_asks_the_writer_and_not_about_the_picture() -> None:
    writer = Says(" Paris \n")
    (said,) = run(of("llm_query('capital of France?')"), writer=writer)
    assert said["answer"] == "Paris" and "capital of France?" in writer.asked[0]
