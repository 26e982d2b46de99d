"""Published figures: complete, with n and source, and never among what was measured."""

from valor_ray.benchmarks.published.read import by_method, published
from valor_ray.commands.evaluate.eval import NAMES


def test_every_figure_of_the_papers_sets_has_n_and_source() -> None:
    sets = [name for name in NAMES if name not in ("tabletop", "own")]
    for name in sets:
        figures = published(name)
        assert figures[0].method == "valor: RL and tuned detector" and len(figures) >= 7
        assert all(0 < one.percent < 100 and one.n and one.source for one in figures)
        assert len({(one.method, one.n, one.source) for one in figures}) == len(figures)
    assert (
        sum(one.same_rows for name in sets for one in published(name))
        == 7 * 8 + 3 + 5 + 5 + 1 + 1 + 2 + 1 + 1
    )
    assert published("tabletop") == published("own") == ()


def test_the_rivals_of_the_paper_are_there() -> None:
    said = {(one.method, one.percent, one.same_rows) for one in published("omni3d")}
    assert said >= {("valor: RL and tuned detector", 44.0, True), ("vadar", 38.9, True), ("GRIT", 27.3, True)}
    assert said >= {("viper", 33.5, False), ("visprog", 21.1, False), ("vadar", 40.4, False)}
    assert ("ViGoRL", 64.9, True) in {
        (one.method, one.percent, one.same_rows) for one in published("robospatial")
    }


def test_methods_without_a_run_are_not_measured() -> None:
    table = by_method(
        [("direct", 0.1, 240), ("valor", 0.5, 240), ("direct", 0.2, 240)], ["valor", "direct", "viper"]
    )
    assert [(one["method"], one["accuracy"]) for one in table] == [
        ("valor", 0.5), ("direct", 0.1), ("direct", 0.2), ("viper", None),
    ]  # fmt: skip
