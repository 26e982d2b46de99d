"""Which folders can be followed, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deployments.parts.following import check_followed
from valor_ray.cli import main
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.runs.folder import GROUNDING, MINE, REASONING, SCORE, RunKind
from valor_ray.runs.weight_channel import publish_by_file


def made(folder: Path, kind: RunKind) -> Path:
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"kind": kind.name}))
    return folder


def test_a_run_is_followed_before_it_exists_and_before_it_publishes(tmp_path: Path) -> None:
    for folder in (tmp_path / "later", made(tmp_path / "run", GROUNDING)):
        said = check_followed(str(folder), "--follow")
        assert str(folder) in said and "nothing is published there yet, the start weights serve" in said
    assert not (tmp_path / "later").exists()


def test_what_is_published_is_named_also_when_its_weights_have_gone(tmp_path: Path) -> None:
    run = made(tmp_path / "run", GROUNDING)
    (run / "weights").mkdir()
    publish_by_file(run, "step-000007", run / "weights")
    assert check_followed(str(run), "--follow").endswith("step-000007 is published")
    (run / "weights").rmdir()
    assert "step-000007 has gone from it, the start weights serve" in check_followed(str(run), "--follow")


@pytest.mark.parametrize("kind", [MINE, REASONING, SCORE], ids=lambda kind: kind.name)
def test_folder_of_another_command_is_refused_at_once(
    tmp_path: Path, kind: RunKind, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(tmp_path / "run", kind)
    assert main(["serve", "--follow", str(run)]) == 2
    said = capsys.readouterr().err
    assert f"--follow {run} is a folder of `{kind.command}`, not of `valor train grounding`" in said
    assert "starting Ray" not in said


def test_a_file_and_a_publication_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        check_followed(str(tmp_path / "file"), "--follow")
    run = made(tmp_path / "run", GROUNDING)
    for text in ("{", '{"number": 1}', "[]"):
        (run / "published.json").write_text(text)
        with pytest.raises(ConfigError, match=r"published\.json does not say what is published"):
            check_followed(str(run), "--follow")


def test_the_followed_folder_is_absolute_for_replicas_that_work_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Config.load("local", ["detector.follow=runs/one"]).detector.follow == str(
        tmp_path / "runs" / "one"
    )
    assert Config.load("local").detector.follow is None
