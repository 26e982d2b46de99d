"""What every learner process does, whoever carries it: rehearsal boxes, learning, the choice of the weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from valor_ray.grounding.finetune.host import FinetuneEnd, FinetuneTask, Record, Say
from valor_ray.grounding.finetune.shown import write_examples

REPLAY = Path("replay", "set")  # in the run folder: the set of the start detector's own boxes


def learner_work(
    task: FinetuneTask,
    first: bool,
    together: Callable[[], None],
    say: Say,
    step_done: Callable[[Record], None],
    leaving: Callable[[], bool] = lambda: False,
) -> FinetuneEnd:
    """Replay set -> learn -> select; what an earlier start has done is not done again.

    Collective. first: whether this is the first process, which makes the replay set and selects while the others wait
    or have ended. together: returns when every process has called it. leaving: whether this machine is about to be
    taken away. Waits for all of it, minutes to hours. Raises ConfigError, CheckpointError, StorageError, LearnerLeaves.
    """
    from valor_ray.grounding.learner.learn import LearnTask, learn

    replay = None if task.replay_pictures is None else task.run / REPLAY
    if replay is not None and task.replay_pictures is not None:
        if first:
            from valor_ray.grounding.learner.rehearsal.replay_set import make_replay

            make_replay(task.config, task.replay_pictures, task.phrases, replay, say)
        together()
    learning = LearnTask(task.config, task.dataset, replay, task.run)
    end = learn(learning, say, step_done, leaving)
    if first:
        from valor_ray.grounding.gate.general import read_general
        from valor_ray.grounding.learner.select import select

        limit = task.config.finetune.general_limit
        general = read_general(task.general, task.general_images, limit, task.config.images)
        selected = select(learning, general, say)
        write_examples(task.config, task.dataset, selected.weights or end.weights, task.run)
    return FinetuneEnd(end.steps, end.resumed_from, end.pictures, end.held_back)
