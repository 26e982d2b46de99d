"""`valor train grounding` from a mined set to published weights; what carries the learner is a FinetuneHost.

Who does what, in which process, and what it goes on from after a kill:

    driver (the command)   mine            unless a set is named: a run of `valor mine` in RUN/mined    its own records
    driver                 check           set, pictures, gate's set: all that would fail later         plan.json
    driver (the command)   render          pictures to replay, the gate's set; unless they are named    their files
    learner, the first     make_replay     the start detector's own boxes, a set                        replay/set/
    learners (Ray Train)   learn           BLOCK on each other, for each step's gradients               checkpoints/
       │ driver            step_done       metrics.jsonl, a line for the user                           metrics.jsonl
    learner, the first     select          (1-α)·start + α·averaged: held-back boxes, then the gate     selection.json
    driver                 publish         BLOCKS until every replica that follows carries them         announced.json
    driver                 wait            BLOCKS until finetune.service carries them, where it is set
    driver (the command)   evaluate        on truth, where somebody knows it: AP before and after       evaluation.json
    driver                 report          report.json, report.html

Nothing of `evaluate` reaches training: it comes last, and only the report has it (law 8). A gate that fails publishes
nothing and is a result: the run has worked. With `--in-process` (local.py) the learner is the driver. On Ray:
deployments/finetune/host.py.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.client.carried import check_service, wait_carried
from valor_ray.config.models import SHIPPED_PREFIX, resolve_model
from valor_ray.errors import CheckpointError, ConfigError
from valor_ray.grounding.finetune.folder import FinetuneFolder, read_object
from valor_ray.grounding.finetune.host import FinetuneHost, FinetuneTask, Finetuning, Offline, Say
from valor_ray.grounding.finetune.mined_set import (
    check_enough,
    check_pictures,
    open_set,
    split_sizes,
)
from valor_ray.grounding.finetune.plan import named_general
from valor_ray.grounding.finetune.progress import StepRecords
from valor_ray.grounding.finetune.publish import current, publish
from valor_ray.grounding.finetune.summary import finetune_report
from valor_ray.runs.publications import version_name
from valor_ray.runs.record_file import replace_text

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

_SERVICE_S = 600.0  # for all replicas of a service to carry new weights
_BY_FILE = "no replica on this Ray follows; services that follow by file take it up"
_AGAIN = "Remove that file: the same command makes it anew."


def finetune(path: Path, config: Config, host: FinetuneHost, offline: Offline, *, say: Say) -> dict[str, Any]:
    """Do what is left to do in the folder; returns the report.

    Called by the command, in the driver. Waits for all of the picture above. Raises ConfigError for what the user must
    change, before anything is trained; JudgeError of mining; CheckpointError, PolicyError, ServiceError, StorageError.
    """
    folder = FinetuneFolder(path)
    with folder.locked():
        folder.check_config(config)
        check_sources(config, folder.path)
        folder.write_config(config)
        run = _Run(folder, config, offline, say)
        run.find_set()
        if run.left():
            with host.running(config, folder.path.resolve(), say) as running:
                run.work(running)
        run.wait()
        run.evaluate()
        return run.report()


def check_sources(config: Config, run: Path) -> None:
    """Raises ConfigError for models, folders, files and the service of the settings that cannot be had."""
    settings, model = config.finetune, config.detector.model
    resolve_model(model)
    null = [f"finetune.{name}" for name in ("general", "replay_pictures") if getattr(settings, name) is None]
    if null and not (model.startswith(SHIPPED_PREFIX) or Path(model).expanduser().is_dir()):
        raise ConfigError(
            f"{' and '.join(null)}: null is tabletop scenes, general for the shipped detector and what comes of it, "
            f"not for {model}. Name COCO annotations for the gate, and unlabelled pictures for the replay."
        )
    if settings.replay_pictures is not None and not Path(settings.replay_pictures).expanduser().is_dir():
        raise ConfigError(
            f"finetune.replay_pictures {settings.replay_pictures} is no folder. Give one with pictures."
        )
    named_general(config)
    if settings.service is not None:
        check_service(settings.service, run)


class _Run:
    """One start over one folder, which is locked."""

    def __init__(self, folder: FinetuneFolder, config: Config, offline: Offline, say: Say) -> None:
        self.folder, self.config, self.offline, self.say = folder, config, offline, say

    def find_set(self) -> None:
        """The set, mined first where none is named; checked, and noted as what is trained on."""
        settings, named = self.config.finetune, self.config.finetune.mined
        # mining again might add what earlier steps have not seen
        if named is None and not self.folder.plan.exists():
            with self.folder.timed("mine"):
                self.offline.mine()
        self.mined = open_set(self.folder.mined if named is None else Path(named))
        check_enough(self.mined, settings)
        self.trained, apart = split_sizes(self.mined.images, settings)
        self.steps = settings.number_of_steps(self.trained)
        check_pictures(self.mined.images, self.config.images, pixels=not self.folder.begun)
        self.folder.begin(self.mined, self.steps)
        self.done = self.folder.go_back()
        self.say(
            f"{self.trained} pictures of {self.mined.dataset}, {apart} held back; "
            f"{self.done} of {self.steps} steps made"
        )

    def left(self) -> bool:
        """Whether anything needs a host: learning, selection, publication."""
        return not self._selected() or self._to_publish()

    def _selected(self) -> bool:
        return self.folder.learned.exists() and self.folder.selection.exists()

    def _to_publish(self) -> bool:
        """Also what was published and then refused, or not carried in time: under a new number."""
        version = version_name(self._learned())
        published = current(self.folder)
        done = (
            published is not None and published[0] == version and self._announced().get("version") == version
        )
        return bool(self._selection()["passed"]) and not done

    def work(self, running: Finetuning) -> None:
        if not self._selected():
            self._learn(running)
        if self._to_publish():
            self._publish(running)
        elif not self._selection()["passed"]:
            self.say(f"nothing is published: {self._selection().get('words')}")

    def _learn(self, running: Finetuning) -> None:
        task = self._task()
        with self.folder.timed("learn"), StepRecords(self.folder, self.done, self.steps, self.say) as records:
            end = running.learn(task, records.take)
        replace_text(self.folder.learned, json.dumps(asdict(end)) + "\n")

    def _task(self) -> FinetuneTask:
        """Renders what the settings do not name."""
        settings = self.config.finetune
        pictures: Path | None = None
        with self.folder.timed("render"):
            if settings.replay and settings.replay_limit:
                given = settings.replay_pictures
                pictures = self.offline.replay_pictures() if given is None else Path(given).expanduser()
            general = self.offline.general() if settings.general is None else Path(settings.general)
        images = (
            None if settings.general_images is None else Path(settings.general_images).expanduser().absolute()
        )
        return FinetuneTask(
            config=self.config,
            run=self.folder.path.resolve(),
            dataset=self.mined.dataset,
            phrases=tuple(self.mined.confirmed_phrases),
            replay_pictures=None if pictures is None else pictures.absolute(),
            general=general.expanduser().absolute(),
            general_images=images,
        )

    def _publish(self, running: Finetuning) -> None:
        selection, step = self._selection(), self._learned()
        chosen = Path(selection.get("weights") or self.folder.path / "chosen")
        if not chosen.is_absolute():
            chosen = self.folder.path / chosen
        with self.folder.timed("publish"):
            replicas = publish(self.folder, step, chosen, running.announce)
        self._note_announced(step, replicas)
        carried = f"{replicas} replicas on this Ray carry them" if replicas else _BY_FILE
        self.say(f"published {version_name(step)} ({carried})")

    def wait(self) -> None:
        """For the service, at every start: an earlier one may have been without it, or in vain."""
        url = self.config.finetune.service
        if url is None or not self._selection()["passed"]:
            return
        step = self._learned()
        with self.folder.timed("publish"):
            try:
                replicas = wait_carried(url, self.folder.path, version_name(step), _SERVICE_S, self.say)
            except CheckpointError:  # refused: the next start announces it again
                self.folder.announced.unlink(missing_ok=True)
                raise
        self._note_announced(step, replicas)

    def evaluate(self) -> None:
        """After all else, and again where another number of scenes is wanted; only the report hears of it."""
        if self._evaluated():
            return
        models = {"start": self.config.detector}
        if (published := current(self.folder)) is not None:
            weights = str(published[1].resolve())
            models["end"] = self.config.detector.model_copy(update={"model": weights})
        with self.folder.timed("evaluate"):
            record = self.offline.evaluate(models)
        if record is not None:
            replace_text(self.folder.evaluation, json.dumps(record) + "\n")

    def report(self) -> dict[str, Any]:
        from valor_ray.report.finetuning.page import write_page

        passed = self._selection()["passed"]
        report = finetune_report(self.folder, self._announced().get("replicas") if passed else None)
        replace_text(self.folder.report, json.dumps(report, indent=1) + "\n")
        write_page(self.folder.path, report)
        return report

    def _evaluated(self) -> bool:
        if not self.folder.evaluation.exists():
            return False
        wanted = self.offline.scenes
        return not wanted or read_object(self.folder.evaluation, _AGAIN).get("scenes") == wanted

    def _announced(self) -> dict[str, Any]:
        return read_object(self.folder.announced, _AGAIN) if self.folder.announced.exists() else {}

    def _note_announced(self, step: int, replicas: int) -> None:
        record = {"version": version_name(step), "replicas": replicas}
        replace_text(self.folder.announced, json.dumps(record) + "\n")

    def _selection(self) -> dict[str, Any]:
        return read_object(self.folder.selection, _AGAIN)

    def _learned(self) -> int:
        return int(read_object(self.folder.learned, _AGAIN)["steps"])
