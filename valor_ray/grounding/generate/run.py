"""The pictures of a mining run, shown to a VLM that proposes boxes itself: a record a picture, none asked for twice.

Files of the job's folder: calibration.json (the convention, frozen), proposals.jsonl (a record a picture),
missing.jsonl (pictures without an answer, and why, of the last start), vlm_cache/ (every answer).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray import images
from valor_ray.errors import ConfigError, ImageError
from valor_ray.judges.boxes.proposals import (
    Asked,
    Convention,
    Proposals,
    ProposedBox,
    proposal_request,
    read_proposals,
)
from valor_ray.ports import Judge
from valor_ray.records import CheckedBox, Picture, Usage
from valor_ray.runs.at_once import each
from valor_ray.runs.progress import Pace
from valor_ray.runs.record_file import RecordFile, cut_torn_line, read_records

if TYPE_CHECKING:
    from valor_ray.config.judging import JudgeConfig
    from valor_ray.config.service import ImageConfig
    from valor_ray.judges.boxes.pictures import Format

PROPOSALS, MISSING = "proposals.jsonl", "missing.jsonl"
_IN_WORK = 64  # pictures at a time
_DECODING = 2  # pictures decoded and encoded at a time: each may have a hundred megapixels
_SAY_EVERY_S = 5.0
_NO_LIST = "The VLM's answer is no list of boxes."


@dataclass(frozen=True)
class MinedPicture:
    """A picture of the mining run: what is asked about it, and what the verifier kept."""

    image: str  # as the run's records name it
    path: Path | None  # where its file lies; None: nowhere here
    key: str  # Picture.key at the time of mining
    phrases: tuple[str, ...]
    kept: tuple[CheckedBox, ...]  # of the run, best score first


@dataclass(frozen=True)
class Proposed:
    """What the VLM proposed in one picture: a line of proposals.jsonl."""

    key: str
    image: str
    phrases: tuple[str, ...]  # that it was asked for
    boxes: tuple[ProposedBox, ...]
    slips: Mapping[str, int]  # Slip -> how often
    calls: int = 0  # HTTP requests
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0

    def to_record(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Proposed:
        """Raises KeyError or TypeError when it is no such record."""
        boxes = tuple(ProposedBox(box["label"], tuple(box["bbox"])) for box in record["boxes"])
        return cls(**{**record, "phrases": tuple(record["phrases"]), "boxes": boxes})


@dataclass
class Proposing:
    """A run over pictures. `jobs.propose_boxes` makes one and calls `run`, holding the folder's lock."""

    folder: Path
    convention: Convention
    say: Callable[[str], None]
    judge: Judge
    vlm: JudgeConfig  # of the judge: how pictures are sent
    limits: ImageConfig
    form: Format = "jpeg"

    async def run(self, pictures: Sequence[MinedPicture]) -> tuple[dict[str, Proposed], dict[str, str]]:
        """Ask about each picture that has no record with its phrases yet.

        Returns the records of these pictures by key, and image -> why it has none. A picture that cannot be read, or
        whose answer is missing, is a row of missing.jsonl; the next start asks again. Waits for the judge, _IN_WORK
        pictures at a time. Raises JudgeError when every call must fail, ConfigError, StorageError.
        """
        proposed = _recorded(self.folder / PROPOSALS)
        todo = [one for one in pictures if not _has(proposed, one)]
        missing: dict[str, str] = {}
        pace = Pace(len(todo))
        pace.count(0)
        decoding = asyncio.Semaphore(_DECODING)
        records = RecordFile(self.folder / PROPOSALS, keep=True)
        rows = RecordFile(self.folder / MISSING, keep=False)

        async def work(mined: MinedPicture) -> None:
            answer = await self._propose(mined, decoding)
            if isinstance(answer, Proposed):
                records.append(answer.to_record())
                proposed[mined.key] = answer
            else:
                rows.append({"image": mined.image, "key": mined.key, "error": answer})
                missing[mined.image] = answer
            pace.count()
            if pace.due(_SAY_EVERY_S):
                self.say(pace.line("pictures"))

        try:
            await each(todo, work, _IN_WORK)
        finally:
            records.close()
            rows.close()
        return {one.key: proposed[one.key] for one in pictures if _has(proposed, one)}, missing

    async def _propose(self, mined: MinedPicture, decoding: asyncio.Semaphore) -> Proposed | str:
        """What the VLM proposes, or why there is nothing."""
        try:
            async with decoding:
                asked = await asyncio.to_thread(self._asked, mined)
        except ImageError as error:
            return str(error)
        reply = (await self.judge.ask([asked.request]))[0]
        if reply.content is None:
            return reply.missing
        proposals = read_proposals(reply.content, asked)
        return _NO_LIST if proposals is None else _record(mined, proposals, reply.usage)

    def _asked(self, mined: MinedPicture) -> Asked:
        return proposal_request(load(mined, self.limits), mined.phrases, self.convention, self.vlm, self.form)


def _has(proposed: Mapping[str, Proposed], picture: MinedPicture) -> bool:
    before = proposed.get(picture.key)
    return before is not None and before.phrases == picture.phrases


def load(mined: MinedPicture, limits: ImageConfig) -> Picture:
    """The picture as it was mined. Raises ImageError, also when its pixels have changed since."""
    if mined.path is None:
        raise ImageError(f"{mined.image} is not a file here. Propose boxes where the run's pictures are.")
    picture = images.load(mined.path, limits)
    if picture.key != mined.key:
        raise ImageError(f"{mined.path} has changed since it was mined. Restore it, or mine it again.")
    return picture


def _record(mined: MinedPicture, proposals: Proposals, usage: Usage) -> Proposed:
    return Proposed(
        key=mined.key,
        image=mined.image,
        phrases=mined.phrases,
        boxes=proposals.boxes,
        slips={slip.value: count for slip, count in proposals.slips.items()},
        calls=usage.tries,
        cache_hits=int(usage.cached),
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cost_usd=usage.cost_usd,
    )


def _recorded(path: Path) -> dict[str, Proposed]:
    """Whole records by key, the latest of each; a line that a kill has torn is cut off. Raises ConfigError."""
    cut_torn_line(path)
    proposed = {}
    for number, record in enumerate(read_records(path), start=1):
        try:
            one = Proposed.from_record(record)
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"{path} line {number} is not a record of proposals ({error!r}). Give another --out."
            ) from error
        proposed[one.key] = one
    return proposed
