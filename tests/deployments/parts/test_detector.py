"""A detector whose weights are replaced while it works, without Ray: nothing is by other weights than it says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any

import numpy as np
import pytest
from bases import BASES

from deployments.parts import detector as module
from deployments.parts.detector import Detecting, Detections
from valor_ray.config.models import DetectorConfig
from valor_ray.config.tree import Config
from valor_ray.errors import CheckpointError, ConfigError
from valor_ray.images import from_array
from valor_ray.records import Detection, Picture

PHRASES = ("cube",)
PLAIN = Config.load("local", BASES).detector.model_copy(update={"batch_wait_s": 0.0})


class Model:
    """Finds one box, under the name of its weights, as soon as it may."""

    def __init__(self, name: str) -> None:
        self.name, self.batches = name, 0
        self.begun, self.go = threading.Event(), threading.Event()
        self.go.set()

    def detect(
        self, pictures: Sequence[Picture], phrases: Sequence[Sequence[str]], threshold: float
    ) -> list[list[Detection]]:
        self.batches += 1
        self.begun.set()
        assert self.go.wait(20)
        return [[Detection((0.0, 0.0, 1.0, 1.0), self.name, threshold)] for _ in pictures]


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> dict[str, Model]:
    """What can be loaded, by name."""
    known = {name: Model(name) for name in ("start", "one", "two")}

    def working(config: DetectorConfig) -> Model:
        if config.model == "absent":
            raise ConfigError("no such model")
        return known[config.model]

    monkeypatch.setattr(module, "_working", working)
    return known


def finished(work: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(work, 30)

    asyncio.run(limited())


def picture(grey: int) -> Picture:
    return from_array(np.full((8, 8, 3), grey, np.uint8))


def said(boxes: Detections) -> tuple[str, str]:
    """The version that an answer names, and the weights that it is by."""
    return boxes.version, boxes[0].label


async def ask(detecting: Detecting, grey: int = 0) -> tuple[str, str]:
    return said(await detecting.detect(picture(grey), PHRASES, None))


async def begun(model: Model) -> None:
    assert await asyncio.to_thread(model.begun.wait, 20)


def test_a_batch_ends_under_the_weights_that_it_began_with_and_the_next_has_the_new(
    models: dict[str, Model],
) -> None:
    async def work() -> None:
        detecting = Detecting(PLAIN)
        await detecting.load("start", "v0")
        models["start"].go.clear()
        first = asyncio.create_task(ask(detecting, 1))
        await begun(models["start"])
        waiting = [asyncio.create_task(ask(detecting, grey)) for grey in (2, 3)]
        await asyncio.sleep(0)
        await detecting.load("one", "v1")  # beside the batch that still works
        assert detecting.version == "v1" and not first.done()
        models["start"].go.set()
        assert await first == ("v0", "start")
        assert await asyncio.gather(*waiting) == [("v1", "one")] * 2

    finished(work())


def test_nothing_is_remembered_beyond_its_weights(models: dict[str, Model]) -> None:
    async def work() -> None:
        detecting = Detecting(PLAIN)
        await detecting.load("start", "v0")
        assert await ask(detecting) == await ask(detecting) == ("v0", "start")
        assert models["start"].batches == 1
        await detecting.load("one", "v1")
        assert detecting.status()["cached"] == 0
        assert await ask(detecting) == await ask(detecting) == ("v1", "one")
        await detecting.load("two", "v1")  # published again under the same name, by a run that went back
        assert await ask(detecting) == ("v1", "two")

    finished(work())


def test_what_was_begun_under_the_old_weights_is_not_remembered_under_the_new(
    models: dict[str, Model],
) -> None:
    """Not even where the version's name is the same; and what waited for its batch is not kept for those before it."""

    async def work() -> None:
        detecting = Detecting(PLAIN)
        await detecting.load("start", "v1")
        models["start"].go.clear()
        first = asyncio.create_task(ask(detecting))
        await begun(models["start"])
        await detecting.load("one", "v1")
        shared = asyncio.create_task(
            ask(detecting)
        )  # the same picture: must not wait for the answer of the old
        await asyncio.sleep(0)
        models["start"].go.set()
        assert (await first, await shared) == (("v1", "start"), ("v1", "one"))
        assert await ask(detecting) == ("v1", "one") and detecting.status()["cached"] == 1

    finished(work())


def test_a_batch_that_is_run_again_one_by_one_stays_with_its_weights(models: dict[str, Model]) -> None:
    async def work() -> None:
        detecting = Detecting(PLAIN)
        await detecting.load("start", "v0")
        models["start"].go.clear()
        tasks = [asyncio.create_task(ask(detecting, 1))]
        await begun(models["start"])
        tasks += [asyncio.create_task(ask(detecting, grey)) for grey in (2, 3)]
        await asyncio.sleep(0)
        broken, models["start"].detect = models["start"].detect, fails_together(models["start"])
        models["start"].go.set()
        assert await asyncio.gather(*tasks) == [("v0", "start")] * 3
        assert broken.__self__ is models["start"]

    def fails_together(model: Model) -> Any:
        whole = model.detect

        def detect(pictures: Sequence[Picture], *given: Any) -> list[list[Detection]]:
            if len(pictures) > 1:
                detecting_again.append(len(pictures))
                raise RuntimeError("one of them")
            return whole(pictures, *given)

        return detect

    detecting_again: list[int] = []
    finished(work())
    assert detecting_again == [2]


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [("absent", ConfigError, "no such model"), ("odd", CheckpointError, "odd cannot be loaded: KeyError")],
)
def test_what_cannot_be_loaded_changes_nothing(
    models: dict[str, Model], model: str, error: type[Exception], words: str
) -> None:
    async def work() -> None:
        detecting = Detecting(PLAIN)
        await detecting.load("start", "v0")
        assert await ask(detecting) == ("v0", "start")
        with pytest.raises(error, match=words):
            await detecting.load(model, "v1")
        assert await ask(detecting) == ("v0", "start") and models["start"].batches == 1

    finished(work())
