"""The tabletop benchmark: questions about rendered scenes, read from a folder or rendered from the held-out split."""

from __future__ import annotations

import shutil
from pathlib import Path

from valor_ray.benchmarks.data import own
from valor_ray.benchmarks.truth import Benchmark, Loaded, Request
from valor_ray.errors import ConfigError

SEED = 0  # of the held-out set
DEFAULT_QUESTIONS = 100  # without data and limit


def read(request: Request) -> Loaded:
    """Of --data, or rendered into the run folder. Raises ConfigError as `make` and `own.load` do."""
    data = request.data
    if data is None:
        data = request.out / "data"
        make(data, request.limit or DEFAULT_QUESTIONS)
    return Loaded(*own.load(data, request.limit))


def make(folder: Path, questions: int) -> None:
    """Render held-out scenes for at least `questions` questions into the folder, unless it is there already.

    Raises ConfigError when the folder holds fewer questions than asked for.
    """
    from valor_ray.tabletop.dataset import QUESTIONS_PER_SCENE, write_dataset

    if folder.exists():
        present = sum(1 for _ in own.rows_at(folder / own.TRUTH))
        if present < questions:
            raise ConfigError(
                f"{folder} holds {present} questions, fewer than {questions}. Ask for no more than these, or choose "
                "another folder."
            )
        return
    partial = folder.with_name(
        folder.name + ".partial"
    )  # renamed when complete: a killed run leaves no half set
    shutil.rmtree(partial, ignore_errors=True)
    write_dataset(partial, -(-questions // QUESTIONS_PER_SCENE), SEED, split="held_out")
    partial.rename(folder)


BENCHMARK = Benchmark("tabletop", "Tabletop", read)
