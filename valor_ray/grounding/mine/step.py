"""The two steps of mining, without Ray: a query to the phrases of its program, a picture to its checked boxes."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from valor_ray import images
from valor_ray.answer import status_without_program
from valor_ray.errors import ImageError
from valor_ray.grounding.mine.phrases import ProgramPhrases
from valor_ray.judges.boxes.checks import check_boxes
from valor_ray.judges.boxes.geometry import without_box
from valor_ray.judges.boxes.presence import check_presence
from valor_ray.ports import Detector, Judge, Policy, version_of
from valor_ray.program.parse import parse_reply
from valor_ray.queries.read import local_picture
from valor_ray.records import Detection, MinedImage, Picture, Query
from valor_ray.runs.store.place import present

if TYPE_CHECKING:
    from valor_ray.config.service import ImageConfig
    from valor_ray.config.tree import Config

Fetch = Callable[[str, "ImageConfig"], Awaitable[bytes]]  # the bytes behind a URL; raises ImageError


class PhrasesOf(Protocol):
    """What finds the phrases of a program: a sandbox of this process, or the node's.

    Called by `write_program`, once for each well-formed reply; waits for the program, at most its limits.
    """

    async def __call__(self, code: str) -> ProgramPhrases:
        """Raises ProgramError when the sandbox itself does not work."""
        ...


@dataclass(frozen=True)
class ProgramRecord:
    """A query with the program that was sampled for it: a line of phrases.jsonl."""

    query_id: str
    image: str  # path or URL
    question: str
    reply: str  # the policy's text as it came
    status: (
        str  # of ProgramPhrases; "malformed" when the reply has no program, "refused" when a writer declined
    )
    phrases: tuple[str, ...]
    unresolved: tuple[int, ...]  # lines of the program
    policy_version: str
    cost_usd: float = 0.0  # of a writer behind an endpoint (`Reply.cost_usd`)

    def to_record(self) -> dict[str, Any]:
        """The JSON object that is kept of it."""
        return asdict(self)


async def write_program(query: Query, policy: Policy, phrases_of: PhrasesOf, seed: int) -> ProgramRecord:
    """Sample one program and find what it asks the detector for.

    seed: of the run; each query has its own of it, so that neither order nor resuming changes a reply.
    Raises QuestionError (this query is no question), PolicyError, ProgramError, ServiceError.
    """
    own = hashlib.sha256(f"{seed}\0{query.query_id}".encode()).digest()
    replies = await policy.generate(query.question, n=1, seed=int.from_bytes(own[:4], "big") >> 1)
    reply = replies[0]
    parsed = parse_reply(reply.text)
    asked = ProgramPhrases((), (), status_without_program(reply))
    if parsed.well_formed:
        asked = await phrases_of(parsed.code)
    return ProgramRecord(
        query.query_id,
        query.image,
        query.question,
        reply.text,
        asked.status,
        asked.phrases,
        asked.unresolved,
        reply.policy_version,
        reply.cost_usd,
    )


@dataclass(frozen=True)
class MineTask:
    """A picture and what to look for in it, as it travels to a worker."""

    image: str  # path or URL, as the first of its queries names it
    query_ids: tuple[str, ...]
    phrases: tuple[str, ...]  # not yet mined in it, one spelling each
    starts: int = 0  # of this run before, that left boxes of it without a verdict


async def mine_image(
    task: MineTask, detector: Detector, judge: Judge, config: Config, fetch: Fetch | None = None
) -> MinedImage:
    """Detect all phrases of a picture together at the low threshold, check every box, and ask of the phrases that no
    box stands for whether they name something there.

    Called by the workers, some pictures at a time; waits for the detector, then for the verifier as long as
    `vlm.patience_s`. fetch: how URLs are read; None: not at all.
    Raises ImageError (the picture cannot be had), ToolError (the detector failed on it), JudgeError (every call must
    fail), ServiceError.
    """
    start = time.monotonic()
    picture = await load_picture(task.image, config.images, fetch)
    threshold = config.grounding.box_threshold
    proposed = await detector.detect(picture, task.phrases, box_threshold=threshold)
    candidates = sorted(map(_rounded, proposed), key=lambda one: (-one.score, one.label, one.bbox))
    checked = await check_boxes(judge, picture, candidates, config.grounding, config.vlm, task.starts)
    unplaced = without_box(task.phrases, checked.boxes) if config.grounding.presence else ()
    asked = await check_presence(judge, picture, unplaced, config.grounding, config.vlm, task.starts)
    also = asked.account
    return MinedImage(
        image=task.image,
        key=picture.key,
        width=picture.width,
        height=picture.height,
        query_ids=task.query_ids,
        phrases=task.phrases,
        boxes=checked.boxes,
        detector=version_of(proposed) or config.detector.model,
        calls=checked.calls + also.calls,
        cache_hits=checked.cache_hits + also.cache_hits,
        prompt_tokens=checked.prompt_tokens + also.prompt_tokens,
        completion_tokens=checked.completion_tokens + also.completion_tokens,
        cost_usd=checked.cost_usd + also.cost_usd,
        seconds=round(time.monotonic() - start, 3),
        slips=dict(also.slips + Counter(checked.slips)),
        presence=dict(asked.verdicts),
    )


def _rounded(one: Detection) -> Detection:
    """To 0.1 px and three digits: the last bits depend on which pictures have shared a forward pass."""
    x1, y1, x2, y2 = (round(side, 1) for side in one.bbox)
    return Detection((x1, y1, x2, y2), one.label, round(one.score, 3))


async def load_picture(image: str, limits: ImageConfig, fetch: Fetch | None = None) -> Picture:
    """The upright picture of a query's `image`: a file of this machine, a data URI, or a URL of an allowed scheme.

    Raises ImageError.
    """
    if image.startswith("data:"):
        return await images.decode_soon(await asyncio.to_thread(images.bytes_of, image, limits), limits)
    if (path := local_picture(image)) is not None:
        return await asyncio.to_thread(lambda: images.load(present(path), limits))
    scheme = image.partition("://")[0].lower()
    if fetch is None or scheme not in limits.url_schemes:
        allow = " Or allow it: --set images.url_schemes=[https,http]." if scheme in ("http", "https") else ""
        raise ImageError(
            f"Pictures are not fetched from {scheme}:// here. Download it and name the file.{allow}"
        )
    return await images.decode_soon(await fetch(image, limits), limits)
