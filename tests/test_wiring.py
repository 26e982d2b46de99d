"""What stands behind the ports without Ray: which endpoint is asked what, and where its answers are kept."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from aiohttp import web
from rough_endpoint import Rough, endpoint, said

from valor_ray.config.tree import Config
from valor_ray.images import from_array
from valor_ray.judges.plan_heads import verdict_requests
from valor_ray.wiring import judging, vision, vlm_cache

PICTURE = from_array(np.full((64, 64, 3), (200, 40, 30), np.uint8))


async def red(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
    return said(json.dumps({"answer": "red"}))


def heads(rough: Rough) -> set[str]:
    return {body["response_format"]["json_schema"]["name"] for body in rough.bodies}


def test_text_heads_go_to_the_judge_and_pictures_to_the_vlm(tmp_path: Path) -> None:
    async def use(config: Config) -> str:
        async with judging(config.judge, tmp_path) as judge:
            await judge.ask(list(verdict_requests("Is it red?", "1. Look.", "final_answer = True").values()))
        async with vision(config) as parts:
            return await parts.judge.vqa(PICTURE, "What colour is it?")

    with endpoint() as text, endpoint(red) as eyes:
        settings = [f"judge.base_url={text.url}", "judge.model=t", "judge.extra.effort=low"]
        settings += [f"vlm.base_url={eyes.url}", "vlm.model=e", "vlm.api_key_env=null"]
        assert asyncio.run(use(Config.load("local", settings))) == "red"
    assert heads(text) == {"logic", "attribute", "spatial", "adherence"} and heads(eyes) == {"vqa"}
    assert {(body["model"], body.get("effort")) for body in text.bodies} == {("t", "low")}
    assert {(body["model"], body.get("effort")) for body in eyes.bodies} == {("e", None)}


def test_one_offline_judge_answers_for_both_sections_where_they_are_equal() -> None:
    others = offline_judges()  # of a service that other tests share

    async def use() -> set[psutil.Process]:
        config = Config.load(
            "local", ["judge.extra.reasoning_effort=minimal"]
        )  # it takes no notice of such fields
        async with vision(config) as parts:
            assert await parts.judge.vqa(PICTURE, "Which way is north?") == "cannot tell"
            return offline_judges() - others

    (judge,) = asyncio.run(use())
    assert not judge.is_running()


def offline_judges() -> set[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return {
        child
        for child in children
        if child.status() != psutil.STATUS_ZOMBIE and "valor_ray.tabletop.judge.server" in child.cmdline()
    }


def test_answers_about_pictures_stay_where_an_older_version_kept_them(tmp_path: Path) -> None:
    assert vlm_cache(tmp_path) == tmp_path / "vlm_cache"
    (tmp_path / "judge_cache").mkdir()
    assert vlm_cache(tmp_path) == tmp_path / "judge_cache"
