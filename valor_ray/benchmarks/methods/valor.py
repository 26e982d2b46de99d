"""VALOR itself: the app answers, with plan and program of its policy."""

from __future__ import annotations

from valor_ray.benchmarks.methods.method import Method, Setup


def _asked_elsewhere(setup: Setup) -> None:
    raise AssertionError("valor eval asks the app itself")


METHOD = Method("valor", "VALOR: plan and program", _asked_elsewhere, writes=False)  # type: ignore[arg-type]
