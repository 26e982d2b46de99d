"""Memory of the host for tensors on their way, used again and again: to get fresh memory costs more than to send it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class Room:
    """As many tensors of a type and shape as were ever held at a time. They stay for as long as this does."""

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], list[torch.Tensor]] = {}  # by type and shape

    def take(self, dtype: torch.dtype, shape: Sequence[int]) -> torch.Tensor:
        """Its own until nobody holds it, or a view of it."""
        import torch

        made = self._made.setdefault((dtype, *shape), [])
        for tensor in made:
            if torch._C._storage_Use_Count(tensor.untyped_storage()._cdata) == 2:  # `tensor`, and who asks
                return tensor.detach()
        made.append(torch.empty(shape, dtype=dtype))
        return made[-1].detach()
