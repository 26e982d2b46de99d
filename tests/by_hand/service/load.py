"""By hand: `valor serve` under 1 to 200 clients, and with each of its parts killed under eight. Prints its figures.

    python tests/by_hand/service/load.py [--clients 1,4,16,64,200] [--seconds 30] [--json]
    python tests/by_hand/service/load.py --kills [--parts policy,detector] [--json]

Each question has a seed and is asked alone first: another answer later is a wrong one. Exit code 1: a wrong answer, an
error that is no 429, or (--kills) more than eight failed requests or no answer within 30 s of a kill.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from load_traffic import Question, Served, asked_alone, questions
from soak import ROOT, wait_for
from soak_memory import cpu_seconds, part_processes

from valor_ray.doctor.listening import free_port

PARTS = ("policy", "policy replica", "detector", "depth", "judge", "front_door")
KILLED_UNDER, WARM_S = 8, 5.0
MOST_FAILED, MOST_AWAY_S = 8, 30.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", default="1,4,16,64,200", help="how many at a time, one after the other")
    parser.add_argument("--seconds", type=float, default=30, help="of each number of clients")
    parser.add_argument("--scenes", type=int, default=20, help="pictures, of five questions each")
    parser.add_argument(
        "--side", type=int, help="px: pictures are JPEGs so wide and high; default: PNGs of 256"
    )
    parser.add_argument("--kills", action="store_true", help="kill each part in place of the load")
    parser.add_argument("--parts", default=",".join(PARTS), help="what --kills kills")
    parser.add_argument("--after", type=float, default=45, help="seconds of traffic after each kill")
    parser.add_argument("--set", action="append", default=[], help="settings of valor serve")
    parser.add_argument("--json", action="store_true", help="all that was measured, as JSON")
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="valor-load-") as folder,
        service(Path(folder), args.set) as (url, pid),
    ):
        found = asyncio.run(measured(args, url, pid))
    print(json.dumps(found, indent=1) if args.json else "\n".join(map(str, found["runs"])))
    return 0 if found["well"] else 1


@contextmanager
def service(folder: Path, settings: list[str]) -> Iterator[tuple[str, int]]:
    """A `valor serve`: its URL and process."""
    port, log = free_port(), folder / "serve.txt"
    command = [sys.executable, "-m", "valor_ray", "serve", "--port", str(port)]
    command += [word for setting in settings for word in ("--set", setting)]
    with log.open("w") as stream:
        server = subprocess.Popen(command, stdout=stream, stderr=stream, cwd=ROOT)
    try:
        wait_for("ready at", log, server)
        yield f"http://127.0.0.1:{port}", server.pid
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(120)


async def measured(args: argparse.Namespace, url: str, pid: int) -> dict[str, Any]:
    asked = await asked_alone(url, list(questions(args.scenes, args.side)))
    note(
        f"{len(asked)} questions asked alone, {sum(one.expected is not None for one in asked)} with an answer"
    )
    runs = []
    if args.kills:
        for part in args.parts.split(","):
            runs.append(await killed(url, pid, part.strip(), asked, args.after))
            note(runs[-1])
    else:
        for clients in map(int, args.clients.split(",")):
            runs.append(await loaded(url, pid, clients, asked, args.seconds))
            note(runs[-1])
    return {
        "well": all(run["well"] for run in runs),
        "runs": runs,
        "questions": len(asked),
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 1)},
    }


async def loaded(url: str, pid: int, clients: int, asked: list[Question], seconds: float) -> dict[str, Any]:
    """Answers a second, how long they took, and CPU of each part for one."""
    before = cpu_seconds(pid)
    async with Served(url, asked) as served:
        await served.run(clients, seconds)
    used = {part: spent - before.get(part, 0.0) for part, spent in cpu_seconds(pid).items()}
    answers = len(served.seconds)
    return {
        "clients": clients,
        "seconds": seconds,
        **served.figures(),
        "per_second": round(answers / seconds, 2),
        "cpu_ms_per_answer": {
            part: round(1000 * spent / max(answers, 1), 1)
            for part, spent in sorted(used.items(), key=lambda one: -one[1])
            if spent > 0.05
        },
        "well": not served.wrong and not served.failed,
    }


async def killed(url: str, pid: int, part: str, asked: list[Question], after_s: float) -> dict[str, Any]:
    """What failed when a part died by kill -9 under load, and how soon it answered again."""
    async with Served(url, asked, part) as served:

        async def kill() -> None:
            await asyncio.sleep(WARM_S)
            for process in part_processes(pid, part)[:1]:
                process.kill()
                served.note_kill()

        killing = asyncio.create_task(kill())
        await served.run(KILLED_UNDER, WARM_S + after_s)
        await killing
    figures = {"killed": part, "clients": KILLED_UNDER, **served.figures(), "away_s": served.away_s()}
    away = figures["away_s"]
    well = not served.wrong and len(served.failed) <= MOST_FAILED and away is not None and away <= MOST_AWAY_S
    return figures | {"well": well}


def note(what: object) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
