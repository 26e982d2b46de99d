"""What mining and fine-tuning did, as Prometheus metrics through Ray: from their drivers, by the run's name."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

from ray.util.metrics import Counter, Gauge

from valor_ray.grounding.mine.outcome import Kind, Outcome
from valor_ray.records import BoxStage, MinedImage

FINETUNE_FIGURES = ("loss", "learning_rate", "grad_norm", "boxes", "pictures_per_s", "seconds")  # of a record


class MineMetrics:
    """One a start of mining. Nothing waits: Ray's agent of the machine collects it, and Prometheus asks the agent.

    What the verifier was asked, left unanswered and costs is the gateway's: valor_judge_*, part vlm.
    """

    def __init__(self, run: str) -> None:
        """run: name of the run folder, a tag."""
        self._run = {"run": run}
        self._done = Counter(
            "valor_mine_done",
            "Queries, pictures and canaries, by what became of them.",
            tag_keys=("run", "kind"),
        )
        self._boxes = Counter(
            "valor_mine_boxes",
            "Boxes left after each stage, the first all candidates.",
            tag_keys=("run", "stage"),
        )

    def counted(self, outcomes: Generator[Outcome, None, None]) -> Generator[Outcome, None, None]:
        """The same outcomes, counted as they are taken. Closing it closes theirs."""
        try:
            for outcome in outcomes:
                self._done.inc(1, {**self._run, "kind": str(outcome.kind)})
                if outcome.kind is Kind.MINED:
                    self._mined(MinedImage.from_record(outcome.record))
                yield outcome
        finally:
            outcomes.close()

    def _mined(self, image: MinedImage) -> None:
        for stage in BoxStage:
            if left := sum(box.passed(stage) for box in image.boxes):
                self._boxes.inc(left, {**self._run, "stage": stage.value})


def measured_steps(
    run: str, step_done: Callable[[Mapping[str, Any]], None]
) -> Callable[[Mapping[str, Any]], None]:
    """The same call, in fine-tuning's driver, its records measured as well. run: name of the run folder, a tag."""
    newest = Gauge("valor_finetune_step", "Newest step that was made.", tag_keys=("run",))
    figures = Gauge(
        "valor_finetune_figure", "Of the newest step, as in metrics.jsonl.", tag_keys=("run", "figure")
    )

    def done(record: Mapping[str, Any]) -> None:
        step_done(record)
        newest.set(record["step"], {"run": run})
        for figure in FINETUNE_FIGURES:
            figures.set(record[figure], {"run": run, "figure": figure})

    return done
