"""Waiting for a Serve app to come up, and saying what is still awaited or why it did not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ray import serve
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview, DeploymentStatus, ServeStatus

from deployments.failures import LOGS
from valor_ray.errors import ServiceError

Progress = Callable[[str], None]
POLL_S = 0.5
REPORT_S = 5.0  # say what is still awaited at least this often


def wait_ready(progress: Progress, app: str, parts: tuple[str, ...]) -> None:
    """Returns when the app runs, saying which of its deployments is ready. Raises ServiceError when one fails."""
    readiness = _Readiness(progress, app, parts)
    while not readiness.complete():
        time.sleep(POLL_S)


async def came_up(progress: Progress, app: str, parts: tuple[str, ...]) -> None:
    """`wait_ready` for an event loop, which Ctrl-C ends at once."""
    readiness = _Readiness(progress, app, parts)
    while not readiness.complete():
        await asyncio.sleep(POLL_S)


class _Readiness:
    def __init__(self, progress: Progress, app: str, parts: tuple[str, ...]) -> None:
        self._progress, self._app, self._parts = progress, app, parts
        self._start = self._reported = time.monotonic()
        self._ready: set[str] = set()

    def complete(self) -> bool:
        """Looks once."""
        status = serve.status()
        seconds = time.monotonic() - self._start
        for part in _healthy(status, self._app, self._parts):
            if part not in self._ready:
                self._ready.add(part)
                self._reported = time.monotonic()
                self._progress(f"{part} ready after {seconds:.0f} s")
        application = status.applications.get(self._app)
        if application is not None and application.status == ApplicationStatus.RUNNING:
            return True
        if application is not None and application.status == ApplicationStatus.DEPLOY_FAILED:
            raise ServiceError(_failure(application))
        if time.monotonic() - self._reported >= REPORT_S:
            self._reported = time.monotonic()
            awaited = ", ".join(part for part in self._parts if part not in self._ready)
            self._progress(f"loading {awaited} … {seconds:.0f} s")
        return False


def _healthy(status: ServeStatus, app: str, parts: tuple[str, ...]) -> list[str]:
    application = status.applications.get(app)
    deployments = application.deployments if application is not None else {}
    return [
        part for part in parts if part in deployments and deployments[part].status == DeploymentStatus.HEALTHY
    ]


def _failure(application: ApplicationStatusOverview) -> str:
    """Which part failed and the last line of its traceback, which is the message of our own errors."""
    logs = f"Logs: {LOGS}/serve"
    for part, deployment in application.deployments.items():
        if deployment.status in (DeploymentStatus.DEPLOY_FAILED, DeploymentStatus.UNHEALTHY):
            lines = [line.strip() for line in deployment.message.splitlines() if line.strip()]
            return f"{part} did not start: {lines[-1] if lines else 'no reason given'} {logs}"
    return f"The app did not start: {application.message} {logs}"
