"""Memory that is used again, and never while somebody holds it."""

from __future__ import annotations

import torch

from valor_ray.models.vllm.transfer.room import Room


def test_memory_is_used_again_as_soon_as_nobody_holds_it_or_a_view_of_it() -> None:
    room = Room()
    first = room.take(torch.float32, (3, 4))
    at = first.data_ptr()
    assert room.take(torch.float32, (3, 4)).data_ptr() != at
    view = first[1:]
    del first
    assert room.take(torch.float32, (3, 4)).data_ptr() != at  # the view holds it
    del view
    assert room.take(torch.float32, (3, 4)).data_ptr() == at
    assert room.take(torch.float32, (4, 3)).data_ptr() != at
    assert room.take(torch.int32, (3, 4)).dtype == torch.int32


def test_who_holds_the_same_tensor_by_another_name_keeps_it() -> None:
    room = Room()
    held = [room.take(torch.bfloat16, (5,)).fill_(1)]
    room.take(torch.bfloat16, (5,)).fill_(2)
    assert held[0].tolist() == [1] * 5
