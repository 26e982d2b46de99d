"""How long the fuzz tests look: a few seconds each in `make test`, an hour together in `make fuzz`.

`pytest tests/fuzz --fuzz-minutes 60` runs them in turns, each with examples that no earlier one had, until the time
is over; what fails is printed with the example, made small, and ends the run.
"""

from __future__ import annotations

import time

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import HealthCheck, Phase, settings

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]

EXAMPLES = 1000  # a test and turn of `make fuzz`

settings.register_profile(
    "short", max_examples=150, deadline=None, suppress_health_check=SLOW, derandomize=True
)
settings.register_profile(
    "long",
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=SLOW,
    phases=[Phase.generate, Phase.shrink],
    database=None,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz-minutes", type=float, default=0.0, help="fuzz for so long, with new examples each turn"
    )


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("long" if config.getoption("--fuzz-minutes", 0.0) else "short")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    minutes = session.config.getoption("--fuzz-minutes", 0.0)
    if not minutes or session.config.option.collectonly or session.testsfailed:
        return None
    until, turns = time.monotonic() + 60 * minutes, 0
    while time.monotonic() < until and not session.testsfailed:
        for number, item in enumerate(session.items):
            following = session.items[number + 1] if number + 1 < len(session.items) else session.items[0]
            session.config.hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            runtestprotocol(item, nextitem=following)
            session.config.hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        turns += 1
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    reporter.write_line(
        f"\n{turns} turns of {len(session.items)} fuzz tests, up to {EXAMPLES:,} examples each"
    )
    return True
