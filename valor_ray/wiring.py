"""What stands behind the ports without Ray: the same models and steps, in this process. For debugging and jobs."""

from __future__ import annotations

import asyncio
import gc
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from valor_ray.config.judging import JudgeConfig, Part
from valor_ray.config.tree import Config
from valor_ray.judges.gateway.connect import Judges, open_judge
from valor_ray.judges.gateway.ledger import Ledger
from valor_ray.judges.gateway.offline import OfflineJudge
from valor_ray.judges.vqa import VqaJudge
from valor_ray.ports import Depth, Detector, Policy, Vqa
from valor_ray.records import DepthMap, Detection, Picture
from valor_ray.tools import LiveTools
from valor_ray.writers.writer import open_writer

if TYPE_CHECKING:
    from valor_ray.models.grounding_dino.detector import GroundingDino
    from valor_ray.models.moge.depth import MoGe


class InProcessDetector:
    """ports.Detector on a GroundingDINO in this process."""

    def __init__(self, model: GroundingDino) -> None:
        self._model = model

    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        return (await asyncio.to_thread(self._model.detect, [picture], [phrases], box_threshold))[0]


class InProcessDepth:
    """ports.Depth on a MoGe-2 in this process; keeps the map of the last picture."""

    def __init__(self, model: MoGe) -> None:
        self._model = model
        self._last: tuple[str, DepthMap] | None = None

    async def depth(self, picture: Picture) -> DepthMap:
        if self._last is None or self._last[0] != picture.key:
            self._last = (picture.key, (await asyncio.to_thread(self._model.depth, [picture]))[0])
        return self._last[1]


@dataclass(frozen=True)
class Eyes:
    """What looks at pictures, without the judge: behind each port a model of this process, or a service elsewhere.

    Whoever opens it (`eyes` here, a training host's `eyes`) closes it; `LiveTools` and the held-out evaluation use it.
    Both ports may be asked by many questions at a time.
    """

    detector: Detector
    depth: Depth


OpenEyes = Callable[[], AbstractAsyncContextManager[Eyes]]  # opens them when something is to be looked at


@dataclass(frozen=True)
class VisionParts:
    detector: Detector
    depth: Depth
    judge: Vqa

    def tools(self, picture: Picture) -> LiveTools:
        """The live tools for one picture."""
        return LiveTools(picture, self.detector, self.depth, self.judge)


@asynccontextmanager
async def judging(endpoint: JudgeConfig, folder: Path, part: Part = "judge") -> AsyncIterator[Judges]:
    """An endpoint's models as a ports.Judge, for as long as the block lasts; the offline judge runs as a child.

    folder: where answers are kept when `cache_dir` names no place. part: the section of the settings that the endpoint
    stands in, for messages: "judge", or `config.vlm_part` with `config.vlm`. Raises ConfigError or JudgeError.
    """
    offline = None
    if endpoint.base_url is None:
        offline = OfflineJudge(endpoint.model, endpoint.noise, endpoint.delay_s)
        endpoint = endpoint.model_copy(
            update={"base_url": offline.base_url, "api_key_env": None, "headers": {}}
        )
    ledger = Ledger(Path(endpoint.cache_dir).expanduser() if endpoint.cache_dir else folder)
    try:
        judge = open_judge(endpoint, ledger, part=part)
        try:
            yield judge
        finally:
            await judge.close()
    finally:
        ledger.close()
        if offline is not None:
            offline.close()


def vlm_cache(folder: Path) -> Path:
    """Where in a folder the answers about pictures are kept: where an older version has kept them, if it did."""
    before = folder / "judge_cache"
    return before if before.exists() else folder / "vlm_cache"


def writer_cache(config: Config, folder: Path) -> Path:
    """Where the replies of `policy.endpoint` are kept that a run in this folder has paid for."""
    named = config.policy.endpoint.cache_dir if config.policy.endpoint is not None else None
    return folder / "writer_cache" if named is None else Path(named).expanduser()


@asynccontextmanager
async def policy(config: Config, folder: Path, *, whole: bool = False) -> AsyncIterator[Policy]:
    """Whoever writes programs, in this process, for as long as the block lasts: an engine, or `policy.endpoint`.

    folder: of the run, which keeps an endpoint's replies. whole: as of EndpointWriter, for an endpoint only.
    Raises ConfigError, CheckpointError, JudgeError, PolicyError.
    """
    if config.policy.endpoint is not None:
        ledger = Ledger(writer_cache(config, folder))
        try:
            writer = open_writer(config.policy, ledger, patient=True, whole=whole)
            try:
                yield writer
            finally:
                await writer.close()
        finally:
            ledger.close()
        return
    from valor_ray.models.vllm.policy import VllmPolicy

    engine = VllmPolicy(config.policy)
    try:
        await engine.start()
        yield engine
    finally:
        engine.close()
        del engine
        gc.collect()  # vLLM's engine is a cycle, and complains when the interpreter's end finds it


@asynccontextmanager
async def eyes(config: Config) -> AsyncIterator[Eyes]:
    """Detector and depth of a config, loaded into this process for as long as the block lasts.

    Raises ConfigError or CheckpointError naming what could not be loaded.
    """
    from valor_ray.models.grounding_dino.detector import GroundingDino
    from valor_ray.models.moge.depth import MoGe

    yield Eyes(InProcessDetector(GroundingDino(config.detector)), InProcessDepth(MoGe(config.depth)))


@asynccontextmanager
async def vision(config: Config) -> AsyncIterator[VisionParts]:
    """Detector, depth and VQA of a config, in this process.

    Answers about pictures are kept for the block only, unless `vlm.cache_dir` names a folder.
    Raises ConfigError, CheckpointError or JudgeError naming what could not be loaded.
    """
    part = config.vlm_part
    with tempfile.TemporaryDirectory(prefix="valor-judge-") as folder:
        async with judging(config.vlm, Path(folder), part) as vlm, eyes(config) as seen:
            yield VisionParts(seen.detector, seen.depth, VqaJudge(vlm, config.vlm, part))
