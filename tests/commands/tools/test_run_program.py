import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from valor_ray.cli import main

HOSTILE = Path(__file__).parents[2] / "program" / "hostile"
KEYS = {"status", "answer", "error", "line", "calls", "seconds", "output", "level"}


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["run-program", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text('cars = gd_detect(img_pth, "car")\nprint("found")\nfinal_answer = {"cars": len(cars)}\n')
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(path)
    return path


def test_json_is_one_object_alone_on_stdout(capsys: pytest.CaptureFixture[str], program: Path) -> None:
    code, out, err = run(capsys, program, "--json")
    result = json.loads(out)
    assert (code, err) == (0, "")
    assert set(result) == KEYS
    assert (result["status"], result["answer"], result["output"]) == ("ok", {"cars": 2}, "found\n")
    assert result["calls"][0]["tool"] == "gd_detect" and result["calls"][0]["line"] == 1


def test_the_answer_alone_is_on_stdout(capsys: pytest.CaptureFixture[str], program: Path) -> None:
    code, out, err = run(capsys, program)
    assert (code, out) == (0, '{"cars": 2}\n')
    assert "line 1: gd_detect" in err and "found" in err


def test_any_other_status_exits_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text("x = 1\n1 / 0\n")
    code, out, err = run(capsys, file)
    assert (code, out) == (1, "")
    assert "error: ZeroDivisionError: division by zero (line 2)" in err


def test_limits_are_settings(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, HOSTILE / "endless_loop.py", "--json", "--set", "sandbox.wall_seconds=1")
    assert (code, json.loads(out)["status"]) == (1, "timeout")
    assert json.loads(out)["seconds"] < 15  # without the setting, 30


def test_the_picture_gives_the_size_to_placeholder_tools(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, photo: Path
) -> None:
    file = tmp_path / "size.py"
    file.write_text("final_answer = image.size")
    code, out, _ = run(capsys, file, "--image", photo, "--placeholder", "--json")
    assert (code, json.loads(out)["answer"]) == (0, [64, 48])


def test_without_a_server_the_error_says_what_to_start(
    capsys: pytest.CaptureFixture[str], program: Path, photo: Path
) -> None:
    code, out, _ = run(capsys, program, "--image", photo, "--json", "--url", "http://127.0.0.1:9")
    result = json.loads(out)
    assert (code, result["status"]) == (1, "error")
    assert "gd_detect failed: No answer from http://127.0.0.1:9" in result["error"]
    assert "Start `valor serve`" in result["error"]


def test_wrong_usage_exits_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "binary.py").write_bytes(b"\xff\xfe")
    assert run(capsys, tmp_path / "missing.py")[0] == 2
    assert run(capsys, tmp_path / "binary.py")[0] == 2
    assert run(capsys, tmp_path)[0] == 2
    with pytest.raises(SystemExit, match="2"):
        main(["run-program"])


def test_the_command_starts_without_the_heavy_libraries(program: Path) -> None:
    code = (
        "import sys; from valor_ray.cli import main; main(sys.argv[1:]);"
        " print([m for m in ('torch', 'ray', 'vllm', 'transformers', 'openai', 'PIL', 'httpx') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, "run-program", str(program), "--json"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
    assert out.splitlines()[-1] == "[]"
