"""Requests that are answered in free text, as a writer of programs answers: what is sent, what of it an endpoint takes,
and how a completion is read. A refusal, a cut and an empty reply are replies too: they are paid for, and kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from valor_ray.judges.gateway.call.body import tokens_in, tokens_of
from valor_ray.judges.gateway.call.outcome import HttpKind, HttpOutcome
from valor_ray.judges.gateway.call.reply import EMPTY
from valor_ray.records import JudgeRequest

_SEED_BITS = 31  # what every endpoint takes
_BEGINNING = 100  # characters in which a 400 says what it is about; further on it may repeat the request
_ALSO_CALLED = {"max_tokens": "max_completion_tokens"}  # what to try before a field is left out
_NOT_TAKEN = re.compile(
    r"un(?:supported|known|recognized|expected)|not (?:supported|permitted|allowed|available)|(?:does|do) not support|"
    r"extra|deprecated|no longer|cannot (?:find|be set|be used)|only the default|invalid (?:argument|parameter|field)",
    re.I,
)
_TEXTS = ("message.content", "message.tool_calls", "message.parsed", "text")  # not where a model thinks
_FINISH = {
    HttpKind.REFUSED: "refusal",
    HttpKind.MODERATED: "content_filter",
    HttpKind.CUT: "length",
    HttpKind.BROKEN: "empty",
}


@dataclass(frozen=True)
class FreeText(JudgeRequest):
    """A sample of a model's text. Its answer is a JSON object of ours: text, finish, why, prompt_tokens,
    completion_tokens; see `read_texts`."""

    fields: Mapping[str, Any] = field(default_factory=dict)  # of the body, by name; see Fields
    seed: int = 0  # of the caller; each sample is sent with one of its own, unless fields["seed"] is missing
    sample: int = 0  # which of the samples of that seed

    def identity(self) -> str:
        """What its answer depends on beside messages and model, as text."""
        return json.dumps([dict(self.fields), self.seed, self.sample], sort_keys=True)


def seed_of(seed: int, sample: int) -> int:
    """What a sample is sent with: the first the caller's own, the others numbers that no other sample has."""
    if sample == 0:
        return seed % (1 << _SEED_BITS)
    digest = hashlib.sha256(f"{seed}:{sample}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> (32 - _SEED_BITS)


class Fields:
    """As what an endpoint takes the fields that may be left out: found out once, kept once it has answered without.

    Kept by EndpointCalls for the life of a gateway. Waits for nothing.
    """

    def __init__(self) -> None:
        self._as: dict[str, str] = {}  # name -> as what it is sent; "": left out

    def names(self, request: JudgeRequest) -> dict[str, str]:
        """Of a request's fields, as `_as`."""
        wanted = request.fields if isinstance(request, FreeText) else ()
        return {name: self._as.get(name, name) for name in wanted}

    def refused(self, names: Mapping[str, str], words: str) -> dict[str, str] | None:
        """What to try after a refusal in these words; None: it is of something else."""
        words = words[:_BEGINNING]
        places = {_place(as_, words): name for name, as_ in names.items() if as_}
        if not _NOT_TAKEN.search(words) or not (named := [place for place in places if place >= 0]):
            return None
        name = places[min(named)]
        return {**names, name: _ALSO_CALLED.get(names[name], "")}

    def answered(self, names: Mapping[str, str]) -> str:
        """An answer came to these: they are kept. Returns, in words, what is sent otherwise from now on."""
        news = {name: as_ for name, as_ in names.items() if as_ != self._as.get(name, name)}
        self._as.update(news)
        return ", ".join(
            f"{name} ({f'{as_} is sent for it' if as_ else 'left out'})" for name, as_ in news.items()
        )


def _place(name: str, words: str) -> int:
    """Where a name stands; -1: nowhere."""
    found = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", words)
    return -1 if found is None else found.start()


def text_body(
    request: FreeText, model: str, extra: Mapping[str, Any], names: Mapping[str, str], n: int
) -> bytes:
    """The chat completion call for n samples from the request's on. extra: wins over the request's fields."""
    values = dict(request.fields)
    if "seed" in values:
        values["seed"] = seed_of(request.seed, request.sample)
    fields = {as_: values[name] for name, as_ in names.items() if as_}
    body = {**fields, **extra, "model": model, "messages": list(request.messages)}
    if n > 1:
        body["n"] = n
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def read_texts(
    request: FreeText, outcome: HttpOutcome, *, again: bool
) -> tuple[Mapping[str, Any] | None, ...]:
    """What a call's completions say, in order; None: nothing that counts as a reply. again: an empty one is asked for
    once more.

    finish: "stop", "length", or why there is no text: "refusal", "content_filter", "length", "empty", with `why`.
    """
    choices = (outcome, *outcome.others)
    texts = [choice.text if _is_text(choice) else "" for choice in choices]
    said = outcome.completion_tokens
    shares = _shares(said, [tokens_in(text) for text in texts])
    prompt = tokens_of(request) if outcome.prompt_tokens is None else outcome.prompt_tokens
    return tuple(
        _reply(choice, text, again, {"prompt_tokens": prompt, "completion_tokens": share})
        for choice, text, share in zip(choices, texts, shares, strict=True)
    )


def _reply(
    choice: HttpOutcome, text: str, again: bool, tokens: Mapping[str, int]
) -> Mapping[str, Any] | None:
    if text:
        return {"text": text, "finish": "length" if choice.cut else "stop", "why": "", **tokens}
    kind, why = choice.kind, choice.text
    empty = kind is HttpKind.BROKEN and why == EMPTY
    if kind is HttpKind.ANSWERED:  # where it thinks
        kind, why = (HttpKind.CUT if choice.cut else HttpKind.BROKEN), "it thought, and wrote nothing"
        empty = not choice.cut
    if kind not in _FINISH or (kind is HttpKind.BROKEN and (again or not empty)):
        return None
    return {"text": "", "finish": _FINISH[kind], "why": why, **tokens}


def _is_text(choice: HttpOutcome) -> bool:
    return choice.kind is HttpKind.ANSWERED and choice.place in _TEXTS


def _shares(said: int | None, estimated: Sequence[int]) -> list[int]:
    """Tokens of each of several texts, which an endpoint counts together; they sum to what it says."""
    if said is None:
        return list(estimated)
    total = sum(estimated) or 1
    shares = [said * each // total for each in estimated]
    shares[0] += said - sum(shares)
    return shares
