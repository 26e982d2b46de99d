"""The body of a request, and in which form the answer's schema is asked for: found out once for each head."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from valor_ray.records import JudgeRequest

NO_EXTRA: Mapping[str, Any] = MappingProxyType({})
Kind = Literal["json_schema", "json_object", "prompt"]
_ENOUGH = 3  # answers that came only once the schema stood in the prompt
_PICTURE_TOKENS, _CHARACTERS = 1100, 4  # of a picture of 1,024 px; of a token
_ASKED = (
    "Answer with one JSON object and nothing else: no code fence, no words before or after it. "
    "It must fit this JSON schema:\n"
)


class Form(NamedTuple):
    """How an answer's schema travels."""

    kind: Kind
    told: bool  # the schema stands in the prompt, too


FIRST = Form("json_schema", False)
_FORMS = (FIRST, Form("json_object", True), Form("prompt", True))


class Forms:
    """In which form each head is asked: the strictest that the endpoint takes, and heeds.

    Kept by EndpointCalls for the life of a gateway. Waits for nothing.
    """

    def __init__(self, wanted: Literal["auto", "json_schema", "json_object", "prompt"]) -> None:
        self.fixed = wanted != "auto"
        self._first = next((form for form in _FORMS if form.kind == wanted), FIRST)
        self._of: dict[str, Form] = {}
        self._mended: dict[str, int] = {}  # answers of a head that wanted the schema in the prompt

    def of(self, head: str) -> Form:
        return self._of.get(head, self._first)

    def refused(self, head: str, form: Form) -> Form | None:
        """The endpoint does not take this form: the next one; None: there is none."""
        place = _place(form)
        if self.fixed or place + 1 == len(_FORMS):
            return None
        if _place(self.of(head)) <= place:  # else another call has found it out
            self._of[head] = _FORMS[place + 1]
        return self._of[head]

    def read(self, head: str, form: Form) -> None:
        """An answer came in this form that can be read."""
        if form == FIRST:
            self._mended.pop(head, None)
        elif form == Form("json_schema", True) and self.of(head) == FIRST:
            self._mended[head] = self._mended.get(head, 0) + 1
            if self._mended[head] >= _ENOUGH:
                self._of[head] = form


def _place(form: Form) -> int:
    return next(place for place, each in enumerate(_FORMS) if each.kind == form.kind)


def request_body(
    request: JudgeRequest, model: str, extra: Mapping[str, Any] = NO_EXTRA, form: Form = FIRST
) -> bytes:
    """The chat completion call for a request. No temperature: reasoning models refuse any but their own.

    extra: further fields, as the endpoint's settings have them; ours win.
    """
    body = {**extra, "model": model, "messages": list(request.messages)}
    if form.told:
        body["messages"] = _with_schema(request)
    if form.kind == "json_schema":
        schema = {"name": request.head, "strict": True, "schema": request.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif form.kind == "json_object":
        body["response_format"] = {"type": "json_object"}
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def _with_schema(request: JudgeRequest) -> list[Mapping[str, Any]]:
    """The messages; the last says how to answer."""
    asked = _ASKED + json.dumps(request.schema, ensure_ascii=False)
    *before, last = request.messages
    content = last["content"]
    told = (
        f"{content}\n\n{asked}" if isinstance(content, str) else [*content, {"type": "text", "text": asked}]
    )
    return [*before, {**last, "content": told}]


def tokens_of(request: JudgeRequest) -> int:
    """About how many prompt tokens a request is, for endpoints that do not say."""
    characters = pictures = 0
    for message in request.messages:
        content = message["content"]
        for part in [{"text": content}] if isinstance(content, str) else content:
            characters += len(str(part.get("text", "")))
            pictures += "image_url" in part
    return characters // _CHARACTERS + _PICTURE_TOKENS * pictures + 1


def tokens_in(text: str) -> int:
    """About how many completion tokens a text is."""
    return len(text) // _CHARACTERS + 1
