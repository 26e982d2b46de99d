"""`valor eval` at a URL: answers are kept there, and another machine asks only what is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from s3 import bucket, s3_server  # noqa: F401

from valor_ray.cli import main
from valor_ray.commands.evaluate import eval as command
from valor_ray.records import Query
from valor_ray.runs.store.objects import ObjectStore


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the questions that came to the app; the fourth one ends the command, as a kill would."""
    ids: list[str] = []

    def asker(url: str, token: str | None, pictures: Any, asking: Any) -> Any:
        async def answer(query: Query) -> dict[str, Any]:
            ids.append(query.query_id)
            if len(ids) == 4:
                raise KeyboardInterrupt
            return {"answer": 1, "plan": "p", "code": "c", "error": None}

        return answer

    monkeypatch.setattr(command, "_asker", asker)
    return ids


def test_a_run_at_a_url_goes_on_from_another_machine(
    tmp_path: Path,
    asked: list[str],
    bucket: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = f"{bucket}/runs/eval"
    words = [
        "eval",
        "tabletop",
        "--out",
        place,
        "--limit",
        "8",
        "--url",
        "http://app",
        "--concurrency",
        "1",
        "--json",
    ]
    monkeypatch.setenv("VALOR_STAGING", str(tmp_path / "one"))
    assert main(words) == 130
    monkeypatch.setenv("VALOR_STAGING", str(tmp_path / "two"))
    capsys.readouterr()
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["n"] == 8 and report["unasked"] == 0
    assert len(asked) == 9 and len(set(asked)) == 8  # the one that was cut is asked again, no other
    assert json.loads(ObjectStore(place).read("report.json") or b"")["n"] == 8
