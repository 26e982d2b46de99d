"""Every answer that a judge gave, on disk before it is used (law 4): a SQLite file, keyed by content.

Of a run at a URL the file is this machine's index; what outlives the machine are parts in the store, which only grow.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valor_ray.errors import JudgeError, StorageError
from valor_ray.judges.gateway.call.free_text import FreeText
from valor_ray.records import JudgeRequest, Usage
from valor_ray.runs.store.place import objects_of

FILE = "answers.sqlite"
FOR_NOTHING = "nothing-"  # begins the key of what was paid and gave no answer: it counts in the account alone
_BATCH = 500  # keys in one query; SQLite allows 999 or more
_COLUMNS = ("key", "content", "model", "prompt_tokens", "completion_tokens", "cost_usd", "created")
_MANY_PARTS = 64  # are made one when an index opens them
# parts: those of the store that the index has; unsent: answers that no part holds yet
_STORE_TABLES = """
CREATE TABLE IF NOT EXISTS parts (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unsent (key TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, content TEXT NOT NULL, model TEXT NOT NULL, prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, cost_usd REAL NOT NULL, created REAL NOT NULL
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class StoredAnswer:
    content: Mapping[str, Any]  # the JSON object that the judge answered
    model: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    created: float  # Unix time, seconds


@dataclass(frozen=True)
class Taken:
    """What a model's answers have really taken, in the mean, failed tries included."""

    answers: int
    prompt_tokens: float
    completion_tokens: float


def answer_of(content: Mapping[str, Any], model: str, usage: Usage) -> StoredAnswer:
    """Of now."""
    return StoredAnswer(
        content, model, usage.prompt_tokens, usage.completion_tokens, usage.cost_usd, time.time()
    )


def request_key(request: JudgeRequest, model: str, extra: Mapping[str, Any] | None = None) -> str:
    """sha256 (hex) of everything that the answer depends on. Pictures travel in the messages, so they count.

    extra: further fields of the request's body. Without any, the key is what it was before there were such fields.
    """
    parts = [model, request.head, request.version, _schema_text(request.schema)]
    if isinstance(request, FreeText):
        parts.append(f"sample {request.identity()}")
    if extra:
        parts.append(f"extra {json.dumps(extra, sort_keys=True)}")
    for message in request.messages:
        content = message["content"]
        parts.append(str(message["role"]))
        parts.append(content if isinstance(content, str) else json.dumps(content, sort_keys=True))
    text = "".join([f"{len(part)} {part}" for part in parts])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


_schemas: dict[int, tuple[Mapping[str, Any], str]] = {}  # by id; each held here, so that its id stays its own


def _schema_text(schema: Mapping[str, Any]) -> str:
    """The schema as JSON. There are few, and each is used for many thousand requests."""
    known = _schemas.get(id(schema))
    if known is None or known[0] is not schema:
        if len(_schemas) >= 64:
            _schemas.clear()
        known = _schemas[id(schema)] = (schema, json.dumps(schema, sort_keys=True))
    return known[1]


# what is the matter with a row, and not with the disk
_ODD = (ValueError, TypeError, OverflowError, RecursionError, sqlite3.InterfaceError, sqlite3.DataError,
    sqlite3.ProgrammingError, sqlite3.IntegrityError)  # fmt: skip
_INSERT = f"INSERT INTO answers VALUES ({','.join('?' * len(_COLUMNS))}) ON CONFLICT (key) DO NOTHING"


def _row(key: str, answer: StoredAnswer) -> tuple[Any, ...]:
    """In the order of _COLUMNS."""
    content = json.dumps(dict(answer.content), ensure_ascii=False)
    return (key, content, *(getattr(answer, name) for name in _COLUMNS[2:]))


def _rows(part: bytes) -> Iterator[tuple[Any, ...]]:
    """Of a part in the store; a line that is none is left out."""
    for line in part.splitlines():
        with suppress(ValueError, TypeError, RecursionError):
            yield tuple(json.loads(line))


def taken(folder: Path, model: str) -> Taken | None:
    """What a model's answers that are kept in a folder have taken; None: there are none that can be read.

    Touches nothing there; what a run that goes on at the moment has not put into its place yet is left out.
    """
    try:
        db = sqlite3.connect(f"{(folder / FILE).resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        with closing(db):
            answers, tokens_in, tokens_out = db.execute(
                "SELECT sum(key NOT LIKE ?), total(prompt_tokens), total(completion_tokens) FROM answers "
                "WHERE model = ?",
                (f"{FOR_NOTHING}%", model),
            ).fetchone()
    except (sqlite3.Error, OSError, ValueError):
        return None
    return Taken(answers, tokens_in / answers, tokens_out / answers) if answers else None


class AnswerStore:
    """One connection; any number of processes may share the file. Not for use by two threads at a time."""

    def __init__(self, folder: Path) -> None:
        """Raises JudgeError when the folder cannot be written. A file that is no database is set aside."""
        self._folder, self._objects = folder, objects_of(folder)
        self.warning = ""  # what the user should know about the file that was found
        try:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                self._db = self._open()
                self._read_parts()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                aside = folder / f"{FILE}.broken-{int(time.time())}"
                (folder / FILE).rename(aside)
                self.warning = f"{folder / FILE} was broken ({error}); it was set aside as {aside.name}."
                self._db = self._open()
                self._read_parts()
        except StorageError as error:
            raise JudgeError(str(error)) from error
        except (OSError, sqlite3.Error) as error:
            raise JudgeError(
                f"Cannot keep the judge's answers in {folder}: {error}. Free space or rights there, or choose "
                "another folder with judge.cache_dir (vlm.cache_dir, policy.endpoint.cache_dir)."
            ) from error

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._folder / FILE, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            # a killed process loses nothing; a power cut, the last moments
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute(_TABLE)
            if self._objects is not None:
                db.executescript(_STORE_TABLES)
            db.execute("SELECT count(*) FROM (SELECT key FROM answers LIMIT 1)").fetchone()
        except BaseException:
            db.close()
            raise
        return db

    def get_many(self, keys: Sequence[str]) -> dict[str, StoredAnswer]:
        """The answers that are there, by key."""
        answers: dict[str, StoredAnswer] = {}
        for start in range(0, len(keys), _BATCH):
            some = keys[start : start + _BATCH]
            marks = ",".join("?" * len(some))
            for key, content, *rest in self._db.execute(
                f"SELECT * FROM answers WHERE key IN ({marks})", some
            ).fetchall():
                try:
                    answers[key] = StoredAnswer(dict(json.loads(content)), *rest)
                except (ValueError, TypeError, RecursionError):  # spoilt on the disk: as if it were not there
                    self._db.execute("DELETE FROM answers WHERE key = ?", (key,))
        return answers

    def put_many(self, answers: Mapping[str, StoredAnswer]) -> str:
        """Durable against the end of this process when it returns. The first answer to a key stays.

        Returns a warning when an answer cannot be stored as it is; the others are. Raises JudgeError when the disk is
        full or gone; what was stored before stays readable.
        """
        odd: dict[str, Exception] = {}
        try:
            with self._together():
                for key, answer in answers.items():
                    try:
                        self._db.execute(_INSERT, _row(key, answer))
                    except _ODD as error:
                        odd[key] = error
                if self._objects is not None:
                    stored = [(key,) for key in answers if key not in odd]
                    self._db.executemany("INSERT OR IGNORE INTO unsent VALUES (?)", stored)
        except sqlite3.Error as error:
            raise JudgeError(
                f"Cannot store the judge's answers in {self._folder}: {error}. Free space there: answers that are "
                "not stored are paid for again."
            ) from error
        if not odd:
            return ""
        first = next(iter(odd.values()))
        return f"{len(odd)} of {len(answers)} answers cannot be stored ({type(first).__name__}: {first}): used once."

    @contextmanager
    def _together(self) -> Iterator[None]:
        """All of it is written, or nothing; whatever is raised, no transaction stays open."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def spent_usd(self, model: str) -> float:
        """What all answers of a model have cost, tries for nothing included. Reads every row."""
        return float(
            self._db.execute("SELECT total(cost_usd) FROM answers WHERE model = ?", (model,)).fetchone()[0]
        )

    @property
    def at_url(self) -> bool:
        """Whether answers must go to a store too: `unsent`, `send`, `sent`."""
        return self._objects is not None

    def unsent(self) -> list[tuple[Any, ...]]:
        """Rows that no part in the store holds yet."""
        return self._db.execute("SELECT answers.* FROM answers JOIN unsent USING (key)").fetchall()

    def send(self, rows: Sequence[tuple[Any, ...]]) -> str:
        """A part of the store with these rows; its name. Touches nothing of this machine, so that a thread may wait
        for it. Raises StorageError."""
        assert self._objects is not None
        name = f"parts/{time.time_ns():020d}.{uuid.uuid4().hex[:8]}.jsonl"  # the time orders nothing; it is for people
        self._objects.write(
            name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        )
        return name

    def sent(self, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """What `send` has given. Raises JudgeError."""
        try:
            self._db.execute("INSERT OR IGNORE INTO parts VALUES (?)", (name,))
            self._db.executemany("DELETE FROM unsent WHERE key = ?", [(row[0],) for row in rows])
        except sqlite3.Error as error:
            raise JudgeError(f"Cannot write {self._folder / FILE}: {error}.") from error

    def _read_parts(self) -> None:
        """The index gets what is in the store and not in it; many parts there become one."""
        if self._objects is None:
            return
        known = {name for (name,) in self._db.execute("SELECT name FROM parts")}
        there = self._objects.names("parts")
        for name in sorted(set(there) - known):
            held = self._objects.read(name)
            if held is None:  # another gateway has made many parts one
                continue
            with self._together():
                for row in _rows(held):
                    with suppress(*_ODD):
                        self._db.execute(_INSERT, row)
                self._db.execute("INSERT INTO parts VALUES (?)", (name,))
        if len(there) > _MANY_PARTS:
            rows = self._db.execute(
                "SELECT * FROM answers WHERE key NOT IN (SELECT key FROM unsent)"
            ).fetchall()
            self.sent(self.send(rows), [])
            self._objects.remove(there)

    def __len__(self) -> int:
        every = "SELECT count(*) FROM answers"  # of all the database knows without reading them
        nothing = f"{every} WHERE key BETWEEN '{FOR_NOTHING}' AND '{FOR_NOTHING}~'"
        return int(self._db.execute(f"SELECT ({every}) - ({nothing})").fetchone()[0])

    def close(self) -> None:
        self._db.close()
