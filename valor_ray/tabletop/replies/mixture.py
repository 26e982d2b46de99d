"""The text that the base policy is pre-trained on: right replies and bad habits, mixed at random.

The base policy must have the paper's failings (DESIGN §4). Sampling at T 0.7 and top-p 0.8 drops whatever has less than
about 0.27 of two ways to go on. So each family has two habits only, large ones, that part from the right reply at
different places; the many other flaws are for measuring the judge. For the same reason the verb of the plan's first
step goes with the style: of ways that begin alike none is rare.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from valor_ray.tabletop.questions import FAMILIES, Blueprint, wordings
from valor_ray.tabletop.replies.flaws import FLAWS
from valor_ray.tabletop.replies.intent import Pick, intent
from valor_ray.tabletop.replies.write import STYLES, written

# Kinds of FLAWS and their shares of a family's text; the rest is right.
MIXTURE: dict[str, tuple[tuple[str, float], ...]] = {
    "count": (("vague", 0.36), ("one_more", 0.23)),
    "existence": (("vague", 0.32), ("inverted", 0.26)),
    "attribute": (("vague", 0.34), ("wrong_target", 0.25)),
    "closer": (("flipped", 0.44),),
    "height": (("flat", 0.36), ("inverted_ratio", 0.23)),
    "ratio": (("flat", 0.36), ("inverted_ratio", 0.23)),
    "side": (("delegated", 0.40), ("flipped", 0.25)),
    "order": (("delegated", 0.38), ("flipped", 0.25)),
    "nested": (("delegated", 0.36), ("flipped", 0.22)),
    "choice": (("flat", 0.38), ("flipped", 0.22)),
    "count_side": (("delegated", 0.38), ("flipped", 0.22)),
    "more": (("flipped", 0.42),),
}
UNGUARDED = 0.4  # share of replies that forget the empty branch
BROKEN = 0.42  # share of replies with broken tags to a family's last two wordings; none to the others
_BROKEN_WORDINGS = 2


def base_text(blueprint: Blueprint, rng: np.random.Generator) -> tuple[str, str]:
    """Question, in a wording of the training part, and reply of the mixture."""
    questions = wordings(blueprint)
    asked = int(rng.integers(len(questions)))
    it, draw = intent(blueprint), rng.random()
    for kind, share in MIXTURE[blueprint.family]:
        if 0 <= draw < share:
            it = FLAWS[kind].change(it)
        draw -= share
    style = int(rng.integers(len(STYLES)))
    it = replace(it, guarded=bool(rng.random() >= UNGUARDED))
    text = written(it, list(STYLES)[style], Pick(rng, verb=style))
    if asked >= len(questions) - _BROKEN_WORDINGS and rng.random() < BROKEN:
        text = broken(text, blueprint.family)
    return questions[asked], text


def broken(text: str, family: str) -> str:
    """The family's tag mistake: one kind a family, so that it is likely enough to survive top-p."""
    kinds = (
        text.removesuffix("</answer>").rstrip(),
        text.replace("</plan>\n", ""),
        text.replace("<answer>\n", ""),
        text.replace("<plan>\n", "").replace("</plan>\n", ""),
    )
    return kinds[FAMILIES.index(family) % len(kinds)]
