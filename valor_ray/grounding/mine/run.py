"""`valor mine` from queries to the verified detection set; what carries the work (Ray, or this process) is a MineHost.

Who does what, in which process, and what it waits for:

    phase 1            queries without a program                                                 work.programs_left
    worker             write_program   policy (Serve), sandbox pool of the node                  step, phrases
       │ driver        take            a line of phrases.jsonl a query                           runs.record_file
       │                               the policy is ended: nothing needs it any more
    phase 2            pictures with phrases not yet looked for, canaries among them             work.pictures_left
    worker             mine_image      detector (Serve), verifier's gateway; BLOCKS while        step, judges.boxes
    (Ray Data)                         the verifier is down, and no further picture is read
       │ driver        take            a record a write: images, missing, failed, audit
       │ (a thread)    Progress        every 5 s a line, with what the verifier's trouble is     progress
    driver             report          the set (grounding.dataset), numbers, page                summary

With `--in-process` (local.py) the workers are tasks of an event loop in the driver. On Ray: deployments/mining/.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.errors import StorageError
from valor_ray.grounding.dataset.export import export
from valor_ray.grounding.mine.folder import MineFolder
from valor_ray.grounding.mine.host import MineHost, Mining
from valor_ray.grounding.mine.outcome import Kind, with_canaries
from valor_ray.grounding.mine.progress import Progress
from valor_ray.grounding.mine.summary import RecordedImages, add_up, program_counts, writer_cost
from valor_ray.grounding.mine.work import (
    Pictures,
    Programs,
    pictures_left,
    placed,
    program_of,
    programs_left,
    still_missing,
)
from valor_ray.judges.boxes.audit import BoxAudit, SlipWatch
from valor_ray.records import MinedImage, Query
from valor_ray.report.grounding.page import write_page
from valor_ray.runs.record_file import RecordFile, cut_torn_line, read_records, replace_text

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

Evaluate = Callable[[Iterable[MinedImage]], dict[str, Any] | None]


def mine(
    path: Path,
    config: Config,
    queries: Sequence[Query],
    host: MineHost,
    *,
    evaluate: Evaluate = lambda images: None,
    start: float | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Mine what the folder has no record of yet; returns the report.

    Called by the command, in the driver; waits for all pictures, and a verifier that is down for as long as it is.
    evaluate: given all records once the set is written; what it knows of the truth stays its own (law 8). start: on
    time.monotonic, from when the report counts its minutes; None: now.
    Raises ConfigError for what the user must change, JudgeError when the verifier refuses every call, StorageError.
    """
    start = time.monotonic() if start is None else start
    folder = MineFolder(path)
    with folder.locked():
        folder.check_config(config)
        for kept in (folder.programs, folder.images, folder.audit, folder.metrics, folder.missing):
            cut_torn_line(kept)
        with (
            closing(RecordFile(folder.failed, keep=False)) as failed,
            closing(RecordFile(folder.metrics, keep=True)) as metrics,
        ):
            run = _Run(folder, config, placed(queries), failed, metrics, say)
            run.prepare()
            folder.write_config(config)
            run.work(host)
        return run.report(start, evaluate)


class _Run:
    """One start over one folder, which is locked."""

    def __init__(
        self,
        folder: MineFolder,
        config: Config,
        queries: Sequence[Query],
        failed: RecordFile,
        metrics: RecordFile,
        say: Callable[[str], None],
    ) -> None:
        self.folder, self.config, self.queries, self.say = folder, config, queries, say
        self.failed_file, self.metrics = failed, metrics
        self.programs, self.pictures = Programs(), Pictures()
        self.audit, self.slips = BoxAudit(config.grounding), SlipWatch()
        self.alarms: list[str] = []
        self.next_canary = 0
        self.mined: set[str] = set()  # query_ids of the pictures that this start has recorded
        self.failures = 0
        self.took: dict[str, float] = {}  # calls, tokens, cost of this start, without the writer
        self.writer_cost = 0.0  # US dollars, of this start

    def prepare(self) -> None:
        for record in read_records(self.folder.audit):
            self.audit.add(record)
            # not their count: of those under way when a run is killed some are recorded, not always the first
            self.next_canary = max(self.next_canary, record["number"] + 1)
        self.programs = programs_left(self.queries, self.folder.programs)
        self._fail(self.programs.failed)
        left = self.programs
        self.say(
            f"{len(self.queries)} queries: {len(left.todo)} to write programs for, {len(left.recorded)} recorded"
            + (f", {len(left.failed)} without a picture" if left.failed else "")
        )

    def work(self, host: MineHost) -> None:
        """Both phases; a host is started only when one of them has something to do."""
        self.folder.missing_now.unlink(missing_ok=True)
        if not self.programs.todo:
            self._plan_pictures()
        if self.programs.todo or self.pictures.todo:
            self._both_phases(host)
        self._end_missing()

    def _both_phases(self, host: MineHost) -> None:
        with host.running(self.config, self.folder.cache.resolve(), self.say) as mining:
            if self.programs.todo:
                self._write_programs(mining)
                self._plan_pictures()
            if self.pictures.todo:
                self._mine(mining)

    def _write_programs(self, mining: Mining) -> None:
        todo = self.programs.todo
        with (
            closing(RecordFile(self.folder.programs, keep=True)) as programs,
            Progress("queries", len(todo), self.metrics, self.say, lambda: "") as progress,
            closing(mining.programs(todo)) as outcomes,
        ):
            for outcome in outcomes:
                query_id = outcome.record.get("query_id", "")
                if outcome.kind is Kind.FAILED:
                    self._fail([outcome.record])
                elif query_id not in self.programs.recorded:  # else a worker that died has been done again
                    programs.append(outcome.record)
                    self.programs.recorded[query_id] = program_of(dict(outcome.record))
                else:
                    continue
                progress.count(outcome)
        self.writer_cost = progress.sums["cost_usd"]

    def _plan_pictures(self) -> None:
        recorded = self.programs.recorded
        known = [recorded[query.query_id] for query in self.queries if query.query_id in recorded]
        self.pictures = pictures_left(known, self.folder.images, self.folder.missing)
        self._fail(self.pictures.failed)
        left = self.pictures
        self.say(
            f"{left.pictures} pictures: {len(left.todo)} to mine, {left.resumed} recorded, {left.without_phrase} that "
            "no program asks anything of"
        )

    def _mine(self, mining: Mining) -> None:
        tasks = self.pictures.todo
        orders = with_canaries(tasks, self.config.grounding.audit_every, self.next_canary)
        starts = {task.query_ids: task.starts for task in tasks}
        with (
            closing(RecordFile(self.folder.images, keep=True)) as images,
            closing(RecordFile(self.folder.missing_now, keep=False)) as missing,
            closing(RecordFile(self.folder.audit, keep=True)) as audit,
            Progress("pictures", len(tasks), self.metrics, self.say, mining.trouble) as progress,
            closing(mining.pictures(orders)) as outcomes,
        ):
            done: set[Any] = set()
            for outcome in outcomes:
                record = outcome.record
                named = record["number"] if outcome.kind is Kind.CANARY else tuple(record["query_ids"])
                if named in done:
                    continue  # a worker that died has been done again
                done.add(named)
                lacking = False
                if outcome.kind is Kind.CANARY:
                    audit.append(record)
                    self._alarm(self.audit.add(record))
                elif outcome.kind is Kind.FAILED:
                    self._fail([record])
                else:
                    lacking = self._take(record, images, missing, starts[named])
                progress.count(outcome, lacking)
        self.took = dict(progress.sums)

    def _take(self, record: Mapping[str, Any], images: RecordFile, missing: RecordFile, starts: int) -> bool:
        """Record a picture, with what earlier starts have paid for it and its file's sha256; whether it lacks
        verdicts."""
        image = MinedImage.from_record(record)
        self._alarm(self.slips.add(image))
        self.mined.update(image.query_ids)
        spent = self.pictures.spent[image.query_ids]
        file = self.pictures.files[image.query_ids]
        record = {**record, **{name: record[name] + spent[name] for name in spent}, "file": file}
        if image.missing:
            missing.append({**record, "starts": starts})
        else:
            images.append(record)
        return bool(image.missing)

    def _alarm(self, text: str) -> None:
        if text:
            self.alarms.append(text)
            self.say(text)

    def _end_missing(self) -> None:
        """What is missing now in place of what an earlier start had of the same; a kill before this leaves that."""
        folder = self.folder
        before = still_missing(folder.missing, (folder.images, folder.missing_now), self.mined)
        try:
            with closing(RecordFile(folder.missing_now, keep=True)) as missing:
                missing.append_all(before)
            folder.missing_now.replace(folder.missing)
        except OSError as error:
            raise StorageError(f"Cannot write {self.folder.missing} ({error.strerror}).") from error

    def _fail(self, rows: Iterable[Any]) -> None:
        for row in rows:
            self.failed_file.append(row)
            self.failures += 1

    def report(self, start: float, evaluate: Evaluate) -> dict[str, Any]:
        """The report in all its forms; the numbers are of all records, calls and time of this start."""
        images = RecordedImages(self.folder, self.queries)
        sums = add_up(images, self.folder.audit)
        sums["in_all"]["writer_cost_usd"] = writer_cost(self.folder.programs)
        self.say("writing the set")
        dataset = export(images, self.folder.dataset, self.config.grounding, self.config.images)
        evaluation = evaluate(images)
        took = {
            name: self.took.get(name, 0)
            for name in ("calls", "cache_hits", "prompt_tokens", "completion_tokens")
        }
        report: dict[str, Any] = {
            "images": sums.pop("images"),
            "candidates": sums["boxes_left"]["candidates"],
            "kept": sums["boxes_left"]["duplicates"],
            "precision_by_stage": evaluation and evaluation["precision_by_stage"],
            "recall_lost": evaluation and evaluation["recall_lost"],
            **took,
            "cost_usd": round(self.took.get("cost_usd", 0.0), 6),
            "writer_cost_usd": round(self.writer_cost, 6),
            "queries": len(self.queries),
            "programs": program_counts(self.programs.recorded.values()),
            "pictures": self.pictures.pictures,
            "pictures_without_phrase": self.pictures.without_phrase,
            "failed": self.failures,
            **sums,
            "audit": self.audit.report(),
            "alarms": self.alarms,
            "dataset": asdict(dataset),
            "evaluation": evaluation,
            "minutes": round((time.monotonic() - start) / 60, 3),
        }
        replace_text(self.folder.report, json.dumps(report, indent=1) + "\n")
        write_page(self.folder.path, report, images)
        return report
