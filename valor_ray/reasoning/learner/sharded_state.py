"""A learner's weights and optimizer on disk, a part from each process, by torch's distributed checkpoints (DCP).

12 bytes a parameter: float32 weights and the two moments of Adam. Another number of processes can go on from it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.errors import CheckpointError, StorageError, ValorError

if TYPE_CHECKING:
    import torch

STATE = "state"  # the folder in a checkpoint


class StateWriter:
    """Writes a learner's state beside its next steps.

    Made and called by every learner process. `start` blocks until the state has been copied to the host's memory;
    `wait` until it is on disk. One state at a time. The copy's memory is kept, as getting it anew takes longer than
    copying does.
    """

    def __init__(self) -> None:
        from torch import distributed

        # its threads' messages must not meet those of a step
        self._group = distributed.new_group(backend="gloo") if distributed.is_initialized() else None
        self._thread = ThreadPoolExecutor(
            1, "checkpoint"
        )  # DCP's own async_save cannot copy DTensors (torch 2.13)
        self._writing: Future[Any] | None = None
        self._copy: Any = None  # of the last state

    def start(self, checkpoint: Path, model: Any, optimizer: Any) -> None:
        """Collective."""
        import torch.distributed.checkpoint as dcp

        self.wait()
        self._copy = _on_host(_state(model, optimizer), self._copy)
        self._writing = self._thread.submit(
            dcp.save,
            self._copy,
            checkpoint_id=checkpoint / STATE,
            process_group=self._group,
            no_dist=self._group is None,
        )

    def then(self, work: Callable[[], None]) -> None:
        """`work` in the thread, after the state; all processes have done it when one of them has done theirs."""
        from torch import distributed

        state = self._writing

        def after() -> None:
            if state is not None:
                state.result()
            work()
            if self._group is not None:
                distributed.barrier(self._group)

        self._writing = self._thread.submit(after)

    def done(self) -> bool:
        """Whether the last state of all processes is on disk, asked in the first one."""
        return self._writing is None or self._writing.done()

    def wait(self) -> None:
        """Raises StorageError."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            writing.result()
        except ValorError:
            raise
        except (Exception, _checkpoint_exception()) as error:  # whatever a disk says
            raise StorageError(
                f"Cannot write the checkpoint: {_root(error)}. Make room; the same command goes on."
            ) from error


def load_state(checkpoint: Path, model: Any, optimizer: Any) -> None:
    """Into a model and an optimizer as they were made, sharded over any number of processes. Collective.

    Raises CheckpointError.
    """
    import torch.distributed.checkpoint as dcp
    from torch import distributed
    from torch.distributed.checkpoint.state_dict import set_state_dict

    state = _state(model, optimizer)
    try:
        dcp.load(state, checkpoint_id=checkpoint / STATE, no_dist=not distributed.is_initialized())
    except (Exception, _checkpoint_exception()) as error:
        raise CheckpointError(
            f"{checkpoint} cannot be read: {_root(error)}. Remove it: the one before goes on."
        ) from error
    weights = state["model"]
    tied = {name: weights[source] for name, source in _tied(model).items()}
    set_state_dict(model, optimizer, model_state_dict=weights | tied, optim_state_dict=state["optimizer"])


def _state(model: Any, optimizer: Any) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import get_state_dict

    weights, moments = get_state_dict(model, optimizer)
    for name in _tied(model):
        weights.pop(name, None)
    return {"model": weights, "optimizer": moments}


def _on_host(state: Any, before: Any) -> Any:
    """A copy in the host's memory, in that of the copy `before` where it is alike; parts stay parts."""
    import torch

    if isinstance(state, dict):
        old = before if isinstance(before, dict) else {}
        return {name: _on_host(value, old.get(name)) for name, value in state.items()}
    if isinstance(state, list):
        return [_on_host(value, None) for value in state]  # of settings
    if not isinstance(state, torch.Tensor):
        return state
    if not isinstance(before, torch.Tensor) or before.shape != state.shape or before.dtype != state.dtype:
        return state.detach().to("cpu", copy=True)
    _own(before).copy_(_own(state.detach()))
    return before


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """What this process has of it."""
    from torch.distributed.tensor import DTensor

    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _tied(model: Any) -> dict[str, str]:
    """Names that stand for another parameter -> its name."""
    return dict(getattr(model, "all_tied_weights_keys", None) or {})


def _checkpoint_exception() -> type[BaseException]:
    """DCP's own, with the processes' errors inside; it is no Exception."""
    from torch.distributed.checkpoint.api import CheckpointException

    return CheckpointException


def _root(error: BaseException) -> str:
    """The first words of what lies at the bottom of it."""
    failures = getattr(error, "failures", None)  # of DCP: process -> (error, its traceback)
    if isinstance(failures, dict) and failures:
        error = next(iter(failures.values()))[0]
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).splitlines()), "") or type(error).__name__
