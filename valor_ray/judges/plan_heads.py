"""The four judges of a reply (REFERENCE §1): what each is shown, what it is asked, and what counts as its verdict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from valor_ray.judges.sections import write_sections
from valor_ray.records import JUDGED, Head, JudgeReply, JudgeRequest, Verdict
from valor_ray.tools import api_text

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "description": "the decisive point, one or two sentences"},
        "verdict": {"type": "string", "enum": ["yes", "no"]},
    },
    "required": ["reason", "verdict"],
    "additionalProperties": False,
}


def verdict_requests(
    question: str, plan: str, code: str, heads: Sequence[Head] = JUDGED
) -> dict[Head, JudgeRequest]:
    """One request per head of `heads`. logic, attribute, spatial see plan and question; adherence plan and program.

    Called by the reward and by whoever asks the judges alone; asked together through any ports.Judge, read by
    `read_verdict`. Waits for nothing: equal texts give equal requests, and so equal cache keys (law 4).
    What all share comes first (system message, then the plan), so that endpoints can reuse their prefix caches.
    """
    about_question = write_sections({"plan": plan, "question": question})
    about_code = write_sections({"plan": plan, "program": code})
    return {
        head: JudgeRequest(
            head=head.value,
            version=prompt_version(head),
            messages=(
                {"role": "system", "content": _system()},
                {
                    "role": "user",
                    "content": f"{about_code if head is Head.ADHERENCE else about_question}\n\n{_rubric(head)}",
                },
            ),
            schema=SCHEMA,
        )
        for head in heads
    }


def read_verdict(reply: JudgeReply) -> Verdict:
    """Exactly yes or no; anything else is missing, and never a no (law 3)."""
    if reply.content is None:
        return Verdict(None, reply.missing)
    said, reason = reply.content.get("verdict"), reply.content.get("reason")
    if said not in ("yes", "no") or not isinstance(reason, str):
        return Verdict(None, f"the judge said {str(said)[:40]!r} instead of yes or no", reply.usage.model)
    return Verdict(said == "yes", reason, reply.usage.model)


@cache
def prompt_version(head: Head) -> str:
    """Changes with everything that the judge is told: part of the cache key (law 4)."""
    told = "\0".join((_system(), _rubric(head), json.dumps(SCHEMA, sort_keys=True)))
    return hashlib.sha256(told.encode()).hexdigest()[:12]


@cache
def _system() -> str:
    return _prompt("system").replace("{{API}}", api_text())


@cache
def _rubric(head: Head) -> str:
    return _prompt(head.value)


def _prompt(name: str) -> str:
    return files("valor_ray").joinpath("prompts", f"judge_{name}.txt").read_text(encoding="utf-8").strip()
