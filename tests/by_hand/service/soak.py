"""By hand: `valor serve` for half an hour of mixed traffic: odd judge, killed parts, bad input, stalls.

    python tests/by_hand/service/soak.py [--minutes 30] [--kill-every 150] [--odd 0.2]

Beside the service a sandbox in this process runs hostile programs and harmless ones in turn. Prints JSON; exit code 1
when an answer was wrong, a bad request was no 4xx, a program's verdict was another, memory grew by more than 5 % after
the first sixth of the time, or a process was left.
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
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

import psutil
import soak_traffic
from soak_memory import Memory, descendants, part_processes

from valor_ray.doctor.listening import free_port

ROOT = Path(__file__).parents[3]
PARTS = ("detector", "depth", "vlm", "policy", "front_door")
ALLOWED_GROWTH = 0.05  # of what the service held after the first sixth of the time


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--kill-every", type=float, default=150, help="seconds between two kills, 0: none")
    parser.add_argument("--odd", type=float, default=0.2, help="share of odd replies of the vision judge")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="valor-soak-") as folder:
        outcome = run(args, Path(folder))
    print(json.dumps(outcome, indent=1))
    return 0 if outcome["well"] else 1


def run(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    judge = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/support/odd_vlm.py"), "--odd", str(args.odd)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert judge.stdout is not None and judge.stdin is not None
    port, log = free_port(), folder / "serve.txt"
    command = [sys.executable, "-m", "valor_ray", "serve", "--port", str(port)]
    vlm = {
        "base_url": judge.stdout.readline().strip(),
        "model": "odd",
        "api_key_env": "null",
        "timeout_s": 10,
    }
    command += [word for name, value in vlm.items() for word in ("--set", f"vlm.{name}={value}")]
    with log.open("w") as stream:
        server = subprocess.Popen(command, stdout=stream, stderr=stream, cwd=ROOT)
    try:
        wait_for("ready at", log, server)
        outcome = asyncio.run(soak(args, folder, f"http://127.0.0.1:{port}", server.pid))
    finally:
        ours = descendants(server.pid)
        server.send_signal(signal.SIGINT)
        code = server.wait(90)
        judge.stdin.close()
        judge.wait(10)
    time.sleep(5)
    left = [
        process.name()
        for process in ours
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]
    outcome |= {"exit_code": code, "left": left, "load": os.getloadavg()[0]}
    outcome["well"] = bool(outcome["well"]) and code == 0 and not left
    return outcome


def wait_for(words: str, log: Path, server: subprocess.Popen, seconds: float = 300) -> None:
    until = time.monotonic() + seconds
    while words not in log.read_text():
        if server.poll() is not None or time.monotonic() > until:
            sys.exit(log.read_text())
        time.sleep(0.5)


async def soak(args: argparse.Namespace, folder: Path, url: str, pid: int) -> dict[str, object]:
    """All traffic at once until the time is over; what it met, and how memory went."""
    seconds = 60 * args.minutes
    traffic = await soak_traffic.prepared(url, folder)
    memory, kills = Memory(pid), []

    async def killing() -> None:
        for number in range(10_000 if args.kill_every else 0):
            await asyncio.sleep(args.kill_every)
            part = PARTS[number % len(PARTS)]
            for process in part_processes(pid, part)[:1]:
                process.kill()
                kills.append(part)
                traffic.note_kill(part)

    async def watching() -> None:
        while True:
            memory.look()
            print(json.dumps(memory.last() | traffic.counts()), file=sys.stderr, flush=True)
            await asyncio.sleep(15)

    jobs = [asyncio.create_task(job) for job in (*traffic.jobs(), killing(), watching())]
    try:
        done, _ = await asyncio.wait(jobs, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for job in done:
            job.result()
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await traffic.close()
    found = traffic.found()
    grown = memory.growth(seconds / 6)
    well = not found["wrong"] and grown <= ALLOWED_GROWTH
    return {
        "well": well,
        "minutes": args.minutes,
        "kills": kills,
        **found,
        "memory": memory.report(),
        "growth": grown,
    }


if __name__ == "__main__":
    sys.exit(main())
