"""Boxes packed into requests, asked together, and asked again where an answer leaves doubts. The loop of all checks.

What an answer says of some boxes beyond doubt is kept; the next request is about the others only, in a picture of their
own with numbers from 1 again: nothing in it can be mixed up with the numbers of the first one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from valor_ray.judges.boxes.partition import correction
from valor_ray.judges.boxes.requests import SentPicture, sent_picture
from valor_ray.ports import Judge
from valor_ray.records import Detection, JudgeReply, JudgeRequest, Picture

if TYPE_CHECKING:
    from valor_ray.config.grounding import GroundingConfig
    from valor_ray.config.judging import JudgeConfig

Members = tuple[int, ...]  # positions of candidates, or of phrases; in a request, the first is number 1
Slips = Mapping[str, Sequence[int]]  # of partition.SLIPS -> numbers that it concerns
Build = Callable[[Members, str], JudgeRequest]  # of these boxes, with a correction
Read = Callable[[Members, JudgeReply], tuple[Members, Slips]]  # keeps what it believes; who is left, and why


@dataclass
class Account:
    """What the checks of a picture took."""

    calls: int = 0  # HTTP requests, hedges included
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    slips: Counter[str] = field(default_factory=Counter)  # of partition.SLIPS -> answers that had it

    def add(self, reply: JudgeReply) -> None:
        usage = reply.usage
        self.calls += 0 if usage.cached else usage.tries
        self.cache_hits += usage.cached
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
        self.cost_usd += usage.cost_usd

    def join(self, other: Account) -> None:
        """Enter what further questions about the same picture took."""
        self.calls += other.calls
        self.cache_hits += other.cache_hits
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.cost_usd += other.cost_usd
        self.slips.update(other.slips)


@dataclass(frozen=True)
class Verifier:
    """A picture with candidates before a vision verifier: what every check works on."""

    judge: Judge
    picture: Picture
    sent: SentPicture
    boxes: Mapping[int, Detection]  # by the candidate's position; clipped to the picture, each with an area
    grounding: GroundingConfig
    vlm: JudgeConfig
    account: Account = field(default_factory=Account)
    start: int = 0  # earlier starts that left boxes without a verdict

    async def ask(self, build: Callable[[], list[JudgeRequest]]) -> list[JudgeReply]:
        """Asked together, and entered into the account. Drawing and encoding leave the event loop free.

        Raises JudgeError when every further call must fail.
        """
        requests = await asyncio.to_thread(build)
        replies = await self.judge.ask(requests) if requests else []
        for reply in replies:
            self.account.add(reply)
        return replies


async def open_verifier(
    judge: Judge,
    picture: Picture,
    boxes: Mapping[int, Detection],
    grounding: GroundingConfig,
    vlm: JudgeConfig,
    start: int = 0,
) -> Verifier:
    """Scales and encodes the picture."""
    sent = await asyncio.to_thread(sent_picture, picture, grounding, vlm)
    return Verifier(judge, picture, sent, boxes, grounding, vlm, start=start)


async def ask_until_read(
    verifier: Verifier,
    first: Sequence[Members],
    build: Build,
    read: Read,
    named: tuple[str, str] = ("box", "boxes"),
) -> dict[int, str]:
    """Asks all requests at a time, then again about whom `read` leaves, grounding.ask_again times; at least once after
    a start that has left boxes without a verdict, for the first answer is the stored one then.

    named: what is asked about, one and several of it. Returns what has no verdict, each with the reason: a call that
    failed costs only its own. Raises JudgeError.
    """
    missing: dict[int, str] = {}
    pending = [(members, "") for members in first]
    why: dict[int, str] = {}
    again = max(verifier.grounding.ask_again, min(verifier.start, 1))
    for turn in range(1 + again):
        asked = pending
        replies = await verifier.ask(lambda asked=asked: [build(*each) for each in asked])  # type: ignore[misc]
        pending = []
        for (members, _correction), reply in zip(asked, replies, strict=True):
            if reply.content is None:
                missing |= dict.fromkeys(members, reply.missing or "the verifier gave no answer")
                continue
            left, slips = read(members, reply)
            verifier.account.slips.update(slips.keys())
            if left:
                now = {members.index(member) + 1: number + 1 for number, member in enumerate(left)}
                asking = verifier.start * again + turn + 2
                pending.append((left, correction(slips, now, asking, *named)))
                why |= dict.fromkeys(left, f"the answer could not be used: {', '.join(slips)}")
        if not pending:
            break
    return missing | {member: why[member] for members, _correction in pending for member in members}


def packed(groups: Sequence[Members], most: int, split: bool = True) -> list[Members]:
    """The members in few requests of at most `most`. split: in as few as can be, and groups are parted where they must
    be; else each group (of at most `most`) stays in one request."""
    cuts = [len(group) - len(group) % most for group in groups]
    whole = [
        group[at : at + most] for group, cut in zip(groups, cuts, strict=True) for at in range(0, cut, most)
    ]
    rests = sorted((group[cut:] for group, cut in zip(groups, cuts, strict=True)), key=len, reverse=True)
    fewest = -(-sum(map(len, rests)) // most)
    bins: list[Members] = []
    for rest in filter(None, rests):
        at = next((at for at, members in enumerate(bins) if len(members) + len(rest) <= most), None)
        if at is not None:
            bins[at] += rest
        elif len(bins) < fewest or not split:
            bins.append(rest)
        else:
            _spread(bins, rest, most)
    return [*whole, *bins]


def _spread(bins: list[Members], rest: Members, most: int) -> None:
    """Fills the requests that have most room first."""
    for at in sorted(range(len(bins)), key=lambda at: len(bins[at])):
        room = most - len(bins[at])
        bins[at], rest = bins[at] + rest[:room], rest[room:]
