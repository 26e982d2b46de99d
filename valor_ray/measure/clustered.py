"""How sure a share is when the things counted come in clusters, as boxes of one picture do."""

from __future__ import annotations

from collections.abc import Iterable

from valor_ray.measure.intervals import wilson


def clustered(clusters: Iterable[tuple[int, int]]) -> tuple[float, float]:
    """95 % interval of a share from (right, n) of each cluster: Wilson's, for as many things as these are worth.

    They are worth n x (variance if independent) / (variance of the ratio, linearised over clusters), at most n. Where
    all are right or all are wrong nothing tells how alike a cluster's things are: they are worth one a cluster.
    (0, 1) when there is nothing.
    """
    counted = [(right, n) for right, n in clusters if n > 0]
    total, right = sum(n for _, n in counted), sum(right for right, _ in counted)
    if total == 0:
        return 0.0, 1.0
    share, many = right / total, len(counted)
    worth = many
    if 0 < right < total and many > 1:
        residue = sum((r - share * n) ** 2 for r, n in counted)
        variance = residue * many / (many - 1) / total**2
        independent = share * (1 - share)
        worth = total if variance * total <= independent else max(1, round(independent / variance))
    return wilson(share * worth, worth)
