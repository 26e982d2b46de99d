"""The page of a mining run: other people's text stays text, and its figures are those of the records."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mined import box, mined
from pages import tags

from valor_ray.records import BoxStage, MinedImage
from valor_ray.report.grounding import page as mining_page
from valor_ray.report.grounding.cards import MOST_BOXES
from valor_ray.report.grounding.plots import shares
from valor_ray.report.grounding.summary import SHOWN

EVIL = "</pre></script><script>alert(1)</script><img src=x onerror=alert(1)>$tiles {{ 7*7 }} \" ' & \ud800"
TRUTH = {
    "precision_by_stage": {"candidates": 0.45, "coarse": 0.5, "crops": 0.75, "duplicates": 0.95},
    "precision_ci": {"candidates": [0.4, 0.5], "duplicates": [0.9, 0.97]},
    "recall_by_stage": {"candidates": 0.9, "coarse": 0.88, "crops": None, "duplicates": 0.8},
    "recall_ci": {},
    "recall_lost": 10.0,
    "recall_lost_ci": [8.0, 12.5],
    "n": {"pictures": 321, "true_pairs": 987},
    "by_look": {"lamp": {"precision_by_stage": {"duplicates": 0.9375}, "recall_lost": 9.5}},
    "by_kind": {},
    "candidates_unread": 14,
    "phrases_unread": 3,
}


def written(tmp_path: Path, records: list[MinedImage], **report) -> str:
    mining_page.write_page(tmp_path, report, iter(records))
    return (tmp_path / "report.html").read_text()


def test_labels_reasons_and_names_cannot_write_html(tmp_path: Path) -> None:
    record = replace(
        mined(
            tmp_path / "a.png",
            box("kkd", EVIL, reason=EVIL, by=EVIL),
            box("m", EVIL, reason=EVIL),
            phrases=(EVIL, "cup", EVIL * 30),
        ),
        slips={EVIL: 2},
    )
    gone = replace(record, image=f"/nowhere/{EVIL}", boxes=())
    (tmp_path / "failed.jsonl").write_text(json.dumps({"image": EVIL, "error": EVIL}) + "\n")
    kinds = {EVIL: {"asked": 1, "agreed": 0, "missing": 0, "ci": [0, 1]}}
    text = written(
        tmp_path,
        [record, gone],
        audit={"checks": {}, "kinds": kinds, "alarm": EVIL},
        alarms=[EVIL],
        dataset={EVIL: 3},
        programs={"by_status": {EVIL: 1}, EVIL: 2},
        evaluation={**TRUTH, "by_kind": {EVIL: {}}},
    )
    seen = tags(text)
    assert seen.count("script") == 1 and "img" not in seen and seen.count("article") == 2
    assert seen.count("image") == 1  # the picture that there is
    assert "http" not in text.replace("http-equiv", "") and "{{ 7*7 }}" in text


def test_figures_are_those_of_the_records(tmp_path: Path) -> None:
    boxes = (box("kkk"), box("kkd"), box("kd"), box("d"))
    record = mined(tmp_path / "a.png", *boxes, phrases=("red ball", "cup"), presence={"cup": "absent"})
    took = {"calls": 1234, "cache_hits": 5678, "cost_usd": 1.5, "writer_cost_usd": 2.25}
    text = written(tmp_path, [record], minutes=4.25, failed=7, evaluation=TRUTH, in_all=took, **TRUTH)
    for said in (
        "1,234",
        "5,678",
        "$1.50",
        "$2.25",
        ">4.2<",
        ">7<",
        "absent of 1 phrases without a box",
        "<td>absent</td>",
        "1 kept of 4 candidates",
        "95.0%",
        "10.0",
    ):
        assert said in text
    assert "lost 10.0 points (8.0 – 12.5) of the 987" in text and "14 candidates of 3 phrases" in text
    assert "look lamp" in text and "93.8%" in text and "no truth" not in text
    assert "−1" in text and "75%" in text  # of the funnel: after coarse three of four


def test_an_unsure_verdict_is_named_and_its_phrase_is_not_absent(tmp_path: Path) -> None:
    boxes = (box("u", "jug"), box("ku", "jug"), box("d", "cup"))
    record = mined(
        tmp_path / "a.png",
        *boxes,
        phrases=("jug", "cup", "hat"),
        presence={"cup": "absent", "hat": "present"},
    )
    text = written(tmp_path, [record])
    words = re.findall(r'<td class="fate"><span class="\w+">([^<]+)', text)
    assert words == ["unsure: dropped by coarse", "unsure: dropped by crops", "dropped by coarse"]
    assert "0 kept, 2 unsure" in text and "absent, 1 rejected" in text
    assert "there without a box" in text


def test_without_truth_the_page_says_so(tmp_path: Path) -> None:
    text = written(
        tmp_path, [mined(tmp_path / "a.png", box("kkk"))], precision_by_stage=None, evaluation=None
    )
    assert text.count("no truth") == 2 and "No truth" in text


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"audit": {}, "evaluation": {}, "programs": {}, "dataset": {}, "alarms": None},
        {"audit": "x", "evaluation": [1], "programs": 3, "dataset": "y", "minutes": "z", "images": None},
    ],
)
def test_figures_that_a_report_lacks_are_not_shown(tmp_path: Path, report: dict) -> None:
    assert "no picture recorded yet" in written(tmp_path, [], **report)


def test_a_picture_without_candidates_and_one_that_is_gone_have_cards(tmp_path: Path) -> None:
    gone = replace(mined(tmp_path / "b.png", box("kkk")), image="/nowhere/b.png")
    text = written(tmp_path, [mined(tmp_path / "a.png"), gone])
    assert "proposed nothing" in text and "cannot be shown" in text
    assert text.count("<image") == 1 and text.count("<article") == 2


def test_a_crowd_of_candidates_is_cut_and_counted(tmp_path: Path) -> None:
    boxes = [box("d" if n % 9 else "kkk", f"thing {n}", score=1 - n / 1000) for n in range(900)]
    text = written(tmp_path, [mined(tmp_path / "a.png", *boxes, phrases=tuple(b.label for b in boxes))])
    assert f"100 kept of 900 candidates, {MOST_BOXES} shown" in text and "840 boxes more" in text
    fates = re.findall(r'<td class="fate"><span class="(\w+)"', text)
    assert len(fates) == MOST_BOXES and fates.count("kept") == fates.count("coarse")
    assert len(text) < 200_000


def test_texts_of_any_length_stay_small(tmp_path: Path) -> None:
    long = mined(
        tmp_path / "a.png", box("kkd", "x" * 10**5, reason="y" * 10**5), phrases=("x" * 10**4,) * 200
    )
    assert len(written(tmp_path, [long])) < 250_000


def test_how_many_pictures_are_not_shown_is_said(tmp_path: Path) -> None:
    record = mined(tmp_path / "a.png", box("kkk"))
    text = written(tmp_path, [replace(record, key=str(n)) for n in range(SHOWN + 50)])
    assert text.count("<article") == SHOWN and f"{SHOWN} of {SHOWN + 50} pictures" in text


def test_throughput_of_both_phases_joins_the_starts_and_stays_small(tmp_path: Path) -> None:
    rows = [
        {"seconds": s, "what": what, "per_s": run}
        for run in (1, 2)
        for what in ("queries", "pictures")
        for s in range(1, 3001)
    ]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"what": "pictures"}]) + '{"torn')
    points = mining_page.throughput(path, "pictures")
    assert 200 < len(points) <= 900 and points == sorted(points) and points[-1][0] > 5900
    assert {rate for _, rate in points} == {1, 2}
    assert written(tmp_path, []).count("Throughput:") == 2


def test_bars_stay_inside_their_frame_whatever_the_report_holds() -> None:
    text = shares({"candidates": 7, "coarse": -1, "crops": "x"}, {"candidates": [-3, 9], "coarse": "ab"})
    assert min(float(n) for n in re.findall(r'width="(-?[\d.]+)"', text)) >= 0
    assert text.count("nothing to measure") == 2  # crops and duplicates
    assert len(BoxStage) == 4


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def browser_page() -> Iterator:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 400, "height": 900})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: problems.append(said.text))
        yield page
        browser.close()
    assert problems == []


def test_filters_and_stages_in_a_browser(tmp_path: Path, browser_page) -> None:
    records = [
        mined(tmp_path / "kept.png", box("kkk", "red ball")),
        mined(tmp_path / "mixed.png", box("kkk", "blue cup"), box("kd", "blue cup"), box("d", "blue cup")),
        mined(tmp_path / "none.png", phrases=("sofa",)),
    ]
    written(tmp_path, records)
    browser_page.goto((tmp_path / "report.html").as_uri())
    shown = browser_page.locator("article:not([hidden])")
    assert shown.count() == 3
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= 400
    assert browser_page.evaluate("document.querySelector('image').getBBox().width") == 320
    browser_page.click("#kinds button[data-kind='no candidate']")
    assert shown.count() == 1 and "none.png" in shown.inner_text()
    browser_page.click("#kinds button[data-kind='']")
    browser_page.fill("#kinds input", "BLUE cup")
    assert shown.count() == 1 and browser_page.inner_text("#shown") == "1 picture fits."
    boxes = shown.locator("g:has(.edge)")
    for stage, visible in ((0, 3), (1, 2), (2, 1), (3, 1)):
        browser_page.click(f"#stages button[data-stage='{stage}']")
        assert sum(boxes.nth(n).is_visible() for n in range(3)) == visible
    browser_page.hover("article:not([hidden]) tr[data-n='1']")
    assert shown.locator(".lit").count() == 3  # row, box and number
