"""Tables: parquet, and Arrow's own format (Feather; what `datasets` keeps on disk)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from valor_ray.errors import ConfigError
from valor_ray.rows.row import Choose, Column, FileRow

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

_MOST_ROWS, _MOST_BYTES = 1024, 16 * 2**20  # decoded at a time
_COLUMN_BUFFER = 8 * 2**20  # bytes; without it, or with pre_buffer, pyarrow holds a whole row group


def parquet_rows(file: BinaryIO, name: str, choose: Choose) -> Iterator[FileRow]:
    import pyarrow.parquet as pq

    with (
        _readable(name, "parquet"),
        pq.ParquetFile(file, buffer_size=_COLUMN_BUFFER, pre_buffer=False) as table,
    ):
        chosen, unread = _choice(table.schema_arrow, name, choose)
        batches = table.iter_batches(batch_size=_batch_rows(table, chosen), columns=chosen)
        yield from _rows(batches, chosen, unread)


def arrow_rows(file: BinaryIO, name: str, choose: Choose, *, stream: bool) -> Iterator[FileRow]:
    """stream: Arrow's streaming format, else its file format. A record batch is in memory at a time."""
    import pyarrow as pa

    with _readable(name, "Arrow"):
        if stream:
            reader = pa.ipc.open_stream(file)
            chosen, unread = _choice(reader.schema, name, choose)
            yield from _rows(_parts(iter(reader)), chosen, unread)
            return
        table = pa.ipc.open_file(file)
        chosen, unread = _choice(table.schema, name, choose)
        batches = (table.get_batch(index) for index in range(table.num_record_batches))
        yield from _rows(_parts(batches), chosen, unread)


@contextmanager
def _readable(name: str, what: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{name} cannot be read: it holds text that is not UTF-8 ({error.reason}). Write it again."
        ) from error
    except pa.ArrowException as error:
        raise ConfigError(
            f"{name} cannot be read: it is not a readable {what} file ({error}). Write or download it again."
        ) from error


def _choice(schema: pa.Schema, name: str, choose: Choose) -> tuple[list[str], frozenset[str]]:
    """The chosen columns and the others. Raises ConfigError when a chosen one is there twice."""
    columns = [_column(field) for field in schema]
    chosen = list(choose(columns))
    tops = {column.partition(".")[0] if column not in schema.names else column for column in chosen}
    counts = Counter(schema.names)
    if twice := sorted(column for column in tops if counts[column] > 1):
        raise ConfigError(f"{name}: there are several columns {twice[0]!r}. Rename or remove all but one.")
    return chosen, frozenset(counts) - tops


def _column(field: pa.Field) -> Column:
    import pyarrow as pa

    kind = field.type
    parts = tuple(kind.field(n).name for n in range(kind.num_fields)) if pa.types.is_struct(kind) else ()
    return Column(field.name, not (pa.types.is_nested(kind) or "binary" in str(kind)), parts)


def _rows(
    batches: Iterator[pa.RecordBatch], chosen: Sequence[str], unread: frozenset[str]
) -> Iterator[FileRow]:
    number = 0
    for batch in batches:
        columns = [_values(batch, column) for column in chosen]
        for row in zip(*columns, strict=True) if columns else ():
            number += 1
            yield FileRow(number, f"row {number}", dict(zip(chosen, row, strict=True)), unread)


def _values(batch: pa.RecordBatch, column: str) -> list[Any]:
    """Of a column, or of a part "a.b" of one: what else the structure holds is not looked at."""
    import pyarrow.compute as pc

    if column in batch.schema.names:
        return batch.column(column).to_pylist()
    top, _, part = column.partition(".")
    return pc.struct_field(batch.column(top), part).to_pylist()


def _parts(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Checked, since Arrow takes what a file says of itself for granted; some MiB at a time become Python's."""
    for batch in batches:
        batch.validate(full=True)
        size = max(1, min(_MOST_ROWS, int(_MOST_BYTES * batch.num_rows / max(batch.nbytes, 1))))
        for start in range(0, batch.num_rows, size):
            yield batch.slice(start, size)


def _batch_rows(table: ParquetFile, chosen: Collection[str]) -> int:
    """How many rows are decoded at a time: fewer where they hold pictures."""
    widest = 1.0  # bytes of a row
    for group in map(table.metadata.row_group, range(table.metadata.num_row_groups)):
        chunks = [group.column(index) for index in range(group.num_columns)]
        size = sum(
            chunk.total_uncompressed_size
            for chunk in chunks
            if any(f"{chunk.path_in_schema}.".startswith(f"{name}.") for name in chosen)
        )
        widest = max(widest, size / max(group.num_rows, 1))
    return max(1, min(_MOST_ROWS, int(_MOST_BYTES / widest)))
