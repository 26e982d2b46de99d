"""`valor serve`: the app on this machine until Ctrl-C."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from types import FrameType

from valor_ray.commands.options import add_profile, load_config

HELP = "Start the app: models, HTTP API and page."
EPILOG = """\
examples:
  valor serve                                  the shipped tiny models, on http://127.0.0.1:8000
  valor serve --profile gpu --port 9000        the paper's models
  valor serve --set judge.base_url=http://127.0.0.1:9999/v1 --set judge.model=my-vlm

Ctrl-C stops everything that was started. With RAY_ADDRESS set, the app runs on that cluster instead.
"""


def add_arguments(parser: ArgumentParser) -> None:
    add_profile(parser)
    parser.add_argument("--host", default=None, help="address to bind (default 127.0.0.1; 0.0.0.0: everyone)")
    parser.add_argument("--port", default=None, help="TCP port (default 8000)")


def run(args: Namespace) -> int:
    given = {"server.host": args.host, "server.port": args.port}
    config = load_config(args, *(f"{key}={value}" for key, value in given.items() if value is not None))
    start = time.monotonic()
    _interrupt_on_signals()
    _say("loading the libraries")
    from deployments.serving import serving

    with serving(config, _say) as url:
        _say(f"ready at {url} after {time.monotonic() - start:.0f} s; open it in a browser, or:")
        _say(f'  valor ask photo.png "How many red boxes are there?" --url {url}')
        _say("Ctrl-C stops it")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            _say("stopping")
    return 0


def _interrupt_on_signals() -> None:
    """SIGTERM ends the app the way Ctrl-C does, and so does SIGINT where a shell has put us in its background."""
    import signal

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)


def _say(line: str) -> None:
    print(f"valor serve: {line}", file=sys.stderr, flush=True)
