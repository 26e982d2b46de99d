"""By hand: training as a submitted job, on a Ray started by `ray start --head`, as on a cluster.

    python tests/by_hand/training/job_submit.py

About 2 minutes. Exit code 0 when the job has ended SUCCEEDED and its run is whole.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

import train_runs as runs

STEPS = 2
ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_head(folder: Path, dashboard: int) -> subprocess.Popen:
    """Not ended by `ray stop`, which would end every other Ray of the machine too."""
    command = [BIN / "ray", "start", "--head", "--block", "--num-cpus=8", "--disable-usage-stats"]
    command += [f"--port={free_port()}", f"--ray-client-server-port={free_port()}", f"--temp-dir={folder}"]
    command += [f"--dashboard-agent-listen-port={free_port()}", "--include-dashboard=true"]
    command += [f"--dashboard-port={dashboard}", "--node-ip-address=127.0.0.1"]
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    return subprocess.Popen([str(word) for word in command], cwd=ROOT, env=environment)


def wait_for(url: str, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < end, f"{url} does not answer"
            time.sleep(1)


def main() -> int:
    # else this Ray wants a token, also of its own dashboard's callers
    os.environ["RAY_AUTH_MODE"] = "disabled"
    dashboard, began = free_port(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="r") as parent:
        folder, head = Path(parent) / "run", start_head(Path(parent) / "ray", dashboard)
        try:
            address = f"http://127.0.0.1:{dashboard}"
            wait_for(f"{address}/api/version")
            up = time.monotonic()
            settings = (*runs.SETTINGS, f"grpo.steps={STEPS}")
            command = [BIN / "ray", "job", "submit", "--address", address, "--", "python"]
            command += ["jobs/train_reasoning.py", "--run", folder]
            command += [word for value in settings for word in ("--set", value)]
            code = subprocess.run([str(word) for word in command], cwd=ROOT, check=False).returncode
            with urllib.request.urlopen(f"{address}/api/jobs/") as reply:
                status = [job["status"] for job in json.load(reply) if job["type"] == "SUBMISSION"]
            outcome = {
                "exit_code": code,
                "status": status,
                "steps": runs.steps(folder),
                "ray_start_s": round(up - began, 1),
                "job_s": round(time.monotonic() - up, 1),
            }
            print(json.dumps(outcome))
        finally:
            everything = [psutil.Process(head.pid), *psutil.Process(head.pid).children(recursive=True)]
            head.terminate()
            for process in psutil.wait_procs(everything, timeout=20)[1]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            head.wait()
    return 0 if status == ["SUCCEEDED"] and outcome["steps"] == list(range(1, STEPS + 1)) else 1


if __name__ == "__main__":
    sys.exit(main())
