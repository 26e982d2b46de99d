"""How work grows with its input, in CPU time of this process: a slow, loaded machine slows both sides alike."""

import time
from collections.abc import Callable

TIMES = 4  # larger is the second input: linear work takes 4 times as long, quadratic 16 times
_MOST = 9.0
_NOISE = 0.005  # seconds


def linear(work: Callable[[int], object], size: int) -> bool:
    """Whether work on `size` takes no more than in proportion to work on a quarter of it, the best of some tries."""
    # several tries: a hiccup of the machine is no growth
    return any(_best(work, size) <= _MOST * _best(work, size // TIMES) + _NOISE for _ in range(4))


def _best(work: Callable[[int], object], size: int) -> float:
    def seconds() -> float:
        started = time.process_time()
        work(size)
        return time.process_time() - started

    return min(seconds() for _ in range(3))
