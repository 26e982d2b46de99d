"""What a loaded detector sees of a picture: the same pixels whatever else is installed."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.utils.logging import enable_progress_bar

from valor_ray.config.models import CHECKPOINTS
from valor_ray.models.grounding_dino.load import load_detector

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as published


def plain(rgb: np.ndarray, height: int, width: int) -> torch.Tensor:
    """Resized by PIL, 0..1, normalised: (3, height, width)."""
    small = np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR), np.float64)
    return torch.from_numpy(((small / 255 - MEAN) / DEVIATION).transpose(2, 0, 1)).float()


@pytest.mark.parametrize(("size", "expected"), [((200, 330), (160, 264)), ((700, 200), (320, 91))])
def test_pixels_are_those_of_pil(size, expected):
    """Shortest side 160, longest at most 320. torchvision's resizing differs by up to 0.035 (seen with 0.29)."""
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    processor = load_detector("tabletop:detector").image_processor
    inputs = processor(images=[rgb], return_tensors="pt", input_data_format="channels_last")
    pixels = inputs["pixel_values"][0]
    assert tuple(pixels.shape[1:]) == expected
    assert (pixels - plain(rgb, *expected)).abs().max() < 1e-5


def test_a_processor_of_the_folder_is_read_and_torchvision_is_not_asked(checkpoint):
    for place in ("tabletop:detector", str(CHECKPOINTS / "detector"), str(checkpoint)):
        assert type(load_detector(place).image_processor).__name__ == "GroundingDinoImageProcessorPil"
    assert load_detector(str(checkpoint)).image_processor.size["shortest_edge"] == 128


def test_loading_draws_no_bar_amid_a_job_s_own_lines(capfd: pytest.CaptureFixture[str]) -> None:
    enable_progress_bar()
    load_detector("tabletop:detector")
    assert "Loading weights" not in "".join(capfd.readouterr())
