"""New weights in a running vLLM engine: the check before, and the part that runs inside vLLM's worker processes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from valor_ray.models.checkpoint import compare_keys, folder_tensors
from valor_ray.models.vllm.engine_end import end_with_owner
from valor_ray.models.vllm.transfer.checksums import checksum, in_words

if TYPE_CHECKING:
    import torch

WORKER_EXTENSION = f"{__name__}.WeightLoading"  # what AsyncEngineArgs.worker_extension_cls is given


def check_weights(folder: Path, hf_config: Any) -> None:
    """Whether the folder holds exactly the weights of a running model, which hf_config (transformers) describes.

    Reads headers only. Raises CheckpointError naming missing, unexpected or wrongly shaped tensors, or a cut file.
    """
    check_shapes(folder, folder_tensors(folder), hf_config)


def check_shapes(where: Path | str, present: dict[str, tuple[int, ...]], hf_config: Any) -> None:
    """Whether these names and shapes are exactly the weights of a running model. Raises CheckpointError."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(hf_config)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for tied in getattr(model, "all_tied_weights_keys", None) or {}:
        if tied not in present:
            expected.pop(tied, None)
    compare_keys(where, expected, present, "Publish weights of the model that the engine was started with.")


def read_weights(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, tensor) of every tensor in a checkpoint folder, shard by shard."""
    from safetensors import safe_open

    index = folder / "model.safetensors.index.json"
    shards = ["model.safetensors"]
    if index.is_file():
        shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    for shard in shards:
        with safe_open(folder / shard, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  # not a mapping
                yield name, file.get_tensor(name)


class WeightLoading:
    """Mixed into vLLM's worker class; called by collective_rpc while nothing is scheduled.

    vLLM's own `reload_weights` does the first half only: on CPU a tied lm_head keeps the packed copy of its old
    weights, and says nothing.
    """

    vllm_config: Any  # the worker's own
    model_runner: Any
    _sums: dict[str, Any]  # of the transfer in work

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """The first that is ours in a worker process, before it loads anything."""
        end_with_owner()
        from valor_ray.models.vllm.transfer.gloo import register

        register()
        return super().__new__(cls)

    def load_checkpoint(self, folder: str) -> None:
        """In place, layer by layer: compiled graphs keep their tensors. Raises RuntimeError when one is missing."""
        from vllm.config import set_current_vllm_config
        from vllm.model_executor.model_loader.reload import (
            finalize_layerwise_reload,
            initialize_layerwise_reload,
        )

        model = self.model_runner.get_model()
        parameters = {name for name, _ in model.named_parameters()}  # a tied one counts once
        with set_current_vllm_config(self.vllm_config):
            initialize_layerwise_reload(model)
            try:
                loaded = model.load_weights(self._own_weights(Path(folder)))
            finally:
                finalize_layerwise_reload(model, self.vllm_config.model_config)
        if missing := parameters - set(loaded):
            raise RuntimeError(f"no weights for {', '.join(sorted(missing)[:4])}")

    def note_received(self) -> None:
        """Before a transfer: from now on the checksum of each tensor is noted as the model is given it, whatever vLLM's
        engine for the way is. Nothing is waited for."""
        model, sums = self.model_runner.get_model(), {}
        load = model.load_weights

        def load_weights(weights: Iterable[tuple[str, torch.Tensor]]) -> Any:
            def noted() -> Iterator[tuple[str, torch.Tensor]]:
                for name, tensor in weights:
                    sums[name] = checksum(tensor)
                    yield name, tensor

            return load(noted())

        self._sums, model.load_weights = sums, load_weights

    def received(self) -> dict[str, str]:
        """After it: the checksums of what came, by name of the tensor."""
        del self.model_runner.get_model().load_weights
        return in_words(self._sums)

    def _own_weights(self, folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
        tied = self._tied()
        return (
            (name, tensor) for name, tensor in read_weights(folder) if not (tied and name == "lm_head.weight")
        )

    def _tied(self) -> bool:
        return bool(
            getattr(self.vllm_config.model_config.hf_text_config, "tie_word_embeddings", False),
        )

    def repack_tied_head(self) -> None:
        """Makes the packed copy of an lm_head that shares the embedding's weights anew; nothing for an untied one."""
        from vllm.config import set_current_vllm_config
        from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

        if not self._tied():
            return
        with set_current_vllm_config(self.vllm_config):
            for module in self.model_runner.get_model().modules():
                if isinstance(module, ParallelLMHead):
                    module.quant_method.process_weights_after_loading(module)
