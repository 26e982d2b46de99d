"""Held-out AP and its gains, on a few scenes with the shipped detector and spoilt copies of it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from bases import BASES
from safetensors.torch import load_file, save_file

from valor_ray.config.models import DetectorConfig, resolve_model
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.images import from_array
from valor_ray.measure.detection_ap import mean_ap
from valor_ray.models.grounding_dino.detector import GroundingDino
from valor_ray.models.grounding_dino.ranking import rank
from valor_ray.tabletop.finetune import detections as seen
from valor_ray.tabletop.finetune.held_out import SEEN, TOGETHER, held_out_ap

SCENES = 4
START = Config.load("local", BASES).detector


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> DetectorConfig:
    """The shipped detector with noise in its decoder."""
    folder = tmp_path_factory.mktemp("models") / "spoilt"
    shutil.copytree(resolve_model(START.model), folder)
    weights = load_file(folder / "model.safetensors")
    torch.manual_seed(0)
    for name, value in weights.items():
        if "decoder" in name and value.ndim > 1:
            weights[name] = value + 1.0 * value.std() * torch.randn_like(value)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return START.model_copy(update={"model": str(folder)})


def test_ap_is_detection_ap_of_the_ranked_boxes(cache: Path) -> None:
    scenes = seen.rendered(seen.SceneSet("lamp", 0, SCENES), cache, quiet)
    pictures = [from_array(np.array(rgb)) for rgb in scenes.rgb]
    ranked = rank(GroundingDino(START), pictures, seen.every_label(), seen.MOST)
    boxes = [
        [seen.Boxes(each.boxes[each.places == label], each.scores[each.places == label]) for each in ranked]
        for label in range(32)
    ]
    ap50, full = mean_ap(boxes, seen.truth(scenes).boxes)
    made = held_out_ap(
        {"start": START}, SCENES, ("lamp",), say=quiet, reference=(), cache=cache, resamples=10
    )
    assert made["models"]["start"]["sets"]["lamp"]["ap50"] == pytest.approx(100 * ap50, abs=0.006)
    assert made["models"]["start"]["sets"]["lamp"]["map"] == pytest.approx(100 * full, abs=0.006)
    assert made["gains"] == [] and 5 < made["models"]["start"]["sets"]["lamp"]["ap50"] <= 100


def test_gains_over_each_model_with_intervals(cache: Path, spoilt: DetectorConfig) -> None:
    models = {"start": START, "same": START, "spoilt": spoilt}
    made = held_out_ap(models, SCENES, say=quiet, over=("start", "spoilt"), cache=cache, resamples=100)
    assert list(made["sets"]) == [TOGETHER, SEEN, "lamp", "quilt", "tiles", "wood"]
    gains = {(each["model"], each["over"]): each["sets"] for each in made["gains"]}
    assert set(gains) == {
        ("same", "start"), ("spoilt", "start"), ("start", "spoilt"), ("same", "spoilt")
    }  # fmt: skip
    assert gains["same", "start"][TOGETHER] == {"ap50": 0, "ap50_ci": [0, 0], "map": 0, "map_ci": [0, 0]}
    lost, won = gains["spoilt", "start"][SEEN], gains["start", "spoilt"][SEEN]
    assert lost["map"] < 0 and lost["map_ci"][1] < 0 and won["map"] == -lost["map"]
    assert won["map_ci"] == pytest.approx([-end for end in reversed(lost["map_ci"])], abs=0.02)


def test_figures_by_shape_and_colour_are_means_of_the_labels_that_occur(cache: Path) -> None:
    made = held_out_ap({"start": START}, SCENES, say=quiet, cache=cache, resamples=10)["models"]["start"]
    labels = made["by_label"]
    assert len(labels) == 32 and sum(each["objects"] for each in labels.values()) > 20
    shown = [each["ap50"] for label, each in labels.items() if label.startswith("red ") and each["objects"]]
    assert made["by_colour"]["red"]["ap50"] == pytest.approx(np.mean(shown), abs=0.01)
    balls = [each["map"] for label, each in labels.items() if label.endswith(" ball") and each["objects"]]
    assert made["by_shape"]["ball"]["map"] == pytest.approx(np.mean(balls), abs=0.01)
    assert {each["ap50"] for each in labels.values() if not each["objects"]} <= {None}


def test_detections_are_made_once_and_anew_for_other_weights(
    cache: Path, spoilt: DetectorConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out_ap({"start": START}, SCENES, say=quiet, cache=cache, resamples=10)
    asked = []
    monkeypatch.setattr(seen, "_ranked", lambda model, *_: asked.append(model.model) or 1 / 0)
    held_out_ap({"start": START}, SCENES, say=quiet, cache=cache, resamples=10)
    assert asked == []
    other = spoilt.model_copy(update={"image_side": 96})
    with pytest.raises(ZeroDivisionError):
        held_out_ap({"start": other}, SCENES, say=quiet, cache=cache, resamples=10)
    assert asked == [other.model]


def test_a_name_to_compare_with_must_be_a_model(cache: Path) -> None:
    with pytest.raises(ConfigError, match="No model 'strat'"):
        held_out_ap({"start": START}, SCENES, say=quiet, over=("strat",), cache=cache)
