"""Questions that a policy was trained on, or whose pictures a detector was: no measure of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from valor_ray.benchmarks.truth import Loaded
from valor_ray.errors import ConfigError
from valor_ray.grounding.dataset.training import training_images
from valor_ray.queries.apart import twins
from valor_ray.queries.gathering.measured import content
from valor_ray.queries.gathering.picture_names import picture_names
from valor_ray.queries.read import counted, is_file, local_picture
from valor_ray.runs.folder import GROUNDING, REASONING, RunKind, kind_of
from valor_ray.runs.record_file import read_records

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

OPTION = "--leave-out-trained"
_NAMED = 5  # questions that a message names
_DEPTH = 3  # folders above a model in which its run is looked for: RUN/weights/step-000080


def untrained(loaded: Loaded, config: Config, *, leave_out: bool) -> Loaded:
    """The questions that neither policy nor detector was trained on.

    Known of models that lie in a run folder of `valor train`, and of the runs that these began with: the queries that a
    run keeps, and the pictures of a detector's mined set, as far as they are still where they were. Raises ConfigError
    when there are such questions, unless they are to be left out, which is noted; and when no other is left.
    """
    seen = {**_of_policy(loaded, config), **_of_detector(loaded, config)}
    if not seen:
        return loaded
    first = ", ".join(list(seen)[:_NAMED]) + (", ..." if len(seen) > _NAMED else "")
    said = f"{counted(len(seen), 'question')} that {next(iter(seen.values()))} was trained on"
    kept = [query for query in loaded.queries if query.query_id not in seen]
    if not leave_out:
        raise ConfigError(
            f"{len(loaded.queries)} questions, among them {said} ({first}): what it answers there measures nothing. "
            f"{OPTION} asks the other {len(kept)}; for Omni3D-Bench, whose rows from 100 the paper trains on, the "
            "paper's figures are of --limit 100."
        )
    if not kept:
        raise ConfigError(f"{OPTION}: all {len(seen)} questions are such as it was trained on.")
    truths = {query.query_id: loaded.truths[query.query_id] for query in kept}
    return replace(loaded, queries=kept, truths=truths, notes=[*loaded.notes, f"left out: {said} ({first})"])


def _of_policy(loaded: Loaded, config: Config) -> dict[str, str]:
    """The ids of the questions that are training queries of the policy's runs, and which model saw them."""
    seen = {}
    for run in _runs(config.policy.model, REASONING, "policy"):
        rows = list(read_records(run / "queries.jsonl"))
        # versions before kept no pictures, so that nothing tells templated questions about different ones apart; ids
        # count within their own set, and say nothing here
        trained = [("", str(row["question"]), str(row["image"])) for row in rows if "image" in row]
        for query, _ in twins(loaded.queries, trained):
            seen[query.query_id] = f"the policy of {run}"
    return seen


def _of_detector(loaded: Loaded, config: Config) -> dict[str, str]:
    """The ids of the questions about pictures that the detector's runs were trained on."""
    seen = {}
    detector = config.detector
    for run in {
        *_runs(detector.follow or "", GROUNDING, "detector"),
        *_runs(detector.model, GROUNDING, "detector"),
    }:
        pictures = _mined_pictures(run)
        for query in loaded.queries if pictures else ():
            if _known(query.image) & pictures:
                seen[query.query_id] = f"the detector of {run}"
    return seen


def _runs(model: str, kind: RunKind, section: str) -> Iterator[Path]:
    """The run that a model is of, the run whose model that one began with, and so on."""
    met: set[Path] = set()
    while (run := _run_of(model, kind)) is not None and run not in met:
        met.add(run)
        yield run
        try:
            settings: Any = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
            model = str(settings[section]["model"])
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
            return


def _run_of(model: str, kind: RunKind) -> Path | None:
    path = Path(model).expanduser()
    if not model or not path.exists():
        return None
    path = path.resolve()
    return next(
        (each for each in (path, *list(path.parents)[:_DEPTH]) if each.is_dir() and kind_of(each) is kind),
        None,
    )


def _mined_pictures(run: Path) -> set[str]:
    """What is known of them; of those that are gone their names."""
    try:
        dataset = Path(json.loads((run / "plan.json").read_text(encoding="utf-8"))["dataset"])
        images = list(training_images(dataset))
    except (OSError, ValueError, KeyError, ConfigError):
        return set()
    return {known for image in images for known in _known(image.path)}


@cache
def _known(image: str) -> frozenset[str]:
    """Of a picture: its names, and its content where it is here."""
    path = local_picture(image)
    held = [content(path.read_bytes())] if path is not None and is_file(path) else []
    return picture_names(image, {}).union(held)
