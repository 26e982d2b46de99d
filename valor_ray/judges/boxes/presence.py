"""The fourth question about a picture: which of the phrases that no box stands for name something in it all the same?

A detector that finds nothing, and a verifier that refuses what it found, have not said that nothing is there: most
phrases without a box name something that is. Only what the verifier calls absent is absent (dataset/negatives.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from valor_ray.judges.boxes.asking import Account, Members, Slips, ask_until_read, open_verifier, packed
from valor_ray.judges.boxes.partition import read_presence
from valor_ray.judges.boxes.requests import presence_request
from valor_ray.ports import Judge
from valor_ray.records import JudgeReply, JudgeRequest, Picture

if TYPE_CHECKING:
    from valor_ray.config.grounding import GroundingConfig
    from valor_ray.config.judging import JudgeConfig


@dataclass(frozen=True)
class Presence:
    """What the verifier said of a picture's phrases, and what that took."""

    verdicts: Mapping[str, str | None]  # phrase -> of requests.PRESENT; None: no verdict
    account: Account


async def check_presence(
    judge: Judge,
    picture: Picture,
    phrases: Sequence[str],
    grounding: GroundingConfig,
    vlm: JudgeConfig,
    start: int = 0,
) -> Presence:
    """Which of the phrases can be seen in the picture, all in one request where they fit (grounding.boxes_per_picture).

    Called by grounding.mine for each picture after its boxes, and by the audit; waits for the verifier. A call that
    fails leaves its phrases without a verdict, which is not "absent". start: as of `check_boxes`. Raises JudgeError
    when every further call must fail.
    """
    if not phrases:
        return Presence({}, Account())
    verifier = await open_verifier(judge, picture, {}, grounding, vlm, start)
    said: dict[int, str] = {}

    def build(asked: Members, correction: str) -> JudgeRequest:
        return presence_request(verifier.sent, [phrases[each] for each in asked], correction)

    def read(asked: Members, reply: JudgeReply) -> tuple[Members, Slips]:
        reading = read_presence(reply.content or {}, [phrases[each] for each in asked])
        said.update({asked[index - 1]: verdict for index, (verdict, _why) in reading.verdicts.items()})
        return tuple(each for each in asked if each not in said), reading.slips

    requests = packed([tuple(range(len(phrases)))], grounding.boxes_per_picture)
    await ask_until_read(verifier, requests, build, read, named=("phrase", "phrases"))
    return Presence({phrase: said.get(at) for at, phrase in enumerate(phrases)}, verifier.account)
