"""Checksums of tensors: by hand, of every bit, of order; what a worker notes; gloo with a bit that flips on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from valor_ray.doctor.listening import free_port
from valor_ray.models.vllm.transfer import checksums
from valor_ray.models.vllm.transfer.checksums import checksum, first_difference, in_words
from valor_ray.models.vllm.weights import WeightLoading
from valor_ray.perf.weights.replica import engine_of

KINDS = [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int8, torch.bool]


WIDTH = checksums._WIDTH


def by_hand(tensor: torch.Tensor) -> list[int]:
    """Both hashes, by whole numbers of any size."""
    data = tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)]
    rows = [words[at : at + WIDTH] for at in range(0, len(data) // 8 // WIDTH * WIDTH, WIDTH)]
    rest = words[len(rows) * WIDTH :]
    across = [sum(rest), *map(sum, rows)]
    down = [sum(column) for column in zip(*rows, [*rest, *[0] * (WIDTH - len(rest))], strict=True)]
    return [
        sum(mixed(value, place) for place, value in enumerate(sums, 1)) % 2**64 for sums in (across, down)
    ]


def mixed(value: int, place: int) -> int:
    """splitmix64 of a number and its place."""

    def shifted(number: int, by: int) -> int:  # the sign goes along, as in torch
        return ((number - 2**64 if number >= 2**63 else number) >> by) % 2**64

    value = (value * 0xBF58476D1CE4E5B9 + place) % 2**64
    for by, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = (value ^ shifted(value, by)) * factor % 2**64
    return value ^ shifted(value, 31)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (4096,), (7, 333), (60, 1025)])
def test_checksums_are_those_by_hand(kind: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = (torch.randn(shape) * 100).to(kind)
    assert [value % 2**64 for value in checksum(tensor).tolist()] == by_hand(tensor)


def test_a_device_that_takes_more_rows_at_a_time_has_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = torch.randn(700, 1111)
    sums = checksum(tensor)
    for rows in (1, 5, 1000):
        monkeypatch.setattr(checksums, "_ROWS", rows)
        assert torch.equal(checksum(tensor), sums)


def test_a_view_into_a_packed_buffer_has_the_sums_of_its_own_copy() -> None:
    buffer = torch.randint(0, 256, (1000,), dtype=torch.uint8)
    for at in (0, 1, 2, 4, 6):
        view = buffer[at : at + 400]
        assert torch.equal(checksum(view), checksum(view.clone()))
    assert torch.equal(checksum(buffer.view(10, 100).T), checksum(buffer.view(10, 100).T.contiguous()))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_every_flipped_bit_and_every_exchange_is_seen(kind: torch.dtype) -> None:
    in_row = 8 * WIDTH // kind.itemsize
    last = 2 * in_row + 2099
    tensor = torch.randn(last + 1, dtype=torch.float32).to(kind)
    sums = checksum(tensor)
    for place in (0, 1, in_row - 1, in_row, last):
        for bit in range(8 * kind.itemsize):
            assert not torch.equal(checksum(flipped(tensor, place, bit)), sums), (place, bit)
    for a, b in ((0, 1), (0, in_row), (5, in_row + 7), (in_row - 1, in_row), (2, last), (in_row + 2, last)):
        other = tensor.clone()
        other[a], other[b] = tensor[b], tensor[a]
        assert not torch.equal(checksum(other), sums), (a, b)


def test_signs_that_flip_together_and_rows_in_another_order_are_seen() -> None:
    """Of the top bits a plain sum modulo 2**64 keeps nothing but their parity."""
    tensor = torch.randint(0, 2**62, (3 * WIDTH + 9,))
    sums = checksum(tensor)
    for a, b in ((0, 2), (0, WIDTH), (4, 2 * WIDTH + 2), (1, 3 * WIDTH + 1)):
        assert not torch.equal(checksum(flipped(flipped(tensor, a, 63), b, 63)), sums), (a, b)
    rows = tensor.split(WIDTH)
    assert not torch.equal(checksum(torch.cat((rows[1], rows[0], *rows[2:]))), sums)
    assert not torch.equal(checksum(torch.cat((rows[0].roll(1), *rows[1:]))), sums)


def flipped(tensor: torch.Tensor, place: int, bit: int) -> torch.Tensor:
    copy = tensor.clone()
    data = copy.view(-1).view(torch.uint8)
    data[place * tensor.itemsize + bit // 8] ^= 1 << bit % 8
    return copy


def test_nans_are_compared_by_their_bytes() -> None:
    tensor = torch.full((50,), torch.nan)
    assert torch.equal(checksum(tensor), checksum(tensor.clone()))
    assert not torch.equal(checksum(tensor), checksum(flipped(tensor, 7, 3)))  # another NaN


def test_the_first_tensor_that_differs_is_named() -> None:
    sent = in_words(
        {"a": checksum(torch.ones(3)), "b": checksum(torch.ones(4)), "c": checksum(torch.ones(5))}
    )
    assert first_difference(sent, dict(sent)) is None and len(set(sent.values())) == 3
    assert all(len(words) == 32 for words in sent.values()) and in_words({}) == {}
    assert first_difference(sent, sent | {"c": "0", "b": "0"}) == "b"
    assert first_difference(sent, {}) == "a"
    assert first_difference(sent, sent | {"d": "0"}) == "d"


class Model(torch.nn.Module):
    """What vLLM's models have."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, torch.Tensor] = {}

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        self.held.update((name, tensor.clone()) for name, tensor in weights)
        return set(self.held)


def worker_of(model: Model) -> WeightLoading:
    """A worker without the watch over its process."""
    worker = object.__new__(WeightLoading)
    worker.model_runner = SimpleNamespace(get_model=lambda: model)
    return worker


def test_a_worker_notes_what_its_model_is_given_and_nothing_afterwards() -> None:
    model = Model()
    worker = worker_of(model)
    own = model.load_weights
    worker.note_received()
    assert model.load_weights([("a", torch.ones(3))]) == {"a"}
    model.load_weights(iter([("b", torch.zeros(2)), ("c", torch.ones(1))]))
    assert worker.received() == in_words({name: checksum(model.held[name]) for name in ("a", "b", "c")})
    assert model.load_weights == own


class Source:
    """vLLM's WeightSource over tensors."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        self._tensors = tensors

    def metadata(self) -> list[Any]:
        return [
            SimpleNamespace(name=name, dtype=tensor.dtype, shape=tuple(tensor.shape))
            for name, tensor in self._tensors.items()
        ]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        return iter(self._tensors.items())


class Client:
    """Tells the trainer's calls to one engine."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        self._engine.init_transfer_engine(self._engine.parse_init_info(init_info))

    def start_weight_update(self) -> None:
        pass

    def update_weights(self, update_info: dict[str, Any]) -> None:
        self._engine.update_weights(update_info)

    def finish_weight_update(self) -> None:
        pass


@pytest.mark.parametrize("flip", [False, True])
def test_what_comes_over_gloo_is_what_was_sent_unless_a_bit_flips_on_the_way(
    flip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sides of the transfer in threads: the trainer's engine, and that of a worker."""
    from valor_ray.models.vllm.transfer import gloo
    from valor_ray.reasoning.learner.live_channel import _Summed

    sent = {
        "first": torch.randn(3, 5), "nan": torch.full((7,), torch.nan), "half": torch.randn(2000).bfloat16(),
    }  # fmt: skip
    model = Model()
    worker, engine = worker_of(model), engine_of(model)
    broadcast = gloo.broadcast

    def distorting(group: Any, tensor: torch.Tensor) -> Any:
        if group is not engine._group and tensor.shape == (7,):
            tensor = flipped(tensor, 2, 9)
        return broadcast(group, tensor)

    if flip:
        monkeypatch.setattr(gloo, "broadcast", distorting)
    source = _Summed(Source(sent))
    init = gloo.GlooTrainerInit(rank=0, master_address="127.0.0.1", master_port=free_port(), world_size=2)
    trainer = gloo.GlooTrainer.trainer_init(init, client=Client(engine), source=source)
    worker.note_received()
    trainer.send_weights()
    trainer.shutdown()
    engine.shutdown()
    assert first_difference(source.sent(), worker.received()) == ("nan" if flip else None)
    assert torch.equal(model.held["half"], sent["half"])
