"""VisProg's lines: what is a program, and what is refused, with the line."""

import asyncio
from typing import Any

import pytest

from valor_ray.benchmarks.methods import visprog
from valor_ray.config.tree import Config
from valor_ray.errors import ProgramError
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import ProgramResult

END = "\nFINAL_RESULT=RESULT(var=A)"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("A=FIND(image=IMAGE, object='x')", "line 1: there is no module FIND; there are LOC"),
        ("A=DEPTH(image=IMAGE, box=IMAGE)", "there is no module DEPTH"),
        ("A=LOC(image=IMAGE)", "LOC takes image, object"),
        ("A=LOC(image=IMAGE, object='x', more='y')", "LOC takes image, object"),
        ("A=LOC(IMAGE, 'x')", "not VARIABLE=MODULE"),
        ("A=LOC(image=IMAGE1, object='x')", "IMAGE1 is no result so far"),
        ("A=EVAL(expr='{B} > 0')", "B is no result so far"),
        ("A=EVAL(expr=IMAGE)", "EVAL takes a text"),
        ("A=COUNT(box=__import__('os'))", "a text in quotes or the name"),
        ("A=COUNT(box=3)", "a text in quotes or the name"),
        ("A=COUNT(**IMAGE)", "COUNT takes box"),
        ("A.b=COUNT(box=IMAGE)", "not VARIABLE=MODULE"),
        ("A=B=COUNT(box=IMAGE)", "not VARIABLE=MODULE"),
        ("a=COUNT(box=IMAGE)", "in capitals"),
        ("import os", "not VARIABLE=MODULE"),
        ("A=COUNT(box=IMAGE); import os", "not VARIABLE=MODULE"),
        ("IMAGE=COUNT(box=IMAGE)", "IMAGE cannot be set"),
        ("LOC=COUNT(box=IMAGE)", "LOC cannot be set"),
        ("A=COUNT(box=" + "(" * 900 + "IMAGE" + ")" * 900 + ")", "not VARIABLE=MODULE"),
        ("A=COUNT(box=IMAGE)" + " " * 3000 + "#", "longer than 2000"),
        ("A=COUNT(box='\0')", "not VARIABLE=MODULE"),
    ],
)
def test_what_is_no_program_is_refused_with_its_line(line: str, words: str) -> None:
    with pytest.raises(ProgramError, match=r"line 1: ") as refused:
        visprog.translated(line + END)
    assert words in str(refused.value)


def test_a_program_without_a_result_is_refused() -> None:
    with pytest.raises(ProgramError, match="ends without FINAL_RESULT"):
        visprog.translated("A=LOC(image=IMAGE, object='x')")
    with pytest.raises(ProgramError, match="at most 200"):
        visprog.translated("\n" * 300)


async def _tools(tool: str, args: dict[str, Any]) -> Any:
    return [] if tool == "gd_detect" else f"{args['prompt']}" if tool == "vqa" else 1.0


def run(*programs: str, depths: bool = False) -> list[ProgramResult]:
    async def all_of() -> list[ProgramResult]:
        async with Sandbox(Config.load("local").sandbox) as sandbox:
            return [await visprog.run(each, sandbox, _tools, (100, 50), depths=depths) for each in programs]

    return asyncio.run(all_of())


def test_programs_mean_what_visprog_says() -> None:
    commas, no_box, xor, text, number, failing, dividing = run(
        "A=VQA(image=IMAGE, question='red, or (green)?')" + END,
        "B=LOC(image=IMAGE, object='x')\nI=CROP_ABOVE(image=IMAGE, box=B)\nA=VQA(image=I, question='q')"
        + END,
        "B=VQA(image=IMAGE, question='yes')\nC=VQA(image=IMAGE, question='No')\nA=EVAL(expr='{B} xor {C}')"
        + END,
        'B=VQA(image=IMAGE, question="it\'s")\nA=EVAL(expr=\'{B} + "!"\')' + END,
        "B=VQA(image=IMAGE, question='2.5')\n\n# half\nA=EVAL(expr='{B} * 2')" + END,
        "B=LOC(image=IMAGE, object='x')\nA=EVAL(expr='{B}[0]')" + END,
        "A=EVAL(expr='(1 / 0)')" + END,
    )
    assert commas.answer == "red, or (green)?"
    assert no_box.answer == "q" and no_box.calls[1].args["bbox"] is None  # the whole image
    assert (xor.answer, text.answer, number.answer) == ("yes", "it's!", 5.0)
    assert (failing.status, failing.line) == ("error", 2) and "IndexError" in str(failing.error)
    assert dividing.line == 1 and "ZeroDivisionError" in str(dividing.error)


def test_halves_and_sizes() -> None:
    half, size = run(
        "B=LOC(image=IMAGE, object='RIGHT')\nI=CROP_LEFTOF(image=IMAGE, box=B)\nA=VQA(image=I, question='q')"
        + END,
        "B=LOC(image=IMAGE, object='BOTTOM')\nA=SIZE(image=IMAGE, box=B)" + END,
        depths=True,
    )
    assert half.calls[0].args["bbox"] == [0, 0, 75, 50] and size.answer == 25
