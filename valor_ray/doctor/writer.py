"""Does the writer write? One question to the model of `policy.endpoint`: tags, program, tokens, price, latency."""

from __future__ import annotations

import ast
import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from valor_ray.config.judging import WRITER
from valor_ray.doctor.checks import Check
from valor_ray.errors import ConfigError, PolicyError, QuestionError
from valor_ray.judges.gateway.ledger import Ledger
from valor_ray.program.parse import parse_reply
from valor_ray.program.syntax_tree import syntax_tree
from valor_ray.tools import SPELLINGS
from valor_ray.writers.request import not_sent
from valor_ray.writers.writer import OpenWriter, open_writer

if TYPE_CHECKING:
    from valor_ray.config.models import PolicyConfig
    from valor_ray.config.tree import Config
    from valor_ray.records import ParsedReply, Reply

_QUESTION = "How many red balls are left of the blue box?"
_SHOWN = 100  # characters of a reply
_TAKES = f"valor doctor --settings {WRITER} lists what can be set."


def examine_writer(config: Config) -> Iterator[Check]:
    """Tries `policy.endpoint`, where there is one with its key: one reply, which costs about a cent at most.

    Called by `valor doctor`, which has checked the key. Waits for the endpoint, minutes where it is slow.
    """
    endpoint = config.policy.endpoint
    if endpoint is None:
        return
    try:
        endpoint.access(WRITER)
    except ConfigError:
        return  # told already
    tried = endpoint.model_copy(update={"retries": min(endpoint.retries, 1), "cache_dir": None})
    yield from asyncio.run(_tried(config.policy.model_copy(update={"endpoint": tried})))


async def _tried(config: PolicyConfig) -> list[Check]:
    """With replies of its own, so that it is really asked."""
    with tempfile.TemporaryDirectory(prefix="valor-doctor-") as folder:
        ledger = Ledger(Path(folder))
        writer = open_writer(config, ledger)
        try:
            (reply,) = await writer.generate(_QUESTION)
            return [_written(reply), _took(writer, config)]
        except (PolicyError, QuestionError) as error:
            return [Check("writer reply", False, str(error), _TAKES)]
        finally:
            await writer.close()
            ledger.close()


def _written(reply: Reply) -> Check:
    parsed = parse_reply(reply.text)
    if reply.nothing:
        return Check("writer reply", False, reply.nothing, _TAKES)
    if not parsed.well_formed:
        cut = "it was cut at its token limit: " if reply.finish_reason == "length" else ""
        fix = "Raise policy.max_tokens." if cut else f"Choose another {WRITER}.model, or policy.prompt=full."
        shown = " ".join(reply.text.split())[:_SHOWN]
        return Check("writer reply", False, f"{cut}{parsed.error}: {shown!r}", fix)
    if fault := _fault(parsed):
        return Check("writer reply", False, fault, f"Choose another {WRITER}.model.")
    lines = len(parsed.code.splitlines())
    return Check("writer reply", True, f"plan and program in their tags, {lines} lines that call tools")


def _fault(parsed: ParsedReply) -> str:
    """What is wrong with the program at a look; "": nothing."""
    try:
        tree = syntax_tree(parsed.code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"the program is no Python ({error})"
    names = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    return "" if names & set(SPELLINGS) else "the program calls no tool: it cannot have looked at the picture"


def _took(writer: OpenWriter, config: PolicyConfig) -> Check:
    endpoint, took = config.endpoint, writer.took
    assert endpoint is not None
    said = "" if took.usage_said else " (it does not say: estimated)"
    tokens = f"{took.prompt_tokens} + {took.completion_tokens} tokens a reply{said}"
    price = (
        1000 * (took.prompt_tokens * endpoint.price_in + took.completion_tokens * endpoint.price_out) / 1e6
    )
    left = not_sent(config, endpoint)
    without = f"; not sent: {', '.join(left)}" if left else ""
    detail = (
        f"{endpoint.model}: {took.latency_s:.1f} s, {tokens}; "
        f"{f'${price:.2f} per 1,000 replies' if price else 'no price'}{without}"
    )
    fix = "" if price else f"Set {WRITER}.price_in and {WRITER}.price_out to know what runs cost."
    return Check("writer calls", bool(price), detail, fix, needed=False)
