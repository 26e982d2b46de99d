"""Start and stop the offline judge as a child process."""

from __future__ import annotations

import select
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

from valor_ray.errors import JudgeError

_READY = "offline judge ready at "


class OfflineJudge:
    """A running offline judge: `base_url` answers as soon as this object is made, until `close` or the process's end.

    Made by whoever wires a local run, a demo, or a cluster's ledger; use as a context manager or call `close`.
    Making one blocks until the server is ready (seconds), closing until it has ended.
    """

    def __init__(
        self,
        model: str = "tabletop-judge",
        noise: float = 0.0,
        delay_s: float = 0.0,
        start_timeout_s: float = 60.0,
    ) -> None:
        """Start it on a free port of 127.0.0.1; `noise`, `delay_s`: as in JudgeConfig.

        Raises JudgeError when it does not get ready in time."""
        command = [sys.executable, "-m", "valor_ray.tabletop.judge.server", "--port", "0"]
        command += ["--model", model, "--noise", str(noise), "--delay", str(delay_s)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            self.base_url = self._wait_ready(start_timeout_s)  # e.g. http://127.0.0.1:40321/v1
        except JudgeError:
            self.close()
            raise

    def _wait_ready(self, timeout_s: float) -> str:
        assert self.process.stdout is not None
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            readable, _, _ = select.select([self.process.stdout], [], [], 0.5)
            line = self.process.stdout.readline() if readable else ""
            if line.startswith(_READY):
                return line.removeprefix(_READY).strip()
            if readable and not line:
                raise JudgeError(
                    f"The offline judge ended at start with code {self.process.wait()}; its message is above. "
                    "Run `python -m valor_ray.tabletop.judge.server` to see it alone."
                )
        raise JudgeError(
            f"The offline judge was not ready within {timeout_s:.0f} s: is the machine overloaded?"
        )

    def close(self) -> None:
        """Stop the server and wait for its end."""
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
