"""Checksums of tensors: what a learner has sent is compared with what each worker of an engine was given.

The bytes are laid out as rows of whole numbers; the sum of each row and of each column, modulo 2**64, is taken, and a
hash of those sums. Any order of adding gives the same, on a CPU or a GPU; a NaN is bytes like others. Numbers that
are changed or exchanged change the sum of a row or a column, unless four or more at the corners of rectangles cancel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_WIDTH = 4096  # numbers of 8 bytes in a row
_ROWS = 16  # that a CPU takes at a time: half a MiB stays in a core's cache
_MIX = (-4658895280553007687, -7723592293110705685)  # splitmix64's, as int64
_MODULUS = 2**64


def checksum(tensor: torch.Tensor) -> torch.Tensor:
    """Of a tensor of any type and shape: int64 (2,), of rows and columns, on its device, which is not waited for."""
    import torch

    rows, rest = _rows(tensor)
    at_a_time = _ROWS if rows.device.type == "cpu" else max(1, len(rows))
    down, across = rest.clone(), [rest.sum().view(1)]
    for part in rows.split(at_a_time) if len(rows) else ():
        down += part.sum(0)
        across.append(part.sum(1))
    return torch.stack((_hash(torch.cat(across)), _hash(down)))


def _rows(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Its bytes as whole rows, and what is left as a further one, filled up with zeros."""
    import torch

    flat = tensor.detach().contiguous().view(-1).view(torch.uint8)
    if flat.storage_offset() % 8:  # in the middle of a packed buffer
        flat = flat.clone()
    full = len(flat) // (8 * _WIDTH) * (8 * _WIDTH)
    rest = torch.zeros(8 * _WIDTH, dtype=torch.uint8, device=flat.device)
    rest[: len(flat) - full] = flat[full:]
    return flat[:full].view(torch.int64).view(-1, _WIDTH), rest.view(torch.int64)


def _hash(sums: torch.Tensor) -> torch.Tensor:
    """Of sums and their order: splitmix64 of each and its place, added up."""
    import torch

    mixed = sums * _MIX[0] + torch.arange(1, len(sums) + 1, device=sums.device)
    for shift, factor in zip((30, 27), _MIX, strict=True):
        mixed = (mixed ^ (mixed >> shift)) * factor
    return (mixed ^ (mixed >> 31)).sum()


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
