"""Which weights a run ends with: a share alpha of the averaged ones, the rest the start's (WiSE-FT, arXiv 2109.01903).

Chosen on verified boxes that were held back, and on what the gate says; never on truth of the pictures that were mined.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from valor_ray.config.models import resolve_model
from valor_ray.grounding.gate.coco_map import GeneralScore, general_map
from valor_ray.grounding.gate.general import GeneralSet
from valor_ray.grounding.gate.verdict import Verdict, judge_general
from valor_ray.grounding.learner.averages import State, between
from valor_ray.grounding.learner.examples import ExampleSet, Reader
from valor_ray.grounding.learner.held_back import held_back_ap
from valor_ray.grounding.learner.learn import AVERAGED, LearnTask
from valor_ray.grounding.learner.weights import copied, freeze, write_detector
from valor_ray.models.grounding_dino.detector import GroundingDino
from valor_ray.models.grounding_dino.load import LoadedDetector, load_detector
from valor_ray.runs.record_file import replace_text

if TYPE_CHECKING:
    from valor_ray.config.models import DetectorConfig

CHOSEN, CANDIDATES, SELECTION = "chosen", "candidates", "selection.json"
BASELINE = "gate.json"  # beside weights that passed: the general mAP that the first start had
Say = Callable[[str], None]
_NO_BETTER = (
    "every share of the new weights finds fewer of the held-back verified boxes than the start weights do"
)


@dataclass(frozen=True)
class Selection:
    alpha: float | None  # None: no share passed the gate
    held_back: list[dict[str, float]]  # {"alpha", "ap50", "ap50_error", "map"}, points; alpha 0 is the start
    # "start", "end" (None: none passed): GeneralScore's fields; "baseline_map"; of a tried share "0.5": {"map"}
    general: dict[str, Any]
    passed: bool
    words: str  # the gate's verdict
    weights: Path | None  # hub format; None: none passed

    def to_record(self) -> dict[str, Any]:
        """The JSON object of selection.json; `weights` relative to the run folder."""
        return {**asdict(self), "weights": None if self.weights is None else self.weights.name}


def select(task: LearnTask, general: GeneralSet, say: Say) -> Selection:
    """Try the shares of finetune.alphas, write the weights that pass to run/chosen, and the choice to selection.json.

    Those shares are tried whose AP50 on held-back boxes is not below the start's, nor by more than one standard error
    below the best: held-back boxes are few, and a smaller difference says nothing. Of these the largest is taken that
    loses at most gate_goal mAP points on the general set; where none does, the one that loses least, within gate_limit.
    In a further round the loss counts from the first round's start. Called by the first learner process after `learn`;
    blocks for minutes of forward passes. What is written is not done again. Raises CheckpointError, StorageError,
    ConfigError, ImageError.
    """
    path = task.run / SELECTION
    if path.exists():
        return _read(path, task.run)
    if task.config.finetune.threads is not None:
        torch.set_num_threads(task.config.finetune.threads)
    selection = _Choice(task, general, say).made()
    replace_text(path, json.dumps(selection.to_record(), indent=1) + "\n")
    shutil.rmtree(task.run / CANDIDATES, ignore_errors=True)
    return selection


class _Choice:
    def __init__(self, task: LearnTask, general: GeneralSet, say: Say) -> None:
        self.task, self.general, self.say = task, general, say
        self.config = task.config.finetune
        self.loaded = load_detector(task.config.detector.model)
        reader = Reader(self.loaded, task.config)
        examples = ExampleSet(task.dataset, reader, self.config, held_back=True)
        self.held_back = examples.held_back or examples.images
        self.start = copied(freeze(self.loaded.model, self.config.freeze))
        self.end = _of(load_detector(str(task.run / AVERAGED)), self.start)
        self.scores: dict[float, GeneralScore] = {}

    def made(self) -> Selection:
        rows = [self._held_back(0.0)] + [self._held_back(alpha) for alpha in sorted(self.config.alphas)]
        before, baseline = self._general(0.0), self._baseline()
        ranked = _worth_trying(rows)
        verdicts: dict[float, Verdict] = {}
        chosen: float | None = None
        for row in ranked:
            alpha = row["alpha"]
            verdicts[alpha] = judge_general(baseline, self._general(alpha), self.config.gate_limit)
            self.say(f"share {alpha:g} of the new weights: {verdicts[alpha].words}")
            if verdicts[alpha].loss <= self.config.gate_goal and verdicts[alpha].passed:
                chosen = alpha
                break
        if not ranked:  # for the report
            self._general(max(self.config.alphas))
        if chosen is None:
            passed = [alpha for alpha, verdict in verdicts.items() if verdict.passed]
            chosen = min(passed, key=lambda alpha: verdicts[alpha].loss, default=None)
        words = verdicts[chosen if chosen is not None else ranked[0]["alpha"]].words if ranked else _NO_BETTER
        general = {
            "start": asdict(before),
            "baseline_map": baseline.map,
            "end": None if chosen is None else asdict(self.scores[chosen]),
            **{f"{alpha:g}": {"map": score.map} for alpha, score in sorted(self.scores.items()) if alpha},
        }
        weights = None if chosen is None else self._keep(chosen, baseline)
        return Selection(chosen, rows, general, chosen is not None, words, weights)

    def _held_back(self, alpha: float) -> dict[str, float]:
        score = held_back_ap(self._detector(alpha), self.held_back, self.task.config.images)
        self.say(
            f"share {alpha:g} of the new weights: AP50 {score.ap50} on {score.boxes} held-back verified boxes"
        )
        return {"alpha": alpha, "ap50": score.ap50, "ap50_error": score.ap50_error, "map": score.map}

    def _general(self, alpha: float) -> GeneralScore:
        if alpha not in self.scores:
            self.scores[alpha] = general_map(self._detector(alpha), self.general, self.say)
        return self.scores[alpha]

    def _baseline(self) -> GeneralScore:
        """What general mAP is compared with: of the start, or of the first start of all where this one was tuned."""
        before = self.scores[0.0]
        place = Path(resolve_model(self.task.config.detector.model))
        path = (place if place.is_dir() else place.parent) / BASELINE
        if not path.is_file():
            return before
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["annotations"] != _digest(self.general):
            self.say(f"{path} is of another general set: the loss counts from this run's start")
            return before
        return GeneralScore(**known["score"])

    def _detector(self, alpha: float) -> GroundingDino:
        settings: DetectorConfig = self.task.config.detector
        if alpha > 0:
            folder = self.task.run / CANDIDATES / f"alpha-{alpha:g}"
            if not folder.exists():
                write_detector(self.loaded, between(self.start, self.end, alpha), folder, original=False)
            settings = settings.model_copy(update={"model": str(folder)})
        return GroundingDino(settings.model_copy(update={"num_gpus": self.config.num_gpus}))

    def _keep(self, alpha: float, baseline: GeneralScore) -> Path:
        folder = write_detector(self.loaded, between(self.start, self.end, alpha), self.task.run / CHOSEN)
        about = {"annotations": _digest(self.general), "score": asdict(baseline)}
        replace_text(folder / BASELINE, json.dumps(about) + "\n")
        return folder


def _worth_trying(rows: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """Of the rows of held_back, the start's first: shares that may be the best, the largest first."""
    better = [row for row in rows[1:] if row["ap50"] >= rows[0]["ap50"]]
    if not better:
        return []
    best = max(better, key=lambda row: row["ap50"])
    near = [row for row in better if row["ap50"] >= best["ap50"] - best["ap50_error"]]
    return sorted(near, key=lambda row: -row["alpha"])


def _of(loaded: LoadedDetector, names: Mapping[str, torch.Tensor]) -> State:
    own = dict(loaded.model.named_parameters())
    return {name: own[name].detach() for name in names}


def _digest(general: GeneralSet) -> str:
    """Of the annotations, and of how many pictures count."""
    digest = hashlib.sha256(general.annotations.read_bytes())
    return f"{digest.hexdigest()} {len(general.images)}"


def _read(path: Path, run: Path) -> Selection:
    record = json.loads(path.read_text(encoding="utf-8"))
    name = record["weights"]
    return Selection(**{**record, "weights": None if name is None else run / name})
