"""MoGe-2 without Ray: pictures in, metric depth maps out (paper §3; arXiv 2507.02546 for the model)."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from valor_ray.errors import CheckpointError
from valor_ray.models.checkpoint import compare_keys
from valor_ray.models.hub import loadable
from valor_ray.models.moge.backbone import register_backbones
from valor_ray.records import DepthMap, Picture

if TYPE_CHECKING:
    from valor_ray.config.models import DepthConfig

MODEL_FILE = "model.pt"  # its name in a folder and on the hub
# Constants of the code that travel with the weights; a checkpoint without them loses nothing.
_CONSTANTS = ("encoder.image_mean", "encoder.image_std")
# Of the pictures in a pass, which takes about 100 bytes for each (picture, points, mask, depth: float32 at full size).
# A photograph of 12 megapixels is 1.2 GB; a larger one has a pass of its own, where four of 40 would be 16 GB.
_PIXELS_AT_ONCE = 12_000_000


def _checkpoint_file(model: str) -> Path:
    """The local .pt of a `model` setting; a hub id is fetched. Raises CheckpointError, ConfigError."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    name = loadable(model)
    path = Path(name)
    if path.is_dir():
        path = path / MODEL_FILE
        if not path.is_file():
            raise CheckpointError(f"{path} is missing. A MoGe folder needs it; copy the folder again.")
    if path.is_file():
        return path
    try:
        return Path(hf_hub_download(name, MODEL_FILE))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise CheckpointError(
            f"Cannot fetch {MODEL_FILE} of {name} from the hub ({error}). Check the id and the network, "
            "or set depth.model to a local file."
        ) from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """`model_config` and weights of a checkpoint file. Raises CheckpointError for any other or cut-short file."""
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(
            f"{path} is cut short or not a MoGe checkpoint ({reason}). Copy it again."
        ) from error
    parts = [content.get(key) if isinstance(content, Mapping) else None for key in ("model_config", "model")]
    if not all(isinstance(part, Mapping) for part in parts):
        raise CheckpointError(
            f"{path} has no `model_config` and `model`. Give a MoGe-2 checkpoint ({MODEL_FILE})."
        )
    return dict(parts[0] or {}), dict(parts[1] or {})


def load_moge(path: Path) -> Any:
    """The `MoGeModel` of a checkpoint file, in float32, ready for inference.

    Strict where MoGe's own loading is not: raises CheckpointError naming missing, unexpected and misshapen tensors.
    """
    from moge.model.v2 import MoGeModel

    model_config, weights = _read(path)
    register_backbones()
    try:
        model = MoGeModel(**model_config)
    except (TypeError, AttributeError, ValueError, KeyError, IndexError, ArithmeticError) as error:
        raise CheckpointError(
            f"The model_config in {path} is not one of MoGe-2 ({error}). Get it again."
        ) from error
    own = model.state_dict()
    weights = {name: own[name] for name in _CONSTANTS if name in own} | weights
    expected, present = (
        {name: tuple(tensor.shape) for name, tensor in part.items()} for part in (own, weights)
    )
    compare_keys(path, expected, present, remedy="Use weights and model_config of the same checkpoint.")
    model.load_state_dict(weights)
    return model.eval()


class MoGe:
    """A loaded depth model: metric depth of pictures of any sizes.

    Held by a depth replica, or by `wiring` in one process. Not thread-safe: one call at a time.
    Making one blocks while weights load, `depth` for its forward passes: neither belongs on an event loop.
    """

    def __init__(self, config: DepthConfig) -> None:
        """Load the configured model. Raises CheckpointError or ConfigError saying which file or key is at fault."""
        import torch

        self._image_side = config.image_side
        self._max_batch = config.max_batch
        self._cuda = config.num_gpus > 0 and torch.cuda.is_available()
        self._model = load_moge(_checkpoint_file(config.model)).to("cuda" if self._cuda else "cpu")
        # MoGe asks for a float32 autocast, which on CPU means "off" and is announced at every call.
        warnings.filterwarnings("ignore", message="In CPU autocast")

    def depth(self, pictures: Sequence[Picture]) -> list[DepthMap]:
        """Metric depth of each picture, at the picture's own size; pictures of equal size share forward passes, large
        ones fewer of them to a pass."""
        by_size: dict[tuple[int, ...], list[int]] = {}
        for index, picture in enumerate(pictures):
            by_size.setdefault(picture.rgb.shape, []).append(index)
        maps: dict[int, DepthMap] = {}
        for same in by_size.values():
            height, width = pictures[same[0]].rgb.shape[:2]
            at_once = max(1, min(self._max_batch, _PIXELS_AT_ONCE // (height * width)))
            for start in range(0, len(same), at_once):
                chunk = same[start : start + at_once]
                maps.update(zip(chunk, self._infer([pictures[index] for index in chunk]), strict=True))
        return [maps[index] for index in range(len(pictures))]

    def _infer(self, pictures: Sequence[Picture]) -> list[DepthMap]:
        """Pictures of one size through the model."""
        import torch
        import torch.nn.functional as F

        height, width = pictures[0].height, pictures[0].width
        images = (
            torch.from_numpy(np.stack([picture.rgb for picture in pictures])).permute(0, 3, 1, 2).float()
            / 255
        )
        side = self._image_side
        if side is not None and side < min(height, width):
            shrink = side / min(height, width)
            smaller = (round(height * shrink), round(width * shrink))
            images = F.interpolate(images, smaller, mode="bilinear", align_corners=False, antialias=True)
        output = self._model.infer(images, use_fp16=self._cuda)
        depth = output["depth"].float()
        if depth.shape[1:] != (height, width):
            # Nearest: mixing with masked neighbours, which are infinite, would spread the mask.
            depth = F.interpolate(depth[:, None], (height, width), mode="nearest-exact")[:, 0]
        depth = torch.where(torch.isfinite(depth) & (depth > 0), depth, torch.inf).cpu()
        focal = (output["intrinsics"][:, 0, 0] * width).tolist()
        maps = [np.array(one) for one in depth.numpy()]
        for one in maps:
            one.setflags(write=False)
        return [DepthMap(one, f) for one, f in zip(maps, focal, strict=True)]
