"""`valor score` from file to report; what carries the rows to the judges (Ray, or this process) is a ScoreHost.

Who does what, in which process, and what it waits for:

    driver             prepare      rows without a reward, canaries among them: work/*.parquet    work.prepare, index
       │
    worker             score_row    sandbox pool, judges (Serve); BLOCKS while the judge is       score_row, reward
    (Ray Data)                      down, and no further rows are read meanwhile
       │
    driver             take         a record a write: rewards, missing, failed, audit             runs.record_file
       │ (a thread)    Progress     every 5 s a line, with what the judge's trouble is            progress.Progress
    driver             report       of all rows in the file that have a reward: JSON and page     report.score

With `--in-process` (local.py) the worker is tasks of an event loop in the driver. On Ray: deployments/scoring.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.judges.audit import Audit, canaries_after
from valor_ray.reasoning.score_row import canary_row
from valor_ray.reasoning.scoring.fate import Fate, fate
from valor_ray.reasoning.scoring.folder import ScoreFolder
from valor_ray.reasoning.scoring.host import ScoreHost, Work
from valor_ray.reasoning.scoring.index import ScoreIndex
from valor_ray.reasoning.scoring.progress import Progress
from valor_ray.reasoning.scoring.work import Counts, prepare
from valor_ray.report.score.page import write_page
from valor_ray.report.score.summary import Summary
from valor_ray.runs.record_file import RecordFile, cut_torn_line, read_records, replace_text

if TYPE_CHECKING:
    from valor_ray.config.tree import Config


def score(
    replies: Path,
    out: Path,
    config: Config,
    host: ScoreHost,
    *,
    limit: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Score what `out` has no reward for yet; returns the report.

    Called by the command, in the driver; waits for all rows, and a judge that is down for as long as it is.
    Raises ConfigError for what the user must change, JudgeError when the judge refuses every call, StorageError.
    """
    start = time.monotonic()
    folder = ScoreFolder(out)
    with folder.locked():
        folder.check_config(config)
        folder.clear_work()
        index = ScoreIndex(folder.work / "index.sqlite")
        with closing(index), closing(RecordFile(folder.failed, keep=False)) as failed:
            run = _Run(folder, config, index, failed, say)
            run.prepare(replies, limit)
            folder.write_config(config)
            run.work(host)
            report = run.report(start)
        folder.clear_work()
        folder.work.rmdir()
    return report


class _Run:
    """One start over one folder, which is locked."""

    def __init__(
        self,
        folder: ScoreFolder,
        config: Config,
        index: ScoreIndex,
        failed: RecordFile,
        say: Callable[[str], None],
    ) -> None:
        self.folder, self.config, self.index, self.failed, self.say = folder, config, index, failed, say
        self.counts = Counts()
        self.audit = Audit(config.reward)
        self.summary = Summary()
        self.errors = 0  # rows whose scoring failed
        self.progress: Progress | None = None

    def prepare(self, replies: Path, limit: int | None) -> None:
        for path in (self.folder.rewards, self.folder.audit, self.folder.metrics):
            cut_torn_line(path)
        for record in read_records(self.folder.audit):
            self.audit.add(record)
        every = self.config.reward.audit_every
        slipped_in = map(canary_row, canaries_after(self.folder.audit))
        self.counts = prepare(replies, limit, self.folder, self.index, self.failed, slipped_in, every)
        counts = self.counts
        self.say(
            f"{counts.replies} replies: {counts.todo} to score, {counts.resumed} scored by an earlier run"
            + (f", {counts.bad} that cannot be scored (see {self.folder.failed})" if counts.bad else "")
        )

    def work(self, host: ScoreHost) -> None:
        """Bring the records in as they come."""
        folder = self.folder
        judge = self.config.judge
        if judge.cache_dir is None:
            judge = judge.model_copy(update={"cache_dir": str(folder.cache.resolve())})
        config = self.config.model_copy(update={"judge": judge})
        with (
            closing(RecordFile(folder.rewards, keep=True)) as rewards,
            closing(RecordFile(folder.missing, keep=False)) as missing,
            closing(RecordFile(folder.audit, keep=True)) as audit,
            closing(RecordFile(folder.metrics, keep=True)) as metrics,
            Progress(self.counts.todo, metrics, self.say, host.trouble) as self.progress,
        ):
            if not self.counts.todo:
                return
            files = {
                Fate.SCORED: rewards, Fate.MISSING: missing, Fate.FAILED: self.failed, Fate.CANARY: audit
            }  # fmt: skip
            work = Work(folder.work, self.counts.todo + self.counts.canaries, config)
            with closing(host.rows(work)) as records:
                for record in records:
                    self._take(record, files, self.progress)

    def _take(self, record: dict[str, Any], files: Mapping[Fate, RecordFile], progress: Progress) -> None:
        kind = fate(record)
        if kind is Fate.SCORED and not self.index.wrote(record["reply_id"]):
            return  # there already: a worker that died has been done again
        if kind is not Fate.CANARY:
            del record["canary"]
        files[kind].append(record)
        self.errors += kind is Fate.FAILED
        progress.count(kind, record)
        if kind is Fate.CANARY and (alarm := self.audit.add(record)):
            self.say(alarm)

    def report(self, start: float) -> dict[str, Any]:
        """The report in all its forms; the numbers cover the whole file, calls and time this run."""
        for record in read_records(self.folder.rewards):
            if self.index.counts(record["reply_id"]):
                self.summary.add(record)
        for record in read_records(self.folder.missing):
            self.summary.add(record)
        assert self.progress is not None
        summary, counts = self.summary, self.counts
        failed = counts.bad + self.errors
        report = {
            "replies": counts.replies,
            "scored": summary.scored,
            "missing": counts.replies - summary.scored - failed,
            "failed": failed,
            "resumed": counts.resumed,
            "calls": self.progress.calls,
            "cache_hits": self.progress.cache_hits,
            "cost_usd": self.progress.cost_usd,
            "mean_reward": summary.mean_reward,
            "heads": summary.heads_json(),
            **summary.scenes_json(),
            "histogram": summary.histogram,
            "audit": self.audit.report(),
            "seconds": round(time.monotonic() - start, 2),
        }
        replace_text(self.folder.report, json.dumps(report, indent=1) + "\n")
        write_page(self.folder.path, report, summary)
        return report
