"""The tabletop benchmark: questions about rendered scenes, read from a folder or rendered from the held-out split."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
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
        make(data, request.limit or DEFAULT_QUESTIONS, request.looks)
    return Loaded(*own.load(data, request.limit))


def make(folder: Path, questions: int, looks: Sequence[str] = ()) -> None:
    """Render held-out scenes for at least `questions` questions into the folder, unless it is there already.

    looks: of the scenes, in turn; (): those that the base detector knows. Raises ConfigError for an unknown look, and
    when the folder holds fewer questions than asked for, or scenes of other looks.
    """
    from valor_ray.tabletop.dataset import QUESTIONS_PER_SCENE, write_dataset
    from valor_ray.tabletop.scenes import ALL_LOOKS, LOOKS

    looks = tuple(looks) or LOOKS
    if unknown := [look for look in looks if look not in ALL_LOOKS]:
        raise ConfigError(f"Unknown look {unknown[0]!r}: some of {', '.join(ALL_LOOKS)}.")
    if folder.exists():
        present = [row.get("look") for _, row in own.rows_at(folder / own.TRUTH)]
        if len(present) < questions:
            raise ConfigError(
                f"{folder} holds {len(present)} questions, fewer than {questions}. Ask for no more than these, or "
                "choose another folder."
            )
        if other := sorted({str(look) for look in present} - set(looks)):
            raise ConfigError(
                f"{folder} holds scenes of the look {other[0]}, and asked for are {', '.join(looks)}. Ask for the "
                "same looks, or choose another folder."
            )
        return
    partial = folder.with_name(
        folder.name + ".partial"
    )  # renamed when complete: a killed run leaves no half set
    shutil.rmtree(partial, ignore_errors=True)
    write_dataset(partial, -(-questions // QUESTIONS_PER_SCENE), SEED, split="held_out", looks=looks)
    partial.rename(folder)


BENCHMARK = Benchmark("tabletop", "Tabletop", read)
