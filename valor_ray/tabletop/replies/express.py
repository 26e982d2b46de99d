"""Python expressions and statements that all styles share."""

from __future__ import annotations

from dataclasses import dataclass

from valor_ray.tabletop.questions import Blueprint, plural
from valor_ray.tabletop.replies.intent import BY_DEPTH, SIZED, Intent, Pick
from valor_ray.tabletop.replies.words import fallback

_BELOW = ("closer", "left", "above", "in front of", "leftmost", "closest", "shorter", "fewer")


@dataclass(frozen=True)
class Draft:
    """A program in three pieces, so that the empty branch can be left out or written in two ways."""

    find: str  # until everything is detected
    empty: str  # condition under which something is missing; "" where that needs no branch
    body: str  # from there to the answer


def detect(name: str, phrase: str) -> str:
    return f'{name} = gd_detect(img_pth, "{phrase}")\n'


def smaller(it: Intent) -> bool:
    """Does the relation ask for the smaller value?"""
    return it.relation in _BELOW


def measured(it: Intent, box: str, shared: str = "") -> str:
    """Source of what the family measures of one box. shared: source of the one depth that stands for both."""
    tall, wide = f"{box}[3] - {box}[1]", f"{box}[2] - {box}[0]"
    if it.family in SIZED:
        return {
            "deep": f"({tall}) * depth(img_pth, {box})",
            "flat": tall,
            "one depth": f"({tall}) * {shared}",
            "width": f"({wide}) * depth(img_pth, {box})",
            "area": f"({wide}) * ({tall})",
            "divided": f"({tall}) / depth(img_pth, {box})",
        }[it.measure]
    if it.family in BY_DEPTH or it.relation in ("closest", "farthest"):
        return f"depth(img_pth, {box})" if it.distance == "depth" else tall
    low, high = (0, 2) if it.axis == "x" else (1, 3)
    return f"({box}[{low}] + {box}[{high}]) / 2"


def quantity(it: Intent) -> tuple[str, ...]:
    """Fitting names of what is measured, to which an s may be added; none of them is a tool's."""
    if it.family in SIZED:
        return ("size", "height", "h")
    if it.family in BY_DEPTH or it.relation in ("closest", "farthest"):
        return ("dist", "dep", "d")
    return ("place", "centre", "mid")


def answers(it: Intent) -> tuple[str, str]:
    """Source of the answers when a fits the relation and when b does."""
    first, second = it.names if it.family in ("closer", "choice") else it.yes
    return f'"{first}"', f'"{second}"'


def compare(it: Intent, pick: Pick, a: str, b: str) -> str:
    """The answer from two values: one of several ways to write the same comparison."""
    sign, turned = ("<", ">") if smaller(it) else (">", "<")
    condition = f"{b} {turned} {a}" if pick.turned() else f"{a} {sign} {b}"
    return decide(pick, condition, *answers(it))


def decide(pick: Pick, condition: str, first: str, second: str) -> str:
    """final_answer from a condition."""
    return str(
        pick(
            (
                f"final_answer = {first} if {condition} else {second}\n",
                f"if {condition}:\n    final_answer = {first}\nelse:\n    final_answer = {second}\n",
                f"holds = {condition}\nfinal_answer = {first} if holds else {second}\n",
            )
        )
    )


def number(it: Intent, a: str, b: str) -> str:
    """The answer of families height and ratio from two sizes."""
    if it.formula == "difference":
        return f"final_answer = {a} - {b}\n"
    if it.family == "ratio":
        top, bottom = (a, b) if it.formula == "ratio" else (b, a)
        return f"final_answer = {top} / {bottom}\n"
    if it.formula == "unscaled":
        return f"final_answer = {b} / {a}\n"
    top, bottom = (b, a) if it.formula == "ratio" else (a, b)
    return f"final_answer = {it.number} * {top} / {bottom}\n"


def conclude(it: Intent, pick: Pick, a: str, b: str) -> str:
    """The answer from the two measured values, whatever the family asks."""
    return number(it, a, b) if it.family in ("height", "ratio") else compare(it, pick, a, b)


def counted(it: Intent, source: str) -> str:
    """A count with its slips."""
    source = f"min({source}, {it.most})" if it.most else source
    return f"{source} {'+' if it.plus > 0 else '-'} {abs(it.plus)}" if it.plus else source


def look(it: Intent, pick: Pick, box: str) -> str:
    """The call that asks VQA for the target."""
    what = pick((f"What {it.target} is this object?", f"What {it.target} is this?"))
    return f'vqa(img_pth, {"None" if it.vqa_whole else box}, "{what}")'


def fallback_source(family: str) -> str:
    said = fallback(family)
    return said if said == "0" else f'"{said}"'


def whole_question(b: Blueprint) -> str:
    """What is put to VQA about the whole picture when nothing is worked out."""
    many = {"as_": plural(b.a), "bs_": plural(b.b) if b.b else ""}
    return {
        "count": "How many {as_} are there?",
        "existence": "Is there a {a}?",
        "attribute": "What {target} is the {a}?",
        "closer": "Which is {relation}, the {a} or the {b}?",
        "choice": "Which is {relation}, the {a} or the {b}?",
        "nested": "What {target} is the {relation} {a}?",
        "order": "Is the {a} {relation} the {b}?",
        "side": "Is the {a} {relation} the {b}?",
        "more": "Are there {relation} {as_} than {bs_}?",
        "count_side": "How many {as_} are {relation} of the {b}?",
        "height": "How tall is the {b} in cm?",
        "ratio": "How many times taller is the {a} than the {b}?",
    }[b.family].format(a=b.a, b=b.b, relation=b.relation, target=b.target, **many)
