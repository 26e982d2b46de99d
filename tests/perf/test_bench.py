"""The benches run, give the keys that others build on, and lose nothing; how fast is for `valor bench` to say."""

import asyncio
import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from valor_ray.cli import main
from valor_ray.perf import judges
from valor_ray.perf.judge_bench import write_scaling
from valor_ray.perf.judge_load import judge_config, reply_requests
from valor_ray.perf.plain_judges import judge_plainly
from valor_ray.perf.sandbox import ordinary_programs
from valor_ray.program import gate
from valor_ray.report.score.page import scaling


def test_sandbox_bench_gives_its_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "sandbox", "--programs", "24", "--plain", "4", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {"ours", "baseline", "ratio", "fork_ratio", "gated"} <= set(result)
    assert result["baseline"]["programs"] == 4 and result["ours"]["programs"] == 24
    for ratio, side in (("ratio", "ours"), ("fork_ratio", "fork")):
        times = result["baseline"]["cpu_ms"] / result[side]["cpu_ms"]
        assert result[ratio] == pytest.approx(times, rel=0.01, abs=0.06)
    assert result["ratio"] > result["fork_ratio"] > 10  # measured: 336 and 92


def test_ordinary_programs_are_all_different_and_pass_the_gate() -> None:
    programs = ordinary_programs(50)
    assert len(set(programs)) == 50 and all(map(gate.passes, programs))


def test_both_sides_of_the_judges_bench_make_the_same_calls_and_lose_none() -> None:
    replies = [reply_requests(number) for number in range(6)]
    plain = judge_plainly(replies, {})
    ours, second = judges._gateway(replies, {})
    assert (plain["calls"], plain["lost"]) == (24, 0)
    assert ours["lost"] == 0 and 24 <= ours["calls"] <= 26  # a hedge or two
    assert (second["calls"], second["lost"]) == (0, 0)


def test_the_mock_judges_faults_are_those_asked_for() -> None:
    from valor_ray.judges.gateway.call.body import request_body
    from valor_ray.judges.gateway.call.outcome import HttpKind
    from valor_ray.judges.gateway.call.transport import Transport
    from valor_ray.perf.mock_judge import MockJudge

    async def kinds(url: str, calls: int, timeout_s: float) -> list[HttpKind]:
        config = judge_config(url, timeout_s=timeout_s)
        transport = Transport(config, config.access("judge"))
        body = request_body(reply_requests(0)[0], "mock")
        try:
            outcomes = await asyncio.gather(*(transport.post(body) for _ in range(calls)))
            return [outcome.kind for outcome in outcomes]
        finally:
            await transport.close()

    with MockJudge(median_s=0.01, throttled=0.1, failed=0.1) as mock:  # a slow machine answers late
        seen = asyncio.run(kinds(mock.base_url, 200, timeout_s=120.0))
        stats = mock.stats()
    assert len(seen) == 200 == stats["calls"] >= stats["most_per_minute"] > 0
    assert all(5 <= seen.count(kind) <= 40 for kind in (HttpKind.THROTTLED, HttpKind.FAILED))
    faults = seen.count(HttpKind.THROTTLED) + seen.count(HttpKind.FAILED)
    assert (seen.count(HttpKind.ANSWERED), stats["faults"]) == (200 - faults, faults)
    with MockJudge(median_s=0.01, hung=1.0) as mock:
        assert asyncio.run(kinds(mock.base_url, 4, timeout_s=0.5)) == [HttpKind.TIMEOUT] * 4


def test_the_scaling_points_of_the_bench_are_those_of_the_report(tmp_path: Path) -> None:
    write_scaling(tmp_path / "out", {"1": 15.9, "2": 31.5, "4": 62.0})
    assert scaling(tmp_path / "out" / "scaling.json") == [(1.0, 15.9), (2.0, 31.5), (4.0, 62.0)]


def test_every_module_that_a_bench_starts_by_name_is_there() -> None:
    started = {
        name
        for path in Path(judges.__file__).parent.rglob("*.py")
        for name in re.findall(r'"-m", "([\w.]+)"', path.read_text(encoding="utf-8"))
    }
    assert started >= {
        "valor_ray.perf.training.plain_grpo",
        "valor_ray.perf.mock_judge",
        "jobs.train_reasoning",
    }
    assert {name for name in started if find_spec(name) is None} == set()


def test_one_step_is_too_few_to_measure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["bench", "grpo", "--steps", "1"])
    assert end.value.code == 2 and "at least 2" in capsys.readouterr().err


def test_an_unknown_bench_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["bench", "nothing"])
    assert end.value.code == 2
