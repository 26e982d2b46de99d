"""The queries that training and mining ask: read from any source, checked row by row, kept apart from evaluation."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from valor_ray.answer import check_question
from valor_ray.errors import ConfigError, QuestionError
from valor_ray.queries.sources import ID_FIELDS, OpenedSource, QueryRow, is_label, open_source
from valor_ray.records import Query
from valor_ray.tools import api_text

LONGEST_QUESTION = 2000  # characters; that of server.max_question_chars
NEEDS = (
    "A row needs query_id (or q_index, index) and question; image, a path or URL, is optional, except in questions.csv "
    "and questions.jsonl, where it names the rows without query_id. Correct these rows or take them out."
)
_MOST_PROBLEMS, _MOST_EQUALS = 10, 20  # listed in one message


def read_queries(
    source: str,
    limit: int | None = None,
    say: Callable[[str], None] = lambda line: None,
    *,
    setting: str = "",
) -> list[Query]:
    """The first `limit` queries of a source (sources.open_source), in its order.

    Relative pictures are relative to the folder of the file. say: told how many columns were ignored, and when there
    are more queries. setting: or option that the limit is from, for that message. Raises ConfigError when the source
    cannot be read, has no rows, or has wrong ones: file, row, field and what to do.
    """
    opened = open_source(source)
    check = _Check(opened)
    for row in islice(opened.rows, limit):
        check.add(row)
    if check.problems:
        shown = "".join(f"\n  {problem}" for problem in check.shown)
        more = f" The first {_MOST_PROBLEMS}:" if check.problems > _MOST_PROBLEMS else ""
        raise ConfigError(f"{opened.name}: {_count(check.problems, 'problem')}.{more}{shown}\n{NEEDS}")
    if not check.queries:
        raise ConfigError(f"{opened.name}: there are no queries in it. {NEEDS}")
    if check.ignored:
        labels = sorted(name for name in check.ignored if is_label(name))
        named = f"; labels by their names: {', '.join(labels)}" if labels else ""
        say(f"{opened.name}: {_count(len(check.ignored), 'column')} ignored{named}")
    if limit is not None and next(opened.rows, None) is not None:
        by = f" ({setting})" if setting else ""
        say(f"{opened.name}: the first {limit:,} queries are used, and there are more{by}")
    return check.queries


@dataclass
class _Check:
    """What has been read of a source so far."""

    source: OpenedSource
    queries: list[Query] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)
    problems: int = 0
    shown: list[str] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)  # query_id -> where it was seen
    pictured: Counter[str] = field(default_factory=Counter)  # rows named after each picture

    def add(self, row: QueryRow) -> None:
        self.ignored |= row.ignored
        try:
            self.queries.append(self._query(row))
        except (ValueError, QuestionError) as error:
            self.problems += 1
            where = f"{row.place}: field 'question'" if isinstance(error, QuestionError) else row.place
            if len(self.shown) < _MOST_PROBLEMS:
                self.shown.append(f"{where}: {error}")

    def _query(self, row: QueryRow) -> Query:
        """Raises ValueError that names the field."""
        if row.error:
            raise ValueError(row.error)
        image = _text(row.fields, "image") if row.fields.get("image") else ""
        query_id = self._identity(row.fields, image)
        question = check_question(row.fields.get("question"), LONGEST_QUESTION)
        if self.places.setdefault(query_id, row.place) != row.place:
            raise ValueError(f"query_id {query_id!r} is that of {self.places[query_id]} already")
        place = located(image, self.source.folder)
        if (path := local_picture(place)) and self.source.folder is not None and not path.is_file():
            raise ValueError(f"field 'image': there is no file {path}")
        return Query(query_id, question, place)

    def _identity(self, fields: Mapping[str, Any], image: str) -> str:
        name = next((name for name in ID_FIELDS if name in fields), None)
        if name is not None and (fields[name] not in (None, "") or self.source.own_ids):
            # in some sets an index counts within one picture
            within = f"{fields['image_index']}-" if name != "query_id" and "image_index" in fields else ""
            return within + _text(fields, name)
        if self.source.own_ids:
            raise ValueError("field 'query_id' is missing")
        if not image:
            raise ValueError("field 'image' is missing")
        self.pictured[image] += 1
        return f"{image}#{self.pictured[image]}"


def _text(fields: Mapping[str, Any], name: str) -> str:
    """A field that is text, or a whole number that is taken as text."""
    value = fields[name]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip() or any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError(f"field {name!r} must be text that is not empty, not {str(value)[:40]!r}")
    return value


def located(image: str, folder: str | None) -> str:
    """The `image` of a row as a path or URL that does not depend on where one is."""
    if not image or "://" in image or image.startswith(("/", "data:")) or folder is None:
        return image
    return f"{folder}/{image}"


def local_picture(image: str) -> Path | None:
    """The file that an `image` names on this machine; None for "" and for other URLs."""
    if image.startswith("file://"):
        return Path(unquote(urlsplit(image).path))
    return Path(image) if image and "://" not in image and not image.startswith("data:") else None


def check_apart(
    queries: Sequence[Query], evaluation: Iterable[tuple[str, str, str]] = (), examples: Iterable[str] = ()
) -> None:
    """Raises ConfigError listing the queries that are evaluation rows or examples of a prompt.

    evaluation: (id, question, image) of each row. Equal are rows with the same question after `normalised`, unless
    their pictures are known to differ: same id, same image text, same bytes of two local files, or no picture known on
    one side. The same question about another picture is another query. examples: questions as in `prompt_examples`.
    """
    asked: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row_id, question, image in evaluation:
        asked[normalised(question)].append((row_id, image))
    shown_by_prompt, equals = {normalised(example) for example in examples}, []
    for query in queries:
        key = normalised(query.question)
        twins = [f"evaluation row {twin}" for twin, image in asked.get(key, ()) if _same(query, twin, image)]
        if key in shown_by_prompt:
            twins = ["an example in a prompt"]
        if twins:
            equals.append(f"{query.query_id}, {twins[0]}: {query.question[:80]!r}")
    if equals:
        more = f" The first {_MOST_EQUALS}:" if len(equals) > _MOST_EQUALS else ""
        raise ConfigError(
            f"Training would see what it is measured with: {_count(len(equals), 'query', 'queries')}.{more}"
            + "".join(f"\n  {line}" for line in equals[:_MOST_EQUALS])
            + "\nTake these rows out of the training queries. Where pictures differ, name them in the field `image`: "
            "then they are compared."
        )


def normalised(question: str) -> str:
    """What makes two questions one: words and numbers in their order. Case, width forms, space and punctuation do not
    count, except the point within a number."""
    plain = unicodedata.normalize("NFKC", question).casefold()
    return " ".join(re.findall(r"\d+(?:\.\d+)*|[^\W\d]+", plain)) or " ".join(plain.split())


@cache
def prompt_examples() -> tuple[str, ...]:
    """The questions that stand, in quotation marks, in the prompts and the tools' description."""
    texts = _prompts(files("valor_ray").joinpath("prompts"))
    return tuple(sorted(set(re.findall(r'"([^"\n]+\?)"', "\n".join([*texts, api_text()])))))


def _prompts(folder: Traversable) -> list[str]:
    """Every prompt's text, those of sub-folders too."""
    inner = [text for part in folder.iterdir() if part.is_dir() for text in _prompts(part)]
    own = [part for part in folder.iterdir() if part.name.endswith(".txt")]
    return inner + [path.read_text(encoding="utf-8") for path in own]


def _same(query: Query, row_id: str, image: str) -> bool:
    if query.query_id == row_id or not query.image or not image or query.image == image:
        return True
    ours, theirs = _content(query.image), _content(image)
    return ours is not None and ours == theirs


@cache
def _content(image: str) -> str | None:
    """sha256 of a local picture's file; None when there is none."""
    path = local_picture(image)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path and path.is_file() else None


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
