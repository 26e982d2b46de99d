"""What a program asks the detector for: from its syntax tree, and from running it in placeholder worlds.

The tree finds what is never run too (other branches); running finds what the tree cannot tell (a method's text, a
formatted number). What only running finds is believed when two families of worlds agree on it: these differ in counts,
places, distances and every VQA answer, so that a phrase made of a placeholder's answer ("wooden table ball") stays out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from valor_ray.answer import ProgramRunner
from valor_ray.models.grounding_dino.phrases import normal_form
from valor_ray.program.inside.placeholders import PlaceholderTools, World
from valor_ray.program.phrases import detection_phrases
from valor_ray.records import ProgramResult, ProgramStatus
from valor_ray.tools import split_phrases

Family = tuple[
    tuple[int, int], tuple[World, ...]
]  # size of the picture that they pretend to see, px; the worlds


def _worlds(turn: int, boxes: Sequence[tuple[int, ...]], nearest_m: float) -> tuple[World, ...]:
    return tuple(World("mining", counts, turn, nearest_m) for counts in boxes)


# Several of everything, nothing, only the first thing, only later things.
_FIRST: Family = ((640, 480), _worlds(0, ((3, 2), (0,), (2, 0), (0, 2)), 1.5))
_SECOND: Family = ((1000, 700), _worlds(1, ((5, 4), (0,), (4, 0), (0, 4)), 2.7))
MOST_PHRASES = 100  # of a program; a question needs a handful, and each costs a share of a forward pass
_ENDED = (ProgramStatus.TIMEOUT, ProgramStatus.KILLED, ProgramStatus.REJECTED)  # the same in every world


@dataclass(frozen=True)
class ProgramPhrases:
    """What one program asks for."""

    phrases: tuple[str, ...]  # in the order of the calls, one spelling each
    unresolved: tuple[int, ...]  # lines whose calls ask for something that the tree does not tell
    status: str  # ProgramStatus: ok, or how it ended in the first world that it did not survive


async def program_phrases(code: str, sandbox: ProgramRunner) -> ProgramPhrases:
    """Called once for each program; waits for a free process of the sandbox and for the program, up to eight runs.

    Raises ProgramError when the sandbox itself does not work.
    """
    told = detection_phrases(code)
    status, asked = await _asked(code, sandbox, _FIRST)
    known = {normal_form(phrase) for phrase in told.phrases}
    more = [phrase for phrase in asked if normal_form(phrase) not in known]
    if more:
        again = {normal_form(phrase) for phrase in (await _asked(code, sandbox, _SECOND))[1]}
        more = [phrase for phrase in more if normal_form(phrase) in again]
    asks = merged([*told.phrases, *more])[:MOST_PHRASES]
    return ProgramPhrases(asks, told.unresolved, status.value)


async def _asked(code: str, sandbox: ProgramRunner, family: Family) -> tuple[ProgramStatus, tuple[str, ...]]:
    """How the program ends, and all that it asks for in the worlds of a family, also before it fails."""
    size, worlds = family
    ended, prompts = ProgramStatus.OK, []
    for world in worlds:
        result = await sandbox.run(code, PlaceholderTools(size, world), size)
        prompts += _prompts(result)
        ended = result.status if ended is ProgramStatus.OK else ended
        if result.status in _ENDED:
            break
    return ended, split_phrases("\n".join(prompts))


def _prompts(result: ProgramResult) -> list[str]:
    calls = (call for call in result.calls if call.tool == "gd_detect" and call.error is None)
    return [call.args["prompt"] for call in calls]


def merged(phrases: Iterable[str]) -> tuple[str, ...]:
    """One spelling, the first, of phrases that the detector takes for the same; what has no words is left out."""
    first: dict[str, str] = {}
    for phrase in phrases:
        if not any(
            "\ud800" <= char <= "\udfff" for char in phrase
        ):  # half a character, which no file can hold
            first.setdefault(normal_form(phrase), phrase)
    first.pop("", None)
    return tuple(first.values())
