"""A finished run folder of `valor train grounding` as tests of its page make it up; figures and boxes are invented.

python tests/support/finetuned.py DIR        draws one into DIR, its pictures are rendered scenes, and writes its page
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from valor_ray.config.models import DetectorConfig
from valor_ray.tabletop.finetune.held_out import SEEN, START, TOGETHER, Tables, held_out_record, looks_by_set

COLOURS = ("red", "blue", "green", "yellow", "purple", "orange", "white", "black")
SHAPES = ("ball", "cube", "cone", "mug")
LOOKS = ("lamp", "quilt", "tiles", "wood")
BEFORE = {TOGETHER: 57.1, SEEN: 93.4, "lamp": 61.8, "quilt": 52.4, "tiles": 94.0, "wood": 92.8}
GAIN = {TOGETHER: 14.6, SEEN: -0.2, "lamp": 12.9, "quilt": 16.3, "tiles": 0.1, "wood": -0.6}
RESAMPLES = 400
CONTROLS = {"verified boxes": "verified"}  # control by the name of its row
Box = tuple[tuple[float, float, float, float], str]


def write_lines(path: Path, rows: Sequence[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def make_finetuned(folder: Path, *, steps: int = 240, pictures: int = 2, rendered: bool = False) -> dict:
    """Write the run folder; returns its report. rendered: pictures are tabletop scenes, seconds each."""
    rng = random.Random(0)
    settings = {"steps": steps, "batch": 4, "workers": 1, "learning_rate": 2e-4, "freeze": ["text"], "ema": 0.99,
                "replay": 0.5, "held_back": 0.1, "gate_limit": 1.0, "max_grad_norm": 0.1, "seed": 0}  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({"finetune": settings}))
    write_lines(folder / "metrics.jsonl", [step_record(rng, step, steps) for step in range(1, steps + 1)])
    write_json(folder / "selection.json", selection())
    write_json(folder / "evaluation.json", json.loads(evaluation()))
    write_json(folder / "controls.json", controls(steps))
    counts = {"images": 396, "positives": 4212, "absent": 1893, "hard_negatives": 2950, "ignored": 402, "unsure": 31,
              "all_rejected": 2, "left_out": 4, "labels": 154}  # fmt: skip
    write_json(folder / "mined/dataset/dataset.json", {"counts": counts})
    write_json(
        folder / "plan.json", {"dataset": "/gone/dataset", "mine": "/gone", "steps": steps, "images": 396}
    )
    write_json(folder / "mined/report.json", {"precision_by_stage": {"duplicates": 0.946}})
    (folder / "mined/report.html").write_text("<!doctype html><title>mining</title>")
    write_json(folder / "replay/set/dataset.json", {"counts": {"images": 200, "positives": 1630}})
    write_lines(folder / "examples.jsonl", list(examples(folder, rng, pictures, rendered)))
    return report()


def report() -> dict:
    return {"ap50_start": 57.1, "ap50_end": 71.7, "gain_ci": [12.4, 16.9], "general_map_start": 71.2,
            "general_map_end": 71.0, "published": "step-000240", "minutes": 7.4, "resumed_from": 100,
            "pictures": 357, "held_back": 39, "replicas": 2,
            "stages_s": {"mine": 312.4, "render": 21.0, "learn": 398.8, "publish": 2.1, "evaluate": 131.0}}  # fmt: skip


def step_record(rng: random.Random, step: int, steps: int) -> dict:
    fall = math.exp(-3 * step / steps)
    parts = {"class": 0.5 * fall + 0.3, "box": 0.25 * fall + 0.11, "giou": 0.4 * fall + 0.3,
             "encoder_class": 0.6 * fall + 0.4, "encoder_box": 0.3 * fall + 0.16}  # fmt: skip
    parts = {name: value * rng.lognormvariate(0, 0.22) for name, value in parts.items()}
    rate = min(step / 20, 1.0) * (0.1 + 0.9 * (1 + math.cos(math.pi * step / steps)) / 2)
    return {"step": step, "loss": sum(parts.values()), "parts": parts, "learning_rate": 2e-4 * rate,
            "grad_norm": (1.2 * fall + 0.5) * rng.lognormvariate(0, 0.35), "boxes": rng.randrange(30, 64),
            "seconds": 1.6, "pictures_per_s": rng.gauss(3.7, 0.25)}  # fmt: skip


def selection() -> dict:
    sweep = [(0.0, 64.8, 41.9), (0.25, 70.6, 46.2), (0.5, 74.9, 49.4), (0.75, 77.3, 50.9), (1.0, 77.8, 51.0)]
    return {
        "alpha": 0.75,
        "held_back": [{"alpha": alpha, "ap50": ap50, "map": full} for alpha, ap50, full in sweep],
        "general": {"start": {"map": 71.2, "ap50": 92.0, "pictures": 200}, "baseline_map": 71.2, "1": {"map": 69.9},
                    "end": {"map": 71.0, "ap50": 91.7, "pictures": 200}},
        "passed": True,
        "words": "General mAP fell by 0.2 points, from 71.2 to 71.0; it may fall by 1.0. α = 1 came first on held-back "
                 "boxes and was refused: it fell by 1.3.",
    }  # fmt: skip


@cache
def evaluation() -> str:
    """evaluation.json as `held_out_ap` writes it, of invented APs: the last label has surely lost, all else gained."""
    rng = np.random.default_rng(0)
    labels = len(COLOURS) * len(SHAPES)
    offset, gained = rng.uniform(-17, 17, labels), rng.normal(0, 6, labels)
    gained[-1] = -24.0  # white cone
    offset, gained = offset - offset.mean(), gained - gained.mean()
    sets = looks_by_set(LOOKS[:2], LOOKS[2:])
    tables: dict[str, dict[str, Tables]] = {START: {}, "end": {}}
    for name in sets:
        far = 1.0 if name in (TOGETHER, *LOOKS[:2]) else 0.05  # labels differ little where all is known
        start = BEFORE[name] + far * offset
        end = start + GAIN[name] + far * gained
        moved = rng.normal(0, 3, (RESAMPLES, labels))  # both, as they are drawn together
        gain = end - start + rng.normal(0, 1, (RESAMPLES, 1)) + rng.normal(0, 1.5, (RESAMPLES, labels))
        true = np.full(labels, 80 if name in (TOGETHER, SEEN) else 40)
        tables[START][name] = Tables(_by_iou(start[None]), _by_iou(start + moved), true)
        tables["end"][name] = Tables(_by_iou(end[None]), _by_iou(start + moved + gain), true)
    models = {name: DetectorConfig(model=f"invented/{name}") for name in tables}
    return json.dumps(
        {"scenes": 300, "first": 0, "resamples": RESAMPLES} | held_out_record(models, tables, sets, (START,))
    )


def _by_iou(ap50: np.ndarray) -> np.ndarray:
    """Points (resamples, labels) -> AP 0..1 (resamples, labels, IOUS) whose mean is .66 of AP50."""
    return ap50[:, :, None] / 100 * np.linspace(1.0, 0.32, 10)


def controls(steps: int = 240) -> dict:
    rows = [
        ("start", 57.1, 0, 0, 0, 71.2, ""),
        ("verified boxes", 71.7, 14.6, 396, 4212, 71.0, ""),
        ("self-training, .35", 65.0, 7.9, 398, 2790, 70.3, ""),
        ("random verifier", 60.2, 3.1, 396, 4212, 68.1, "as many boxes accepted"),
        ("replay only", 57.0, -0.1, 0, 0, 71.3, ""),
        ("true boxes", 78.8, 21.7, 396, 4630, 71.1, ""),
        ("two rounds", 74.4, 17.3, 398, 4391, 70.8, ""),
        (
            "without duplicate check",
            71.2,
            14.1,
            398,
            6025,
            70.8,
            "The duplicate check shows no sure worth here.",
        ),
    ]
    table = []
    for name, ap50, gain, pictures, boxes, general, note in rows:
        row = {
            "name": name,
            "control": CONTROLS.get(name, name),
            "ap50": ap50,
            "map": 0.64 * ap50,
            "AP50 lamp": ap50 + 4,
            "mAP lamp": 45.2,
            "AP50 quilt": ap50 - 4,
            "mAP quilt": 40.3,
            "general_map": general,
            "note": note,
        }
        if name != "start":
            row |= {
                "gain": gain,
                "gain_ci": [gain - 2.3, gain + 2.3],
                "alpha": 0.75,
                "pictures": pictures,
                "boxes": boxes,
                "steps": steps,
                "minutes": 3.02,
            }
        if name != "verified boxes":
            over = gain - 14.6
            row |= {"over_verified": over, "over_verified_ci": [over - 1.9, over + 1.9]}
        table.append(row)
    note = "AP on 300 held-out scenes in each of lamp, quilt. Intervals: 95 %, bootstrap over scenes."
    return {"rows": table, "note": note, "answers": answers()}  # fmt: skip


def answers() -> dict:
    def change(n: int, start: float, gain: float, width: float) -> dict:
        return {"n": n, "start": start, "end": start + gain, "gain": gain, "gain_ci": [gain - width, gain + width],
                "fixed": round(n * (gain + 3) / 100), "broken": round(n * 0.03)}  # fmt: skip

    def kind(start: float, gain: float) -> dict:
        looks = {look: change(150, start, gain, 5.8) for look in LOOKS[:2]}
        families = {
            f: change(50, start, gain + n - 2, 9.0) for n, f in enumerate(("count", "distance", "exists"))
        }
        return {
            "changes": {"verified": change(300, start, gain, 3.1) | {"by_look": looks, "by_family": families}}
        }

    return {"n": 300, "pictures": 150, "looks": list(LOOKS[:2]),
            "programs": {"gold": kind(70.3, 8.4), "greedy": kind(58.7, 7.2)}}  # fmt: skip


def examples(folder: Path, rng: random.Random, count: int, rendered: bool) -> Iterator[dict]:
    for place in range(count):
        rgb, true = _scene(place) if rendered else _noise(place)
        path = folder / f"mined/data/images/scene-{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rgb).save(path)
        phrases = list(dict.fromkeys(phrase for _, phrase in true))
        yield {
            "image": str(path), "width": rgb.shape[1], "height": rgb.shape[0], "phrases": [*phrases, "grey sofa"],
            "start": list(_detected(rng, true, 0.55, 6.0)), "end": list(_detected(rng, true, 0.88, 2.0)),
            "verified": [{"bbox": list(bbox), "phrase": phrase} for bbox, phrase in true if rng.random() < 0.9],
        }  # fmt: skip


def _detected(rng: random.Random, true: Sequence[Box], recall: float, off: float) -> Iterator[dict]:
    for bbox, phrase in true:
        if rng.random() < recall:
            named = phrase if rng.random() < 0.5 + recall / 2 else f"{rng.choice(COLOURS)} cube"
            box = [side + rng.gauss(0, off) for side in bbox]
            yield {"bbox": box, "phrase": named, "score": round(rng.uniform(0.36, 0.5 + recall / 2.2), 3)}


def _noise(place: int) -> tuple[np.ndarray, list[Box]]:
    rgb = np.random.default_rng(place).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    return rgb, [((10, 12, 50, 44), "red ball"), ((60, 30, 90, 70), "blue mug")]


def _scene(place: int) -> tuple[np.ndarray, list[Box]]:
    from valor_ray.tabletop.render import render
    from valor_ray.tabletop.scenes import sample_scene

    drawn = render(sample_scene(7000 + place, ("lamp", "quilt")[place % 2]), 384)
    return drawn.rgb, [(each.bbox, f"{each.colour} {each.shape}") for each in drawn.objects]


if __name__ == "__main__":
    from valor_ray.report.finetuning.page import write_page

    written = make_finetuned(Path(sys.argv[1]), pictures=12, rendered=True)
    write_json(Path(sys.argv[1]) / "report.json", written)
    write_page(Path(sys.argv[1]), written)
