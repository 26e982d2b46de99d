"""`make test` and `make test-slow`: which files go to which process, in what order, and what CI leaves for later."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import files_in_turn
import pytest

TESTS = Path(__file__).parents[1]
CONFIG: Any = SimpleNamespace(
    rootpath=TESTS.parent,
    getvalue=lambda name: ["popen", "popen"],
    option=SimpleNamespace(loadscopereorder=True),
)


@pytest.mark.parametrize(("within", "outcome"), [("0", "2 skipped"), ("9", "2 passed")])
def test_what_has_not_begun_in_time_is_skipped_and_named(tmp_path: Path, within: str, outcome: str) -> None:
    """`make test-slow WITHIN=…`, by which CI stays under its hour."""
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (tmp_path / "test_two.py").write_text("def test_a(): pass\n\n\ndef test_b(): pass\n")
    command = [sys.executable, "-m", "pytest", "-rs", "--rootdir", str(tmp_path)]
    done = subprocess.run(
        [*command, "--begin-within", within, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TESTS / "support")},
    )
    assert done.returncode == 0 and outcome in done.stdout, done.stdout + done.stderr
    assert (f"not begun within {within} minutes" in done.stdout) == (outcome == "2 skipped")


def test_files_stay_whole_and_those_of_the_running_app_together() -> None:
    turns = files_in_turn.FilesInTurn(CONFIG, None)
    scope = turns._split_scope
    here = "tests/shipping/test_how_tests_run.py"
    assert scope(f"{here}::test_a") == scope(f"{here}::test_b[1::2]") == here
    app, page = "tests/deployments/test_app.py::test_a", "tests/browser/test_page.py::test_b"
    assert scope(app) == scope(page) == files_in_turn.APP
    assert not CONFIG.option.loadscopereorder


def test_files_that_may_take_longest_come_first() -> None:
    def item(file: str, name: str, *limit: int) -> Any:
        marker = SimpleNamespace(args=limit) if limit else None
        return SimpleNamespace(path=Path(file), name=name, get_closest_marker=lambda _: marker)

    items = [item("a", "1"), item("b", "2", 300), item("b", "3"), item("c", "4", 200), item("c", "5", 600)]
    assert [each.name for each in files_in_turn.longest_first(items, 120)] == ["4", "5", "2", "3", "1"]
