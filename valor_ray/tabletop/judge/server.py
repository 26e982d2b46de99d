"""`python -m valor_ray.tabletop.judge.server`: the offline judge, a local server that speaks the OpenAI protocol.

Prints one line, `offline judge ready at URL`, when it accepts requests, and ends when the process that started it ends.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import uvicorn

from valor_ray.tabletop.judge.app import make_app

READY = "offline judge ready at "  # followed by the base URL
_PARENT_CHECK_S = 0.5


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="judge_server", description="The offline judge (OpenAI protocol).")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001, help="0: any free port, named in the ready line")
    parser.add_argument("--model", default="tabletop-judge", help="the name clients must ask for")
    parser.add_argument("--token-file", type=Path, help="a file with the bearer token that clients must send")
    parser.add_argument(
        "--noise", type=float, default=0.0, help="share of verdicts on texts and boxes that are turned round"
    )
    parser.add_argument("--seed", type=int, default=0, help="which verdicts the noise turns round")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds to wait before each answer")
    parser.add_argument("--detached", action="store_true", help="go on when the starting process ends")
    args = parser.parse_args(argv)
    token = args.token_file.read_text(encoding="utf-8").strip() if args.token_file else None
    try:
        listener = socket.create_server((args.host, args.port), backlog=128)
    except OSError as error:
        print(
            f"judge_server: cannot listen on {args.host}:{args.port}: {error}. Try --port 0.", file=sys.stderr
        )
        return 1
    if not args.detached:
        threading.Thread(target=_follow_parent, args=(os.getppid(),), daemon=True).start()
    config = uvicorn.Config(
        make_app(args.model, token, args.noise, args.seed, args.delay),
        log_level="warning",
        access_log=False,
        lifespan="off",
    )
    print(f"{READY}http://{args.host}:{listener.getsockname()[1]}/v1", flush=True)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def _follow_parent(parent: int) -> None:
    """End this process when its parent has ended.

    By polling: PR_SET_PDEATHSIG follows the starting *thread*, and a Serve replica's threads come and go.
    """
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_S)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
