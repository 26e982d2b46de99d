"""What a question turns on, told by its words, and which of several questions keeps the kinds even."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum


class QuestionKind(StrEnum):
    COUNT = "count"
    SIZE = "size"
    RELATION = "relation"
    ATTRIBUTE = "attribute"
    OTHER = "other"


# Tried in this order: what is asked for comes before what it is asked about, as in "What colour is the nearest cup?".
# "How many cm" and "how many times" ask for sizes.
_WORDS = {
    QuestionKind.COUNT: r"how many (?!times\b|(?:centi|milli)?met(?:re|er)s?\b|[cm]?m\b|feet\b|inches\b)|"
    r"number of\b|count\b",
    QuestionKind.ATTRIBUTE: r"colou?r|material\b|made of\b|shape|pattern|(?:kind|type) of\b",
    QuestionKind.SIZE: r"how many\b|how far\b|distances?\b|ratio\b|size\b|thick|deep\b|depth\b|height\b|width\b|"
    r"length\b|(?:tall|high|wide|long|big|large|small|short)(?:g?er|r|g?est|st)?\b",
    QuestionKind.RELATION: r"left|right|above\b|below\b|behind\b|front\b|between\b|beside\b|next to\b|near|close|"
    r"farth|furth|under|over\b|on top\b|inside\b",
}


def kind_of(question: str) -> QuestionKind:
    """The first kind whose words the question has; `other` when it has none."""
    text = question.lower()
    return next(
        (kind for kind, words in _WORDS.items() if re.search(rf"\b(?:{words})", text)), QuestionKind.OTHER
    )


def choose(questions: Sequence[str], kept: Mapping[QuestionKind, int], seed: int, query_id: str) -> str:
    """The question whose kind was kept least often so far; ties are drawn by seed and query, whatever their order."""
    rarest = min(kept.get(kind_of(question), 0) for question in questions)
    tied = sorted(question for question in questions if kept.get(kind_of(question), 0) == rarest)
    return random.Random(f"{seed} {query_id}").choice(tied)
