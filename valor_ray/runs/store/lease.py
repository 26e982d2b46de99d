"""One writer at a time where the kernel has no lock for it: an object store, or a filesystem without flock.

The holder of number n has made `lock/n` (only where there was none) and writes a new beat into it every few seconds.
Nobody compares clocks: whoever comes looks for as long as `STALE_S` by its own clock, and where no new beat comes the
holder is dead; then it makes n + 1. A holder that was only away (suspended, cut off) sees that number and stops.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil

from valor_ray.errors import ConfigError, StorageError
from valor_ray.runs.store.objects import ObjectStore

BEAT_S, STALE_S = 5.0, 45.0
_LOOK_S = 0.5
_FOLDER = "lock"


class Lease:
    """The right to write under a store's URL, from `take` to `give_back`.

    The driver of a run takes one; `take` waits for at most STALE_S, where the last holder ended without a word and on
    another machine. `check` before a write that must not come from two: it asks the store where the last beat is old.
    """

    def __init__(self, objects: ObjectStore, *, beat_s: float = BEAT_S, stale_s: float = STALE_S) -> None:
        self._objects, self._beat_s, self._stale_s = objects, beat_s, stale_s
        self._own = {"owner": uuid.uuid4().hex, "host": socket.gethostname(), "boot": _boot(), **_process()}
        self._number = 0
        self._beats = 0
        self._beaten = 0.0  # when the last beat came to the store, on time.monotonic
        self._lost = ""
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat_on, name="lease", daemon=True)
        self._turn = threading.Lock()

    def take(self, option: str, say: Callable[[str], None]) -> None:
        """Raises ConfigError when another holds it; StorageError."""
        number, holder = self._newest()
        if number and not self._dead(number, holder, option, say):
            raise ConfigError(
                f"{option} {self._objects.url}: another run ({_named(holder)}) is writing there. Wait for its end, or "
                f"give another {option}."
            )
        self._number = number + 1
        self._objects.create(self._name(self._number), self._text())
        # Asked anew: an answer may have been lost on its way, and a store may know no conditional writes.
        if self._read(self._number).get("owner") != self._own["owner"]:
            raise ConfigError(f"{option} {self._objects.url}: another run has begun there just now.")
        self._beaten = time.monotonic()
        self._objects.remove([self._name(number)] if number else [])
        self._beating.start()

    def check(self) -> None:
        """Raises StorageError when the lease is another's now."""
        if not self._lost and time.monotonic() - self._beaten > self._stale_s / 2:
            self._beat()
        if self._lost:
            raise StorageError(
                f"{self._objects.url} is written by another run now ({self._lost}): this one ends."
            )

    def give_back(self) -> None:
        self._ended.set()
        if self._beating.is_alive():
            self._beating.join(self._stale_s)
        if not self._lost:
            with suppress(StorageError):  # then it is found stale
                # not removed: numbers only rise, so that a holder that was away sees that it no longer is one
                self._objects.write(self._name(self._number), self._text(ended=True))

    def _beat_on(self) -> None:
        while not self._ended.wait(self._beat_s) and not self._lost:
            with suppress(StorageError):  # `check` will say it
                self._beat()

    def _beat(self) -> None:
        with self._turn:
            number, holder = self._newest()
            if number > self._number or (
                number == self._number and holder.get("owner") != self._own["owner"]
            ):
                self._lost = _named(holder)
                return
            self._beats += 1
            self._objects.write(self._name(self._number), self._text())
            self._beaten = time.monotonic()

    def _dead(self, number: int, holder: dict[str, Any], option: str, say: Callable[[str], None]) -> bool:
        if holder.get("ended"):
            return True
        if holder.get("boot") == self._own["boot"] and holder.get("host") == self._own["host"]:
            return not _lives(holder)
        say(
            f"{self._objects.url} was being written by {_named(holder)}; waiting up to {self._stale_s:.0f} s to see "
            "whether that has ended"
        )
        end = time.monotonic() + self._stale_s
        while time.monotonic() < end:
            time.sleep(min(_LOOK_S, self._stale_s / 4))
            newest, now = self._newest()
            if newest != number or now != holder:
                return bool(newest == number and now.get("ended"))
        return True

    def _newest(self) -> tuple[int, dict[str, Any]]:
        """The highest number and what its holder says; 0: nobody."""
        names = [name.rpartition("/")[2] for name in self._objects.names(_FOLDER)]
        number = max((int(name) for name in names if name.isdecimal()), default=0)
        return number, self._read(number) if number else {}

    def _read(self, number: int) -> dict[str, Any]:
        with suppress(ValueError):
            held = json.loads(self._objects.read(self._name(number)) or b"{}")
            return held if isinstance(held, dict) else {}
        return {}

    def _text(self, *, ended: bool = False) -> bytes:
        return json.dumps({**self._own, "beat": self._beats, "ended": ended}).encode()

    @staticmethod
    def _name(number: int) -> str:
        return f"{_FOLDER}/{number:06d}"


def _named(holder: dict[str, Any]) -> str:
    return f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"


def _process() -> dict[str, Any]:
    return {"pid": os.getpid(), "born": psutil.Process().create_time()}


def _lives(holder: dict[str, Any]) -> bool:
    """Of a process of this machine."""
    try:
        return bool(psutil.Process(int(holder["pid"])).create_time() == holder["born"])
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


def _boot() -> str:
    """Of this machine, until it starts anew; containers on one machine have pids of their own, so theirs too."""
    parts = []
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with suppress(OSError):
            if "ns" in path:
                parts.append(os.readlink(path))
            else:
                with open(path, encoding="ascii") as file:
                    parts.append(file.read().strip())
    return " ".join(parts)
