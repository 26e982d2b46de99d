"""Runs at a URL, as a machine that has nothing of them sees them."""

from __future__ import annotations

import json
from pathlib import Path

from valor_ray.judges.gateway.answers import AnswerStore, StoredAnswer
from valor_ray.runs.store import folders
from valor_ray.runs.store.mirror import Mirror
from valor_ray.runs.store.objects import ObjectStore
from valor_ray.runs.store.place import local_folder


def folder_under(staging: Path, url: str) -> Path:
    """Of a machine that keeps its runs under `staging`."""
    here = local_folder(url)
    mark = here.parts.index("valor-runs-at")
    return staging.joinpath(*here.parts[mark:])


def copied(url: str, folder: Path) -> Path:
    """All of a training run, in the layout of a run folder."""
    objects = ObjectStore(url)
    folder.mkdir(parents=True)
    Mirror(folder, objects, None, ("checkpoints", "weights")).pull()
    for name in folders.whole_names(objects, "checkpoints"):
        folders.fetched(objects, f"checkpoints/{name}", folder / "checkpoints" / name)
    answers = AnswerStore(folder / "judge_cache")
    for name in objects.names("judge_cache/parts"):
        rows = [json.loads(line) for line in (objects.read(name) or b"").splitlines()]
        answers.put_many({key: StoredAnswer(json.loads(content), *rest) for key, content, *rest in rows})
    answers.close()
    return folder
