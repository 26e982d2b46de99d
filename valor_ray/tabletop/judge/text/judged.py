"""What a check says: yes or no with its reason, or that it cannot tell."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Judged:
    verdict: bool | None  # None: cannot tell
    reason: str


def yes(reason: str) -> Judged:
    return Judged(True, reason)


def no(reason: str) -> Judged:
    return Judged(False, reason)


def cannot_tell(reason: str) -> Judged:
    return Judged(None, reason)
