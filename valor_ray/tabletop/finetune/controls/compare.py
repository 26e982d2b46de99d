"""The controls of a fine-tuning run: the same learner, as many steps, as many pictures a step, another set or setting.

    RUN (valor train grounding, at its end) ──► its sets, settings, steps
      each control, one after the other   sets.py -> learner.learn -> learner.select            RUN/controls/NAME, once
      all together                        held_out.py on detections that are kept               RUN/evaluation
                                          table.py                                              RUN/controls.json, .txt

A control goes on where it was killed; a finished one is not trained again. For evaluation only: nothing of this
reaches a run that publishes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.grounding.finetune.folder import read_object
from valor_ray.report.finetuning.again import write_finetuning_page
from valor_ray.runs.folder import locked
from valor_ray.runs.record_file import replace_text
from valor_ray.tabletop.finetune.answers import answers
from valor_ray.tabletop.finetune.controls.runs import (
    SECOND,
    VERIFIED,
    Say,
    Source,
    Trained,
    all_trained,
    check_second,
)
from valor_ray.tabletop.finetune.controls.table import table_record, table_text
from valor_ray.tabletop.finetune.held_out import START, held_out_ap
from valor_ray.tabletop.scenes import GROUNDING_LOOKS

if TYPE_CHECKING:
    from valor_ray.config.models import DetectorConfig

CACHE = "evaluation"  # in the run folder: held-out scenes and detections, of the run's own evaluation too


@dataclass(frozen=True)
class Asked:
    """What `valor controls` was asked for."""

    names: tuple[str, ...]  # of CONTROLS and ABLATIONS
    minutes: float | None = None  # of training, each; None: the run's own steps
    second: Path | None = None  # a further run, that began with this one's weights
    scenes: int = 300  # held out, a look
    questions: int = 0  # 0: no answers


def controls(run: Path, asked: Asked, say: Say, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Train what is not trained yet, measure all, write RUN/controls.json, controls.txt and the run's page; the record.

    Called by `valor controls`. Blocks for all of it: `Asked.minutes` a control, half a minute of looking each. Raises
    ConfigError (the run, a control that was trained with other settings), CheckpointError, StorageError.
    """
    source = Source(run, overrides)
    if source.on_bases:
        say(source.on_bases)
    second = None if asked.second is None else Source(asked.second)
    if second is not None:
        check_second(source, second)
    steps = source.steps if asked.minutes is None else source.steps_in(asked.minutes)
    with locked(source.path / "controls", "--run"):
        ways = all_trained(source, asked.names, steps, say)
        if second is not None:
            ways.append(second.trained(SECOND))
        models = {START: source.config.detector} | {each.name: _model(source, each) for each in ways}
        held_out = held_out_ap(
            models, asked.scenes, GROUNDING_LOOKS, 0, say, over=(START, VERIFIED), cache=source.path / CACHE
        )
        record = table_record(ways, held_out, GROUNDING_LOOKS, source.is_main_way(steps), source.steps)
        if asked.questions:
            shown = {name: models[name] for name in (START, VERIFIED, SECOND) if name in models}
            record["answers"] = answers(shown, source.config, source.path / CACHE, asked.questions, say)
        record["details"] = {
            "ways": [asdict(each) for each in ways],
            "held_out": held_out,
            "wise_ft": read_object(source.folder.selection, "").get("held_back"),
        }
        replace_text(source.path / "controls.json", json.dumps(record, indent=1) + "\n")
        replace_text(source.path / "controls.txt", table_text(record))
        write_finetuning_page(source.path)
    return record


def _model(source: Source, way: Trained) -> DetectorConfig:
    return source.config.detector.model_copy(update={"model": way.weights})
