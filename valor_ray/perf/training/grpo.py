"""`valor bench grpo`: samples trained on per hour, by `valor train reasoning` and by plain trl, with the same judge."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from valor_ray.config.tree import Config
from valor_ray.errors import ServiceError
from valor_ray.judges.gateway.offline import OfflineJudge
from valor_ray.tabletop.dataset import write_queries

Say = Callable[[str], None]
QUERIES = 200


def run(args: Namespace, say: Say) -> dict[str, Any]:
    """{ours, lag0, baseline, ratio, lag_ratio, ...}: samples an hour, without starting up and the first step."""
    config = Config.load("local")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_queries(data, QUERIES // 2, 0)
        say(f"plain trl, {args.steps} steps with a judge of {args.delay:g} s")
        with OfflineJudge(config.judge.model, delay_s=args.delay) as judge:
            baseline = _plain(data / "queries.jsonl", judge.base_url, args.steps)
        say(f"{baseline['samples_per_hour']} samples an hour; the same on Ray, on-policy")
        lag0 = _ours(data, Path(folder) / "lag0", args.steps, args.delay, 0)
        say(f"{lag0['samples_per_hour']} samples an hour; the same with max_lag 1")
        ours = _ours(data, Path(folder) / "lag1", args.steps, args.delay, 1)
    return {
        "ours": ours,
        "lag0": lag0,
        "baseline": baseline,
        "ratio": round(ours["samples_per_hour"] / baseline["samples_per_hour"], 2),
        "lag_ratio": round(ours["samples_per_hour"] / lag0["samples_per_hour"], 2),
        "judge_delay_s": args.delay,
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
    }


def _plain(queries: Path, url: str, steps: int) -> dict[str, Any]:
    words = ["--queries", str(queries), "--judge", url, "--steps", str(steps)]
    return _last_line([sys.executable, "-m", "valor_ray.perf.training.plain_grpo", *words])


def _ours(data: Path, run: Path, steps: int, delay: float, lag: int) -> dict[str, Any]:
    settings = {
        "grpo.steps": steps,
        "grpo.max_lag": lag,
        "grpo.eval_questions": 0,
        "grpo.query_limit": QUERIES,
        "judge.delay_s": delay,
        "reward.audit_every": 0,
    }
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "jobs.train_reasoning", "--run", str(run), "--json"]
    report = _last_line([*command, "--queries", str(data), *words])
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    seconds = records[-1]["time"] - records[0]["time"]
    grpo = Config.load("local").grpo
    samples = grpo.prompts * grpo.samples * (len(records) - 1)
    return {
        "samples": samples,
        "seconds": round(seconds, 2),
        "step_seconds": round(seconds / (len(records) - 1), 2),
        "samples_per_hour": round(3600 * samples / seconds),
        "replies_sampled": report["rollouts"]["all"],
        "lag_mean": round(sum(record["lag_mean"] or 0 for record in records) / len(records), 2),
    }


def _last_line(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise ServiceError(f"{' '.join(command[1:4])} failed: {done.stderr.strip()[-800:]}")
    return dict(json.loads(lines[-1]))
