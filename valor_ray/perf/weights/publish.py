"""`valor bench publish`: a publication from memory, a bare broadcast of the same bytes, and one by files."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from valor_ray.doctor.listening import free_port
from valor_ray.reasoning.learner.learned_weights import Parts
from valor_ray.reasoning.learner.live_channel import LiveChannel, Told
from valor_ray.runs.publications import Transfer
from valor_ray.runs.weight_channel import FileChannel, Probe, Published

Say = Callable[[str], None]
REPLICA = "replica"
SIDES = ("baseline", "ours", "from_float32", "files")


def run(args: Namespace, say: Say) -> dict[str, Any]:
    """{ours, baseline, ratio, from_float32, files, ...}: seconds of one publication, all on this machine.

    ours: of weights that have the engine's type already, as the broadcast's have; from_float32: cast on their way.
    """
    import torch
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    torch.set_num_threads(1)
    model, trained = random_policy(args.layers)
    count = sum(value.numel() for value in model.parameters())
    say(f"{count / 1e6:.0f} million parameters in bfloat16, a replica in a process of its own")
    with tempfile.TemporaryDirectory() as folder, replica(model) as pipe:
        sides = _sides(model, trained, Path(folder), pipe)
        for side in SIDES:
            for _ in range(2):  # a live channel begins by files, then makes its group
                sides[side]()
        before = _files(Path(folder))
        seconds: dict[str, list[float]] = {side: [] for side in SIDES}
        for number in range(args.runs):
            say(f"run {number + 1} of {args.runs}")
            for side in SIDES[number % 2 :] + SIDES[: number % 2]:
                started = time.perf_counter()
                sides[side]()
                seconds[side].append(time.perf_counter() - started)
                if side in ("ours", "from_float32") and _files(Path(folder)) != before:
                    raise AssertionError(f"{side} has written a file")
                before = _files(Path(folder))
        _check(model, pipe)
    return {
        **{side: _figures(values, 2 * count) for side, values in seconds.items()},
        **{
            name: ratios(seconds[side], seconds["baseline"])
            for name, side in (
                ("ratio", "ours"),
                ("ratio_from_float32", "from_float32"),
                ("ratio_files", "files"),
            )
        },
        "files_written_live": 0,
        "work": {"parameters": count, "bytes": 2 * count, "runs": args.runs, "threads": 1},
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
    }


def random_policy(layers: int) -> tuple[Any, Any]:
    """A Qwen3 with random weights, in bfloat16 and in float32: 65 million parameters, and 13 more a layer."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=65_536, hidden_size=1024, intermediate_size=3072, num_hidden_layers=layers,
        num_attention_heads=16, num_key_value_heads=8, head_dim=64, tie_word_embeddings=True,
    )  # fmt: skip
    trained = Qwen3ForCausalLM(config)
    model = Qwen3ForCausalLM(config).to(torch.bfloat16)
    model.load_state_dict(trained.state_dict())
    return model, trained


class OfModel:
    """A channel's Weights."""

    def __init__(self, model: Any, dtype: Any) -> None:
        self._model, self._dtype = model, dtype

    def save(self, folder: Path) -> None:
        self._model.save_pretrained(folder)

    def parts(self) -> Parts:
        return Parts(self._model, self._dtype)


@contextmanager
def replica(model: Any) -> Iterator[Connection]:
    """A replica of the model in a process of its own, for as long as the block lasts."""
    from valor_ray.perf.weights.replica import serve

    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    process = context.Process(target=serve, args=(theirs, shapes))
    process.start()
    try:
        pipe.recv()
        yield pipe
        pipe.send(None)
    finally:
        process.join(5)
        process.kill()


def _sides(model: Any, trained: Any, folder: Path, pipe: Connection) -> dict[str, Callable[[], None]]:
    """What each side does for one publication."""
    import torch

    from valor_ray.models.vllm.transfer.gloo import broadcast, join

    def answer(name: str, *given: Any) -> Any:
        pipe.send((name, given))
        return pipe.recv()

    port = free_port()
    pipe.send(("join_bare", (port,)))
    group = join("127.0.0.1", port, 0, 2)
    pipe.recv()
    tensors = [value.detach() for value in model.parameters()]

    def bare() -> None:
        pipe.send(("bare", ()))
        for tensor in tensors:
            broadcast(group, tensor).wait()
        pipe.recv()

    def by_file(_step: int, written: Path, _probe: Probe) -> Published:
        answer("file", written)
        return Published(1, [])

    def told(_version: str, transfer: Transfer, _probe: Probe) -> Told:
        pipe.send(("live", (transfer,)))
        return Told(lambda: Published(1, [], {REPLICA: pipe.recv()}), lambda _replica, _reason: None)

    def channel(name: str) -> tuple[FileChannel, LiveChannel]:
        files = FileChannel(folder / name, 2, by_file, first=True)
        live = LiveChannel(
            files, lambda: (REPLICA,), told, lambda own: own, backend="gloo", engine_ranks=1, rank=0,
            address=lambda: "127.0.0.1",
        )  # fmt: skip
        return files, live

    ready, cast = OfModel(model, None), OfModel(trained, torch.bfloat16)
    files, ours, from_float32 = channel("files")[0], channel("ours")[1], channel("from_float32")[1]
    return {
        "baseline": bare,
        "ours": lambda: _published(ours, ready),
        "from_float32": lambda: _published(from_float32, cast),
        "files": lambda: _published(files, ready),
    }


def _published(channel: FileChannel | LiveChannel, weights: OfModel) -> None:
    channel.publish(0, weights, [])


def _files(folder: Path) -> list[tuple[Path, int]]:
    """All files, and when they were written."""
    return sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file())


def _check(model: Any, pipe: Connection) -> None:
    """The replica holds what was sent."""
    pipe.send(("sums", ()))
    held = pipe.recv()
    for name, value in model.named_parameters():
        if held[name] != float(value.detach().double().sum()):
            raise AssertionError(f"{name} did not arrive")


def _figures(seconds: Sequence[float], size: int) -> dict[str, Any]:
    median = statistics.median(seconds)
    return {
        "seconds": round(median, 3),
        "gb_per_second": round(size / median / 1e9, 2),
        "runs": [round(value, 3) for value in seconds],
    }


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Of what stands side by side in one run, so that a busy minute counts for both: median and spread."""
    each = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    return {
        "median": round(statistics.median(each), 3),
        "least": round(each[0], 3),
        "most": round(each[-1], 3),
    }
