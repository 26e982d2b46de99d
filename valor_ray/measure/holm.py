"""Holm's correction: how sure each of several tests is, given that there are several."""

from __future__ import annotations

from collections.abc import Sequence

SURE = 0.05  # of several tests none is false with probability 1 - SURE, where an adjusted p below it counts


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p in the given order: at most 0.05 of the families have a false one below 0.05 (Holm 1979)."""
    if not p_values:
        return []
    from statsmodels.stats.multitest import multipletests  # takes a second

    adjusted = multipletests(p_values, alpha=SURE, method="holm")[1]
    return [float(p) for p in adjusted]
