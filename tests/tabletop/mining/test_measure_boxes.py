"""The error table of the offline verifier of boxes: what counts as an error, and that it finds some."""

from __future__ import annotations

import numpy as np

from valor_ray.measure.box_stages import PhraseBoxes
from valor_ray.records import BOX_CHECKS, BBox, BoxDecision, BoxStage, CheckedBox
from valor_ray.tabletop.judge.boxes.noise import Noise
from valor_ray.tabletop.mining.measure_boxes import Tally, measure, phrases
from valor_ray.tabletop.mining.truth import read_phrase
from valor_ray.tabletop.render import render
from valor_ray.tabletop.scenes import sample_scene

HERE: BBox = (0.0, 0.0, 10.0, 10.0)
THERE: BBox = (50.0, 50.0, 60.0, 60.0)
NOWHERE: BBox = (80.0, 0.0, 90.0, 10.0)


def box(bbox: BBox, *kept: bool, score: float = 0.5) -> CheckedBox:
    said = tuple(BoxDecision(stage, each) for stage, each in zip(BOX_CHECKS, kept, strict=False))
    return CheckedBox(bbox, "cone", score, said)


def rates(*boxes: CheckedBox, true: tuple[BBox, ...] = (HERE, THERE)) -> dict[str, tuple[str, str]]:
    tally = Tally()
    tally.add(PhraseBoxes("picture", boxes, true))
    made = {stage.value: errors.rates() for stage, errors in tally.errors.items()}
    return {name: (each["false_keep"][:5], each["false_drop"][:5]) for name, each in made.items()}


def test_errors_count_at_the_stage_that_makes_them() -> None:
    said = rates(box(HERE, True, True, True), box(THERE, True, False), box(NOWHERE, True, False))
    assert said == {"coarse": ("1.000", "0.000"), "crops": ("0.000", "0.500"), "duplicates": ("–", "0.000")}
    said = rates(box(HERE, False), box(NOWHERE, False))
    assert said == {"coarse": ("0.000", "1.000"), "crops": ("–", "–"), "duplicates": ("–", "–")}


def test_second_box_on_an_object_is_an_error_of_the_last_stage_only() -> None:
    near = (0.0, 0.0, 10.0, 9.0)
    kept = rates(box(HERE, True, True, True), box(near, True, True, True), true=(HERE,))
    assert kept["crops"] == ("–", "0.000") and kept["duplicates"] == ("1.000", "0.000")
    one_dropped = rates(box(HERE, True, True, False), box(near, True, True, True), true=(HERE,))
    assert one_dropped["duplicates"] == ("0.000", "0.000")
    both_dropped = rates(box(HERE, True, True, False), box(near, True, True, False), true=(HERE,))
    assert both_dropped["duplicates"] == ("0.000", "1.000")


def test_phrases_are_of_every_kind_and_the_truth_reads_them() -> None:
    drawn = [
        phrase
        for seed in range(1_970_000, 1_970_040)
        for phrase in phrases(render(sample_scene(seed, "wood"), 64), np.random.default_rng(seed))
    ]
    kinds = [named.kind for phrase in drawn if (named := read_phrase(phrase)) is not None]
    assert len(kinds) == len(drawn)
    assert set(kinds) == {"colour and shape", "shape", "colour", "any object", "absent"}


def test_checks_raise_precision_and_noise_lowers_it() -> None:
    clean, noisy = measure("loud", 12, 900), measure("loud", 12, 900, Noise(0.3))
    by_stage = clean["precision_by_stage"]
    first, last = BoxStage.CANDIDATES.value, BoxStage.DUPLICATES.value
    assert clean["n"]["missing"] == 0 and clean["n"]["candidates"] > 30
    assert by_stage[last] > max(0.85, by_stage[first] + 0.1) and clean["recall_lost"] <= 12
    assert noisy["recall_lost"] > clean["recall_lost"] + 10
