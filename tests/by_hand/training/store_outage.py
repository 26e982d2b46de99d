"""By hand: the object store of a run is silent for a minute in mid-run; nothing is lost, nothing done twice.

    python tests/by_hand/training/store_outage.py [--seconds 60]

About 3 minutes. Prints JSON; exit code 1 when the run did not finish whole.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

import at_url
import s3
import train_runs as runs

from valor_ray.doctor.listening import free_port

STEPS, SILENT_AFTER = 6, 2
_SERVER = """
import sys, time
from moto.server import ThreadedMotoServer
ThreadedMotoServer(ip_address="127.0.0.1", port=int(sys.argv[1]), verbose=False).start()
print("up", flush=True)
time.sleep(3600)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    seconds = parser.parse_args().seconds
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None and server.stdout.readline().strip().endswith("up")
        os.environ.update(s3.environment(f"http://127.0.0.1:{port}"))
        url = f"{s3.new_bucket()}/runs/first"
        with tempfile.TemporaryDirectory() as parent, runs.counting_judge() as judge:
            staging = Path(parent) / "staging"
            settings = [f"grpo.steps={STEPS}", "grpo.max_lag=0", *judge.settings()]
            folder = at_url.folder_under(staging, url)
            with runs.Run(folder, settings, "--in-process", at=url, VALOR_STAGING=str(staging)) as run:
                run.wait_for_step(SILENT_AFTER)
                server.send_signal(signal.SIGSTOP)
                time.sleep(seconds)
                before = runs.steps(run.folder)
                server.send_signal(signal.SIGCONT)
                answered = time.monotonic()
                run.wait_for_step(max(before) + 1)
                on_again = time.monotonic() - answered
                report = run.finish()
            end = at_url.copied(url, Path(parent) / "end")
            ids = runs.rollout_ids(end)
            outcome = {
                "silent_s": seconds,
                "steps_when_it_answered": before,
                "next_step_after_s": round(on_again, 1),
                "steps": runs.steps(end),
                "stopped": report["stopped"],
                "rollouts_once": len(ids) == len(set(ids)),
                "asked_twice": sum(count > 1 for count in judge.calls.values()),
                "said": [line for line in run.said().splitlines() if "does not answer" in line],
            }
    finally:
        server.kill()
        server.wait()
    print(json.dumps(outcome), flush=True)
    whole = outcome["steps"] == list(range(1, STEPS + 1)) and outcome["rollouts_once"]
    return 0 if whole and not outcome["asked_twice"] else 1


if __name__ == "__main__":
    sys.exit(main())
