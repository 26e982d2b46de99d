"""Curves and bars over steps: inside their frame, with gaps, peaks and alarms."""

import re

from valor_ray.report.kit import plots
from valor_ray.report.kit.curves import NOTHING, Line, chart, running_total, stacked


def test_curves_stay_inside_their_frame_and_break_at_gaps() -> None:
    points = [(0.0, 1.0), (1.0, None), (2.0, -3.0), (3.0, 1e6)]
    text = chart(
        [Line("a", points, [(0.0, 0.0, 2.0), (3.0, 1.0, 2e6)]), Line("b", [(2.0, 7.0)])], "y", alarm=5.0
    )
    numbers = [float(n) for n in re.findall(r'(?:x|y|cx|cy|width|height)="(-?[\d.]+)"', text)]
    assert min(numbers) >= 0 and max(numbers) <= plots.WIDTH
    curve = re.search(r'class="curve c0" d="([^"]*)"', text)
    assert curve and (curve[1].count("M"), curve[1].count("L")) == (2, 1)
    assert "step 2: a -3, b 7" in text


def test_a_log_axis_leaves_out_zeros_and_holds_the_alarm() -> None:
    text = chart([Line("gap", [(1.0, 0.0), (2.0, 1e-5), (3.0, 2e-3)])], "y", log=True, alarm=0.05)
    assert "alarm 0.05" in text and ">1e-5<" in text and ">0.1<" in text
    assert chart([Line("gap", [(1.0, 0.0)])], "y", log=True) == NOTHING


def test_long_runs_keep_their_peaks_and_a_small_page() -> None:
    points = [(float(n), 100.0 if n == 7777 else 1.0) for n in range(20_000)]
    text = chart([Line("a", points)], "y") + stacked({"a": points, "b": points}, "s")
    assert len(text) < 120_000 and "M" in text
    assert f" {plots.TOP:.1f}" in text  # the peak reaches the top


def test_stacked_bars_and_running_totals() -> None:
    text = stacked({"wait": [(1.0, 1.0), (2.0, None)], "learn": [(1.0, 3.0), (2.0, 2.0)]}, "s")
    assert text.count('class="fill') == 4 and "step 1: wait 1, learn 3" in text
    assert stacked({"wait": [(1.0, None)]}, "s") == NOTHING
    assert running_total([(1.0, 2.0), (2.0, None), (3.0, 1.0)]) == [(1.0, 2.0), (2.0, 2.0), (3.0, 3.0)]
