"""An engine's processes end with their owner, however that ends; here with stand-ins in place of vLLM's processes."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

OWNER = """
import multiprocessing, os, sys, time
from valor_ray.models.vllm.engine_end import end_with_owner, own_engines

def worker():
    end_with_owner()
    print("worker", os.getpid(), flush=True)
    time.sleep(600)

def engine():
    child = multiprocessing.get_context("spawn").Process(target=worker)
    child.start()
    child.join()

if __name__ == "__main__":
    own_engines()
    {target} = multiprocessing.get_context("spawn").Process(target={target_function})
    {target}.start()
    {target}.join()
"""


@pytest.mark.parametrize(
    "target", ["engine", "worker"]
)  # a worker in a process of its own, or in the engine's
def test_engine_and_worker_end_when_their_owner_is_killed(tmp_path: Path, target: str) -> None:
    script = tmp_path / "owner.py"
    script.write_text(
        textwrap.dedent(OWNER).replace("{target_function}", target).replace("{target}", "first")
    )
    owner = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline().startswith("worker")
    family = psutil.Process(owner.pid).children(recursive=True)
    family = [process for process in family if "resource_tracker" not in " ".join(process.cmdline())]
    assert len(family) == (2 if target == "engine" else 1)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert psutil.wait_procs(family, timeout=20)[1] == []
