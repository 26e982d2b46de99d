"""What every method says of itself, what is refused, and what comes into the report."""

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from writers_of_tests import Says

from valor_ray.asking.watched import Watched
from valor_ray.benchmarks.methods import direct
from valor_ray.benchmarks.methods.method import Setup, load
from valor_ray.benchmarks.methods.registry import NAMES, method
from valor_ray.benchmarks.methods.run import PROGRAMS, opened, said_of
from valor_ray.benchmarks.methods.writer import filled, program_of, prompt
from valor_ray.benchmarks.results.row import AnswerRow
from valor_ray.cli import main
from valor_ray.commands.evaluate.eval import METHODS
from valor_ray.config.tree import Config
from valor_ray.errors import JudgeError, PolicyError, ServiceError
from valor_ray.images import FilePicture, from_array
from valor_ray.records import Query


def test_every_method_names_itself_and_its_substitutes() -> None:
    assert list(METHODS) == list(NAMES)
    for name in NAMES:
        chosen = method(name)
        assert chosen.name == name and chosen.title
        assert name == "valor" or all(
            ": " in line or line.endswith("left out") for line in chosen.substitutes
        )
    assert method("visprog-depth").substitutes[0].startswith("no depth: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "viper"], "--method viper needs a writer that follows a prompt"),
        (["--method", "visprog-depth"], "set policy.endpoint"),
        (["--method", "direct", "--samples", "4"], "--samples is of --method valor"),
    ],
)
def test_what_a_method_lacks_is_said_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["eval", "tabletop", "--out", str(tmp_path / "out"), *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out" / "data").exists()


def test_a_folder_holds_one_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "run.json").write_text('{"kind": "eval"}')
    (out / "benchmark.json").write_text(
        json.dumps({"benchmark": "tabletop", "wording": "clean"})
    )  # valor's, of old
    assert main(["eval", "tabletop", "--out", str(out), "--method", "direct"]) == 2
    assert "method valor -> direct" in capsys.readouterr().err


def test_programs_are_found_in_replies() -> None:
    assert program_of("<think>a <program>x</program></think>\n<program>\na = 1\n</program> done") == "a = 1"
    assert program_of("<program>one</program> or <program>\n```python\ntwo\n```\n</program>") == "two"
    assert program_of("So:\n```python\ndef f():\n    pass\n```\nThat is it.") == "def f():\n    pass"
    assert program_of("A=COUNT(box=B)\n") == "A=COUNT(box=B)"


def test_what_fills_a_blank_is_not_searched_for_blanks() -> None:
    assert "{{QUESTION}}" in prompt("visprog")
    assert filled("visprog", question="{{QUESTION}}?").endswith("Question: {{QUESTION}}?")


def test_the_vlm_is_shown_picture_and_question_as_they_are() -> None:
    asked = direct.request("How many?", from_array(np.zeros((9, 9, 3), np.uint8)), Config.load("local").vlm)
    text: Any = asked.messages[1]["content"]
    assert [part["type"] for part in text] == ["image_url", "text"] and text[1]["text"] == "How many?"
    assert (
        direct.extracted(" <answer>a</answer> <answer> b </answer>.") == "b"
        and direct.extracted(" 3 ") == "3"
    )


def test_answers_of_the_fallback_are_counted_apart(tmp_path: Path) -> None:
    row = AnswerRow("a", "q", "count", "", 1, 1, True, None, False, 0.0)
    rows = [dataclasses.replace(row, query_id=name) for name in "abcd"]
    records = [
        {"query_id": "a", "fell_back_from": "it failed", "writer_calls": 1},
        {"query_id": "b", "writer_calls": 2},
    ]
    (tmp_path / PROGRAMS).write_text("".join(json.dumps(each) + "\n" for each in records))
    said = said_of(method("viper"), tmp_path, rows)
    assert (said["fell_back"], said["without_fallback"], said["writer_calls"]) == (1, 0.75, 3)
    assert "fell_back" not in said_of(method("direct"), tmp_path, rows)


class Broken:
    """Ports that fail."""

    async def detect(self, *_: Any, **__: Any) -> Any:
        raise ServiceError("no detector")

    async def depth(self, *_: Any) -> Any:
        raise ServiceError("no depth")

    async def vqa(self, *_: Any) -> Any:
        raise JudgeError("no judge")


class OnePicture:
    def __init__(self, path: Path) -> None:
        self.path = path

    def local(self, image: str) -> Path:
        return self.path


def setup_of(folder: Path, writer: Says, ports: Any, **more: Any) -> Setup:
    Image.new("RGB", (64, 48)).save(folder / "a.png")
    return Setup(
        Config.load("local"), folder, OnePicture(folder / "a.png"), lambda: Watched(ports, ports, ports, 5),  # type: ignore[arg-type]
        writer, asked=(Query("a", "How many?"),), **more,
    )  # fmt: skip


async def answers(name: str, setup: Setup) -> Any:
    async with opened(method(name), setup) as answer:
        return await answer(Query("a", "How many?", "a.png"))


def test_a_picture_comes_with_its_file_which_is_what_a_server_is_sent(tmp_path: Path) -> None:
    picture = load(setup_of(tmp_path, Says(), Broken()), Query("a", "How many?", "a.png"))
    assert isinstance(picture, FilePicture) and picture.file == (tmp_path / "a.png").read_bytes()


def test_a_part_that_fails_is_no_answer_and_nothing_is_recorded(tmp_path: Path) -> None:
    looking = Says("B=LOC(image=IMAGE, object='x')\nFINAL_RESULT=RESULT(var=B)")
    with pytest.raises(ServiceError, match="no detector"):
        asyncio.run(answers("visprog", setup_of(tmp_path, looking, Broken())))
    asking = Says("def execute_command(image):\n    return llm_query('q')", PolicyError("quota"))
    with pytest.raises(PolicyError, match="quota"):
        asyncio.run(answers("viper", setup_of(tmp_path, asking, Broken())))
    assert (tmp_path / PROGRAMS).read_text() == ""


def test_a_method_answers_a_question_and_keeps_its_program(tmp_path: Path) -> None:
    questions = tmp_path / "questions.txt"
    questions.write_text("Is it red?\n")
    writer = Says(
        'def _f(image) -> int:\n    "doc"', "def _f(image) -> int:\n    return 3", "final_answer = _f(image)"
    )
    kept = asyncio.run(answers("vadar", setup_of(tmp_path, writer, Broken(), api_questions=questions)))
    assert (kept["answer"], kept["status"], kept["well_formed"], kept["tools"]) == (3, "ok", True, 0)
    again = asyncio.run(
        answers(
            "vadar",
            setup_of(tmp_path, Says("final_answer = 2 * _f(image)"), Broken(), api_questions=questions),
        )
    )
    assert again["answer"] == 6  # the API of the first start
    programs = [json.loads(line)["code"] for line in (tmp_path / PROGRAMS).read_text().splitlines()]
    assert programs == ["final_answer = _f(image)", "final_answer = 2 * _f(image)"]
    other = asyncio.run(answers("visprog", setup_of(tmp_path, Says("I cannot."), Broken())))
    assert other["status"] == "rejected" and "line 1: not VARIABLE" in other["error"]
