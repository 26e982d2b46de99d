"""The actor in this process: what it takes from published.json, and when it writes there."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from deployments.actors import publications as module
from deployments.actors.publications import PublicationsActor
from valor_ray.config.models import CHECKPOINTS
from valor_ray.errors import CheckpointError
from valor_ray.runs.publications import NOTHING, Carried, Transfer
from valor_ray.runs.weight_channel import publish_by_file


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_FILE_S", "_LOOK_S", "_KNOWN_S"):
        monkeypatch.setattr(module, name, 0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CHECKPOINTS / "detector", tmp_path / "weights" / "step-000001"))


def finished(work: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(work, 30)

    asyncio.run(limited())


def written(run: Path) -> Any:
    return json.loads((run / "published.json").read_text())


def test_a_replica_that_waits_hears_of_another_process_and_its_refusal_is_not_written(
    tmp_path: Path, folder: Path
) -> None:
    async def work() -> None:
        actor = PublicationsActor(str(tmp_path))
        waiting = asyncio.create_task(actor.wait_newer("a", NOTHING, 20))
        await asyncio.sleep(0.1)
        assert not waiting.done() and (await actor.status())["behind"] == []
        publish_by_file(tmp_path, "step-000001", folder)
        first = await waiting
        assert first is not None and first.version == "step-000001"
        assert (await actor.status())["behind"] == ["a"]
        await actor.carried(first.number, Carried("a", first.version))
        publish_by_file(tmp_path, "step-000002", folder)
        second = await actor.wait_newer("a", first.number, 20)
        assert second is not None and second.version == "step-000002"
        await actor.refused("a", second.number, "it does not fit")
        status = await actor.status()
        assert (status["version"], status["behind"]) == ("step-000001", [])
        assert status["withdrawn"] == {"version": "step-000002", "reason": "a: it does not fit"}
        assert written(tmp_path)["version"] == "step-000002"  # whoever has published it decides
        publish_by_file(tmp_path, "step-000003", folder)
        assert (await actor.status())["version"] == "step-000003"
        assert (await actor.status())["withdrawn"] is None

    finished(work())


def test_what_another_process_withdraws_is_given_up(tmp_path: Path, folder: Path) -> None:
    async def work() -> None:
        actor = PublicationsActor(str(tmp_path))
        publish_by_file(tmp_path, "step-000001", folder)
        news = await actor.wait_newer("a", NOTHING, 20)
        assert news is not None
        (tmp_path / "published.json").write_text("null")
        back = await actor.wait_newer("a", news.number, 20)
        assert back is not None and back.number == NOTHING
        await actor.beat("a", NOTHING)
        assert (await actor.status())["behind"] == []

    finished(work())


@pytest.mark.parametrize("text", ["{", '{"number": 1}', None], ids=["torn", "other", "gone"])
def test_a_file_that_says_nothing_changes_nothing(tmp_path: Path, folder: Path, text: str | None) -> None:
    async def work() -> None:
        publish_by_file(tmp_path, "step-000001", folder)
        actor = PublicationsActor(str(tmp_path))
        if text is None:
            (tmp_path / "published.json").unlink()
        else:
            (tmp_path / "published.json").write_text(text)
        status = await actor.status()
        assert status["version"] == "step-000001"
        assert bool(status["trouble"]) == (text is not None)
        publish_by_file_anew(tmp_path, folder)
        status = await actor.status()
        assert (status["version"], status["trouble"]) == ("step-000002", "")

    def publish_by_file_anew(run: Path, folder: Path) -> None:
        (run / "published.json").unlink(missing_ok=True)
        publish_by_file(run, "step-000002", folder)

    finished(work())


def test_an_actor_starts_beside_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "published.json").write_text("{")
    status = asyncio.run(PublicationsActor(str(tmp_path)).status())
    assert status["version"] is None and "does not say" in status["trouble"]


def test_nobody_follows_only_when_nobody_has_called_for_a_while(tmp_path: Path, folder: Path) -> None:
    async def work() -> None:
        actor = PublicationsActor(str(tmp_path))
        assert await actor.publish("step-000001", str(folder), (), 20, needed=0) == []
        assert written(tmp_path)["version"] == "step-000001"
        late = asyncio.create_task(actor.publish("step-000002", str(folder), (), 20, needed=0))
        await actor.beat("a", 1)  # before the publication ends: it lives, and is waited for
        await asyncio.sleep(0.3)
        assert not late.done()
        await actor.carried(2, Carried("a", "step-000002"))
        assert [answer.replica for answer in await late] == ["a"]

    finished(work())


def test_a_transfer_that_came_wrongly_is_told_to_who_waits(tmp_path: Path, folder: Path) -> None:
    async def work() -> None:
        actor = PublicationsActor(str(tmp_path))
        await actor.beat("a", NOTHING)
        file = asyncio.create_task(actor.publish("step-000001", str(folder), (), 20))
        first = await actor.wait_newer("a", NOTHING, 20)
        assert first is not None
        await actor.carried(first.number, Carried("a", "step-000001"))
        await file
        live = asyncio.create_task(
            actor.publish("step-000002", "", (), 20, transfer=Transfer("g", ("a",), "{}", "{}"))
        )
        second = await actor.wait_newer("a", first.number, 20)
        assert second is not None
        await actor.carried(second.number, Carried("a", "step-000002", [], [{"w": "0"}]))
        assert (await live)[0].received == [{"w": "0"}]
        waiting = asyncio.create_task(actor.wait_newer("a", second.number, 20))
        await actor.withdraw("a", "step-000002", "w came wrongly")
        assert await waiting == first
        assert written(tmp_path)["version"] == "step-000001"

    finished(work())


def test_an_own_publication_that_is_refused_is_withdrawn_in_the_file(tmp_path: Path, folder: Path) -> None:
    async def work() -> None:
        actor = PublicationsActor(str(tmp_path))
        await actor.beat("a", NOTHING)
        publishing = asyncio.create_task(actor.publish("step-000001", str(folder), (), 20, needed=0))
        await asyncio.sleep(0.1)
        await actor.refused("a", written(tmp_path)["number"], "it does not fit")
        with pytest.raises(CheckpointError, match="step-000001 was refused by a: it does not fit"):
            await publishing
        assert written(tmp_path) is None

    finished(work())
