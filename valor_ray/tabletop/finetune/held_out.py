"""AP of detectors on held-out scenes, and what each gains over another, with intervals. For evaluation only.

AP and mAP are in points (0 to 100). Every label is asked in every picture; a score is the mean over the label's words.
Pictures of one scene in several looks are drawn together: intervals are clustered by scene.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from valor_ray.config.models import DetectorConfig
from valor_ray.errors import ConfigError
from valor_ray.measure.ap_bootstrap import Marks, change, draws, marks, means, table
from valor_ray.measure.detection_ap import Boxes
from valor_ray.tabletop.finetune.detections import (
    SceneSet,
    Seen,
    detections,
    every_label,
    rendered,
    truth,
    weights_of,
)
from valor_ray.tabletop.scenes import COLOURS, GROUNDING_LOOKS, SEEN_LOOKS, SHAPES

START = "start"
TOGETHER, SEEN = "together", "seen"  # all pictures of `looks`, and of `reference`
RESAMPLES = 1000


@dataclass(frozen=True)
class Tables:
    """APs of one detector on one set of pictures, 0..1; nan where a label does not occur."""

    whole: np.ndarray  # (1, labels, IOUS)
    drawn: np.ndarray  # (resamples, labels, IOUS)
    true: np.ndarray  # (labels,) objects


def held_out_ap(
    models: Mapping[str, DetectorConfig],
    scenes: int = 300,
    looks: Sequence[str] = GROUNDING_LOOKS,
    first: int = 0,
    say: Callable[[str], None] = print,
    *,
    reference: Sequence[str] = SEEN_LOOKS,
    over: Sequence[str] = (START,),
    cache: Path | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """AP50 and mAP of each model on `scenes` held-out scenes from `first` on in each look, by look, label, shape and
    colour; and the gain of each over each of `over`, on the same pictures.

    reference: looks that are measured beside, for what is forgotten. cache: folder of rendered scenes and detections;
    what is there is not made again; None: nothing is kept. Blocks for a forward pass a picture and model.
    Raises ConfigError for a name of `over` that is no model, CheckpointError, StorageError.
    """
    if lacking := [name for name in over if name not in models]:
        raise ConfigError(f"No model {lacking[0]!r} to compare with: there are {', '.join(models)}.")
    with tempfile.TemporaryDirectory(prefix="valor-held-out-") as spare:
        place = Path(spare) if cache is None else cache
        tables = _tables(models, (scenes, first, looks, reference), place, resamples, say)
    return {"scenes": scenes, "first": first, "resamples": resamples} | held_out_record(
        models, tables, looks_by_set(looks, reference), over
    )


def held_out_record(
    models: Mapping[str, DetectorConfig],
    tables: Mapping[str, Mapping[str, Tables]],
    sets: Mapping[str, Sequence[str]],
    over: Sequence[str],
) -> dict[str, Any]:
    """What evaluation.json and controls.json have of APs. tables: by model and set; sets: of `looks_by_set`."""
    return {
        "sets": {name: list(looks) for name, looks in sets.items()},
        "models": {name: _model_record(models[name], made) for name, made in tables.items()},
        "gains": [_gain_record(name, other, tables) for other in over for name in tables if name != other],
    }


def looks_by_set(looks: Sequence[str], reference: Sequence[str]) -> dict[str, list[str]]:
    """Looks by the name of the set that they make up; the first is what a label's figures are of."""
    pools = {TOGETHER: list(looks), SEEN: list(reference)}
    single = {look: [look] for look in (*looks, *reference)}
    return {name: members for name, members in (pools | single).items() if members}


def _tables(
    models: Mapping[str, DetectorConfig],
    asked: tuple[int, int, Sequence[str], Sequence[str]],
    cache: Path,
    resamples: int,
    say: Callable[[str], None],
) -> dict[str, dict[str, Tables]]:
    """By model and set."""
    count, first, looks, reference = asked
    drawn = draws(count, resamples)
    pictures = {
        look: rendered(SceneSet(look, first, count), cache, say)
        for look in dict.fromkeys((*looks, *reference))
    }
    true = {look: truth(scenes) for look, scenes in pictures.items()}
    made: dict[str, dict[str, Tables]] = {}
    for name, model in models.items():
        seen = {look: detections(model, scenes, look, cache, say) for look, scenes in pictures.items()}
        made[name] = {
            pool: _table(_pooled(seen, members), _pooled(true, members), drawn)
            for pool, members in looks_by_set(looks, reference).items()
        }
    return made


def _pooled(seen: Mapping[str, Seen], looks: Sequence[str]) -> list[list[Boxes]]:
    return [
        list(chain.from_iterable(seen[look].boxes[label] for look in looks))
        for label in range(len(every_label()))
    ]


def _table(seen: list[list[Boxes]], true: list[list[Boxes]], drawn: np.ndarray) -> Tables:
    scenes = drawn.shape[1]
    marked: Marks = marks(seen, true, [place % scenes for place in range(len(true[0]))])
    return Tables(table(marked), table(marked, drawn), np.array([each.true.sum() for each in marked.classes]))


def _model_record(model: DetectorConfig, tables: Mapping[str, Tables]) -> dict[str, Any]:
    made = next(iter(tables.values()))
    rows = list(range(len(every_label())))
    return {
        "model": model.model,
        "weights": weights_of(model),
        "sets": {name: _figures(each, rows) for name, each in tables.items()},
        "by_label": {label: _figures(made, [row]) for label, row in zip(every_label(), rows, strict=True)},
        "by_shape": {shape: _figures(made, rows[place :: len(SHAPES)]) for place, shape in enumerate(SHAPES)},
        "by_colour": {
            colour: _figures(made, rows[place * len(SHAPES) : (place + 1) * len(SHAPES)])
            for place, colour in enumerate(COLOURS)
        },
    }


def _figures(made: Tables, rows: list[int]) -> dict[str, Any]:
    """Means over some labels; None where none of them occurs."""
    ap50, full = means(made.whole[:, rows])
    return {"objects": int(made.true[rows].sum()), "ap50": _points(ap50[0]), "map": _points(full[0])}


def _gain_record(name: str, other: str, tables: Mapping[str, Mapping[str, Tables]]) -> dict[str, Any]:
    after, before = tables[name], tables[other]
    pool = next(iter(after))
    rows = range(len(every_label()))
    labels = {label: [row] for label, row in zip(every_label(), rows, strict=True)}
    return {
        "model": name,
        "over": other,
        "sets": {each: _gains(after[each], before[each], list(rows)) for each in after},
        "by_label": {label: _gains(after[pool], before[pool], row) for label, row in labels.items()},
    }


def _gains(after: Tables, before: Tables, rows: list[int]) -> dict[str, Any]:
    """Points, with the interval of 95 %: {"ap50", "ap50_ci", "map", "map_ci"}; None of labels that do not occur."""
    made: dict[str, Any] = {}
    whole = [means(each.whole[:, rows]) for each in (before, after)]
    drawn = [means(each.drawn[:, rows]) for each in (before, after)]
    for place, figure in enumerate(("ap50", "map")):
        then, now = (float(each[place][0]) for each in whole)
        said = change(then, now, drawn[1][place] - drawn[0][place])
        made[figure] = _points(said.gain)
        made[f"{figure}_ci"] = None if np.isnan(said.gain) else [_points(end) for end in said.ci]
    return made


def _points(share: float) -> float | None:
    return None if np.isnan(share) else round(100 * float(share), 2)
