"""The `valor` command: help, exit codes, and what goes to stdout."""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from valor_ray import cli
from valor_ray.commands.options import local_path
from valor_ray.commands.tools import doctor
from valor_ray.errors import ImageError
from valor_ray.runs.store.place import run_path


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from valor_ray.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'ray', 'vllm', 'pydantic', 'numpy', 'transformers'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    for command in cli.COMMANDS:
        assert command in done.stdout
    for word in (
        "valor train reasoning",
        "jobs.write_queries",
        "jobs.sample_replies",
        "valor doctor --settings",
    ):
        assert word in done.stdout


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_each_command_explains_itself(command: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"])
    assert stopped.value.code == 0
    assert f"usage: valor {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nosuch"],
        ["tabletop"],
        ["tabletop", "render"],
        ["tabletop", "render", "--out", "x", "--scenes", "0"],
    ],
)
def test_wrong_usage_exits_2_and_says_where_help_is(words: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 2
    assert "--help" in capsys.readouterr().err


def test_wrong_settings_exit_2_without_a_traceback(capsys) -> None:
    assert cli.main(["doctor", "--set", "policy.modle=x"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("valor doctor: Unknown setting 'policy.modle'")
    assert "Traceback" not in captured.err


def test_no_command_takes_a_url_for_a_folder(capsys) -> None:
    paths = [action for action in options(cli.build_parser()) if action.type is local_path]
    runs = [action for action in options(cli.build_parser()) if action.type is run_path]
    assert len(paths) > 10 and len(runs) == 5
    assert not [action for action in options(cli.build_parser()) if action.type is Path]
    with pytest.raises(SystemExit) as stopped:
        cli.main(["report", "s3://bucket/runs/first"])
    assert stopped.value.code == 2
    assert "argument RUN: 's3://bucket/runs/first' is a URL" in capsys.readouterr().err
    for setting in ("finetune.mined", "detector.follow", "judge.cache_dir", "vlm.cache_dir"):
        assert cli.main(["doctor", "--set", f"{setting}=gs://a/b"]) == 2
        said = capsys.readouterr().err
        assert setting in said and "is a URL" in said and "Value error" not in said


def options(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        for below in (action.choices or {}).values() if isinstance(action.choices, dict) else ():
            yield from options(below)


def test_failure_exits_1_and_with_json_is_an_object_too(capsys, monkeypatch) -> None:
    def fail(args) -> int:
        raise ImageError("The picture is empty.")

    monkeypatch.setattr(doctor, "run", fail)
    assert cli.main(["doctor", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"error": {"code": "image", "message": "The picture is empty."}}
    assert captured.err == "valor doctor: The picture is empty.\n"


def test_interrupt_exits_130(capsys, monkeypatch) -> None:
    def interrupted(args) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "run", interrupted)
    assert cli.main(["doctor"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_module_form_and_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "valor_ray", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("valor_ray ")


def test_tabletop_render_writes_pictures_and_says_how_many(tmp_path, capsys) -> None:
    words = [
        "tabletop",
        "render",
        "--out",
        str(tmp_path),
        "--scenes",
        "2",
        "--seed",
        "1",
        "--look",
        "tiles",
        "--json",
    ]
    assert cli.main(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["scenes"] == 2
    assert len(list((tmp_path / "images").glob("*.png"))) == 2


def test_tabletop_render_refuses_an_unknown_look_by_name(tmp_path, capsys) -> None:
    words = ["tabletop", "render", "--out", str(tmp_path / "new"), "--look", "marble"]
    assert cli.main(words) == 2
    assert "tiles" in capsys.readouterr().err
