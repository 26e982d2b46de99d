"""The rows that the learner is checked on."""

from importlib.resources import files

import pytest

from valor_ray.perf.gpu.rollouts import PAPER, TINY, Lengths, checked_rows


@pytest.mark.parametrize(("lengths", "vocabulary"), [(PAPER, 151_936), (TINY, 733)])
def test_recorded_rows_come_before_all_made_ones_when_sorted_by_length(
    lengths: Lengths, vocabulary: int
) -> None:
    rows = checked_rows(lengths, vocabulary)
    sizes = [
        [len(row.prompt_ids) + len(row.token_ids) for row in part] for part in (rows.recorded, rows.long)
    ]
    assert (len(rows.recorded), len(rows.long)) == (lengths.recorded, lengths.long)
    assert max(sizes[0]) < min(sizes[1])
    assert rows.tokens == sum(map(sum, sizes)) and len(rows.all) % 4 == 0
    assert max(max(*row.prompt_ids, *row.token_ids) for row in rows.all) < vocabulary
    assert all(row.advantage for row in rows.all)


def test_made_rows_have_the_papers_lengths_and_are_the_same_each_time() -> None:
    rows = checked_rows(PAPER, 151_936)
    assert len(rows.long[0].token_ids) == 2000
    assert all(1500 <= len(row.prompt_ids) <= 2500 for row in rows.long)
    assert rows == checked_rows(PAPER, 151_936)


def test_the_recording_is_small() -> None:
    assert len(files("valor_ray.perf.gpu").joinpath("recorded.jsonl").read_bytes()) < 200_000
