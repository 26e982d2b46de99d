"""The small Swin model whose outputs the original package has computed (parity/make_fixture.py)."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, GroundingDinoConfig, SwinConfig

from valor_ray.tabletop.pretrain.detector_model import detector_processor

PARITY = Path(__file__).parent / "parity"


@pytest.fixture(scope="session")
def seeded():
    """parity/seeded_weights.py, which the original's environment runs, too."""
    spec = importlib.util.spec_from_file_location("seeded_weights", PARITY / "seeded_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def computed():
    """What the original has computed: logits, boxes, and the shapes of its weights by name."""
    with np.load(PARITY / "original_outputs.npz") as held:
        return {**held, "shapes": json.loads(held["shapes"].tobytes())}


@pytest.fixture(scope="session")
def original_state(seeded, computed):
    """The original's weights; its box heads are one module under several names."""
    state = {
        name: torch.from_numpy(seeded.tensor(name, tuple(shape)))
        for name, shape in computed["shapes"].items()
    }
    for name in [name for name in state if ".bbox_embed." in name or name.startswith("bbox_embed.")]:
        state[name] = state["bbox_embed.0." + name.split("bbox_embed.")[1].split(".", 1)[1]]
    return state


@pytest.fixture(scope="session")
def small_config(seeded):
    """A fresh GroundingDinoConfig of these sizes at each call."""

    def config(**changed):
        return GroundingDinoConfig(
            backbone_config=SwinConfig(
                embed_dim=seeded.EMBED_DIM,
                depths=list(seeded.DEPTHS),
                num_heads=list(seeded.SWIN_HEADS),
                window_size=seeded.WINDOW,
                out_indices=[2, 3, 4],
            ),
            text_config=BertConfig(
                vocab_size=seeded.VOCABULARY,
                hidden_size=seeded.TEXT_HIDDEN,
                num_hidden_layers=seeded.TEXT_LAYERS,
                num_attention_heads=seeded.TEXT_HEADS,
                intermediate_size=2 * seeded.TEXT_HIDDEN,
            ),
            d_model=seeded.D_MODEL,
            encoder_layers=seeded.LAYERS,
            decoder_layers=seeded.LAYERS,
            encoder_ffn_dim=seeded.FFN,
            decoder_ffn_dim=seeded.FFN,
            encoder_attention_heads=seeded.HEADS,
            decoder_attention_heads=seeded.HEADS,
            num_queries=seeded.QUERIES,
            disable_custom_kernels=True,
            **changed,
        )

    return config


@pytest.fixture(scope="session")
def checkpoint(original_state, small_config, tmp_path_factory):
    """An original-format file as training tools write it, with config and tokenizer for its sizes beside it."""
    folder = tmp_path_factory.mktemp("original")
    torch.save(
        {"model": {f"module.{name}": value for name, value in original_state.items()}},
        folder / "original.pth",
    )
    small_config().save_pretrained(folder)
    detector_processor(128).save_pretrained(folder)
    return folder / "original.pth"


@pytest.fixture(scope="session")
def outputs(seeded):
    """Logits of the caption's tokens and boxes that a model of ours computes from the same inputs."""

    @torch.inference_mode()
    def of(model):
        ids = torch.tensor(seeded.CAPTIONS)
        pixels, mask = seeded.pictures()
        out = model.eval()(
            pixel_values=torch.from_numpy(pixels),
            pixel_mask=torch.from_numpy(mask).long(),
            input_ids=ids,
            attention_mask=(ids != 0).long(),
        )
        return out.logits[..., : ids.shape[1]].numpy(), out.pred_boxes.numpy()

    return of


@pytest.fixture(scope="session")
def worst():
    """The largest difference of two arrays, which are infinite at the same places."""

    def of(ours, theirs):
        real = np.isfinite(theirs)
        assert (np.isfinite(ours) == real).all()
        return float(np.abs(ours[real] - theirs[real]).max())

    return of
