"""Which folders can be followed, and what is said of them."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from deployments.parts import following
from deployments.parts.following import Follower, Load, Loaded, check_followed
from valor_ray.cli import main
from valor_ray.config.tree import Config
from valor_ray.errors import CheckpointError, ConfigError
from valor_ray.runs.folder import GROUNDING, MINE, REASONING, SCORE, RunKind
from valor_ray.runs.publications import Publication
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


class Call:
    """A method of an actor, done here."""

    def __init__(self, does: Callable[..., Awaitable[Any]]) -> None:
        self.remote = does


class Published:
    """The publications' actor, with one publication, as far as a follower asks it."""

    def __init__(self, folder: Path) -> None:
        self.news: list[Publication] = [Publication(1, "step-000001", str(folder))]
        self.answers: list[str] = []

        async def wait_newer(_replica: str, _number: int, hold_s: float) -> Publication | None:
            if not self.news and hold_s:
                await asyncio.sleep(hold_s)
            return self.news.pop() if self.news else None

        async def carried(number: int, _carried: Any) -> None:
            self.answers.append(f"carries {number}")

        async def refused(_replica: str, number: int, why: str) -> None:
            self.answers.append(f"refuses {number}: {why}")

        async def beat(_replica: str, _number: int) -> None:
            pass

        self.wait_newer, self.carried, self.refused, self.beat = map(
            Call, (wait_newer, carried, refused, beat)
        )


def stale(times: int) -> Load:
    """Loading that meets handles of a folder that another machine has made anew."""
    left = [times]

    async def load(_news: Publication) -> Loaded:
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(errno.ESTALE, "Stale file handle")
        return Loaded()

    return load


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Published:
    made = Published(tmp_path)
    monkeypatch.setattr(following, "open_publications", lambda run: made)
    monkeypatch.setattr(following, "_LOOK_S", 0.01)
    return made


def test_stale_handles_are_opened_anew(published: Published) -> None:
    asyncio.run(Follower("run", "a", stale(2)).catch_up())
    assert published.answers == ["carries 1"]


def test_a_folder_that_stays_unreadable_stops_a_start_and_is_refused_by_a_replica_at_work(
    published: Published,
) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be read .*Stale file handle"):
        asyncio.run(Follower("run", "a", stale(9)).catch_up())
    assert published.answers == []

    async def at_work() -> None:
        published.news = [Publication(2, "step-000002", str(Path.cwd()))]
        follower = Follower("run", "a", stale(9))
        follower.follow()
        while not published.answers:
            await asyncio.sleep(0.01)
        follower.check()  # goes on following

    asyncio.run(asyncio.wait_for(at_work(), 20))
    assert published.answers[0].startswith("refuses 2: ") and "Stale file handle" in published.answers[0]


def test_a_folder_that_vanishes_while_it_is_waited_for_is_late_and_no_error(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [OSError(errno.ESTALE, "Stale file handle"), False, True]

    def is_dir(_path: Path) -> bool:
        look = looks.pop(0) if looks else True
        if isinstance(look, OSError):
            raise look
        return bool(look)

    monkeypatch.setattr(Path, "is_dir", is_dir)
    asyncio.run(Follower("run", "a", stale(0)).catch_up())
    assert published.answers == ["carries 1"] and not looks
