"""Flaws as changes of an intent: any style writes them down, and two may meet in one reply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from valor_ray.tabletop.questions import FAMILIES, Blueprint, where
from valor_ray.tabletop.replies.intent import BY_DEPTH, PAIRS, SIZED, Intent
from valor_ray.tabletop.replies.words import NEVER_EMPTY
from valor_ray.tabletop.scenes import COLOURS, SHAPES

Change = Callable[[Intent], Intent]  # gives the same intent back where it does not apply

OPPOSITE = {
    "closer": "farther", "farther": "closer", "left": "right", "right": "left", "above": "below", "below": "above",
    "in front of": "behind", "behind": "in front of", "leftmost": "rightmost", "rightmost": "leftmost",
    "closest": "farthest", "farthest": "closest", "taller": "shorter", "shorter": "taller",
    "more": "fewer", "fewer": "more",
}  # fmt: skip


@dataclass(frozen=True)
class Flaw:
    families: tuple[str, ...]  # to whose replies it applies
    change: Change
    doc: str
    styles: tuple[str, ...] = ()  # in which it can be written; empty: in all


def looser(phrase: str) -> str:
    """red box → box; box and red object → object"""
    return phrase.split()[-1] if " " in phrase else "object"


def constant(it: Intent) -> str:
    """Source of an answer that nobody has looked for."""
    by = {
        "count": "2",
        "count_side": "1",
        "height": str(it.number),
        "ratio": "1.5",
        "closer": f'"{it.names[0]}"',
        "choice": f'"{it.names[0]}"',
        "attribute": '"red"' if it.target == "colour" else '"box"',
        "nested": '"red"' if it.target == "colour" else '"box"',
    }
    return by.get(it.family, '"yes"')


def _set(**values: object) -> Change:
    return lambda it: replace(it, **values)  # type: ignore[arg-type]


def _flipped(it: Intent) -> Intent:
    return replace(it, relation=OPPOSITE[it.relation])


def _misplanned(it: Intent) -> Intent:
    if not it.plan.relation:  # another flaw has left the relation to the detector
        return it
    turned = OPPOSITE[it.plan.relation]
    return replace(it, relation=turned, plan=replace(it.plan, relation=turned))


def _crossed(it: Intent) -> Intent:
    return replace(it, a=it.b, b=it.a)


def _swapped(it: Intent) -> Intent:
    return replace(it, names=it.names[::-1])


def _inverted(it: Intent) -> Intent:
    return replace(it, yes=it.yes[::-1])


def _loose(it: Intent) -> Intent:
    return replace(it, a=looser(it.a))


def _vague(it: Intent) -> Intent:
    return replace(it, a=looser(it.a), plan=replace(it.plan, a=looser(it.plan.a)))


def _object(it: Intent) -> Intent:
    return replace(it, a="object")


def _other(it: Intent) -> Intent:
    """The next colour of a phrase with a colour, the next shape of a bare shape."""
    *colour, noun = it.a.split()
    if colour and (len(colour) > 1 or colour[0] not in COLOURS):  # another flaw has made it longer
        return it
    for step in (1, 2):
        if colour:
            phrase = f"{COLOURS[(COLOURS.index(colour[0]) + step) % len(COLOURS)]} {noun}"
        elif noun in SHAPES:
            phrase = SHAPES[(SHAPES.index(noun) + step) % len(SHAPES)]
        else:
            return it
        if phrase != it.b:
            return replace(it, a=phrase)
    return it


def _axis(it: Intent) -> Intent:
    if it.relation in ("closest", "farthest"):
        return it
    return replace(it, axis="y" if it.axis == "x" else "x")


def _pixels(it: Intent) -> Intent:
    if it.family == "nested" and it.relation not in ("closest", "farthest"):
        return it
    return replace(it, distance="pixels")


def _flat(it: Intent) -> Intent:
    return replace(it, measure="flat", plan_measure="flat")


def _wrong_number(it: Intent) -> Intent:
    return replace(it, number=it.number * 2)


def _wrong_target(it: Intent) -> Intent:
    return replace(it, target="shape" if it.target == "colour" else "colour")


def _overwritten(it: Intent) -> Intent:
    return replace(it, override=constant(it))


def _delegated(it: Intent) -> Intent:
    """The relation is left to the detector's prompt."""
    b = it.plan
    kind = {"nested": "attribute", "count_side": "count"}.get(it.family, "existence")
    phrase = f"{b.relation} {b.a}" if kind == "attribute" else f"{b.a} {where(b.relation)} the {b.b}"
    return replace(it, family=kind, a=phrase, b="", plan=Blueprint(kind, phrase, target=b.target))


_YES_NO = ("existence", "side", "order", "more")
_RELATED = ("closer", "side", "order", "nested", "choice", "count_side", "more")
_COUNTS = ("count", "count_side")
_LOOKS = ("attribute", "nested")
_GUARDED = tuple(family for family in FAMILIES if family not in NEVER_EMPTY)

FLAWS: dict[str, Flaw] = {
    "flipped": Flaw(_RELATED, _flipped, "the plan is right, the code compares the wrong way round"),
    "misplanned": Flaw(_RELATED, _misplanned, "plan and code both want the opposite"),
    "crossed": Flaw((*PAIRS, "more"), _crossed, "each variable holds the other thing"),
    "swapped_answers": Flaw(("closer", "choice"), _swapped, "the name of the other one is answered"),
    "inverted": Flaw(_YES_NO, _inverted, "no for yes"),
    "vague": Flaw(FAMILIES, _vague, "plan and code drop what singles the thing out"),
    "loose": Flaw(FAMILIES, _loose, "the plan is right, the code drops what singles the thing out"),
    "any_object": Flaw(FAMILIES, _object, "the code detects objects of any kind"),
    "other_thing": Flaw(FAMILIES, _other, "the code detects another colour or shape"),
    "flat": Flaw(SIZED, _flat, "plan and code take sizes in pixels, without depth"),
    "flat_code": Flaw(SIZED, _set(measure="flat"), "the plan wants depth, the code does not use it"),
    "one_depth": Flaw(SIZED, _set(measure="one depth"), "the first one's depth stands for both"),
    "width": Flaw(SIZED, _set(measure="width"), "width in place of height"),
    "area": Flaw(SIZED, _set(measure="area"), "the box's area in place of its height in 3D"),
    "divided": Flaw(SIZED, _set(measure="divided"), "pixels over depth in place of pixels times depth"),
    "inverted_ratio": Flaw(("height", "ratio"), _set(formula="inverted"), "the ratio upside down"),
    "unscaled": Flaw(("height",), _set(formula="unscaled"), "the given height is not used"),
    "difference": Flaw(("ratio",), _set(formula="difference"), "a difference in place of a ratio"),
    "wrong_number": Flaw(("height",), _wrong_number, "another number than the given one"),
    "one_more": Flaw(_COUNTS, _set(plus=1), "one too many"),
    "one_less": Flaw(_COUNTS, _set(plus=-1), "one too few"),
    "at_most_one": Flaw(_COUNTS, _set(most=1), "a count that stops at one"),
    "needs_two": Flaw(("existence",), _set(least=2), "one box is not enough for a yes"),
    "wrong_axis": Flaw(("side", "nested", "count_side"), _axis, "x for y, or y for x"),
    "wrong_end": Flaw(
        ("closer", "side", "order", "nested", "choice"),
        _set(wrong_end=True),
        "the wrong end of a sorted list",
        ("sorting",),
    ),
    "pixels_for_depth": Flaw((*BY_DEPTH, "nested"), _pixels, "the box's height stands for the distance"),
    "take_first": Flaw(("nested",), _set(take_first=True), "the first box, whatever was asked"),
    "unfiltered": Flaw(("count_side",), _set(unfiltered=True), "all are counted, wherever they are"),
    "wrong_target": Flaw(_LOOKS, _wrong_target, "shape for colour, or colour for shape"),
    "whole_picture": Flaw(_LOOKS, _set(vqa_whole=True), "VQA sees the picture, not the box"),
    "overwritten": Flaw(FAMILIES, _overwritten, "a constant replaces the answer at the end"),
    "delegated": Flaw(
        ("side", "order", "nested", "count_side"), _delegated, "relation in the detector's prompt"
    ),
    "asked_whole": Flaw(FAMILIES, _set(instead="asked"), "the question is put to VQA about the picture"),
    "guessed": Flaw(FAMILIES, _set(instead="guessed"), "an answer without looking"),
    "unguarded": Flaw(_GUARDED, _set(guarded=False), "nothing happens when a detection is empty"),
}
