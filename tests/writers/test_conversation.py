"""A failed program goes back to a writer behind an endpoint: the messages, what is kept, and a context that is full."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from rough_endpoint import Behave, endpoint, failed, said

from valor_ray.answer import answer
from valor_ray.config.models import PolicyConfig
from valor_ray.config.service import SandboxConfig
from valor_ray.images import from_array
from valor_ray.judges.gateway.ledger import Ledger
from valor_ray.program.inside.placeholders import PlaceholderTools
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import Answer
from valor_ray.repairs import Repairs
from valor_ray.writers.writer import open_writer

PICTURE = from_array(np.zeros((48, 64, 3), np.uint8))
BROKEN = '<plan>Count.</plan>\n<answer>\nx = gd_detect(img_pth, "ball")\nfinal_answer = y\n</answer>'
GOOD = BROKEN.replace("= y", "= len(x)")


def chain(url: str, folder: Path, most: int = 2, **changes: Any) -> Answer:
    own = {
        "base_url": url,
        "model": "m",
        "api_key_env": None,
        "timeout_s": 30,
        "retries": 1,
        "price_in": 1,
        **changes,
    }
    config = PolicyConfig.model_validate({"model": "tabletop:policy", "endpoint": own})

    async def go() -> Answer:
        ledger = Ledger(folder)
        writer = open_writer(config, ledger)
        try:
            async with Sandbox(SandboxConfig(wall_seconds=10)) as sandbox:
                tools = PlaceholderTools((64, 48))
                return await answer(
                    "How many?", PICTURE, writer, sandbox, tools, seed=3, repairs=Repairs(most)
                )
        finally:
            await writer.close()
            ledger.close()

    return asyncio.run(go())


def conversing(*texts: str | web.Response) -> Behave:
    """What is said to so many messages of the writer."""

    async def behave(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        so_far = sum(message["role"] == "assistant" for message in body["messages"])
        text = texts[so_far]
        return said(text) if isinstance(text, str) else failed(text.status, text.text or "")

    return behave


@pytest.mark.parametrize("merged", [True, False])
def test_the_conversation_is_sent_as_messages_and_a_run_that_was_killed_pays_nothing_again(
    tmp_path: Path, merged: bool
) -> None:
    with endpoint(conversing(BROKEN, "no blocks", GOOD)) as rough:
        first = chain(rough.url, tmp_path, merge_system=merged)
        again = chain(rough.url, tmp_path, merge_system=merged)
    assert first.answer == again.answer == 2 and rough.calls == 3
    opening = ["user"] if merged else ["system", "user"]
    roles = [[message["role"] for message in body["messages"]] for body in rough.bodies]
    assert roles == [opening + ["assistant", "user"] * turns for turns in range(3)]
    last = [message["content"] for message in rough.bodies[2]["messages"]][len(opening) :]
    assert (last[0], last[2]) == (BROKEN, "no blocks")
    assert "NameError" in last[1] and "Status: malformed" in last[3]
    assert first.tokens == (300, 30) and first.cost_usd == pytest.approx(300e-6) and again.cost_usd == 0


def test_a_conversation_that_the_endpoint_cannot_hold_is_sent_shorter_and_then_left(tmp_path: Path) -> None:
    full = "This model's maximum context length is 512 tokens, however you requested 700 tokens (700 in the messages)."
    with endpoint(conversing(BROKEN, web.Response(status=400, text=full))) as rough:
        got = chain(rough.url, tmp_path)
    assert got.error is not None and got.earlier == () and "maximum context length" in got.unrepaired
    told = [body["messages"][-1]["content"] for body in rough.bodies[1:]]
    assert "gd_detect(" in told[0] and "tool call" not in told[-1] and "NameError" in told[-1]
