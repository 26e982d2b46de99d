"""Replies as text: `right`, `flawed`, and `gold`, the one right reply that tests and the gold check use."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from valor_ray.tabletop.questions import Blueprint
from valor_ray.tabletop.replies.express import Draft, fallback_source, whole_question
from valor_ray.tabletop.replies.flaws import FLAWS, constant
from valor_ray.tabletop.replies.intent import Intent, Pick, intent
from valor_ray.tabletop.replies.styles import helpers, labels, plain, sorting
from valor_ray.tabletop.replies.words import plan

STYLES: dict[str, Callable[[Intent, Pick], Draft]] = {
    "plain": plain.draft,
    "helpers": helpers.draft,
    "sorting": sorting.draft,
    "labels": labels.draft,
}


def gold(blueprint: Blueprint) -> str:
    """The canonical right reply: relations by comparison, sizes as pixels x depth, empty detections handled."""
    return written(intent(blueprint), "plain", Pick(None))


def right(blueprint: Blueprint, style: str, rng: np.random.Generator) -> str:
    """A right reply; names of variables, words of the plan and ways to compare are drawn from the generator.

    style: of STYLES; KeyError on another.
    """
    return written(intent(blueprint), style, Pick(rng))


def flawed(blueprint: Blueprint, kinds: Sequence[str], style: str, rng: np.random.Generator) -> str:
    """A reply with all the flaws of `kinds` (keys of FLAWS), one after the other.

    Raises ValueError when one of them does not apply to the question or the style (`applies` tells).
    """
    return written(with_flaws(blueprint, kinds, style), style, Pick(rng))


def applies(kind: str, blueprint: Blueprint, style: str) -> bool:
    """Can the question's reply have the flaw in this style?"""
    flaw, it = FLAWS[kind], intent(blueprint)
    return blueprint.family in flaw.families and style in (flaw.styles or STYLES) and flaw.change(it) != it


def with_flaws(blueprint: Blueprint, kinds: Sequence[str], style: str) -> Intent:
    """The intent that `flawed` writes. Raises ValueError as it does, also when one flaw takes another's ground."""
    it = intent(blueprint)
    for kind in kinds:
        changed = FLAWS[kind].change(it) if applies(kind, blueprint, style) else it
        if changed == it:
            raise ValueError(f"flaw {kind!r} does not apply to {blueprint} in style {style!r} after {kinds}")
        it = changed
    return it


def written(it: Intent, style: str, pick: Pick) -> str:
    """The reply's text."""
    if it.instead == "asked":
        code = f'final_answer = vqa(img_pth, None, "{whole_question(it.plan)}")\n'
    elif it.instead == "guessed":
        code = f"final_answer = {constant(it)}\n"
    else:
        code = _guarded(it, STYLES[style](it, pick), pick)
    return f"<plan>\n{plan(it, pick)}\n</plan>\n<answer>\n{code}</answer>"


def _guarded(it: Intent, draft: Draft, pick: Pick) -> str:
    body = draft.body + (f"final_answer = {it.override}\n" if it.override else "")
    if not (draft.empty and it.guarded):
        return draft.find + body
    head = f"{draft.find}if {draft.empty}:\n    final_answer = {fallback_source(it.family)}\n"
    if pick((True, False)):
        return f"{head}    return\n{body}"
    indented = "".join(f"    {line}" for line in body.splitlines(keepends=True))
    return f"{head}else:\n{indented}"
