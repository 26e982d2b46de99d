"""The page of the job of proposals: figures of both sides, and nothing that other people's text could break."""

from pathlib import Path

from box_vlm import shade
from pages import tags

from valor_ray.grounding.generate.compare import Tally, compare
from valor_ray.judges.boxes.proposals import CONVENTIONS, Slip
from valor_ray.report.grounding.generator import Compared, write_generator_page

NASTY = '<img src=x onerror="alert(1)">"\'&\ud800'
REPORT = {
    "images": 2,
    "missing": 1,
    "format": "yxyx_1000",
    "model": f"vlm {NASTY}",
    "verifiers": [f"vlm {NASTY}"],
    "calls": 85,
    "cost_usd": 1.234,
    "minutes": 2.04,
    "note": "",
    "slips": {slip.value: number for number, slip in enumerate(Slip, start=31)},
    "calibration": {
        "scores": dict.fromkeys(CONVENTIONS, 0.25) | {"yxyx_1000": 0.8125},
        "answered": dict.fromkeys(CONVENTIONS, 19),
        "scenes": 20,
        "true_boxes": 77,
    },
    **compare([Tally(4, 2, 3, 1.5), Tally(4, 0, 1, 0.0)], [Tally(2, 2, 3, 1.8), Tally(1, 1, 1, 0.9)]),
}
BOX = (10.0, 20.0, 60.0, 80.0)


def test_the_page_shows_both_sides_and_escapes_all_text(tmp_path: Path) -> None:
    many = [(f"{NASTY} {n}", BOX) for n in range(150)]
    shown = [
        Compared(NASTY, shade(3, (960, 480)), many, [("red box", BOX)], [BOX]),
        Compared("b.png", shade(9), [], [], []),
    ]
    page = write_generator_page(tmp_path, REPORT, shown).read_text(encoding="utf-8")
    seen = tags(page)
    assert seen.count("svg") == 4 and seen.count("image") == 2 and seen.count("use") == 2
    assert seen.count("rect") == 2 + 100 + 1 and "img" not in seen
    for said in (
        "0.250 (",
        "0.500 (",
        "1.000",
        "0.8125"[:5],
        "19 of 20",
        "generator: 150 boxes",
        "verified: 1 box<",
    ):
        assert said in page, said
    assert page.count('<article class="shown" data-part="">') == 2  # parts.js hides what is of another part
    assert all(f"<td>{number}</td>" in page for number in range(31, 36))
    assert 'x="5.0" y="10.0" width="25.0" height="30.0"' in page  # 960 px are shown as 480


def test_without_truth_and_calibration_the_page_says_so(tmp_path: Path) -> None:
    report = REPORT | compare([], []) | {"note": "No true boxes are known.", "calibration": None}
    page = write_generator_page(tmp_path, report, []).read_text(encoding="utf-8")
    assert "No true boxes are known." in page and "was given" in page and "<td>–</td>" in page
    tags(page)
