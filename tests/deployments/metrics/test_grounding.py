"""What the drivers of mining and fine-tuning export: what was taken, after it has gone where it goes."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from mined import box, mined

from deployments.metrics import grounding
from valor_ray.grounding.mine.outcome import Kind, Outcome

RUN = {"run": "boxes"}


class Metric:
    """Any of Ray's: what was set or counted, with its tags."""

    seen: list[tuple[str, float, dict[str, str]]]  # of all, set by the test

    def __init__(self, name: str, description: str, **options: Any) -> None:
        self._name, self._tags = name, set(options["tag_keys"])

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert set(tags) == self._tags
        Metric.seen.append((self._name, value, tags))

    inc = set


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, dict[str, str]]]:
    Metric.seen = []
    for kind in ("Counter", "Gauge"):
        monkeypatch.setattr(grounding, kind, Metric)
    return Metric.seen


def test_outcomes_are_counted_as_they_are_taken_and_closing_ends_their_source(
    tmp_path: Path, seen: list[Any]
) -> None:
    image = mined(tmp_path / "a.png", box("kkk"), box("kd"), box("d"))
    ended: list[bool] = []

    def outcomes() -> Generator[Outcome, None, None]:
        try:
            yield Outcome(Kind.MINED, image.to_record())
            yield Outcome(Kind.FAILED, {})
        finally:
            ended.append(True)

    counted = grounding.MineMetrics("boxes").counted(outcomes())
    assert next(counted).kind is Kind.MINED and not ended
    assert seen[0] == ("valor_mine_done", 1, RUN | {"kind": "mined"})
    left = {tags["stage"]: count for name, count, tags in seen if name == "valor_mine_boxes"}
    assert left == {"candidates": 3, "coarse": 2, "crops": 1, "duplicates": 1}
    counted.close()
    assert ended and len(seen) == 1 + len(left)


def test_steps_are_measured_after_they_are_recorded(seen: list[Any]) -> None:
    records: list[Any] = []
    record = {name: 2.0 for name in grounding.FINETUNE_FIGURES} | {"step": 3, "parts": {}}
    grounding.measured_steps("boxes", records.append)(record)
    assert records == [record] and seen[0] == ("valor_finetune_step", 3, RUN)
    assert {tags["figure"] for _, _, tags in seen[1:]} == set(grounding.FINETUNE_FIGURES)

    def full(record: Any) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        grounding.measured_steps("boxes", full)(record)
    assert len(seen) == 1 + len(grounding.FINETUNE_FIGURES)
