"""`python -m valor_ray.tabletop.mining.measure_boxes`: how often the offline verifier errs about boxes, by look.

Held-out scenes are rendered, phrases drawn as programs ask for them, absent ones among them; candidates are those of
the shipped detector at the mining threshold, and the checks are those of mining (judges.boxes.checks, pictures coded as
they are sent) over the verifier in this process. For evaluation only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from valor_ray.config.tree import Config
from valor_ray.images import from_array
from valor_ray.judges.boxes.checks import check_boxes
from valor_ray.measure.box_stages import BoxStages, PhraseBoxes, claims
from valor_ray.measure.intervals import wilson
from valor_ray.models.grounding_dino.detector import GroundingDino
from valor_ray.models.shipped import on_bases
from valor_ray.records import BOX_CHECKS, BoxStage, CheckedBox, JudgeReply, JudgeRequest, Usage
from valor_ray.tabletop.judge.boxes.answer import answer_boxes
from valor_ray.tabletop.judge.boxes.noise import Noise
from valor_ray.tabletop.judge.protocol import decode_data_uri
from valor_ray.tabletop.mining.truth import LEAST_VISIBLE, read_phrase
from valor_ray.tabletop.pretrain.detector_words import ABSENT_NOUNS, OTHER_COLOURS
from valor_ray.tabletop.render import Rendering, render
from valor_ray.tabletop.scenes import ALL_LOOKS, COLOURS, LOOKS, SHAPES, SPLIT_SEEDS, sample_scene

_PHRASES = (2, 5)  # of a picture: at least, and one more than at most
_PRESENT = 0.6  # share of phrases that name something in the picture; of others, some do by chance
_NEVER = 0.1  # share of phrases of which nothing is ever on the table


class BoxJudge:
    """ports.Judge: the offline verifier of boxes without its server."""

    def __init__(self, noise: Noise) -> None:
        self._noise = noise

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        return [self._reply(request) for request in requests]

    def _reply(self, request: JudgeRequest) -> JudgeReply:
        content = request.messages[-1]["content"]
        text = "\n".join(part["text"] for part in content if part["type"] == "text")
        first = next(part["image_url"]["url"] for part in content if part["type"] == "image_url")
        said = answer_boxes(request.head, text, decode_data_uri(first), self._noise)
        return JudgeReply(said, usage=Usage(tries=1, model="offline"))


@dataclass
class Errors:
    """Of one stage: boxes that reached it."""

    wrong: int = 0
    kept: int = 0  # of the wrong ones
    right: int = 0
    dropped: int = 0  # of the right ones

    def rates(self) -> dict[str, str]:
        return {
            "false_keep": _share(self.kept, self.wrong),
            "false_drop": _share(self.dropped, self.right),
        }


@dataclass
class Tally:
    stages: BoxStages = field(default_factory=BoxStages)
    errors: dict[BoxStage, Errors] = field(default_factory=lambda: {stage: Errors() for stage in BOX_CHECKS})

    def add(self, phrase: PhraseBoxes) -> None:
        self.stages.add(phrase)
        ordered = sorted(phrase.boxes, key=lambda box: -box.score)
        before = list(BoxStage)
        for place, stage in enumerate(BOX_CHECKS):
            there = [box for box in ordered if box.passed(before[place])]
            marks = claims([box.bbox for box in there], phrase.true, phrase.neutral)
            kept = [box.passed(stage) for box in there]
            if stage is BoxStage.DUPLICATES:
                left = [box.bbox for box, stays in zip(there, kept, strict=True) if stays]
                self._add_duplicates(marks, claims(left, phrase.true, phrase.neutral))
            else:
                self._add(self.errors[stage], marks, kept)

    def _add(self, errors: Errors, marks: Sequence[str], kept: Sequence[bool]) -> None:
        """A check of single boxes: a second box on an object is right too."""
        for mark, stays in zip(marks, kept, strict=True):
            if mark == "wrong":
                errors.wrong, errors.kept = errors.wrong + 1, errors.kept + stays
            elif mark != "left out":
                errors.right, errors.dropped = errors.right + 1, errors.dropped + (not stays)

    def _add_duplicates(self, before: Sequence[str], after: Sequence[str]) -> None:
        """Second boxes that stay, and objects that lose their last box."""
        errors = self.errors[BoxStage.DUPLICATES]
        errors.wrong += before.count("duplicate")
        errors.kept += after.count("duplicate")
        errors.right += before.count("right")
        errors.dropped += max(0, before.count("right") - after.count("right"))


def phrases(rendering: Rendering, rng: np.random.Generator) -> list[str]:
    """Phrases of one picture in the manner of programs: colour and shape, shape, colour, any object, absent ones."""
    drawn = []
    for _ in range(int(rng.integers(*_PHRASES))):
        colour, shape = str(rng.choice(COLOURS)), str(rng.choice(SHAPES))
        if rng.random() < _PRESENT:
            thing = rendering.objects[int(rng.integers(len(rendering.objects)))]
            colour, shape = thing.colour, thing.shape
        kind = rng.random()
        if rng.random() < _NEVER:
            drawn.append(
                str(rng.choice(ABSENT_NOUNS)) if kind < 0.5 else f"{rng.choice(OTHER_COLOURS)} {shape}"
            )
        elif kind < 0.4:
            drawn.append(f"{colour} {shape}")
        elif kind < 0.9:
            drawn.append(shape if kind < 0.65 else f"{colour} object")
        else:
            drawn.append("object")
    return list(dict.fromkeys(drawn))


async def checked(look: str, seeds: Sequence[int], noise: Noise) -> list[PhraseBoxes]:
    """Candidates of each phrase after the three checks, with the truth."""
    config, _ = on_bases(Config.load("local"))  # as mining has them
    threshold = config.grounding.box_threshold
    tools = config.detector.model_copy(update={"box_threshold": threshold, "text_threshold": threshold})
    detector, judge = GroundingDino(tools), BoxJudge(noise)
    made: list[PhraseBoxes] = []
    for seed in seeds:
        rendering = render(sample_scene(seed, look))
        asked = phrases(rendering, np.random.default_rng([seed, 31]))
        picture = from_array(rendering.rgb)
        candidates = detector.detect([picture], [asked])[0]
        checks = await check_boxes(judge, picture, candidates, config.grounding, config.vlm)
        for phrase in asked:
            own = tuple(box for box in checks.boxes if box.label == phrase)
            made.append(_with_truth(picture.key, phrase, own, rendering))
    return made


def _with_truth(key: str, phrase: str, boxes: tuple[CheckedBox, ...], rendering: Rendering) -> PhraseBoxes:
    named = read_phrase(phrase)
    assert named is not None
    things = [thing for thing in rendering.objects if named.names(thing.colour, thing.shape)]
    return PhraseBoxes(
        key,
        boxes,
        tuple(thing.bbox for thing in things if thing.visible >= LEAST_VISIBLE),
        tuple(thing.bbox for thing in things if thing.visible < LEAST_VISIBLE),
    )


def measure(look: str, scenes: int, first: int = 0, noise: Noise | None = None) -> dict[str, Any]:
    """Errors by stage, precision and recall of one look, on `scenes` held-out scenes from the first on."""
    tally = Tally()
    seeds = SPLIT_SEEDS["held_out"][first : first + scenes]
    for phrase in asyncio.run(checked(look, seeds, noise or Noise())):
        tally.add(phrase)
    errors: Mapping[str, Any] = {stage.value: each.rates() for stage, each in tally.errors.items()}
    return {"look": look, "scenes": scenes, "errors": errors, **tally.stages.report()}


def _share(count: int, of: int) -> str:
    low, high = wilson(count, of)
    return f"{count / of:.3f} [{low:.3f}, {high:.3f}] of {of}" if of else "–"


def _lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """The figures for people."""
    n, lost, spread = figures["n"], figures["recall_lost"], figures["recall_lost_ci"]
    yield f"{figures['look']}: {n['pictures']} pictures, {n['candidates']} candidates, {n['missing']} without a verdict"
    for stage in BoxStage:
        precision, recall = (figures[f"{name}_by_stage"][stage.value] for name in ("precision", "recall"))
        errors = figures["errors"].get(stage.value, {})
        said = "".join(f"  {name} {value}" for name, value in errors.items())
        yield f"  {stage.value:11} precision {precision} {figures['precision_ci'][stage.value]} recall {recall}{said}"
    yield f"  recall lost {lost} {spread} points"


def main() -> None:
    parser = argparse.ArgumentParser(prog="measure_boxes", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--looks", nargs="+", choices=ALL_LOOKS, default=LOOKS, metavar="NAME", help=", ".join(ALL_LOOKS)
    )
    parser.add_argument("--scenes", type=int, default=100, help="held-out scenes a look (100)")
    parser.add_argument("--first", type=int, default=0, help="held-out scene to begin with (0)")
    parser.add_argument(
        "--noise", type=float, default=0.0, help="share of the verdicts that are turned round"
    )
    parser.add_argument("--seed", type=int, default=0, help="which verdicts the noise turns round")
    parser.add_argument("--json", action="store_true", help="one JSON object a look")
    args = parser.parse_args()
    for look in args.looks:
        figures = measure(look, args.scenes, args.first, Noise(args.noise, args.seed))
        print(json.dumps(figures) if args.json else "\n".join(_lines(figures)), flush=True)


if __name__ == "__main__":
    main()
