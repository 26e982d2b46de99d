"""How long to wait, in every form in which providers say it."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest

from valor_ray.judges.gateway.call.waiting import LONGEST_S, retry_after

NOW = 1_800_000_000.0
DATE = formatdate(NOW, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.3"}, 0.3),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": formatdate(NOW + 30, usegmt=True), "date": DATE}, 30),
        ({"retry-after": formatdate(NOW - 9e8, usegmt=True), "date": DATE}, 0),
        ({"retry-after": "2027-01-15T08:00:30Z", "date": DATE}, 30),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, 360),
        ({"x-ratelimit-reset-requests": "20ms"}, 0.02),
        ({"x-ratelimit-reset-requests": "2m59.56s", "x-ratelimit-remaining-requests": "0",
          "x-ratelimit-reset-tokens": "9h", "x-ratelimit-remaining-tokens": "100"}, 179.56),
        ({"x-ratelimit-reset": str(int(NOW + 40)), "date": DATE}, 40),
        ({"x-ratelimit-reset": str(int((NOW + 40) * 1000)), "date": DATE}, 40),
        ({"ratelimit-reset": "5"}, 5),
        ({"anthropic-ratelimit-requests-reset": "2027-01-15T08:00:12Z", "date": DATE,
          "anthropic-ratelimit-requests-remaining": "0"}, 12),
        ({"retry-after": "99999999"}, LONGEST_S),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 5000}, None),
        ({"x-ratelimit-limit-requests": "60"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_headers(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == (None if seconds is None else pytest.approx(seconds, abs=0.01))


@pytest.mark.parametrize(
    ("error", "words", "seconds"),
    [
        ({"details": [{"@type": "x"}, {"retryDelay": "34s"}]}, "", 34),
        ({"metadata": {"headers": {"X-RateLimit-Reset": "3"}}}, "", 3),
        ({}, "Rate limit reached. Please try again in 1.242s. Visit", 1.242),
        ({}, "Please try again in 6m0s.", 360),
        ({}, "retry after 20 seconds", 20),
        ({}, "please wait for 2 minutes and come back", 120),
        ({"details": [[], 3], "metadata": []}, "try again later", None),
        ("text", "", None),
    ],
)
def test_bodies(error: Any, words: str, seconds: float | None) -> None:
    assert retry_after({}, error, words) == seconds


def test_a_date_counts_from_the_endpoints_own_clock() -> None:
    wrong = {"date": formatdate(NOW, usegmt=True), "retry-after": formatdate(NOW + 5, usegmt=True)}
    assert abs(time.time() - NOW) > 5 and retry_after(wrong) == pytest.approx(5)
