"""How a run of the learner is bounded and cut."""

import time
from pathlib import Path

import pytest

from valor_ray.perf.gpu.card import Card
from valor_ray.perf.gpu.learner_run import PRECISIONS, LearnerRun, _Watch, learner_config, micro_batch
from valor_ray.perf.gpu.rollouts import TINY, checked_rows

ROWS = checked_rows(TINY, 733)
SAID = [[-1.0] * len(row.token_ids) for row in ROWS.all]


def test_a_run_makes_its_steps_on_the_same_rows_and_then_stops() -> None:
    watch = _Watch(ROWS, SAID, 2, time.monotonic() + 60)
    first, second = watch.batch(1), watch.batch(2)
    assert first is not None and second is not None and first.rows == second.rows
    assert list(first.rows[0].logprobs) == SAID[0]
    assert watch.batch(3) is None


def test_a_run_that_is_out_of_time_makes_one_step() -> None:
    watch = _Watch(ROWS, SAID, 5, time.monotonic() - 1)
    assert watch.batch(1) is not None and watch.batch(2) is None


def test_the_first_step_warms_up() -> None:
    records = [{"seconds": {"learn": seconds}} for seconds in (9.0, 1.0, 3.0, 2.0)]
    run = LearnerRun(records, [], None, None, None, 0.0, None)  # type: ignore[arg-type]
    alone = LearnerRun(records[:1], [], None, None, None, 0.0, None)  # type: ignore[arg-type]
    assert run.step_s == 2.0 and alone.step_s == 9.0


@pytest.mark.parametrize(("memory_gib", "rows"), [(None, 4), (79.3, 4), (22.0, 1)])
def test_small_cards_take_a_row_at_a_time(memory_gib: float | None, rows: int) -> None:
    assert micro_batch(Card("cuda", "any", memory_gib, None, None)) == rows


def test_the_settings_are_those_of_the_gpu_profile_on_one_card(tmp_path: Path) -> None:
    grpo = learner_config(Card("cuda", "any", 79.3, "9.0", None), tmp_path, ROWS, PRECISIONS[2]).grpo
    assert (grpo.num_gpus, grpo.fsdp, grpo.workers, grpo.gradient_checkpointing) == (1, False, 1, True)
    assert (grpo.dtype, grpo.lora_rank, grpo.prompts * grpo.samples) == ("bfloat16", 16, 12)
