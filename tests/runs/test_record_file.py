"""Records that a kill cannot spoil, and going back to an earlier state of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from valor_ray.errors import ConfigError, StorageError
from valor_ray.runs.record_file import RecordFile, cut_torn_line, keep_records, read_records


def test_a_full_disk_is_an_error_that_says_so(tmp_path: Path) -> None:
    class Full:
        def write(self, line: bytes) -> int:
            return len(line) // 2

    file = RecordFile(tmp_path / "records.jsonl", keep=True)
    file.close()
    file._file = Full()
    with pytest.raises(StorageError, match="the disk is full"):
        file.append({"a": 1})


def test_cutting_finds_a_newline_that_is_far_from_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a": 1}\n' + b"x" * 200_000)
    cut_torn_line(path)
    assert path.read_bytes() == b'{"a": 1}\n'
    path.write_bytes(b"y" * 100_000)
    cut_torn_line(path)
    assert path.read_bytes() == b""


def test_file_that_goes_on_loses_its_torn_line_and_a_new_one_all(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    for keep, kept in ((True, [{"a": 1}, {"b": "é"}]), (False, [{"b": "é"}])):
        path.write_bytes(b'{"a": 1}\n{"a": ')
        file = RecordFile(path, keep=keep)
        file.append({"b": "é"})
        file.close()
        assert list(read_records(path)) == kept


def test_going_back_keeps_the_wanted_records_and_cuts_the_torn_one(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "said": "ä"}, ensure_ascii=False) + "\n" for step in (1, 2, 3)]
    path.write_text("".join(lines) + '{"step": 4')
    keep_records(path, lambda record: record["step"] <= 2)
    assert path.read_text() == "".join(lines[:2])


def test_going_back_to_where_the_file_is_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step":1}\n')
    before = path.stat().st_ino
    keep_records(path, lambda record: True)
    assert path.stat().st_ino == before and path.read_text() == '{"step":1}\n'
    keep_records(tmp_path / "none.jsonl", lambda record: True)
    assert not (tmp_path / "none.jsonl").exists()


def test_line_that_is_no_record_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\noops\n')
    with pytest.raises(ConfigError, match=r"metrics\.jsonl line 2 is not a record"):
        keep_records(path, lambda record: True)
