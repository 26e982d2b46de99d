"""Training kept apart from what it is measured with, and from what the prompts show."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from valor_ray.errors import ConfigError
from valor_ray.queries.embedded import hash_named
from valor_ray.queries.read import counted, is_file, local_picture
from valor_ray.records import Query
from valor_ray.tools import api_text

_MOST_EQUALS = 20  # listed in one message


def check_apart(
    queries: Sequence[Query], evaluation: Iterable[tuple[str, str, str]] = (), examples: Iterable[str] = ()
) -> None:
    """Raises ConfigError listing the queries that are evaluation rows or examples of a prompt, as `twins` tells."""
    equals = [
        f"{query.query_id}, {of}: {query.question[:80]!r}"
        for query, of in twins(queries, evaluation, examples)
    ]
    if equals:
        more = f" The first {_MOST_EQUALS}:" if len(equals) > _MOST_EQUALS else ""
        raise ConfigError(
            f"Training would see what it is measured with: {counted(len(equals), 'query', 'queries')}.{more}"
            + "".join(f"\n  {line}" for line in equals[:_MOST_EQUALS])
            + "\nTake these rows out of the training queries. Where pictures differ, name them in the field `image`: "
            "then they are compared."
        )


def twins(
    queries: Sequence[Query], evaluation: Iterable[tuple[str, str, str]] = (), examples: Iterable[str] = ()
) -> Iterator[tuple[Query, str]]:
    """The queries that are evaluation rows or examples of a prompt, each with what it is.

    evaluation: (id, question, image) of each row. Equal are rows with the same question after `normalised`, unless
    their pictures are known to differ: same id, same image text, same bytes of two local files, or no picture known on
    one side. The same question about another picture is another query. examples: questions as in `prompt_examples`.
    """
    asked: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row_id, question, image in evaluation:
        asked[normalised(question)].append((row_id, image))
    shown_by_prompt = {normalised(example) for example in examples}
    for query in queries:
        key = normalised(query.question)
        if key in shown_by_prompt:
            yield query, "an example in a prompt"
        elif (
            twin := next((row for row, image in asked.get(key, ()) if _same(query, row, image)), None)
        ) is not None:
            yield query, f"evaluation row {twin}"


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
    """sha256 of a picture's file, which is here or is named by it; None: not known."""
    path = local_picture(image)
    if path is None:
        return hash_named(image)
    return hashlib.sha256(path.read_bytes()).hexdigest() if is_file(path) else None
