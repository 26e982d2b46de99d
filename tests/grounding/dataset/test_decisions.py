"""decisions.parquet: a row a box and stage."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from valor_ray.grounding.dataset.decisions import SCHEMA, DecisionsFile


def read(path):
    return pq.read_table(path).to_pylist()


def test_a_row_for_each_stage_that_a_box_reached(mined, box, tmp_path):
    image = mined("a.png", box("Cup", (1, 2, 3.5, 4), "yn", 0.25), box("dog", said="y?"))
    with DecisionsFile(tmp_path / "d.parquet") as file:
        file.add(image)
    rows = read(tmp_path / "d.parquet")
    said = [(row["box"], row["phrase"], row["stage"], row["kept"], row["by"]) for row in rows]
    assert said == [
        (0, "Cup", "candidates", True, "base"),
        (0, "Cup", "coarse", True, "vlm"),
        (0, "Cup", "crops", False, "vlm"),
        (1, "dog", "candidates", True, "base"),
        (1, "dog", "coarse", True, "vlm"),
        (1, "dog", "crops", None, "vlm"),
    ]
    assert (rows[2]["bbox"], rows[2]["score"], rows[2]["reason"]) == ([1, 2, 3.5, 4], 0.25, "because n")
    assert (rows[2]["image"], rows[2]["key"]) == ("a.png", image.key)
    assert pq.read_schema(tmp_path / "d.parquet").equals(SCHEMA)


def test_an_unsure_drop_is_told_from_a_sure_one(mined, box, tmp_path):
    with DecisionsFile(tmp_path / "d.parquet") as file:
        file.add(mined("a.png", box("cup", said="yu"), box("dog", said="n"), box("cat", said="?")))
    said = [(row["stage"], row["kept"], row["unsure"]) for row in read(tmp_path / "d.parquet")]
    assert said == [
        ("candidates", True, False),
        ("coarse", True, False),
        ("crops", False, True),
        ("candidates", True, False),
        ("coarse", False, False),
        ("candidates", True, False),
        ("coarse", None, False),
    ]


def test_rows_stream_in_row_groups_of_bounded_size(mined, box, tmp_path):
    boxes = [box("cup", (0, 0, number + 1, 9)) for number in range(900)]
    with DecisionsFile(tmp_path / "d.parquet") as file:
        for name in "abcdefgh":
            file.add(mined(name, *boxes))
            assert len(file._rows) < 8192
    groups = pq.ParquetFile(tmp_path / "d.parquet")
    sizes = [groups.metadata.row_group(number).num_rows for number in range(groups.num_row_groups)]
    assert sum(sizes) == 8 * 900 * 4
    assert max(sizes) == 8192
    rows = read(tmp_path / "d.parquet")
    assert [row["image"] for row in rows[:: 900 * 4]] == list("abcdefgh")


def test_no_picture_gives_a_table_without_rows(tmp_path):
    with DecisionsFile(tmp_path / "d.parquet"):
        pass
    assert pq.read_table(tmp_path / "d.parquet").schema.equals(SCHEMA)


def test_half_a_surrogate_pair_from_a_model_is_replaced(mined, box, tmp_path):
    with DecisionsFile(tmp_path / "d.parquet") as file:
        file.add(mined("a", box("c\ud83dp")))
    assert read(tmp_path / "d.parquet")[0]["phrase"] == "c?p"


def test_rows_are_not_flushed_after_an_error(mined, box, tmp_path):
    with pytest.raises(ZeroDivisionError), DecisionsFile(tmp_path / "d.parquet") as file:
        file.add(mined("a", box("cup")))
        raise ZeroDivisionError
    assert read(tmp_path / "d.parquet") == []
