"""Which rollouts and canaries of a run its page shows, found in one pass: memory does not grow with the file."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.judges.audit import Audit, canaries
from valor_ray.records import Head
from valor_ray.report.kit.rows import number, rows_of
from valor_ray.report.kit.scene_tests import PART, QuestionInScenes, SceneTestRows
from valor_ray.report.reasoning.records import settings

if TYPE_CHECKING:
    from valor_ray.config.judging import RewardConfig

SHOWN = 30  # of each part
_KEPT = (
    *(
        "rollout_id",
        "step",
        "query_id",
        "question",
        "reply",
        "finish_reason",
        "versions",
        "fate",
        "advantage",
    ),
    *("value", "reasons", "canary", "reply_id", "scene_test", *(head.value for head in Head)),
)
Row = dict[str, Any]


@dataclass
class Browsed:
    """What `browse` has browsed."""

    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("all", "used", "equal", "missing"), 0)
    )
    parts: dict[str, list[Row]] = field(default_factory=dict)  # title -> at most SHOWN rows
    audit: dict[str, Any] = field(default_factory=dict)  # Audit.report
    scenes: list[QuestionInScenes] = field(default_factory=list)


def browse(folder: Path) -> Browsed:
    """One pass over rollouts.jsonl and audit.jsonl of a run folder."""
    browsed = Browsed()
    best, worst = _Greatest(lambda value: value), _Greatest(lambda value: -value)
    missing: deque[Row] = deque(maxlen=SHOWN)
    equal: deque[Row] = deque(maxlen=SHOWN)
    newest: deque[Row] = deque(maxlen=SHOWN)
    oldest: list[Row] = []
    tested = SceneTestRows()
    for whole in rows_of(folder / "rollouts.jsonl"):
        row = _kept(whole)
        browsed.counts["all"] += 1
        if row["fate"] in browsed.counts:
            browsed.counts[row["fate"]] += 1
        if row["value"] is None:
            missing.append(row)
        else:
            best.add(row)
            worst.add(row)
        if row["fate"] == "equal":
            equal.append(row)
        tested.add(row)
        newest.append(row)
        if len(oldest) < SHOWN:
            oldest.append(row)
    browsed.scenes, scene_rows = tested.shown()
    known, browsed.audit = _canaries(folder)
    browsed.parts = {
        "Best": best.rows(),
        "Worst": worst.rows(),
        "Missing": list(missing)[::-1],
        "Equal groups": list(equal)[::-1],
        "Canaries": known,
        "Newest": list(newest)[::-1],
        "Oldest": oldest,
        PART: scene_rows,
    }
    return browsed


def expected(row: Mapping[str, Any]) -> Mapping[Head, bool]:
    """The verdicts that are known of a canary's record; empty for one of another version of the package."""
    return next((known.expected for known in canaries() if known.canary_id == row.get("canary")), {})


def _canaries(folder: Path) -> tuple[list[Row], dict[str, Any]]:
    """Canaries to show, those with a wrong verdict first and the newest first among them; the audit's report."""
    audit = Audit(_reward_settings(folder))
    wrong: deque[Row] = deque(maxlen=SHOWN)
    right: deque[Row] = deque(maxlen=SHOWN)
    for whole in rows_of(folder / "audit.jsonl"):
        row = _kept(whole)
        audit.add(row)
        agrees = all(row[head.value] in (None, value) for head, value in expected(row).items())
        (right if agrees else wrong).append(row)
    return [*reversed(wrong), *reversed(right)][:SHOWN], audit.report()


def _reward_settings(folder: Path) -> RewardConfig:
    """The run's own; the defaults where its config.yaml does not hold any."""
    from valor_ray.config.judging import RewardConfig

    try:
        return RewardConfig(**settings(folder)["reward"])
    except (KeyError, TypeError, ValueError):
        return RewardConfig()


def _kept(whole: Row) -> Row:
    """What the page shows of a record: its tokens become their number."""
    row = {name: whole.get(name) for name in _KEPT}
    row["value"] = number(whole, "value")
    row["tokens"] = len(whole.get("token_ids") or ())
    return row


class _Greatest:
    """The SHOWN rows whose reward ranks highest; of equal ones the newest. Equal replies to a question appear once."""

    def __init__(self, rank: Callable[[float], float]) -> None:
        self._rank = rank
        self._heap: list[tuple[float, int, Row]] = []
        self._keys: set[tuple[str, str]] = set()
        self._seen = 0

    def add(self, row: Row) -> None:
        self._seen += 1
        if (key := _key(row)) in self._keys:
            return
        item = (self._rank(row["value"]), self._seen, row)  # the second is never equal: rows are not compared
        self._keys.add(key)
        if len(self._heap) < SHOWN:
            heapq.heappush(self._heap, item)
        else:
            self._keys.discard(_key(heapq.heappushpop(self._heap, item)[2]))

    def rows(self) -> list[Row]:
        return [row for _, _, row in sorted(self._heap, key=lambda item: item[:2], reverse=True)]


def _key(row: Row) -> tuple[str, str]:
    return str(row["question"]), str(row["reply"])
