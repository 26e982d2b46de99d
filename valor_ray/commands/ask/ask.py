"""`valor ask`: one question about one picture file, answered by a running `valor serve`."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from valor_ray.client.ask import DEFAULT_URL, ask
from valor_ray.client.health import versions
from valor_ray.commands.options import add_json, add_selection, local_path, print_json, show

_HEALTH_S = 3.0  # for the server to say which weights it has
HELP = "Ask a question about a picture (needs a running `valor serve`)."
EPILOG = """\
examples:
  valor ask photo.png "How many red boxes are there?"
  valor ask photo.png "How many red boxes are there?" --samples 8 --select judge
  valor ask photo.png "How many red boxes are there?" --repairs 2

Exit code 0: there is an answer; 1: there is none (its `error` says why); 2: wrong usage or settings.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "image", type=local_path, metavar="IMAGE", help="picture file (PNG, JPEG, WebP, GIF, TIFF, BMP)"
    )
    parser.add_argument("question", metavar="QUESTION", help="what you want to know about it")
    parser.add_argument("--url", default=DEFAULT_URL, help=f"address of the server (default {DEFAULT_URL})")
    parser.add_argument(
        "--token-env",
        default=None,
        metavar="NAME",
        help="environment variable with the server's bearer token",
    )
    add_selection(parser)
    add_json(parser)


def run(args: Namespace) -> int:
    result = ask(
        args.image,
        args.question,
        url=args.url,
        token=_token(args.token_env),
        samples=args.samples,
        select=args.select,
        repairs=args.repairs,
        seed=args.seed,
    )
    if args.json:
        print_json(result)
    else:
        _show(result)
        by = "".join(f", {part} {version}" for part, version in versions(args.url, _HEALTH_S).items())
        show(f"({result['seconds']:.1f} s{by})", file=sys.stderr)
    return 1 if result["error"] else 0


def _token(variable: str | None) -> str | None:
    if variable is None:
        return None
    from valor_ray.config.service import ServerConfig  # the one place that reads the environment

    return ServerConfig(token_env=variable).token()


def _show(result: dict[str, Any]) -> None:
    """The answer alone on stdout; how it came about on stderr."""
    for number, one in enumerate(result.get("attempts", ()), 1):
        show(f"reply {number} failed: {one['error']}", file=sys.stderr)
        if one["code"]:
            show(f"{_indented(one['code'])}\n", file=sys.stderr)
    if result["plan"]:
        show(f"plan\n{_indented(result['plan'])}\n\nprogram\n{_indented(result['code'])}\n", file=sys.stderr)
    for call in result["trace"]:
        arguments = ", ".join(f"{name}={_short(value)}" for name, value in call["args"].items())
        outcome = call["error"] or _short(call["result"])
        show(
            f"  line {call['line']}: {call['tool']}({arguments}) -> {outcome}  [{call['ms']:.0f} ms]",
            file=sys.stderr,
        )
    for number, one in enumerate(result.get("candidates", ())):
        show(_candidate(one, number == result["selection"]["chosen"]), file=sys.stderr)
    if "selection" in result:
        show(f"  {_of_selection(result['selection'])}", file=sys.stderr)
    if "unrepaired" in result:
        show(f"  not repaired: {result['unrepaired']}", file=sys.stderr)
    if result["error"]:
        show(f"valor ask: {result['error']}", file=sys.stderr)
    else:
        answer = result["answer"]
        show(answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False))


def _candidate(one: dict[str, Any], chosen: bool) -> str:
    score = "" if one["score"] is None else f", score {one['score']:.2f}"
    said = _short(one["answer"], 40) if one["error"] is None else f"no answer: {_short(one['error'], 60)}"
    reasons = f"  ({_short(one['reasons'], 100)})" if one["reasons"] else ""
    return f"{'*' if chosen else ' '} {said}  [{one['votes']} votes{score}]{reasons}"


def _of_selection(selection: dict[str, Any]) -> str:
    paid = f"; {selection['calls']} judge calls, ${selection['cost_usd']:.4f}" if selection["calls"] else ""
    return f"taken by {selection['select']}: {selection['why']}{paid}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines())


def _short(value: object, limit: int = 100) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else text[: limit - 1] + "…"
