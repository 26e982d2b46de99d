"""Questions in the grammar's many wordings, as far as the offline judge reads them as what they ask."""

from __future__ import annotations

import numpy as np

from valor_ray.tabletop.judge.text.tasks.asked import task_of_question
from valor_ray.tabletop.questions import Blueprint, varied_wording, wording, wordings

_TRIES = 20  # it reads about four in five


def readable_wording(blueprint: Blueprint, rng: np.random.Generator) -> str:
    """One of the grammar's; of the training part's where the judge, being rules, has read none of several right."""
    meant = task_of_question(wordings(blueprint)[0])
    for _ in range(_TRIES):
        question = varied_wording(blueprint, rng)
        if task_of_question(question) == meant:
            return question
    return wording(blueprint, rng)
