"""The depth model of the check, where what MoGe needs is installed (tests/perf/test_gpu_check.py runs the others)."""

import pytest

from valor_ray.perf.gpu import eyes, shapes
from valor_ray.perf.gpu.card import card


def test_depth_is_measured_behind_our_own_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eyes, "_CALLS", 2)
    figures = eyes.check_depth(card("cpu"), True, print)
    assert figures["calls"] == 2 and figures["pictures_per_s"] > 0 and figures["memory_gib"] is None
    assert figures["pictures"] == {"count": 4, "height": 96, "width": 160}


@pytest.mark.parametrize(("name", "millions"), [("policy", 596.0), ("detector", 172.3)])
def test_the_shapes_have_as_many_parameters_as_the_published_models(name: str, millions: float) -> None:
    """MoGe does not build without drawing its 331 M weights."""
    import torch
    from transformers import AutoModelForCausalLM, GroundingDinoForObjectDetection

    make = {"policy": AutoModelForCausalLM.from_config, "detector": GroundingDinoForObjectDetection}[name]
    with torch.device("meta"):
        model = make(getattr(shapes, name)(tiny=False))
    assert round(sum(weight.numel() for weight in model.parameters()) / 1e6, 1) == millions
