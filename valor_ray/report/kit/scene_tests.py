"""The section "Scene tests" of both reports: a question's scenes, the judge's answers, and what each program gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from valor_ray.reasoning.scenes.record import COUNT, HANDED_ON, RIGHT, UNDECIDED, WRONG, SceneTest
from valor_ray.reasoning.scenes.sample import sample_scenes
from valor_ray.records import Head, NamedThing, QuestionThings
from valor_ray.report.kit.scene_drawing import draw_scene
from valor_ray.report.kit.templates import as_text

if TYPE_CHECKING:
    from markupsafe import Markup

PART = "Scene tests"  # the cards of the replies that are shown here
QUESTIONS = 12  # on the page
REPLIES = 8  # of each
_LONGEST = 20  # characters of an answer in a cell
_REMEMBERED = 200  # questions, while records come: memory does not grow with the file
_KINDS = {RIGHT: "yes", WRONG: "no", UNDECIDED: "none", HANDED_ON: "no"}  # colours of style.css
_SIGNS = {RIGHT: "✓", WRONG: "✗", UNDECIDED: "undecided", HANDED_ON: "handed on"}
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """What a program gave in one scene."""

    kind: str  # yes, no, none; "" for a scene that was dropped
    said: str


@dataclass(frozen=True)
class ReplyInScenes:
    name: str
    anchor: str  # of its card
    kind: str  # of its verdict
    said: str
    cells: tuple[Cell, ...]  # a scene each


@dataclass(frozen=True)
class DrawnScene:
    number: int  # 1-based
    drawing: Markup
    answers: tuple[str, ...]  # the judge's, of each asking
    kept: bool


@dataclass(frozen=True)
class QuestionInScenes:
    """As scene_tests.html shows it."""

    question: str
    names: str  # what the judge says that it names
    why: str  # why the head does not apply; ""
    scenes: tuple[DrawnScene, ...]
    replies: tuple[ReplyInScenes, ...]


@dataclass
class _Group:
    test: SceneTest  # the question's part of it
    rows: dict[str, Row] = field(default_factory=dict)  # reply -> its record

    @property
    def rank(self) -> int:
        """Lower comes first: replies that differ, some right, some wrong or undecided, none to show."""
        verdicts = {row.get("scenes") for row in self.rows.values()}
        if self.test.why:
            return 3
        return 0 if {True, False} <= verdicts else 1 if verdicts != {True} else 2


class SceneTestRows:
    """Grows record by record; keeps the replies of a few questions, those whose programs differ before others."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}

    def add(self, row: Row) -> None:
        """A reward record with question and reply; passed over where no scenes were asked for."""
        text = row.get("scene_test")
        if not text or not isinstance(text, str):
            return
        question = as_text(row.get("question"))
        group = self._groups.get(question)
        if group is None:
            try:
                test = SceneTest.read(text)
            except (ValueError, KeyError, TypeError):
                return
            group = self._groups[question] = _Group(test)
            if len(self._groups) > _REMEMBERED:
                self._forget_one(question)
        if len(group.rows) < REPLIES or group.rank:
            group.rows.setdefault(as_text(row.get("reply")), row)
        if len(group.rows) > REPLIES:
            self._drop_one(group)

    def shown(self) -> tuple[list[QuestionInScenes], list[dict[str, Any]]]:
        """The questions to show, and the records of their replies, each with the anchor of its card."""
        chosen = sorted(self._groups.items(), key=lambda item: item[1].rank)[:QUESTIONS]
        questions: list[QuestionInScenes] = []
        cards: list[dict[str, Any]] = []
        for question, group in chosen:
            replies = []
            for row in group.rows.values():
                anchor = f"scene-reply-{len(cards)}"
                if (reply := _reply(row, anchor, group.test)) is not None:
                    cards.append({**row, "anchor": anchor})
                    replies.append(reply)
            questions.append(_question(question, group.test, replies))
        return questions, cards

    def _forget_one(self, newest: str) -> None:
        """Of the questions with least to show the oldest."""
        del self._groups[max((name for name in self._groups if name != newest), key=self._rank)]

    def _rank(self, question: str) -> int:
        return self._groups[question].rank

    @staticmethod
    def _drop_one(group: _Group) -> None:
        """Of the verdict that most replies share the oldest."""
        verdicts = [row.get("scenes") for row in group.rows.values()]
        most = max(verdicts, key=verdicts.count)
        del group.rows[next(reply for reply, row in group.rows.items() if row.get("scenes") is most)]


def rule_based(folder: Path) -> bool:
    """Whether the judge of a run folder is the offline one, as far as its config.yaml says."""
    try:
        judge = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["judge"]
        return judge["base_url"] is None
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return False


def _question(question: str, test: SceneTest, replies: Sequence[ReplyInScenes]) -> QuestionInScenes:
    scenes = sample_scenes(question, test.things, COUNT) if test.things is not None else ()
    drawn = [
        DrawnScene(n, draw_scene(scene), tuple(_answers(test, n)), n in test.kept)
        for n, scene in enumerate(scenes, 1)
    ]
    names = _names(test.things) if test.things is not None else ""
    return QuestionInScenes(question, names, test.why, tuple(drawn), tuple(replies))


def _answers(test: SceneTest, number: int) -> list[str]:
    """The judge's in one scene."""
    given = [asking[number - 1] if number <= len(asking) else None for asking in test.answers]
    return ["cannot tell" if answer is None else _brief(answer) for answer in given]


def _brief(answer: Any) -> str:
    """An answer as a cell holds it."""
    text = "" if answer is None else f"{answer:.4g}" if isinstance(answer, float) else str(answer)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _names(things: QuestionThings) -> str:
    return f"{'; '.join(map(_named, things.things))} — asks for: {things.answer}"


def _named(thing: NamedThing) -> str:
    words = " ".join([*thing.attributes.values(), thing.noun or "object"])
    return f"all that are {words}" if thing.several else f"the {words}"


def _reply(row: Row, anchor: str, question: SceneTest) -> ReplyInScenes | None:
    """None where no program was run, and for a record that this version has not written."""
    try:
        test = SceneTest.read(row["scene_test"])
        if test.why:
            return None
        cells = {
            number: Cell(_KINDS[mark], f"{_SIGNS[mark]} {_brief(answer)}".strip())
            for number, mark, answer in zip(test.kept, test.marks, test.program, strict=True)
        }
    except (ValueError, KeyError, TypeError):
        return None
    value = row.get(Head.SCENES.value)
    kind = "yes" if value is True else "no" if value is False else "none"
    said = "missing" if value is None else kind
    scenes = max((len(asking) for asking in question.answers), default=0)
    name = as_text(row.get("reply_id") or row.get("rollout_id"))
    row_cells = tuple(cells.get(number, Cell("", "–")) for number in range(1, scenes + 1))
    return ReplyInScenes(name, anchor, kind, said, row_cells)
