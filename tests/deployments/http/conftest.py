"""The app without Ray, and what asks it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from http_app import Ask, Asker, asking


@pytest.fixture(scope="module")
def asker() -> Iterator[Asker]:
    with asking() as asker:
        yield asker


@pytest.fixture
def ask(asker: Asker) -> Ask:
    return asker()
