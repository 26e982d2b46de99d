"""VADAR's agents: signatures, bodies that are tried and repaired, programs that go back with their error."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from writers_of_tests import Says

from valor_ray.benchmarks.methods import vadar, vadar_api
from valor_ray.benchmarks.methods.vadar_api import Api, Function
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import Query

SIGNATURES = '''<program>
import os
def _count(image, name: str) -> int:
    """How many."""
def _twice(image, name: str) -> int:
    """Twice as many."""
def _never(bbox: list[float]) -> float:
    """Does not work."""
def open(image): "no name of ours"
</program>'''
COUNT = "def _count(image, name: str) -> int:\n    return len(loc(image, name or 'x'))"
TWICE = "def _twice(image, name: str) -> int:\n    return 2 * _count(image, name)"
NEVER = "def _never(bbox: list[float]) -> float:\n    return bbox['x']"


async def tools(tool: str, args: dict[str, Any]) -> Any:
    return [{"bbox": [0, 0, 5, 5], "label": "x"}] if tool == "gd_detect" else "red"


def test_an_api_is_written_tested_and_repaired() -> None:
    writer = Says(SIGNATURES, "no code: (", COUNT, TWICE, *[NEVER] * 6)

    async def written() -> Api:
        async with Sandbox(Config.load("local").sandbox) as sandbox:
            return await vadar_api.write_api(["How many?"], writer, sandbox)

    made = asyncio.run(written())
    assert [each.name for each in made.functions] == ["_count", "_twice"] and made.dropped == ("_never",)
    assert made.calls == len(writer.asked) == 10
    assert "How many?" in writer.asked[0] and "same_object" in writer.asked[0]
    assert "no code: (" in writer.asked[2] and "TypeError" in writer.asked[-1]
    assert "How many." not in made.signatures  # the body that passed is what counts


def test_what_a_body_calls_is_written_first_and_circles_end() -> None:
    one = "def _one(x: int) -> int:\n    return _two(x)"
    two = "def _two(x: int) -> int:\n    return x + 1"
    circle = "def _two(x: int) -> int:\n    return _one(x)"
    heads = 'def _one(x: int) -> int:\n    "1"\ndef _two(x: int) -> int:\n    "2"'

    async def written(*said: str) -> Api:
        async with Sandbox(Config.load("local").sandbox) as sandbox:
            return await vadar_api.write_api(["q"], Says(heads, *said), sandbox)

    straight = asyncio.run(written(one, two))
    assert [each.name for each in straight.functions] == ["_two", "_one"] and straight.calls == 3
    round_about = asyncio.run(written(one, *[circle] * 6, *[one] * 5))
    assert round_about.functions == () and set(round_about.dropped) == {"_one", "_two"}


def test_a_failed_program_goes_back_with_its_error_and_an_early_return_returns() -> None:
    made = Api((), (Function("_count", COUNT),), (), 0)
    writer = Says("final_answer = _cuont(image, 'x')", "final_answer = _count(image, 'x') > 0\nreturn\n1 / 0")
    failing = Says(*["1 / 0"] * 6)

    async def both() -> list[Any]:
        async with Sandbox(Config.load("local").sandbox) as sandbox:
            return [
                await vadar.answered("q?", made, each, sandbox, tools, (9, 9)) for each in (writer, failing)
            ]

    said, failed = asyncio.run(both())
    assert (said["answer"], said["writer_calls"], said["status"]) == ("yes", 2, "ok")
    assert "in line 1: NameError" in writer.asked[1] and "_count(image, name: str)" in writer.asked[0]
    assert failed["answer"] is None and failed["writer_calls"] == 6 and "ZeroDivisionError" in failed["error"]


def test_questions_for_the_api_are_not_the_tested_ones(tmp_path: Path) -> None:
    path = tmp_path / "questions.txt"
    path.write_text("\n".join(f"Question {n}?" for n in range(30)))
    drawn = vadar.questions_from(path, [Query("a", "Another?")])
    assert len(set(drawn)) == 10 and drawn == vadar.questions_from(path, [])
    with pytest.raises(ConfigError, match="holds 1 questions that this run asks"):
        vadar.questions_from(path, [Query("a", "question  7?")])
    path.write_text("\n \n")
    with pytest.raises(ConfigError, match="holds no question"):
        vadar.questions_from(path, [])
    with pytest.raises(ConfigError, match="cannot be read"):
        vadar.questions_from(tmp_path / "none", [])


def test_an_api_is_kept(tmp_path: Path) -> None:
    made = Api(("q?",), (Function("_f", "def _f(): ..."),), ("_g",), 3)
    assert vadar_api.load(tmp_path) is None
    vadar_api.save(tmp_path, made)
    assert vadar_api.load(tmp_path) == made
    (tmp_path / vadar_api.FILE).write_text("{}")
    with pytest.raises(ConfigError, match="Give another --out"):
        vadar_api.load(tmp_path)
