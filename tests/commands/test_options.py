"""What commands write: nothing that others said speaks to the terminal."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import valor_ray.commands
from valor_ray.commands.ask.ask import _show as show_answer
from valor_ray.commands.options import exit_code, print_json, show
from valor_ray.commands.tools.run_program import _show as show_run
from valor_ray.errors import JudgeError
from valor_ray.records import ProgramResult, ProgramStatus, ToolCall

EVIL = "\x1b[2J\x9b31m\x1b]0;title\x07\rok\u202eko\ud800"


def nothing_spoke(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert all(char.isprintable() or char in "\n\t" for char in out + err)
    return out + err


def test_commands_write_through_one_function() -> None:
    root = Path(valor_ray.commands.__file__).parent
    bare = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if re.search(r"(?<![\w.])print\(|sys\.std(out|err)\.write", path.read_text(encoding="utf-8"))
    }
    assert bare == {"options.py"}


def test_a_program_cannot_speak_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    call = ToolCall("vqa", {"prompt": EVIL}, EVIL, 1.0, 1)
    refused = ToolCall(EVIL, {EVIL: [EVIL]}, None, 1.0, 1, EVIL)
    show_run(ProgramResult(ProgramStatus.OK, EVIL, calls=(call, refused), output=EVIL + "\n"))
    show_run(ProgramResult(ProgramStatus.OK, [EVIL]))
    show_run(ProgramResult(ProgramStatus.ERROR, error=EVIL))
    assert nothing_spoke(capsys).count("\\x1b[2J") >= 5


def test_a_server_cannot_speak_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    line = {"tool": EVIL, "args": {EVIL: EVIL}, "result": EVIL, "error": None, "ms": 1, "line": 1}
    about = {"plan": EVIL, "code": EVIL, "trace": [line, line | {"error": EVIL}], "seconds": 1}
    show_answer(about | {"answer": EVIL, "error": None})
    show_answer(about | {"answer": None, "error": EVIL})
    assert "\\x1b[2J" in nothing_spoke(capsys)


def test_errors_cannot_speak_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def failing() -> int:
        raise JudgeError(EVIL)

    assert exit_code("valor score", failing, as_json=True) == 1
    assert "valor score: \\x1b[2J" in nothing_spoke(capsys)


def test_json_keeps_every_character_and_none_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({EVIL: [EVIL, "é\n"]})
    assert json.loads(nothing_spoke(capsys)) == {EVIL: [EVIL, "é\n"]}


def test_json_is_ascii_where_the_terminal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    print_json(["é😀"])
    assert json.loads(written.getvalue()) == ["é😀"]


def test_several_lines_stay_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show("a\nb", 1, end="")
    assert capsys.readouterr().out == "a\nb 1"


def test_characters_that_the_stream_cannot_take_are_spelt_out() -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii")
    show("é", file=stream, flush=True)
    assert written.getvalue() == b"\\xe9\n"


def test_ctrl_c_is_130_also_when_a_process_that_it_ended_is_told_something(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted() -> int:
        try:
            raise KeyboardInterrupt
        finally:
            raise BrokenPipeError("the worker has gone")

    assert exit_code("valor train", interrupted) == 130
    assert capsys.readouterr().err == "valor train: interrupted\n"


def test_a_pipe_that_breaks_elsewhere_is_not_taken_for_our_reader() -> None:
    def broken() -> int:
        raise BrokenPipeError("the worker has gone")

    with pytest.raises(BrokenPipeError, match="worker"):
        exit_code("valor train", broken)


def test_who_stops_reading_sees_no_traceback() -> None:
    lines = "import sys\nfrom valor_ray.commands.options import exit_code, show\n"
    lines += "def work():\n    for _ in range(10**6):\n        show('a line')\nsys.exit(exit_code('valor', work))\n"
    command = [sys.executable, "-c", lines]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait() == 1


STOPPED_IN_A_TASK = """
import asyncio, os, signal, sys
from valor_ray.commands.options import exit_code, interrupt_on_signals

async def side():
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    for _ in range(1000):
        pass  # where the signal comes up
    await asyncio.sleep(60)

async def main():
    beside = asyncio.create_task(side())
    await asyncio.sleep(60)

interrupt_on_signals()
sys.exit(exit_code("job", lambda: asyncio.run(main())))
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_that_meets_a_task_beside_the_main_one_ends_both_without_a_traceback(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_IN_A_TASK, name], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (130, "job: interrupted\n")
