"""Under which names people keep questions, their ids and pictures, and what of a row is taken (law 8: no labels)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from valor_ray.errors import ConfigError
from valor_ray.queries.embedded import picture_in
from valor_ray.rows.row import Column

# The first that a row has; of questions and pictures, the first that is not empty. Capitals do not count.
QUESTION_FIELDS = ("question", "problem", "query", "prompt", "conversations", "messages")
ID_FIELDS = ("query_id", "q_index", "index")
MORE_IDS = (
    "question_id",
    "id",
    "idx",
    "extra_info.idx",
    "extra_info.index",
)  # not beside pictures, see `kept`
IMAGE_FIELDS = ("image", "images", "image_path", "img", "img_path", "image_url", "file_name")
WITHIN = "image_index"  # of the picture within which q_index or index counts
_FILLED = ("question", "image")  # of these an empty one is passed over
_ASKS = ("human", "user")  # whose turn of a conversation is a question
_LABEL = re.compile(
    r"(?:answers?|labels?|b?box(?:e?s)?|gt|(?:ground)?truth|targets?|masks?|solutions?|responses?|completions?|"
    r"outputs?|rewards?|chosen|rejected)"
)


def is_label(column: str) -> bool:
    """Whether a column's name says that it holds an answer: final_answer, bbox, gt_label, ..."""
    return any(_LABEL.fullmatch(word) for word in re.split(r"[^a-z]+", column.lower()))


def kept(fields: Mapping[str, Any], own_ids: bool) -> tuple[dict[str, Any], dict[str, str], frozenset[str]]:
    """Of a row: query_id, question (text), image (path, URL or bytes) and image_index, as far as it has them; which
    field each is from; the names of all others.

    own_ids: rows that are named after their pictures keep those names, whatever columns come beside them later.
    Raises ValueError that names the field.
    """
    values: dict[str, Any] = {}
    names: dict[str, str] = {}
    for meaning, places in _places(tuple(fields), own_ids):
        present = [place for place in places if not place.part or _has_part(fields[place.field], place.part)]
        if not present:
            continue
        place = present[0]
        if meaning in _FILLED and len(present) > 1:
            place = next((one for one in present if _value(fields, one) not in (None, "", [])), place)
        names[meaning] = place.name
        values[meaning] = _taken(meaning, _value(fields, place), place.name)
    used = {name.partition(".")[0] if name not in fields else name for name in names.values()}
    ignored = fields.keys() - used
    for name in names.values():
        top = name.partition(".")[0]
        if name not in fields:
            ignored |= {f"{top}.{part}" for part in fields[top]} - {name}
    return values, names, frozenset(ignored)


@dataclass(frozen=True)
class _Place:
    """Where a row may have what is wanted."""

    field: str  # as the row spells it
    part: str  # of a structure; "": all of the field
    name: str  # for messages, and of a column


@lru_cache(maxsize=1024)
def _places(fields: tuple[str, ...], own_ids: bool) -> tuple[tuple[str, tuple[_Place, ...]], ...]:
    """Of what is wanted, where rows of these fields may have it, the best first."""
    known = {name.strip().lower(): name for name in fields} | {name: name for name in fields}
    found = []
    for meaning, candidates in _wanted(own_ids).items():
        places = []
        for candidate in candidates:
            top, _, part = candidate.partition(".")
            if candidate in known:
                places.append(_Place(known[candidate], "", known[candidate]))
            elif part and top in known:
                places.append(_Place(known[top], part, f"{known[top]}.{part}"))
        if places:
            found.append((meaning, tuple(places)))
    return tuple(found)


def _has_part(value: Any, part: str) -> bool:
    return isinstance(value, Mapping) and part in value


def _value(fields: Mapping[str, Any], place: _Place) -> Any:
    return fields[place.field][place.part] if place.part else fields[place.field]


def kept_columns(columns: Sequence[Column], name: str, own_ids: bool) -> list[str]:
    """Which columns of a table are read, "a.b" being a part of one. Raises ConfigError when there is no question."""
    known = {column.name.strip().lower(): column for column in columns}
    keep = {}
    for meaning, candidates in _wanted(own_ids).items():
        for candidate in candidates:
            top, _, part = candidate.partition(".")
            if candidate in known:
                keep[meaning] = known[candidate].name
            elif part and top in known and part in known[top].parts:
                keep[meaning] = f"{known[top].name}.{part}"
            if meaning in keep:
                break
    if "question" not in keep:
        there = ", ".join(column.name for column in columns)[:200]
        raise ConfigError(
            f"{name}: there is no column `question` (there are: {there}). Rename the one that holds the questions."
        )
    return list(keep.values())


@cache
def _wanted(own_ids: bool) -> dict[str, tuple[str, ...]]:
    ids = (*ID_FIELDS, *MORE_IDS) if own_ids else ID_FIELDS
    return {"query_id": ids, WITHIN: (WITHIN,), "question": QUESTION_FIELDS, "image": IMAGE_FIELDS}


def _taken(meaning: str, value: Any, name: str) -> Any:
    try:
        if meaning == "image":
            return picture_in(value)
        return question_in(value) if meaning == "question" else value
    except ValueError as error:
        raise ValueError(f"field {name!r} {error}") from error


def question_in(value: Any) -> Any:
    """The question of a field: its text, or of a conversation the first turn of the one who asks. What others say is
    left behind, and so is all that comes after the first of their turns. <image> marks the picture and is no word.

    What is neither text nor a conversation comes back as it is. Raises ValueError.
    """
    if isinstance(value, list) and value and all(isinstance(turn, Mapping) for turn in value):
        asked = next((turn for turn in value if turn.get("from", turn.get("role")) in _ASKS), None)
        if asked is None:
            raise ValueError(f"holds no turn of {' or '.join(_ASKS)}")
        said = asked.get("value", asked.get("content"))
        if isinstance(said, list):
            said = "\n".join(
                part["text"]
                for part in said
                if isinstance(part, Mapping) and isinstance(part.get("text"), str)
            )
        value = said
    return value.replace("<image>", " ").strip() if isinstance(value, str) else value
