"""What pictures cost at the default limits: CPU, memory and outcome, of hostile ones and of a phone's.

    OMP_NUM_THREADS=1 PYTHONPATH=tests/support python tests/by_hand/service/picture_costs.py [--photos] [part of a name]

CPU is that of this process and of the decoders that it started, their own start left out where they live on.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import psutil
from hostile_pictures import encode, makers
from PIL import Image

from valor_ray import images
from valor_ray.config.service import ImageConfig
from valor_ray.decoding import pool
from valor_ray.errors import ValorError

LIMITS = ImageConfig()


def cpu() -> float:
    """Of this process and its decoders, living and dead."""
    own, dead = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    living = sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pool.POOL.pids())
    return own.ru_utime + own.ru_stime + dead.ru_utime + dead.ru_stime + living


def measure(form: str, name: str, data: bytes) -> None:
    start_worker()
    before, start = cpu(), time.monotonic()
    try:
        picture = images.decode(data, LIMITS)
        outcome = f"{picture.width}x{picture.height}"
    except ValorError as error:
        outcome = str(error)
    spent, wall = cpu() - before, time.monotonic() - start
    print(
        f"{form:5} {name:36} {len(data):11,} B {spent:6.2f} s CPU {wall:6.2f} s  {outcome[:90]}", flush=True
    )


def start_worker() -> None:
    """So that the start of a decoder is not counted."""
    images.decode(encode(Image.new("RGB", (8, 8)), "GIF"), LIMITS)


def photos() -> None:
    images.register_heif()
    noise = np.random.default_rng(0)
    for width, height in ((640, 480), (4000, 3000), (8000, 6000)):
        small = noise.integers(0, 255, (height // 16, width // 16, 3), np.uint8)
        photo = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        turned = Image.Exif()
        turned[0x0112] = 6
        for form, options in (
            ("JPEG", {"quality": 85}),
            ("JPEG", {"quality": 85, "exif": turned}),
            ("JPEG", {"quality": 85, "progressive": True}),
            ("PNG", {"compress_level": 4}),
            ("WEBP", {"method": 0}),
            ("AVIF", {"speed": 10}),
            ("HEIF", {"quality": 50, "enc_params": {"preset": "ultrafast"}}),
        ):
            told = " ".join(name for name in options if name in ("exif", "progressive"))
            measure(form, f"{width}x{height} {told}", encode(photo, form, **options))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--photos", action="store_true")
    args = parser.parse_args()
    if args.photos:
        photos()
        return
    for form, name, make in makers():
        if args.name in f"{form} {name}":
            measure(form, name, make())


if __name__ == "__main__":
    main()
