"""From phrases as people write them to GroundingDINO captions with exact token spans, and back."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Marks that GroundingDINO or its tokenizer would read as a separator or a special token, and hyphens: the published
# weights were trained on "coffee table" but are asked for "coffee-table".
_MOST_APART = 16  # captions of a call from which on more are made only when those are full
_BREAKS = re.compile(r"[.?!;:,\[\]_/\\|\-\u2010-\u2015\s]+")


def normal_form(phrase: str) -> str:
    """The spelling in which a phrase is put to the model: lower case, one space between words, no separators."""
    return _BREAKS.sub(" ", unicodedata.normalize("NFKC", phrase).lower()).strip()


@dataclass(frozen=True)
class Caption:
    """One prompt: "[CLS] red cube . blue ball . [SEP]"."""

    token_ids: tuple[int, ...]
    phrases: tuple[str, ...]  # as asked
    spans: tuple[tuple[int, int], ...]  # first and past-the-end token of each phrase


@dataclass(frozen=True)
class SpecialTokens:
    cls: int
    sep: int
    dot: int
    pad: int


def plan_captions(
    phrases: Sequence[str], tokenize: Callable[[str], list[int]], special: SpecialTokens, budget: int
) -> list[Caption]:
    """Put the phrases into as few captions of at most `budget` tokens as first-fit finds.

    Phrases with the same normal form are asked once, under the spelling that came first. A phrase whose words are part
    of another's ("cube", "red cube") goes to another caption: in one caption they would compete for the same boxes.
    That makes at most 16 captions, so that a list of "a", "a b", "a b c", ... does not need a forward pass a phrase.
    Phrases with no words are left out; one that exceeds the budget alone is cut at its end.
    """
    asked: dict[str, str] = {}
    for phrase in phrases:
        asked.setdefault(normal_form(phrase), phrase)
    asked.pop("", None)
    room = budget - 2  # [CLS] and [SEP]
    bins: list[list[tuple[str, list[int]]]] = []
    for normal in asked:
        tokens = tokenize(normal)[: room - 1]
        if not tokens:
            continue
        fitting = [held for held in bins if _used(held) + len(tokens) + 1 <= room]
        apart = [held for held in fitting if not any(_nested(normal, other) for other, _ids in held)]
        if not apart and len(bins) < _MOST_APART:
            fitting = []
        for held in (apart or fitting)[:1]:
            held.append((normal, tokens))
            break
        else:
            bins.append([(normal, tokens)])
    return [_caption(held, asked, special) for held in bins]


def _used(held: Sequence[tuple[str, list[int]]]) -> int:
    """Tokens of the phrases, each with its full stop."""
    return sum(len(ids) + 1 for _phrase, ids in held)


def _nested(a: str, b: str) -> bool:
    first, second = set(a.split()), set(b.split())
    return first <= second or second <= first


def _caption(held: Sequence[tuple[str, list[int]]], asked: dict[str, str], special: SpecialTokens) -> Caption:
    ids, spans = [special.cls], []
    for _normal, tokens in held:
        spans.append((len(ids), len(ids) + len(tokens)))
        ids += [*tokens, special.dot]
    return Caption((*ids, special.sep), tuple(asked[normal] for normal, _tokens in held), tuple(spans))
