"""`valor eval --method M` with a writer behind a real HTTP endpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from PIL import Image
from rough_endpoint import endpoint

from valor_ray.cli import main

PROGRAM = 'A=EVAL(expr="1 + 1")\nFINAL_RESULT=RESULT(var=A)'


async def writes(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
    message = {"role": "assistant", "content": f"Let me see.\n<program>\n{PROGRAM}\n</program>"}
    choices = [{"index": 0, "finish_reason": "stop", "message": message}]
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    return web.json_response({"object": "chat.completion", "choices": choices, "usage": usage})


def test_a_writer_is_sent_the_methods_prompt_alone_and_paid_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    Image.new("RGB", (32, 32)).save(data / "a.png")
    (data / "queries.jsonl").write_text('{"query_id": "q", "image": "a.png", "question": "How many mugs?"}\n')
    (data / "truth.jsonl").write_text('{"query_id": "q", "answer": 2, "family": "count"}\n')
    with endpoint(writes) as rough:
        words = ["eval", "own", "--data", str(data), "--method", "visprog", "--out", str(out), "--json"]
        words += ["--url", "http://127.0.0.1:9", "--set", f"policy.endpoint.base_url={rough.url}"]
        words += ["--set", "policy.endpoint.model=m", "--set", "policy.endpoint.api_key_env=null"]
        assert main(words) == 0
        report = json.loads(capsys.readouterr().out)
        (out / "answers.jsonl").unlink()
        assert main(words) == 0  # the reply is kept
    assert report["accuracy"] == 1 and report["method"]["name"] == "visprog"
    assert report["method"]["writer_calls"] == 1 and "LOC: OWL-ViT" in str(report["method"]["substitutes"])
    ((message,),) = [body["messages"] for body in rough.bodies]
    assert message["role"] == "user" and message["content"].endswith("Question: How many mugs?")
    assert message["content"].startswith("Answer questions about a picture with short programs")
    page = (out / "report.html").read_text()
    assert "OWL-ViT" in page
