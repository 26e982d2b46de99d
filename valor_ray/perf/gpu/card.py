"""The card that a check runs on: its name, its published peak, its memory in use."""

from __future__ import annotations

import gc
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# TFLOP/s of dense products as their makers publish them: bfloat16 with float32 sums on tensor cores, and float32
# without TF32, which torch leaves off. The first name that fits counts.
_PEAKS: tuple[tuple[str, Mapping[str, float]], ...] = (
    (r"H100 PCIe", {"bfloat16": 756.0, "float32": 51.2}),
    (r"H100 NVL", {"bfloat16": 835.0, "float32": 60.0}),
    (r"H[12]00", {"bfloat16": 989.4, "float32": 66.9}),
    (r"A100", {"bfloat16": 312.0, "float32": 19.5}),
    (r"L4", {"bfloat16": 121.0, "float32": 30.3}),
    (r"L40S", {"bfloat16": 362.0, "float32": 91.6}),
    (r"RTX 4090", {"bfloat16": 165.2, "float32": 82.6}),
)


@dataclass(frozen=True)
class Card:
    """The device of a check."""

    device: str  # "cuda" or "cpu", as torch names it
    name: str
    memory_gib: float | None  # of the card; None on a CPU
    capability: str | None  # of CUDA, as "9.0"
    peak_tflops: Mapping[str, float] | None  # by dtype; None: not in our table

    @property
    def on_gpu(self) -> bool:
        return self.device == "cuda"

    def share_of_peak(self, dtype: str, flops_per_s: float) -> float | None:
        """Of the published peak of products in `dtype`, 0..1."""
        return round(flops_per_s / (1e12 * self.peak_tflops[dtype]), 4) if self.peak_tflops else None


def card(device: str) -> Card:
    """The first GPU, or this machine's processor."""
    import torch

    if device != "cuda":
        return Card(device, "cpu", None, None, None)
    about = torch.cuda.get_device_properties(0)
    return Card(
        device,
        about.name,
        round(about.total_memory / 2**30, 1),
        f"{about.major}.{about.minor}",
        published_peaks(about.name),
    )


def published_peaks(name: str) -> Mapping[str, float] | None:
    """TFLOP/s by dtype of a card that torch calls `name`; None: not in the table."""
    return next((peaks for known, peaks in _PEAKS if re.search(rf"\b{known}\b", name)), None)


def versions() -> dict[str, Any]:
    """Of what the figures depend on."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import torch

    def of(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    packages = ("torch", "transformers", "accelerate", "peft", "trl", "dlr-moge", "numpy")
    return {
        "python": platform.python_version(),
        **{name: of(name) for name in packages},
        "cuda": torch.version.cuda,
    }


def start_counting_memory(card: Card) -> None:
    """Free what earlier parts have left, and forget their peak."""
    gc.collect()
    if card.on_gpu:
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def most_memory_gib(card: Card) -> float | None:
    """The most that tensors have taken since `start_counting_memory`; None on a CPU, which does not count it."""
    if not card.on_gpu:
        return None
    import torch

    return round(torch.cuda.max_memory_allocated() / 2**30, 2)


def wait_for(card: Card) -> None:
    """Until the card has done all that it was given."""
    if card.on_gpu:
        import torch

        torch.cuda.synchronize()
