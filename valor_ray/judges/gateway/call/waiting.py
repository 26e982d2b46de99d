"""How long an endpoint asks to wait: its headers, and what its error says, in the forms that providers use."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

LONGEST_S = 7 * 86400.0  # what is longer was not meant
_RESET = re.compile(
    r"(?:x-)?ratelimit-reset(?:-(?P<of>[\w-]+))?|anthropic-ratelimit-(?P<its>[\w-]+)-reset", re.ASCII
)
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|[smhd])", re.ASCII)
_PARTS = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|[smhd]))+", re.ASCII)
_UNIT = re.compile(r"(\d ?)(m?s|[mhd])[a-z]*")  # "2 minutes"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SAID = re.compile(
    r"(?:try again|retry|wait) (?:in|after|for) ((?:\d[\d.]{0,12} ?(?:ms|[smhd])[a-z]{0,6} ?)+)", re.I
)
_EPOCH_S, _EPOCH_MS = 1e9, 1e12  # a larger number is a time, not a duration


def retry_after(headers: Mapping[str, str], error: Any = None, words: str = "") -> float | None:
    """Seconds, 0..LONGEST_S; None: it does not say. headers: by lower-case name. error: its body, decoded.

    What it says of waiting counts before what it says of its limits; of those, the ones that have nothing left.
    """
    now = _date(headers.get("date")) or time.time()  # its own clock, by which it means dates
    milliseconds = _number(headers.get("retry-after-ms"))
    told = [
        None if milliseconds is None else milliseconds / 1000,
        _until(headers.get("retry-after"), now),
        *(_until(value, now) for value in _in_error(error)),
        _until(said[1], now) if (said := _SAID.search(words)) else None,
    ]
    first = next((wait for wait in told if wait is not None), None)
    wait = max(_resets(headers, now), default=None) if first is None else first
    return None if wait is None else max(0.0, min(wait, LONGEST_S))


def _resets(headers: Mapping[str, str], now: float) -> Iterator[float]:
    for name, value in headers.items():
        found = _RESET.fullmatch(name)
        if found is None or (wait := _until(value, now)) is None:
            continue
        left = _number(headers.get(name.replace("reset", "remaining")))
        if left is None or left <= 0:
            yield wait


def _in_error(error: Any) -> Iterator[Any]:
    """Google's RetryInfo, OpenRouter's copy of the headers."""
    if not isinstance(error, Mapping):
        return
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, Mapping):
            yield detail.get("retryDelay")
    metadata = error.get("metadata")
    copied = metadata.get("headers") if isinstance(metadata, Mapping) else None
    if isinstance(copied, Mapping):
        by_name = {str(name).lower(): value for name, value in copied.items()}
        yield from (by_name.get(name) for name in ("retry-after", "x-ratelimit-reset"))
    yield error.get("retry_after")


def _until(value: Any, now: float) -> float | None:
    """From a number of seconds, a duration ("6m0s", "20ms"), a time since 1970 in s or ms, an HTTP or ISO date."""
    number = _number(value)
    if number is not None:
        since_1970 = number / 1000 if number >= _EPOCH_MS else number
        return since_1970 - now if since_1970 >= _EPOCH_S else number
    if not isinstance(value, str) or len(value) > 100:
        return None
    short = _UNIT.sub(r"\1\2", value.strip().lower()).replace(" ", "")
    if _PARTS.fullmatch(short):
        return math.fsum(float(amount) * _SECONDS[unit] for amount, unit in _PART.findall(short))
    when = _date(value)
    return None if when is None else when - now


def _date(value: str | None) -> float | None:
    """Seconds since 1970."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            when = read((value or "").strip())
            return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _number(value: Any) -> float | None:
    """Not negative, finite."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None
