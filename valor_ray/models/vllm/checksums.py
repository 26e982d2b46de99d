"""Sums over the bytes of tensors: what a learner has sent is compared with what each worker of an engine was given.

Sums of whole numbers modulo 2**64, so that every order of adding, on a CPU or a GPU, gives the same; NaNs are bytes
like others. Two are taken: of the words, and of the words times their places, which notices words in another order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_WIDTH = 1024  # words of a row
_ROWS_CPU, _ROWS_GPU = (
    128,
    16384,
)  # taken at a time: half a MiB stays in a core's cache, 64 MiB keep a GPU busy
_MODULUS = 2**64


def checksum(tensor: torch.Tensor) -> torch.Tensor:
    """Of a tensor of any type and shape: both sums, int64 (2,), on its device, which is not waited for.

    With words in rows, place = width x row + column: sums over rows and over columns, which are fast, are enough.
    """
    import torch

    words = _words(tensor)
    rows = words[: len(words) // _WIDTH * _WIDTH].view(-1, _WIDTH)
    rest = words[rows.numel() :].to(torch.int64)
    places = torch.arange(1, _WIDTH + 1, device=words.device)
    plain, placed = rest.sum(), ((rows.numel() + places[: len(rest)]) * rest).sum()
    at_a_time = _ROWS_CPU if words.device.type == "cpu" else _ROWS_GPU
    for start in range(0, len(rows), at_a_time):
        table = rows[start : start + at_a_time].to(torch.int64)
        across = table.sum(1)
        before = _WIDTH * torch.arange(start, start + len(table), device=words.device)
        plain = plain + across.sum()
        placed = placed + (places * table.sum(0)).sum() + (before * across).sum()
    return torch.stack((plain, placed))


def _words(tensor: torch.Tensor) -> torch.Tensor:
    """Its bytes as whole numbers, flat: of four bytes, or of two or one where their number asks for that."""
    import torch

    flat = tensor.detach().contiguous().view(-1).view(torch.uint8)
    kind = next(kind for kind in (torch.int32, torch.int16, torch.uint8) if len(flat) % kind.itemsize == 0)
    if flat.storage_offset() % kind.itemsize:  # in the middle of a packed buffer
        flat = flat.clone()
    return flat.view(kind)


def in_words(sums: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Of each tensor by name, its checksum as 32 hex digits. Waits for the device, once."""
    import torch

    if not sums:
        return {}
    pairs = torch.stack(list(sums.values())).tolist()
    return {
        name: "".join(f"{value % _MODULUS:016x}" for value in pair)
        for name, pair in zip(sums, pairs, strict=True)
    }


def first_difference(sent: Mapping[str, str], received: Mapping[str, str]) -> str | None:
    """Name of the first tensor that did not come as it was sent, or not at all, or that nobody sent; None: none."""
    names = [*sent, *(name for name in received if name not in sent)]
    return next((name for name in names if sent.get(name) != received.get(name)), None)
