"""Decoding processes: killed at their limits, replaced, closed to the rest of the machine, and fair."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import hostile_pictures as hostile
import pytest
from hostile_pictures import encode
from PIL import Image

from valor_ray import images
from valor_ray.config.service import ImageConfig
from valor_ray.decoding import pool
from valor_ray.errors import ImageError

LIMITS = ImageConfig()
GIF = encode(Image.new("RGB", (40, 24), "red"), "GIF")
PNG = encode(Image.new("RGB", (40, 24), "red"), "PNG")
SHORT = ImageConfig(decode_seconds=0.1, decoders=1)
ENDLESS = hostile.ppm_of_digits(4 * 2**20)  # seconds of Python


def test_a_picture_that_takes_too_long_is_ended_and_the_next_one_is_decoded() -> None:
    with pytest.raises(ImageError, match=r"takes more than 0\.1 s to decode"):
        images.decode(ENDLESS, SHORT)
    assert images.decode(GIF, LIMITS).width == 40


def test_a_picture_that_needs_too_much_memory_is_refused_by_the_same_worker() -> None:
    images.decode(GIF, LIMITS)
    workers = pool.POOL.pids()
    with pytest.raises(ImageError, match=r"needs more than 64 MiB to decode"):
        images.decode(hostile.tiff_of_zeros(4200), ImageConfig(decode_memory_mib=64))
    assert images.decode(GIF, LIMITS).width == 40
    assert pool.POOL.pids() == workers


def test_a_worker_is_used_again_and_replaced_when_it_is_gone() -> None:
    images.decode(GIF, LIMITS)
    (first, *_) = reversed(pool.POOL.pids())
    images.decode(GIF, LIMITS)
    assert pool.POOL.pids()[-1] == first
    for pid in pool.POOL.pids():
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert images.decode(GIF, LIMITS).width == 40
    assert first not in pool.POOL.pids()


def test_a_worker_has_no_secrets_no_files_and_can_open_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_API_KEY", "secret")
    pool.POOL.close()
    images.decode(GIF, LIMITS)
    place = Path(f"/proc/{pool.POOL.pids()[-1]}")
    assert b"secret" not in (place / "environ").read_bytes()
    assert sorted(os.listdir(place / "fd")) == ["0", "1", "2", "3", "4"]
    limits = (place / "limits").read_text()
    assert "Max open files            5                    5" in limits
    assert "Max file size             0                    0" in limits


def test_a_forked_process_does_not_talk_to_its_parents_workers() -> None:
    images.decode(GIF, LIMITS)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = int(pool.POOL.pids() != [] or images.decode(GIF, LIMITS).width != 40)
            pool.POOL.close()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert images.decode(GIF, LIMITS).width == 40


def test_tiny_pictures_overtake_costly_ones() -> None:
    async def main() -> int:
        costly = [asyncio.create_task(images.decode_soon(ENDLESS, SHORT)) for _ in range(5)]
        await asyncio.sleep(0.05)
        await images.decode_soon(PNG, SHORT)
        waiting = sum(not task.done() for task in costly)
        for outcome in await asyncio.gather(*costly, return_exceptions=True):
            assert isinstance(outcome, ImageError)
        return waiting

    assert asyncio.run(main()) >= 3


def test_both_ways_of_decoding_give_the_same_picture() -> None:
    for data in (GIF, PNG):
        assert asyncio.run(images.decode_soon(data, LIMITS)).key == images.decode(data, LIMITS).key
