"""Which replies are in the file, recorded, or still to do: 8-byte hashes in a file, so memory stays flat."""

from __future__ import annotations

import hashlib
import sqlite3
from enum import IntEnum
from pathlib import Path

_CACHE_KIB = 16 * 1024


class Standing(IntEnum):
    """What is known about a reply_id."""

    RECORDED = 0  # has a reward from an earlier run
    DONE = 1  # of these, the ones that are in the file
    TODO = 2  # in the file, without a reward
    WRITTEN = 3  # has got its reward in this run
    CHANGED = 4  # answer of `meet` alone: recorded with another text
    TWICE = 5  # answer of `meet` alone: the file has had this id before


class ScoreIndex:
    """A throw-away table that is made anew at each start from the file and the records."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        self._db.execute("CREATE TABLE replies (id INTEGER PRIMARY KEY, content INTEGER, standing INTEGER)")
        self._db.execute("CREATE TABLE queries (id INTEGER PRIMARY KEY, replies INTEGER)")
        self._db.execute("BEGIN")

    def recorded(self, reply_id: str, content: str) -> bool:
        """Note a reward of an earlier run; False when it was noted before."""
        return self._insert(reply_id, content, Standing.RECORDED)

    def nth(self, query_id: str) -> int:
        """How many replies of this query the file has had, this one included."""
        replies = self._db.execute(
            "INSERT INTO queries VALUES (?, 1) ON CONFLICT DO UPDATE SET replies = replies + 1 RETURNING replies",
            (_number(query_id),),
        ).fetchone()
        return int(replies[0])

    def meet(self, reply_id: str, content: str) -> Standing:
        """The standing of a row of the file: TODO, DONE, CHANGED or TWICE."""
        if self._insert(reply_id, content, Standing.TODO):
            return Standing.TODO
        known, standing = self._db.execute(
            "SELECT content, standing FROM replies WHERE id = ?", (_number(reply_id),)
        ).fetchone()
        if standing != Standing.RECORDED:
            return Standing.TWICE
        if known != _signed(int(content, 16)):
            return Standing.CHANGED
        self._set(reply_id, Standing.DONE)
        return Standing.DONE

    def wrote(self, reply_id: str) -> bool:
        """Note a reward of this run; False when there is one already."""
        return self._set(reply_id, Standing.WRITTEN, only=Standing.TODO)

    def counts(self, reply_id: str) -> bool:
        """Whether a recorded reward is of a reply in the file."""
        known = self._db.execute("SELECT standing FROM replies WHERE id = ?", (_number(reply_id),)).fetchone()
        return known is not None and known[0] in (Standing.DONE, Standing.WRITTEN)

    def close(self) -> None:
        self._db.close()

    def _insert(self, reply_id: str, content: str, standing: Standing) -> bool:
        row = (_number(reply_id), _signed(int(content, 16)), int(standing))
        return self._db.execute("INSERT OR IGNORE INTO replies VALUES (?, ?, ?)", row).rowcount == 1

    def _set(self, reply_id: str, standing: Standing, only: Standing | None = None) -> bool:
        more = "" if only is None else f" AND standing = {int(only)}"
        return (
            self._db.execute(
                f"UPDATE replies SET standing = ? WHERE id = ?{more}", (int(standing), _number(reply_id))
            ).rowcount
            == 1
        )


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


def _signed(value: int) -> int:
    """An unsigned 64-bit number as sqlite keeps it."""
    return value - 2**64 if value >= 2**63 else value
