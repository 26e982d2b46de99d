"""Does the judge judge, and does the VLM see? A few real calls: two verdicts that are beyond doubt, a picture, and what
a call takes."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from valor_ray.config.judging import Endpoint, JudgeConfig, Part
from valor_ray.doctor.checks import Check
from valor_ray.errors import ConfigError, JudgeError
from valor_ray.images import from_array
from valor_ray.judges.audit import canaries
from valor_ray.judges.gateway.gateway import Gateway
from valor_ray.judges.gateway.ledger import Ledger
from valor_ray.judges.plan_heads import read_verdict, verdict_requests
from valor_ray.judges.vqa import VqaJudge
from valor_ray.program.parse import parse_reply
from valor_ray.records import Head, Picture

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

_GOOD, _BAD = "good-3", "hard-coded-1"  # the canaries: a plan that nobody can fault, and one that is none
_SIDE, _SQUARE = 224, slice(64, 160)  # px
_HEAD = Head.LOGIC
_TAKES = "valor doctor --settings {section} lists what can be set."


def examine_judge(config: Config) -> Iterator[Check]:
    """Tries each endpoint that is not the offline judge: about five calls each, which cost less than a cent.

    Called by `valor doctor`, which has checked the keys: an endpoint without one is passed over. Waits for the
    endpoints, minutes where they are slow.
    """
    for part, judge, text in (("judge", config.judge, True), ("vlm", config.vlm, False)):
        one_for_both = config.vlm_part == "judge"
        if part == "vlm" and one_for_both:
            continue
        for section, endpoint in judge.endpoints(part).items():
            if endpoint.base_url is None:
                continue
            try:
                endpoint.access(section)
            except ConfigError:
                continue  # told already
            yield from _tried(judge, endpoint, section, text, not text or one_for_both)


def _tried(
    judge: JudgeConfig, endpoint: Endpoint, section: str, text: bool, picture: bool
) -> Iterator[Check]:
    """The checks of one endpoint, all made before the first is given."""

    async def once() -> list[Check]:
        async with _gateway(judge, endpoint, section) as gateway:
            checks = [check async for check in _all(gateway, judge, endpoint, section, text, picture)]
            return [*checks, *_took(gateway, endpoint, section)]

    yield from asyncio.run(once())


@asynccontextmanager
async def _gateway(judge: JudgeConfig, endpoint: Endpoint, section: str) -> AsyncIterator[Gateway]:
    """With answers of its own, so that every call is made; told soon what does not answer."""
    settings = judge.model_copy(update={"retries": min(judge.retries, 1), "hedge": False})
    with tempfile.TemporaryDirectory(prefix="valor-doctor-") as folder:
        ledger = Ledger(Path(folder))
        gateway = Gateway(endpoint, settings, ledger, section=section)
        try:
            yield gateway
        finally:
            await gateway.close()
            ledger.close()


async def _all(
    gateway: Gateway, judge: JudgeConfig, endpoint: Endpoint, section: str, text: bool, picture: bool
) -> AsyncIterator[Check]:
    if text:
        for canary, right in ((_GOOD, True), (_BAD, False)):
            yield await _verdict(gateway, endpoint, section, canary, right)
            if not gateway.up:
                return  # every further call would end so
    if picture:
        needed = not text  # of an endpoint for both, only what asks about pictures needs it
        tried = judge.model_copy(update={"retries": min(judge.retries, 1)})
        part: Part = "vlm" if section.startswith("vlm") else "judge"
        vqa = VqaJudge(gateway, tried, part)
        for colour, word in (("red", "yes"), ("blue", "no")):
            yield await _look(vqa, section, colour, word, needed)


async def _verdict(gateway: Gateway, endpoint: Endpoint, section: str, name: str, right: bool) -> Check:
    canary = next(known for known in canaries() if known.canary_id == name)
    parsed = parse_reply(canary.reply)
    request = verdict_requests(canary.question, parsed.plan, parsed.code, [_HEAD])[_HEAD]
    told = f"{section} {'yes' if right else 'no'}"

    async def ask() -> Check:
        (reply,) = await gateway.ask([replace(request, patience_s=2 * endpoint.timeout_s)])
        verdict = read_verdict(reply)
        if verdict.value is None:
            return Check(
                told, False, f"no verdict: {verdict.reason}", _TAKES.format(section=section.split(".")[0])
            )
        what = "a right plan" if right else "a plan that does not look at the picture"
        word = "yes" if verdict.value else "no"
        said = f"it said {word} to {what} ({reply.usage.latency_s:.1f} s): {verdict.reason[:100]}"
        fix = f"Its verdicts are no basis for training: choose another {section}.model."
        return Check(told, verdict.value is right, said, "" if verdict.value is right else fix)

    return await _or_end(told, section, ask)


async def _look(vqa: VqaJudge, section: str, colour: str, right: str, needed: bool) -> Check:
    told = f"{section} picture {right}"

    async def ask() -> Check:
        answer = await vqa.vqa(_picture(), f"Is there a {colour} square in the middle of the picture?")
        ok = answer.split(",")[0].split(" ")[0].strip(".!") == right
        fix = "" if ok else f"It does not see what is there: choose another {section}.model."
        return Check(
            told, ok, f"it said {answer[:60]!r} of a red square, asked for a {colour} one", fix, needed
        )

    return await _or_end(told, section, ask, needed)


async def _or_end(told: str, section: str, ask: Callable[[], Awaitable[Check]], needed: bool = True) -> Check:
    """What ends a run is a finding here."""
    try:
        return await ask()
    except JudgeError as error:
        fix = _TAKES.format(section=section.split(".")[0])
        if not needed:
            fix = f"Scoring and training go without. For pictures (serve, mine) set another endpoint: vlm. {fix}"
        return Check(told, False, str(error), fix, needed)


def _picture() -> Picture:
    import numpy as np

    rgb = np.full((_SIDE, _SIDE, 3), 255, np.uint8)
    rgb[_SQUARE, _SQUARE] = (220, 20, 20)
    return from_array(rgb)


def _took(gateway: Gateway, endpoint: Endpoint, section: str) -> Iterator[Check]:
    """In which form it was asked, and what a call takes."""
    took = gateway.took
    if not took.calls:
        return
    tokens_in, tokens_out = took.prompt_tokens / took.calls, took.completion_tokens / took.calls
    said = "" if took.usage_said else " (it does not say: estimated)"
    price = 1000 * (tokens_in * endpoint.price_in + tokens_out * endpoint.price_out) / 1e6
    priced = f"${price:.2f} per 1,000 answers" if price else "no price"
    detail = (
        f"{endpoint.model}: schema asked for as {', '.join(sorted(took.forms))}; {took.latency_s / took.calls:.1f} s, "
        f"{tokens_in:.0f} + {tokens_out:.0f} tokens a call{said}; {priced}"
    )
    fix = "" if price else f"Set {section}.price_in and {section}.price_out to know what runs cost."
    yield Check(f"{section} calls", bool(price), detail, fix, needed=False)
