"""The bench of the served detector: every picture is asked about on all sides, and it gives its ratios."""

import asyncio
import json
from collections.abc import Sequence

import pytest

from valor_ray.cli import main
from valor_ray.perf.serve import PHRASES, _clients, _ratio, scenes
from valor_ray.records import Detection, Picture


class Counting:
    """ports.Detector that notes what it was asked for."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.now = self.most = 0

    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        assert tuple(phrases) == PHRASES and box_threshold == 0.1
        self.keys.append(picture.key)
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.001)
        self.now -= 1
        return []


def test_each_picture_is_asked_about_once_by_so_many_clients() -> None:
    port, pictures = Counting(), scenes(9, 64)
    asyncio.run(_clients(port, pictures, 4))
    assert sorted(port.keys) == sorted({picture.key for picture in pictures}) and len(port.keys) == 9
    assert port.most == 4


def test_the_ratio_is_of_runs_side_by_side() -> None:
    assert _ratio([10, 1, 10], [10, 1, 5]) == 1


@pytest.mark.timeout(300)
def test_the_bench_gives_its_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            ["bench", "serve", "--pictures", "12", "--side", "128", "--clients", "4", "--runs", "1", "--json"]
        )
        == 0
    )
    result = json.loads(capsys.readouterr().out)
    for side in ("ours", "baseline", "one_at_a_time", "one_client"):
        assert result[side]["pictures_per_second"] > 0 and len(result[side]["runs"]) == 1
    for ratio, side in (
        ("ratio", "baseline"), ("ratio_to_one_at_a_time", "one_at_a_time"), ("ratio_to_one_client", "one_client"),
    ):  # fmt: skip
        times = result["ours"]["pictures_per_second"] / result[side]["pictures_per_second"]
        assert result[ratio] == pytest.approx(times, rel=0.01)
    assert result["work"]["pictures"] == 12 and result["work"]["threads"] == 1
