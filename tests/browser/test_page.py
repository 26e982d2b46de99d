"""The page in Debian's Chromium against the real app: drop a picture, ask, see boxes and answer."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from valor_ray.images import from_array, to_png
from valor_ray.tabletop.render import render
from valor_ray.tabletop.scenes import sample_scene

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
# A drop as the browser makes it: the page sees a DataTransfer that holds the file.
DROP = """([data, name]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true}));
}"""
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)"),
]


@pytest.fixture
def page(service: str) -> Iterator[Page]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(service)
        page.wait_for_selector("#status.ok")
        yield page
        browser.close()
    assert problems == []


def drop(page: Page, data: bytes, name: str = "scene.png") -> None:
    page.evaluate(DROP, [base64.b64encode(data).decode(), name])


def wait_for_property(page: Page, name: str, value: object) -> None:
    """Of the picture. `wait_for_function` would evaluate text, which the page's own security policy forbids."""
    from playwright.sync_api import expect

    expect(page.locator("#picture")).to_have_js_property(name, value, timeout=60_000)


def picture(seed: int) -> bytes:
    return to_png(from_array(render(sample_scene(seed, "tiles"), size=256).rgb))


def ask(page: Page, question: str) -> None:
    page.fill("#question", question)
    page.click("#ask")
    page.wait_for_selector("#answer-card:not([hidden]), #problem:not([hidden])")


def test_dropped_picture_is_asked_about_and_shows_boxes_and_answer(page: Page) -> None:
    # The base policy's replies and the detector fail at times, by design: some of these show boxes and an answer.
    for seed in range(12):
        drop(page, picture(seed))
        wait_for_property(page, "naturalWidth", 256)
        ask(page, "How many balls are there?" if seed % 2 else "How many boxes are there?")
        if page.is_visible("#answer-card") and page.locator("#boxes g").count():
            break
    else:
        pytest.fail("no picture of twelve had both boxes and an answer")
    assert page.inner_text("#answer").strip()
    assert page.locator("#code li").count() >= 1 and page.inner_text("#plan").strip()
    assert page.locator("#trace tr").count() >= 1
    box = page.locator("#boxes g rect").first.bounding_box()
    stage = page.locator("#stage").bounding_box()
    assert box and stage and box["width"] > 3
    assert stage["x"] - 2 <= box["x"] and box["x"] + box["width"] <= stage["x"] + stage["width"] + 2


def test_boxes_are_where_they_are_in_a_picture_that_the_server_has_scaled(page: Page) -> None:
    found = {"bbox": [64, 64, 128, 128], "label": "ball"}
    call = {"tool": "gd_detect", "args": {}, "result": [found], "ms": 1, "line": 1, "error": None}
    told = {"answer": 1, "plan": "", "code": "", "error": None, "seconds": 0.1, "trace": [call]}
    halved = told | {"width": 128, "height": 128}
    page.route("**/v1/answer", lambda route: route.fulfill(json=halved))
    drop(page, picture(1))
    wait_for_property(page, "naturalWidth", 256)
    ask(page, "How many balls are there?")
    box = page.locator("#boxes g rect").first.bounding_box()
    stage = page.locator("#stage").bounding_box()
    assert box and stage
    for side, length in (("x", "width"), ("y", "height")):
        assert abs(box[side] - (stage[side] + stage[length] / 2)) < 8


def test_depth_map_can_be_looked_at(page: Page) -> None:
    drop(page, picture(1))
    ask(page, "How many boxes are there?")
    page.wait_for_selector("#show-depth:not([disabled])")
    page.click("#show-depth")
    page.wait_for_selector("#picture[alt^='Depth map']")
    wait_for_property(page, "naturalWidth", 256)


def test_what_is_no_picture_shows_the_servers_reason(page: Page) -> None:
    drop(page, b"hello", "hello.png")
    ask(page, "How many boxes are there?")
    assert "not a picture" in page.inner_text("#problem")
    assert page.is_hidden("#answer-card")


def test_page_asks_nobody_but_its_own_server(service: str) -> None:
    policy = httpx.get(service).headers["content-security-policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy


def test_the_interface_is_described_to_people(page: Page, service: str) -> None:
    page.goto(service + "/docs")
    page.wait_for_selector("h2")
    told = page.inner_text("#all")
    assert "POST /v1/answer" in told and f"curl {service}/v1/chat/completions" in told
