"""The checkpoint chosen without labels beside the truth: how far it is from the best one.

    python -m valor_ray.tabletop.measure_stopping runs/a runs/b     # runs that have evaluated what they chose among
    valor train reasoning --run runs/a --set grpo.eval_every=20     # the same steps as stopping.every

The best checkpoint is chosen on one half of the pictures and compared with the choice on the other, both ways round.
This knows truth: it reads evaluation/step-N/answers.jsonl. Nothing that trains or chooses reads what it prints.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from valor_ray.errors import ConfigError
from valor_ray.measure.clustered import clustered
from valor_ray.measure.paired import paired_marks
from valor_ray.runs.record_file import read_records

GOAL = 0.02  # points that the choice may lie below the best


@dataclass(frozen=True)
class Beside:
    """Of one run; shares 0..1."""

    run: str
    taken: int  # step
    n: int  # questions
    accuracy: float  # of the step taken
    accuracy_ci: tuple[float, float]  # 95 %, by picture
    last: int
    over_last: float  # accuracy of the step taken - that of the last step
    over_last_ci: tuple[float, float]
    best: tuple[int, int]  # steps, by either half
    below_best: float  # accuracy of the best of one half - of the step taken, on the other half; mean of both
    below_best_ci: tuple[float, float]
    within: bool  # below_best is at most GOAL
    accuracies: dict[int, float]  # step -> on all questions; not what anything was chosen by


def beside_truth(run: Path) -> Beside:
    """Raises ConfigError when the run has chosen nothing, or has not asked the truth of what it chose among."""
    try:
        take = json.loads((run / "take.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{run} has chosen no checkpoint (take.json: {error}). See stopping.questions."
        ) from error
    marks = {row["step"]: _marks(run, row["step"]) for row in take["signals"]}
    if lacking := [step for step, known in marks.items() if not known]:
        raise ConfigError(
            f"{run}: the held-out questions were not asked of step {lacking[0]}. Give it grpo.eval_every that divides "
            "stopping.every; the same command asks them."
        )
    names = sorted(set.intersection(*(set(known) for known in marks.values())))
    return _beside(str(run), take["step"], marks, names)


def _beside(run: str, taken: int, marks: Mapping[int, Marks], names: Sequence[str]) -> Beside:
    picture = {name: marks[taken][name][0] for name in names}
    clusters = [picture[name] for name in names]
    right = {step: [float(known[name][1]) for name in names] for step, known in marks.items()}
    halves = [[n for n, each in enumerate(clusters) if _half(each) == half] for half in (0, 1)]
    best = tuple(max(right, key=lambda step: (_mean(right[step], half), -step)) for half in halves)
    rivals = [right[best[1 - _half(each)]][n] for n, each in enumerate(clusters)]  # chosen by the other half
    below = paired_marks(right[taken], rivals, clusters)
    last = max(right)
    over = paired_marks(right[last], right[taken], clusters)
    counts: dict[str, list[int]] = {}
    for each, mark in zip(clusters, right[taken], strict=True):
        count = counts.setdefault(each, [0, 0])
        count[0], count[1] = count[0] + int(mark), count[1] + 1
    return Beside(
        run=run,
        taken=taken,
        n=len(names),
        accuracy=_mean(right[taken]),
        accuracy_ci=clustered((a, b) for a, b in counts.values()),
        last=last,
        over_last=over.gain,
        over_last_ci=over.ci,
        best=(best[0], best[1]),
        below_best=below.gain,
        below_best_ci=below.ci,
        within=below.gain <= GOAL,
        accuracies={step: round(_mean(values), 4) for step, values in right.items()},
    )


Marks = dict[str, tuple[str, bool]]  # query_id -> picture, right


def _marks(run: Path, step: int) -> Marks:
    path = run / "evaluation" / f"step-{step:06d}" / "answers.jsonl"
    rows = read_records(path) if path.exists() else ()
    return {
        row["query_id"]: (str(row.get("picture") or row["query_id"]), row["right"] is True) for row in rows
    }


def _half(picture: str) -> int:
    return hashlib.sha256(Path(picture).name.encode()).digest()[0] % 2


def _mean(values: Sequence[float], places: Sequence[int] | None = None) -> float:
    chosen = values if places is None else [values[n] for n in places]
    return sum(chosen) / len(chosen) if chosen else 0.0


def lines(measured: Sequence[Beside]) -> list[str]:
    shown = [f"{'step':>5} {'right':>22} {'over the last step':>26} {'below the best':>24}  run"]
    for one in measured:
        over = f"{_share(one.over_last, one.over_last_ci)} of {one.last}"
        below = _share(one.below_best, one.below_best_ci)
        about = f"{one.run} (best by halves {one.best[0]}, {one.best[1]}; n {one.n})"
        shown.append(
            f"{one.taken:>5} {_share(one.accuracy, one.accuracy_ci):>22} {over:>26} {below:>24}  {about}"
        )
    within = sum(one.within for one in measured)
    return [*shown, f"within {100 * GOAL:g} points of the best checkpoint: {within} of {len(measured)} runs"]


def _share(value: float, ends: Sequence[float]) -> str:
    return f"{100 * value:.1f} [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of valor train reasoning")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    args = parser.parse_args(words)
    try:
        measured = [beside_truth(run) for run in args.runs]
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    text: Any = [asdict(one) for one in measured]
    print(json.dumps(text, indent=1) if args.json else "\n".join(lines(measured)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
