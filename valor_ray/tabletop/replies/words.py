"""The words of plans: each step in several ways. Ways of right and flawed steps match one by one."""

from __future__ import annotations

from valor_ray.tabletop.questions import Blueprint, plural
from valor_ray.tabletop.replies.intent import Intent, Pick

VERBS = ("Detect", "Find", "Locate", "Look for")
_EVERY = ("count", "existence", "nested")
_SMALLER = (
    "closer", "left", "above", "in front of", "leftmost", "closest", "shorter", "fewer",
)  # fmt: skip

_STEPS: dict[str, tuple[str, ...]] = {
    "empty": (
        "If nothing is found, answer {fallback}.",
        "If a box is missing, answer {fallback}.",
        "Answer {fallback} if there is no box.",
    ),
    "count": (
        "Count the boxes; no box gives 0.",
        "The answer is the number of boxes, 0 without any.",
        "Return how many boxes there are; none gives 0.",
    ),
    "existence": (
        "Answer yes if there is a box, and no if there is none.",
        "The answer is yes if anything is detected, else no.",
        "Return yes when a box is found and no otherwise.",
    ),
    "ask": (
        "Ask for the {target} of its box.",
        "Look at its box and ask what {target} it is.",
        "Use VQA on its box to get the {target}.",
    ),
    "depths": (
        "Get the depth of both boxes.",
        "Measure the depth of each.",
        "Measure how far both are from the camera.",
    ),
    "closer": (
        "Answer with the one of {smaller} depth.",
        "The answer is the one whose depth is {smaller}.",
        "Return the name of the one with the {smaller} depth.",
    ),
    "order": (
        "Answer yes if that of the {a} is {smaller}.",
        "The answer is yes if the {a} has the {smaller} depth, else no.",
        "Return yes when the depth of the {a} is {smaller}, no otherwise.",
    ),
    "deep": (
        "Compute each height in 3D as pixels times depth.",
        "Measure each height as box pixels times depth.",
        "Take each 3D height: height of the box times depth.",
    ),
    "flat": (
        "Compute each height as the pixels of its box.",
        "Measure each height in the pixels of its box.",
        "Take each height from its box in pixels.",
    ),
    "height": (
        "Scale the height of the {b} by the given {number} cm.",
        "The answer is {number} cm times the height of the {b} over that of the {a}.",
        "Return {number} times the height of the {b} divided by that of the {a}.",
    ),
    "ratio": (
        "Divide the height of the {a} by that of the {b}.",
        "The answer is the height of the {a} over that of the {b}.",
        "Return the height of the {a} divided by that of the {b}.",
    ),
    "choice": (
        "Answer with the {relation} one.",
        "The answer is the {relation} of the two.",
        "Return the name of the {relation} object.",
    ),
    "centres": (
        "Compare the {axis} of their centres.",
        "Take the {axis} of both centres.",
        "Compute the centre {axis} of each box.",
    ),
    "side": (
        "Answer yes if that of the {a} is {smaller}.",
        "The answer is yes if the {a} has the {smaller} {axis}, else no.",
        "Return yes when the {axis} of the {a} is {smaller}, no otherwise.",
    ),
    "nested": (
        "Take the one of {extreme}.",
        "Pick the box with the {extreme}.",
        "Keep only the one that has the {extreme}.",
    ),
    "count_side": (
        "Count the boxes whose x is {smaller} than that of the {b}.",
        "The answer is the number of {as_} whose centre has a {smaller} x than the {b}.",
        "Return how many {as_} have a {smaller} centre x than the {b}.",
    ),
    "numbers": (
        "Count both; no box gives 0.",
        "Get the number of each.",
        "Count the boxes of each kind.",
    ),
    "more": (
        "Answer yes if there are {relation} of the first.",
        "The answer is yes if there are {relation} {as_} than {bs_}, else no.",
        "Return yes when the first number is {smaller}, no otherwise.",
    ),
    "asked": ("Ask about the whole picture.",),
    "guessed": ("The answer is easy to guess.",),
}  # fmt: skip
_ORDER: dict[str, tuple[str, ...]] = {
    "count": ("count",),
    "existence": ("existence",),
    "attribute": ("ask",),
    "closer": ("depths", "closer"),
    "height": ("MEASURE", "height"),
    "ratio": ("MEASURE", "ratio"),
    "choice": ("MEASURE", "choice"),
    "side": ("centres", "side"),
    "order": ("depths", "order"),
    "nested": ("nested", "ask"),
    "count_side": ("count_side",),
    "more": ("numbers", "more"),
}
NEVER_EMPTY = ("count", "existence", "more")  # nothing detected is an answer there


def fallback(family: str) -> str:
    """What is answered when something is not detected."""
    by = {"height": "0", "ratio": "0", "count_side": "0", "side": "no", "order": "no"}
    return by.get(family, "unknown")


def plan(it: Intent, pick: Pick) -> str:
    """The numbered steps."""
    if it.instead:
        return f"1. {_STEPS[it.instead][0]}"
    blanks = _blanks(it)
    keys = [it.plan_measure if key == "MEASURE" else key for key in _ORDER[it.family]]
    if it.guarded and it.family not in NEVER_EMPTY:
        keys = ["empty", *keys]
    steps = [_first(it, pick), *(pick(_STEPS[key]).format(**blanks) for key in keys)]
    return "\n".join(f"{index}. {step}" for index, step in enumerate(steps, 1))


def _first(it: Intent, pick: Pick) -> str:
    b, verb = it.plan, VERBS[pick.verb]
    if it.family in ("count_side", "more"):
        return f"{verb} every {b.a} and {'every' if it.family == 'more' else 'the'} {b.b}."
    if it.family in _EVERY:
        return f"{verb} every {b.a}."
    return f"{verb} the {b.a}." if not b.b else f"{verb} the {b.a} and the {b.b}."


def _blanks(it: Intent) -> dict[str, object]:
    b: Blueprint = it.plan
    small = b.relation in _SMALLER
    by_depth = b.relation in ("closest", "farthest")
    simple = it.family in ("count_side", "more")
    return {
        "a": b.a,
        "b": b.b,
        "as_": plural(b.a) if simple else "",
        "bs_": plural(b.b) if simple else "",
        "axis": "y" if b.relation in ("above", "below") else "x",
        "relation": b.relation,
        "target": b.target,
        "number": b.number,
        "smaller": "smaller" if small else "larger",
        "extreme": f"{'smallest' if small else 'largest'} {'depth' if by_depth else 'x'}",
        "fallback": fallback(it.family),
    }
