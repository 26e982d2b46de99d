"""What is recorded of a reply's scene tests, and read again by reports. Scenes are made anew by `sample_scenes`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from valor_ray.measure.answers import is_right
from valor_ray.records import NamedThing, QuestionThings, SceneRun

Given = str | int | float  # a judge's answer
COUNT = 8  # scenes of a question
RIGHT, WRONG, UNDECIDED, HANDED_ON = "+-?h"
_LONGEST = 80  # characters of a program's answer that are kept


@dataclass(frozen=True)
class SceneTest:
    """Of one reply: the question's part (all but `program` and `marks`), and what its program gave."""

    things: QuestionThings | None  # None: the judge named none
    answers: tuple[tuple[Given | None, ...], ...] = ()  # of each asking, a scene each; None: it cannot tell
    kept: tuple[int, ...] = ()  # numbers (1-based) of the scenes on which both agree
    program: tuple[Any, ...] = ()  # answers in the kept scenes, JSON values; None: none
    marks: str = ""  # of the kept scenes: + right, - wrong or failed, ? undecided, h handed on
    why: str = ""  # why the head does not apply to the question

    def as_json(self) -> str:
        things = self.things
        return json.dumps(
            {
                "things": None if things is None else _things_json(things),
                "answers": self.answers,
                "kept": self.kept,
                "program": [_short(answer) for answer in self.program],
                "marks": self.marks,
                "why": self.why,
            }
        )

    @classmethod
    def read(cls, text: str) -> Self:
        """Raises ValueError, KeyError, TypeError for what `as_json` has not written."""
        said = json.loads(text)
        return cls(
            things=None if said["things"] is None else _read_things(said["things"]),
            answers=tuple(tuple(asking) for asking in said["answers"]),
            kept=tuple(said["kept"]),
            program=tuple(said["program"]),
            marks=str(said["marks"]),
            why=str(said["why"]),
        )


def mark(run: SceneRun, truth: Given) -> str:
    """Of one run, by the metric's types and tolerances."""
    if run.status == "undecided":
        return UNDECIDED
    if run.status == "handed_on":
        return HANDED_ON
    return RIGHT if run.status == "answered" and is_right(run.answer, truth) else WRONG


def _things_json(things: QuestionThings) -> dict[str, Any]:
    return {
        "things": [
            {"noun": thing.noun, "attributes": dict(thing.attributes), "several": thing.several}
            for thing in things.things
        ],
        "attributes": {name: list(values) for name, values in things.attributes.items()},
        "others": list(things.others),
        "answer": things.answer,
    }


def _read_things(said: Mapping[str, Any]) -> QuestionThings:
    return QuestionThings(
        tuple(NamedThing(each["noun"], dict(each["attributes"]), each["several"]) for each in said["things"]),
        {name: tuple(values) for name, values in said["attributes"].items()},
        tuple(said["others"]),
        said["answer"],
    )


def _short(answer: Any) -> Any:
    """An answer as it is kept: of a long one the start, as text."""
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return answer if len(text) <= _LONGEST else text[:_LONGEST]
