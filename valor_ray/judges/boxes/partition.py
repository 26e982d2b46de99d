"""The verifier's answers read strictly: every index once and no other, each label that of its box; or what was wrong.

A verdict counts only where the answer leaves no doubt which box it is about. Labels are echoed for this: where they fit
the neighbouring boxes at least as well as their own, the verifier may have counted from another number, and nothing of
the answer is believed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valor_ray.judges.boxes.geometry import Group, phrase_key
from valor_ray.judges.boxes.requests import PRESENT, VERDICTS, clean

ECHO = 60  # characters of a long label that its echo must hold
# What may be wrong with an answer -> how it is put to the verifier; {} are numbers, {one} and {all} what is numbered.
SLIPS: Mapping[str, str] = {
    "omitted": "It left out {one} {}.",
    "repeated": "It answered more than once about {one} {}.",
    "invented": "It spoke of numbers that no {one} has: {}.",
    "zero_based": "It did not number the {all} as the list does: the first is 1, not 0; each has its own label.",
    "wrong_label": "It gave another label than the listed one for {one} {}.",
    "wrong_best": "It named a best box that is not among the boxes of its entry, for box {}.",
    "malformed": "It was not of the form that was asked for.",
    "refuted": "It put boxes together that lie apart.",  # counted, never asked again: geometry.believable decides
}
SHIFT_SLIPS = ("zero_based", "wrong_label")  # that tell of a verifier which numbers boxes in another way

Said = tuple[str, str]  # of requests.VERDICTS or requests.PRESENT, reason


@dataclass(frozen=True)
class ListedReading:
    verdicts: Mapping[int, Said]  # of the indices (1-based) whose verdict counts
    slips: Mapping[str, tuple[int, ...]]  # of SLIPS -> the indices that it concerns; () = all


@dataclass(frozen=True)
class DuplicatesReading:
    groups: tuple[Group, ...]  # of the clusters whose partition counts; indices 1-based
    doubtful: tuple[int, ...]  # the indices of all other clusters
    slips: Mapping[str, tuple[int, ...]]


def read_coarse(content: Mapping[str, Any], labels: Sequence[str]) -> ListedReading:
    """A reply to `coarse_request` about boxes of these labels. Raises nothing, whatever was said."""
    return _read_listed(content, "boxes", labels, VERDICTS)


def read_presence(content: Mapping[str, Any], phrases: Sequence[str]) -> ListedReading:
    """A reply to `presence_request` about these phrases. Raises nothing, whatever was said."""
    return _read_listed(content, "phrases", phrases, PRESENT)


def _read_listed(
    content: Mapping[str, Any], name: str, labels: Sequence[str], verdicts: Sequence[str]
) -> ListedReading:
    """Verdicts count for indices that are there once, with the right label; for none when there is a number that
    nothing has, or when the echoed labels cannot rule out that numbers are shifted by one."""
    said = _entries(content, name)
    if said is None or not all(_is_verdict(entry, verdicts) for entry in said):
        return ListedReading({}, {"malformed": ()})
    numbers = [_number(entry["index"]) for entry in said]
    slips = _count(numbers, len(labels))
    echoes = [(number, str(entry["label"])) for number, entry in zip(numbers, said, strict=True)]
    wrong = [
        number
        for number, echo in echoes
        if 1 <= number <= len(labels) and not _echoes(echo, labels[number - 1])
    ]
    if wrong:
        slips["wrong_label"] = tuple(sorted(set(wrong)))
    right, shifted = _fit(echoes, labels, 0), max(_fit(echoes, labels, shift) for shift in (-1, 1))
    if shifted > right:
        slips.pop("wrong_label", None)
        slips["zero_based"] = ()
    if "zero_based" in slips or "invented" in slips or (slips and shifted >= right):
        return ListedReading({}, slips)
    once = {number for number, times in Counter(numbers).items() if times == 1} - set(wrong)
    counted = {
        number: (entry["verdict"], str(entry["reason"]))
        for number, entry in zip(numbers, said, strict=True)
        if number in once and 1 <= number <= len(labels)
    }
    return ListedReading(counted, slips)


def read_duplicates(content: Mapping[str, Any], clusters: Sequence[Sequence[int]]) -> DuplicatesReading:
    """A reply to `duplicates_request` about boxes of these clusters (1-based indices). Raises nothing.

    A cluster counts as a whole or not at all; none counts when there is a number that no box has. What an object
    holds of several clusters is taken apart (slip "refuted"): they are of other phrases, or do not touch.
    """
    everyone = tuple(index for cluster in clusters for index in cluster)
    said = _entries(content, "objects")
    if said is None or not all(_is_object(entry) for entry in said):
        return DuplicatesReading((), everyone, {"malformed": ()})
    members = [[_number(index) for index in entry["indices"]] for entry in said]
    slips = _count([number for entry in members for number in entry], len(everyone))
    if "zero_based" in slips or "invented" in slips:
        return DuplicatesReading((), everyone, slips)
    doubtful = set(slips.get("omitted", ())) | set(slips.get("repeated", ()))
    bests = [_number(entry["best"]) for entry in said]
    misplaced = {
        n for numbers, best in zip(members, bests, strict=True) if best not in numbers for n in numbers
    }
    if misplaced:
        slips["wrong_best"] = tuple(sorted(misplaced))
    doubtful |= misplaced
    groups, across = [], set()
    for cluster in clusters:
        if doubtful.isdisjoint(cluster):
            parts, joined = _within(cluster, members, bests, [str(entry["reason"]) for entry in said])
            groups += parts
            across |= joined
    if across:
        slips["refuted"] = tuple(sorted(across))
    left = [cluster for cluster in clusters if not doubtful.isdisjoint(cluster)]
    return DuplicatesReading(tuple(groups), tuple(index for cluster in left for index in cluster), slips)


def correction(
    slips: Mapping[str, Iterable[int]],
    numbers: Mapping[int, int],
    asking: int,
    one: str = "box",
    several: str = "boxes",
) -> str:
    """What is said to a verifier that is asked again: what was wrong, by the numbers that the boxes have now.

    numbers: earlier -> now. asking: which asking of this start of the run it is; it makes the request a new one.
    one, several: what is numbered.
    """
    lines = []
    for slip, indices in slips.items():
        now = sorted(numbers.get(index, index) for index in indices if index in numbers or slip == "invented")
        if slip != "refuted" and (now or not indices):
            lines.append(SLIPS[slip].format(", ".join(map(str, now)), one=one, all=several))
    told = " ".join(lines) or "It left doubts."
    return (
        f"You were asked about these {several} before, and that answer could not be used. {told} "
        f"Answer anew, by the numbers that the {several} have here. (Asking {asking}.)"
    )


def _within(
    cluster: Sequence[int], members: Sequence[Sequence[int]], bests: Sequence[int], reasons: Sequence[str]
) -> tuple[list[Group], set[int]]:
    """The objects as far as they lie in the cluster, and its indices in objects that reach beyond it."""
    groups, across = [], set()
    for numbers, best, reason in zip(members, bests, reasons, strict=True):
        own = tuple(number for number in numbers if number in set(cluster))
        if own:
            groups.append(Group(own, best if best in own else min(own), reason, best not in own))
            across |= set(own) if len(own) < len(numbers) else set()
    return groups, across


def _count(numbers: Sequence[int], n: int) -> dict[str, tuple[int, ...]]:
    """How these numbers fail to be 1 to n, each once."""
    given, wanted = set(numbers), set(range(1, n + 1))
    if 0 in given and n not in given and given <= set(range(n)):
        return {"zero_based": ()}
    times = Counter(numbers)
    slips = {
        "omitted": tuple(sorted(wanted - given)),
        "repeated": tuple(sorted(number for number in given & wanted if times[number] > 1)),
        "invented": tuple(sorted(given - wanted)),
    }
    return {slip: indices for slip, indices in slips.items() if indices}


def _fit(echoes: Sequence[tuple[int, str]], labels: Sequence[str], shift: int) -> int:
    """How many echoed labels are those of the boxes `shift` further on in the list."""
    return sum(
        1 <= number + shift <= len(labels) and _echoes(echo, labels[number + shift - 1])
        for number, echo in echoes
    )


def _echoes(echo: str, label: str) -> bool:
    """Whether it is the label, or enough of the beginning of a long one. Case, spaces and signs around do not count."""
    given, wanted = _bare(echo), _bare(clean(label))
    return given == wanted or (len(given) >= ECHO - 5 and wanted.startswith(given))


def _bare(label: str) -> str:
    key = phrase_key(label)
    return key.strip(" .,;:'\"“”‘’…`") or key


def _entries(content: Mapping[str, Any], name: str) -> list[Mapping[str, Any]] | None:
    entries = content.get(name)
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        return None
    return entries


def _is_verdict(entry: Mapping[str, Any], verdicts: Sequence[str]) -> bool:
    return (
        _is_number(entry.get("index"))
        and "label" in entry
        and "reason" in entry
        and entry.get("verdict") in verdicts
    )


def _is_object(entry: Mapping[str, Any]) -> bool:
    indices = entry.get("indices")
    return (
        isinstance(indices, list)
        and bool(indices)
        and all(map(_is_number, indices))
        and _is_number(entry.get("best"))
        and "reason" in entry
    )


def _is_number(value: Any) -> bool:
    """A whole number; JSON schema's "integer" lets 2.0 pass, too."""
    return not isinstance(value, bool) and (
        isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    )


def _number(value: Any) -> int:
    return int(value)
