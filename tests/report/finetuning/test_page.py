"""The page of a fine-tuning run: every part is there or said to be missing; what other people write stays text."""

import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from finetuned import make_finetuned, write_json, write_lines
from pages import tags

from valor_ray.errors import ConfigError
from valor_ray.report.finetuning.again import write_finetuning_page
from valor_ray.report.finetuning.page import write_page
from valor_ray.report.kit.curves import NOTHING

EVIL = "</pre></script><script>alert(1)</script><img src=x onerror=alert(1)>$x {{ 7*7 }} \" ' & \ud800"
FILES = (
    *("config.yaml", "plan.json", "metrics.jsonl", "selection.json", "evaluation.json", "controls.json"),
    *("examples.jsonl", "mined/dataset/dataset.json", "mined/report.json", "replay/set/dataset.json"),
)
LINK = re.compile(r'<a href="(\./[^"]*)">')


def written(folder: Path, report: dict) -> str:
    write_page(folder, report)
    return (folder / "report.html").read_text()


def seen_tags(page: str) -> list[str]:
    """As `pages.tags`, which lets no link out of the page, with the one link to mining taken as text."""
    assert len(LINK.findall(page)) <= 1
    return tags(LINK.sub("<a>", page))


def test_every_section_of_a_finished_run_has_its_data(tmp_path: Path) -> None:
    page = written(tmp_path, make_finetuned(tmp_path))
    seen = seen_tags(page)
    assert str(NOTHING) not in page and "–<" not in page.split("AP per shape")[0]
    assert seen.count("article") == seen.count("image") == 2 and seen.count("use") == 2
    for said in (
        "57.1 → 71.7", "+12.4 … +16.9 (95 %)", "71.2 → 71.0", "within the 1.0 points", "58.7 → 65.9",
        "300 questions, the policy&#39;s programs, unchanged", "family: count", "+31 −9",
        "Published: step-000240, α = 0.75.", "came first on held-back boxes and was refused",
        "self-training, .35", "as many boxes accepted", "started again at step 101",
        "held-out looks together", "the gate: at least 70.2", "4,212", "94.6%", "1,630", "Minutes by stage",
    ):  # fmt: skip
        assert said in page, said
    assert LINK.findall(page) == ["./mined/report.html"]
    assert "http" not in page.replace("http-equiv", "") and "url(" not in page  # one file that loads nothing


def test_phrases_names_and_paths_cannot_write_html(tmp_path: Path) -> None:
    figures = {"objects": 3, "ap50": 50, EVIL: EVIL}
    model = {"sets": {EVIL: figures}, f"by_{EVIL}": {EVIL: figures}}
    write_json(tmp_path / "evaluation.json", {"models": {"start": model, "end": model}})
    control = {"name": EVIL, "note": EVIL, EVIL: EVIL, "gain": 3, "ap50": 2}
    write_json(tmp_path / "controls.json", {"rows": [control], "note": EVIL})
    write_json(
        tmp_path / "selection.json",
        {"passed": False, "words": EVIL, "held_back": [{"alpha": 0.5, "ap50": 3}]},
    )
    box = {"bbox": [1, 2, 30, 40], "phrase": EVIL, "score": EVIL}
    row = {
        "image": EVIL,
        "width": 90,
        "height": 90,
        "phrases": [EVIL],
        "start": [box],
        "end": [box],
        "verified": [box],
    }
    write_lines(
        tmp_path / "examples.jsonl",
        [row, row | {"image": f"file:///{EVIL}"}, row | {"image": f"data:{EVIL}"}],
    )
    write_lines(tmp_path / "metrics.jsonl", [{"step": 1, "loss": 2.0, "parts": {EVIL: 1.0}}])
    write_json(tmp_path / "plan.json", {"dataset": EVIL, "mine": EVIL})
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump({"finetune": {"freeze": [EVIL[:-1]], "batch": EVIL[:-1]}})
    )
    page = written(tmp_path, {"published": None, "alarms": [EVIL], "stopped": EVIL, "stages_s": {EVIL: 60}})
    seen = seen_tags(page)
    assert seen.count("script") == 1 and "img" not in seen and seen.count("article") == 3
    assert "alert(1)" in page and "{{ 7*7 }}" in page
    assert "Published: " not in page and "Published: &lt;" in written(tmp_path, {"published": EVIL})


def test_a_folder_with_nothing_in_it_has_a_page_that_says_what_is_missing(tmp_path: Path) -> None:
    page = written(tmp_path, {})
    seen_tags(page)
    for said in (
        "no weights have been chosen yet. 0 steps", "Not measured: nobody knows here", "No controls were trained",
        "dataset.json is not there", "No page of mining", "No replayed set", "examples.jsonl is not there",
    ):  # fmt: skip
        assert said in page, said
    assert page.count(str(NOTHING)) == 8  # two sweeps, six curves


@pytest.mark.parametrize("name", FILES)
def test_a_run_without_one_file_or_with_that_file_alone_has_a_page(tmp_path: Path, name: str) -> None:
    whole, alone = tmp_path / "whole", tmp_path / "alone"
    report = make_finetuned(whole, steps=3, pictures=1)
    (alone / name).parent.mkdir(parents=True)
    shutil.copy(whole / name, alone / name)
    (whole / name).unlink()
    for folder in (whole, alone):
        seen_tags(written(folder, report))
        seen_tags(written(folder, {}))


@pytest.mark.parametrize("text", ["", "{", '{"rows": [1', "[1, null]", '"x"', "\x00\xff", '{"a": {"b": []}}'])
def test_torn_and_odd_files_count_as_missing(tmp_path: Path, text: str) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="latin-1")
    seen_tags(written(tmp_path, {}))


ODD = [None, [], {}, "x", True, -1, 1e308, [[]], [None, {}], {"x": None}, ["a", "b"], [3, 1]]


@pytest.mark.parametrize("seed", range(40))
def test_odd_values_anywhere_leave_a_page(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    report = make_finetuned(tmp_path, steps=2, pictures=1)

    def spoilt(value: object) -> object:
        if rng.random() < 0.08:
            return rng.choice(ODD)
        if isinstance(value, dict):
            return {key: spoilt(each) for key, each in value.items()}
        return [spoilt(each) for each in value] if isinstance(value, list) else value

    for name in ("plan.json", "selection.json", "evaluation.json", "controls.json"):
        write_json(tmp_path / name, spoilt(json.loads((tmp_path / name).read_text())))
    for name in ("metrics.jsonl", "examples.jsonl"):
        rows = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        write_lines(tmp_path / name, [spoilt(row) for row in rows * 3])
    seen_tags(written(tmp_path, {key: spoilt(value) for key, value in report.items()}))


def test_a_failed_gate_is_named_and_the_detector_that_stays(tmp_path: Path) -> None:
    report = make_finetuned(tmp_path) | {"published": None, "ap50_end": None, "gain_ci": None}
    selection = json.loads((tmp_path / "selection.json").read_text())
    selection |= {
        "alpha": None,
        "passed": False,
        "words": "General mAP fell by 3.0 points; it may fall by 1.0.",
    }
    selection["general"]["end"]["map"] = 68.2
    write_json(tmp_path / "selection.json", selection)
    report |= {"general_map_end": 68.2}
    page = written(tmp_path, report)
    assert 'class="verdict no"' in page and "Nothing published: no share of the new weights passed." in page
    assert "fell by 3.0 points" in page and "beyond the 1.0 points" in page
    assert "57.1 → –" in page and ">chosen<" not in page and "Published" not in page


def test_without_truth_the_page_shows_held_back_boxes_and_says_so(tmp_path: Path) -> None:
    make_finetuned(tmp_path)
    (tmp_path / "evaluation.json").unlink()
    page = written(tmp_path, {"ap50_start": None, "published": "step-000240"})
    assert "AP50 on held-back verified boxes" in page and "64.8 → 77.3" in page and "+12.5" in page
    assert "this flatters" in page and "Not measured" in page


def test_a_gain_below_0_is_an_alarm(tmp_path: Path) -> None:
    report = make_finetuned(tmp_path) | {"ap50_end": 50.0, "gain_ci": [-9.0, -5.0]}
    page = written(tmp_path, report)
    assert "has surely fallen" in page and '<span class="badge no">-7.1</span>' in page


@pytest.mark.parametrize("name", ["javascript:alert(1)", 'a" onclick="b', "ä ö/#?", "../beside"])
def test_the_link_to_mining_is_a_relative_path_whatever_its_name(tmp_path: Path, name: str) -> None:
    run = tmp_path / "runs/finetune"
    mine = run.parent / name
    for folder in (run, mine):
        folder.mkdir(parents=True, exist_ok=True)
    (mine / "report.html").write_text("x")
    write_json(run / "plan.json", {"mine": str(mine), "dataset": str(mine / "dataset")})
    page = written(run, {})
    seen_tags(page)
    (link,) = LINK.findall(page)
    assert link.startswith("./../") and not set('"<> ?#:') & set(link)


def test_made_again_from_the_folder_alone(tmp_path: Path) -> None:
    report = make_finetuned(tmp_path, steps=3, pictures=1)
    assert write_finetuning_page(tmp_path) == {}  # it goes on: no report yet
    write_json(tmp_path / "report.json", report)
    assert write_finetuning_page(tmp_path) == report
    assert "+14.6" in (tmp_path / "report.html").read_text()
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(ConfigError, match="valor train grounding"):
        write_finetuning_page(tmp_path)


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


def test_narrow_pages_and_switches_in_a_browser(tmp_path: Path, browser_page) -> None:
    written(tmp_path, make_finetuned(tmp_path, pictures=6))
    browser_page.goto((tmp_path / "report.html").as_uri())
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= 400
    assert browser_page.evaluate("document.querySelectorAll('use')[1].getBBox().width") == 480
    verified, same = browser_page.locator(".verified").first, browser_page.locator(".same").first
    assert verified.is_visible() and same.is_visible()
    browser_page.check("#only-changed")
    assert verified.is_visible() and not same.is_visible()
    browser_page.check("#no-verified")
    assert not verified.is_visible()
    browser_page.click("a")
    assert browser_page.url == (tmp_path / "mined/report.html").as_uri()
