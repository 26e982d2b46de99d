"""The text that the base policy is pre-trained on: right replies and bad habits, mixed at random.

The base policy must have the paper's failings (DESIGN §4). Sampling at T 0.7 and top-p 0.8 drops whatever has less than
about 0.27 of two ways to go on. So each family has one habit only, a large one; the many other flaws are for measuring
the judge. For the same reason the verb of the plan's first step goes with the style: of ways that begin alike none is
rare. And comparisons are written straight, so that the sign follows the plan's word: what a model of this size can
learn, and without which a right plan is not worth more.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from valor_ray.tabletop.questions import FAMILIES, Blueprint, varied_wording, wordings
from valor_ray.tabletop.replies.flaws import FLAWS
from valor_ray.tabletop.replies.intent import Pick, intent
from valor_ray.tabletop.replies.write import STYLES, written

# Kinds of FLAWS and their shares of a family's text; the rest is right. The habit is the usual way, so that greedy
# sampling is wrong and only learning turns it. Where it wants the opposite of what is asked it is one-sided (USUAL): a
# policy that answers both directions with the opposite has learnt of the question what must first be unlearnt, and in
# 80 steps GRPO only moved both directions together.
MIXTURE: dict[str, tuple[tuple[str, float], ...]] = {
    "count": (("vague", 0.58),),
    "existence": (("vague", 0.58),),
    "attribute": (("wrong_target", 0.58),),
    "closer": (("misplanned", 0.58),),
    "height": (("flat", 0.58),),
    "ratio": (("flat", 0.58),),
    "side": (("misplanned", 0.58),),
    "order": (("delegated", 0.58),),
    "nested": (("misplanned", 0.58),),
    "choice": (("flat", 0.58),),
    "count_side": (("misplanned", 0.58),),
    "more": (("misplanned", 0.58),),
}
# By family what its opposite is mistaken for: directions, and the target of `attribute`.
USUAL: dict[str, tuple[str, ...]] = {
    "attribute": ("colour",),
    "closer": ("closer",),
    "side": ("left", "above"),
    "nested": ("leftmost", "closest"),
    "count_side": ("left",),
    "more": ("more",),
}
UNGUARDED = 0.4  # share of replies that forget the empty branch
VARIED = 0.5  # share of questions in a wording of the grammar, the others in one of the training part's six
BROKEN = 0.42  # share of replies with broken tags to a family's last two wordings; none to its others
BROKEN_VARIED = 0.2  # and to wordings of the grammar
_BROKEN_WORDINGS = 2


def base_text(blueprint: Blueprint, rng: np.random.Generator) -> tuple[str, str]:
    """Question, in a wording that training may read, and reply of the mixture."""
    question, broken_share = _asked(blueprint, rng)
    it, draw = intent(blueprint), rng.random()
    usual = (blueprint.relation or blueprint.target) in USUAL.get(blueprint.family, ())
    for kind, share in MIXTURE[blueprint.family]:
        if 0 <= draw < share and not usual:
            it = FLAWS[kind].change(it)
        draw -= share
    style = int(rng.integers(len(STYLES)))
    it = replace(it, guarded=bool(rng.random() >= UNGUARDED))
    text = written(it, list(STYLES)[style], Pick(rng, verb=style, straight=True))
    if rng.random() < broken_share:
        text = broken(text, blueprint.family)
    return question, text


def _asked(blueprint: Blueprint, rng: np.random.Generator) -> tuple[str, float]:
    """A wording, and the share of broken replies to it."""
    if rng.random() < VARIED:
        return varied_wording(blueprint, rng), BROKEN_VARIED
    questions = wordings(blueprint)
    asked = int(rng.integers(len(questions)))
    return questions[asked], BROKEN if asked >= len(questions) - _BROKEN_WORDINGS else 0.0


def broken(text: str, family: str) -> str:
    """The family's tag mistake: one kind a family, so that it is likely enough to survive top-p."""
    kinds = (
        text.removesuffix("</answer>").rstrip(),
        text.replace("</plan>\n", ""),
        text.replace("<answer>\n", ""),
        text.replace("<plan>\n", "").replace("</plan>\n", ""),
    )
    return kinds[FAMILIES.index(family) % len(kinds)]
