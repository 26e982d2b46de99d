"""`valor bench serve`: pictures a second of the detector behind Serve, and of the same model in this process."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import serve

from deployments.app import eye_apps, eye_name
from deployments.ports import RemoteDetector
from deployments.running.readiness import wait_ready
from deployments.serving import running_ray
from valor_ray.config.models import DetectorConfig
from valor_ray.config.tree import Config
from valor_ray.images import from_array
from valor_ray.models.grounding_dino.detector import GroundingDino
from valor_ray.ports import Detector
from valor_ray.records import Detection, Picture

Say = Callable[[str], None]
PHRASES = ("red box", "green ball", "cone", "blue cylinder")
LOOK = "tiles"
THRESHOLD = 0.1  # as mining asks
THREADS = 1  # of torch: as the replica has
_LOGGING = {"log_level": "WARNING", "enable_access_log": False}  # as `valor serve` and the jobs start it


def run(args: Namespace, say: Say) -> dict[str, Any]:
    """{ours, baseline, ratio, one_at_a_time, ratio_to_one_at_a_time, one_client, ...}: pictures a second."""
    import torch

    torch.set_num_threads(THREADS)
    config = Config.load("local")
    detector = config.detector.model_copy(update={"cache_entries": 0})
    say(f"rendering {args.pictures} pictures of {args.side} px")
    pictures = scenes(args.pictures, args.side)
    model = GroundingDino(detector)
    _batched(model, pictures[: detector.max_batch])  # the first pass is not like the others
    rates: dict[str, list[float]] = {"ours": [], "baseline": [], "one_at_a_time": [], "one_client": []}
    few = pictures[: max(1, len(pictures) // 4)]
    with served_detector(config.model_copy(update={"detector": detector}), say) as port:
        asyncio.run(_clients(port, pictures[: 2 * args.clients], args.clients))
        for number in range(args.runs):
            say(f"run {number + 1} of {args.runs}: in this process, then {args.clients} clients of Serve")
            rates["baseline"].append(_rate(pictures, lambda: _batched(model, pictures)))
            rates["ours"].append(_rate(pictures, lambda: asyncio.run(_clients(port, pictures, args.clients))))
            rates["one_at_a_time"].append(_rate(few, lambda: _one_by_one(model, few)))
            rates["one_client"].append(_rate(few, lambda: asyncio.run(_clients(port, few, 1))))
    return {
        **{name: figures(values) for name, values in rates.items()},
        "ratio": _ratio(rates["ours"], rates["baseline"]),
        "ratio_to_one_at_a_time": _ratio(rates["ours"], rates["one_at_a_time"]),
        "ratio_to_one_client": _ratio(rates["ours"], rates["one_client"]),
        "work": about(args, detector),
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
    }


def figures(rates: Sequence[float]) -> dict[str, Any]:
    """Of the runs of one side: the median, and all in the order in which they ran."""
    return {
        "pictures_per_second": round(statistics.median(rates), 2),
        "runs": [round(rate, 2) for rate in rates],
    }


def about(args: Namespace, detector: DetectorConfig) -> dict[str, Any]:
    """What was done: the same on all sides."""
    return {
        "pictures": args.pictures,
        "side_px": args.side,
        "phrases": len(PHRASES),
        "clients": args.clients,
        "runs": args.runs,
        "max_batch": detector.max_batch,
        "threads": THREADS,
        "model": detector.model,
    }


def scenes(count: int, side: int) -> list[Picture]:
    """So many different rendered scenes, square, `side` px."""
    from valor_ray.tabletop.render import render
    from valor_ray.tabletop.scenes import sample_scene

    return [from_array(render(sample_scene(seed, LOOK), size=side).rgb) for seed in range(count)]


@contextmanager
def served_detector(config: Config, say: Say) -> Iterator[RemoteDetector]:
    """One replica of the detector on a Ray of its own, for as long as the block lasts."""
    with running_ray(config, say), tempfile.TemporaryDirectory() as folder:
        name = eye_name("detector", str(Path(folder)))
        serve.start(proxy_location="Disabled", logging_config=_LOGGING)
        serve.run_many(
            [serve.RunTarget(eye_apps(config)["detector"], name=name, route_prefix=None)],
            wait_for_applications_running=False,
        )
        wait_ready(say, name, ("detector",))
        yield RemoteDetector(serve.get_deployment_handle("detector", name))


def _batched(model: GroundingDino, pictures: Sequence[Picture]) -> list[list[Detection]]:
    return model.detect(pictures, [PHRASES] * len(pictures), THRESHOLD)


def _one_by_one(model: GroundingDino, pictures: Sequence[Picture]) -> None:
    for picture in pictures:
        _batched(model, [picture])


async def _clients(port: Detector, pictures: Sequence[Picture], clients: int) -> None:
    """So many clients take the next picture each as soon as they have the boxes of their last."""
    ahead = iter(pictures)

    async def client() -> None:
        for picture in ahead:
            await port.detect(picture, PHRASES, box_threshold=THRESHOLD)

    await asyncio.gather(*(client() for _ in range(clients)))


def _rate(pictures: Sequence[Picture], work: Callable[[], object]) -> float:
    """Pictures a second."""
    started = time.perf_counter()
    work()
    return len(pictures) / (time.perf_counter() - started)


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median over the runs of what stands side by side in one, so that a busy minute counts for both."""
    return round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3)
