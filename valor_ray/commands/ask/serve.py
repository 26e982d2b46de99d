"""`valor serve`: the app on this machine until Ctrl-C."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from valor_ray.commands.options import JUDGE_FILE, add_profile, interrupt_on_signals, load_config, show

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

HELP = "Start the app: models, HTTP API and page."
EPILOG = f"""\
examples:
  valor serve                                  the shipped tiny models, on http://127.0.0.1:8000
  valor serve --profile gpu --port 9000        the paper's models
  valor serve --set policy.model=runs/first/weights/step-000080      a policy that you have trained
  valor serve --profile hosted                 photographs with an API key and no GPU: a hosted model writes
  valor serve --profile judge.yaml             your own judge
  valor serve --follow runs/boxes              the detector that `valor train grounding --run runs/boxes` publishes:
                                               now, and whenever it publishes another, without a break

{JUDGE_FILE}
writer.yaml, another model that writes the programs (docs/design/writers.md; `valor doctor --profile writer.yaml`):
  base: hosted
  policy:
    endpoint:
      base_url: https://generativelanguage.googleapis.com/v1beta/openai/
      model: gemini-2.5-flash
      api_key_env: GEMINI_API_KEY
      thinking_as: reasoning_effort
      price_in: 0.30
      price_out: 2.50

Ctrl-C stops everything that was started. With RAY_ADDRESS set, the app runs on that cluster instead, at the host and
port on which Serve listens there, if it runs already; an app that is there is not replaced: ask it with --url.
"""


def add_arguments(parser: ArgumentParser) -> None:
    add_profile(parser)
    parser.add_argument("--host", default=None, help="address to bind (default 127.0.0.1; 0.0.0.0: everyone)")
    parser.add_argument("--port", default=None, help="TCP port (default 8000)")
    parser.add_argument(
        "--follow",
        default=None,
        metavar="RUN",
        help="serve the detector that the run of `valor train grounding` in this folder publishes, and its next ones; "
        "the run may start later",
    )


def run(args: Namespace) -> int:
    given = {"server.host": args.host, "server.port": args.port, "detector.follow": args.follow}
    config = load_config(args, *(f"{key}={value}" for key, value in given.items() if value is not None))
    start = time.monotonic()
    interrupt_on_signals()
    _say("loading the libraries")
    from deployments.serving import serving

    weights = _weights(config)
    with serving(config, _say) as url:
        for part, model in weights.items():
            _say(f"{part}: {model}")
        _say(f"ready at {url} after {time.monotonic() - start:.0f} s; open it in a browser, or:")
        _say(f'  valor ask photo.png "How many red boxes are there?" --url {url}')
        _say("Ctrl-C stops it")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            _say("stopping")
    return 0


def _weights(config: Config) -> dict[str, str]:
    """Which weights serve, by part. Raises ConfigError for shipped ones that do not say where they come from."""
    from valor_ray.models.shipped import told

    policy = told(config.policy.model) if config.policy.endpoint is None else config.policy.writer
    follows = "" if config.detector.follow is None else f", until {config.detector.follow} has published"
    return {"policy": policy, "detector": told(config.detector.model) + follows}


def _say(line: str) -> None:
    show(f"valor serve: {line}", file=sys.stderr, flush=True)
