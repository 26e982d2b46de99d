"""Right answers of unchanged programs before and after: what a better detector is worth to who asks.

"answers" of controls.json or evaluation.json, as `tabletop.finetune.answers` returns it, in percent of the questions:
{"n", "pictures", "looks": [look, …], "programs": {"gold": KIND, "greedy": KIND}}
KIND = {"changes": {model: CHANGE and {"by_look": {look: CHANGE}, "by_family": {…}, "by_text": {…}}}}
CHANGE = {"n", "start", "end", "gain", "gain_ci": [low, high], "fixed", "broken"}; model: end, verified, two_rounds, …
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from valor_ray.report.finetuning.headline import Tile, change_tile, kind_of, points
from valor_ray.report.finetuning.records import FinetuneRecords, Record, interval, part, rows
from valor_ray.report.finetuning.tables import Whisker, whiskers
from valor_ray.report.kit.rows import number
from valor_ray.report.kit.templates import cut

_PROGRAMS = {
    "greedy": "the policy's programs",
    "gold": "right programs",
}  # the first that is there has the tile
_MODELS = {"end": "", "verified": "", "two_rounds": "two rounds"}
MOST = 60  # rows


@dataclass(frozen=True)
class AnswerRow:
    name: str
    indented: bool  # a part of the row above
    n: str
    before: str
    after: str
    change: str
    interval: str
    kind: str
    swapped: str  # "+31 −9": answers that came right, and that went wrong
    whisker: Whisker | None


def answers_tile(run: FinetuneRecords) -> Iterator[Tile]:
    """One, or none where no program was run."""
    for model, name, _, change in _changes(_answers(run)):
        n = number(change, "n")
        note = f"{n:,.0f} questions, {name}, unchanged" if n else f"{name}, unchanged"
        note += _other_steps(run, model)
        yield change_tile(
            "right answers, %",
            number(change, "start"),
            number(change, "end"),
            interval(change, "gain_ci"),
            note,
        )
        return


def _other_steps(run: FinetuneRecords, model: str) -> str:
    """Said where the weights that answered are not the run's own: controls of other steps train the main way anew."""
    row = next((each for each in rows(run.controls, "rows") if each.get("control") == model), {})
    made, own = number(row, "steps"), number(run.plan, "steps")
    if model != "verified" or made is None or own is None or made == own:
        return ""
    return f"; by the weights of {made:,.0f} steps that the controls have, not of this run's {own:,.0f}"


def answer_rows(run: FinetuneRecords) -> list[AnswerRow]:
    """In all and by part, of each kind of program."""
    changes = list(_changes(_answers(run)))[:MOST]
    drawn = whiskers([(number(change, "gain"), interval(change, "gain_ci")) for *_, change in changes])
    return [
        _row(name, indented, change, whisker)
        for (_, name, indented, change), whisker in zip(changes, drawn, strict=True)
    ]


def _answers(run: FinetuneRecords) -> Record:
    return part(run.evaluation, "answers", "programs") or part(run.controls, "answers", "programs")


def _changes(programs: Record) -> Iterator[tuple[str, str, bool, Record]]:
    """(model, what the row is called, whether it is a part, figures)."""
    for kind in dict.fromkeys([*_PROGRAMS, *map(str, programs)]):
        changes = part(programs, kind, "changes")
        for model in dict.fromkeys([*_MODELS, *map(str, changes)]):
            change = part(changes, model)
            if not change:
                continue
            said = _MODELS.get(model, model)
            yield model, cut(_PROGRAMS.get(kind, kind) + (f", {said}" if said else "")), False, change
            for group in (name for name in map(str, change) if name.startswith("by_")):
                for name in part(change, group):
                    yield model, cut(f"{group[3:]}: {name}"), True, part(change, group, name)


def _row(name: str, indented: bool, change: Record, whisker: Whisker | None) -> AnswerRow:
    gain, ends, n = number(change, "gain"), interval(change, "gain_ci"), number(change, "n")
    fixed, broken = number(change, "fixed"), number(change, "broken")
    return AnswerRow(
        name,
        indented,
        "–" if n is None else f"{n:,.0f}",
        points(number(change, "start")),
        points(number(change, "end")),
        "–" if gain is None else f"{gain:+.1f}",
        f"{ends[0]:+.1f} … {ends[1]:+.1f}" if ends else "",
        kind_of(ends),
        "–" if fixed is None or broken is None else f"+{fixed:.0f} −{broken:.0f}",
        whisker,
    )
