"""Which weights are published, which replicas live, and what each of them carries. Pure: time is passed in.

Who is who, from the learner to the replicas:
- `WeightChannel.publish` (runs/weight_channel.py) is the verb: the learner calls it, and goes on when all carry them;
- `Publication` is the record of one such call, as the replicas get it;
- `Publications` is the state: the current publication, who lives, who carries what;
- `PublicationsActor` (deployments/actors/publications.py) keeps that state where all processes of a run can ask it;
- `Carried` is a replica's answer to a publication, `Published` (runs/weight_channel.py) all answers, for the learner.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from valor_ray.errors import PolicyError

Checksums = dict[str, str]  # name of a tensor -> of its bytes, as models.vllm.transfer.checksums writes it
Sequences = tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]  # (prompt, completion) token ids

_NAME = re.compile(r"step-(\d{6,})")
NOTHING = 0  # number of a publication that is none: a replica with the weights that its settings name


def version_name(step: int) -> str:
    """Name of the weights after `step` updates; step-000000 are those that training started from."""
    return f"step-{step:06d}"


def version_step(name: str) -> int:
    """The inverse of `version_name`. Raises PolicyError for weights that no training run has published."""
    if (match := _NAME.fullmatch(name)) is None:
        raise PolicyError(
            f"{name!r} is not a version that a training run published (step-000012): its age is unknown. Publish the "
            "start weights before sampling."
        )
    return int(match[1])


@dataclass(frozen=True)
class Transfer:
    """Weights that come from the learner's first process straight into the running engines of a group of replicas."""

    group: str  # another one where the members are others
    members: tuple[str, ...]  # replicas, in the order of their ranks
    init: str  # JSON: what vLLM's transfer engine is initialised with, the rank of the first member in it
    update: str  # JSON: names, dtype_names and shapes of what comes


@dataclass(frozen=True)
class Publication:
    """Weights that all replicas should carry."""

    number: int  # counts publications, so that a version that is published again is loaded again
    version: str
    folder: str  # Hugging Face format, absolute; "": they come by `transfer`
    probe: Sequences = ()  # each replica scores these as soon as it carries the weights
    transfer: Transfer | None = None  # to its members alone: others keep to the last publication in a folder


@dataclass(frozen=True)
class Carried:
    """A replica's answer to a publication."""

    replica: str
    version: str
    logprobs: list[list[float]] = field(
        default_factory=list
    )  # of the probe's completion tokens, in its order
    received: list[Checksums] = field(default_factory=list)  # by each worker of its engine, of a transfer


class Publications:
    """The current publication, and which live replicas carry it; while there is none, all carry what is current.

    A replica that has not called for `gone_after_s` seconds is gone, and nobody waits for it.
    """

    def __init__(self, gone_after_s: float, current: Publication | None = None) -> None:
        self.gone_after_s = gone_after_s
        self.current = current
        self.snapshot = current  # the last publication in a folder
        self._before: tuple[Publication | None, Publication | None] = (None, None)  # of the two
        self._called: dict[str, float] = {}  # replica -> when it last called, seconds
        self._number: dict[str, int] = {}  # replica -> number of the publication that it carries, or NOTHING
        self._answers: dict[str, Carried] = {}  # to the current publication
        self._refused: dict[int, str] = {}  # number of a publication -> who refused it, and why
        self.withdrawn: tuple[str, str] | None = (
            None  # version and reason, until something is current after it
        )

    def publish(
        self, version: str, folder: str, probe: Sequences = (), transfer: Transfer | None = None
    ) -> Publication:
        new = Publication(self._free_number(), version, folder, probe, transfer)
        self._replace(new)
        return new

    def adopt(self, published: Publication | None) -> None:
        """Make current what another process has published, under its number unless that is taken; None: what was
        current is withdrawn."""
        free = self._free_number()
        if published is not None and published.number < free:
            published = replace(published, number=free)
        self._replace(published)

    def _free_number(self) -> int:
        known = (self._current_number(), *self._number.values(), *self._refused)
        return max(known) + 1

    def _replace(self, new: Publication | None) -> None:
        self._before, self.current = (self.current, self.snapshot), new
        if new is None or new.transfer is None:
            self.snapshot = new
        self._answers, self.withdrawn = {}, None

    def called(self, replica: str, number: int, now: float) -> None:
        """The replica lives and carries publication `number`."""
        self._called[replica], self._number[replica] = now, number

    def carried(self, number: int, answer: Carried, now: float) -> None:
        """The replica has loaded publication `number`."""
        self.called(answer.replica, number, now)
        if self._is_current(number):
            self._answers[answer.replica] = answer

    def refused(self, replica: str, number: int, reason: str) -> None:
        """The weights of publication `number` do not fit: the one before is current again, for all replicas."""
        if self.current is not None and self._is_current(number):
            self._refused[number] = f"{replica}: {reason}"
            self.withdrawn = self.current.version, self._refused[number]
            (self.current, self.snapshot), self._before = self._before, (None, None)
            self._answers = {}

    def withdraw(self, replica: str, version: str, reason: str) -> None:
        """Who published `version` has found that `replica` carries something else: all go back to the last folder, as
        nobody sends again what was sent before. Nothing, where it is no longer current."""
        if self.current is not None and self.current.version == version:
            self.refused(replica, self.current.number, reason)
            self.current = self.snapshot

    def refusal(self, number: int) -> str | None:
        return self._refused.get(number)

    def newer(self, number: int, replica: str = "") -> Publication | None:
        """What a replica that carries publication `number` has to load, if anything; one of number NOTHING: what its
        settings name, as all that was published is withdrawn."""
        meant = self._meant_for(replica)
        return None if _number(meant) == number else meant or Publication(NOTHING, "", "")

    def _meant_for(self, replica: str) -> Publication | None:
        current = self.current
        if current is None or current.transfer is None or replica in current.transfer.members:
            return current
        return self.snapshot

    def _is_current(self, number: int) -> bool:
        return self._current_number() == number

    def _current_number(self) -> int:
        return _number(self.current)

    def live(self, now: float) -> list[str]:
        return sorted(
            replica for replica, called in self._called.items() if now - called <= self.gone_after_s
        )

    def behind(self, now: float) -> list[str]:
        """Live replicas that do not carry what is meant for them."""
        return [
            replica
            for replica in self.live(now)
            if self._number[replica] != _number(self._meant_for(replica))
        ]

    def complete(self, now: float) -> bool:
        """Whether there are live replicas that the current publication is meant for, and none is behind."""
        live = self.live(now)
        return any(self._meant_for(replica) is self.current for replica in live) and not self.behind(now)

    def answers(self, now: float) -> list[Carried]:
        """Of the live replicas that carry the current publication."""
        return [self._answers[replica] for replica in self.live(now) if replica in self._answers]


def _number(publication: Publication | None) -> int:
    return NOTHING if publication is None else publication.number


def publication_record(publication: Publication) -> dict[str, Any]:
    """For the run folder (JSON), of one in a folder."""
    return {
        "number": publication.number,
        "version": publication.version,
        "folder": publication.folder,
        "probe": [[list(prompt), list(tokens)] for prompt, tokens in publication.probe],
    }


def publication_from(record: Mapping[str, Any]) -> Publication:
    """The inverse of `publication_record`. Raises KeyError, TypeError, ValueError for another record."""
    probe = tuple((tuple(prompt), tuple(tokens)) for prompt, tokens in record["probe"])
    return Publication(record["number"], record["version"], record["folder"], probe)
