"""The columns of every parquet file that passes between the stages, read and written with checks.

Columns may be added to any of these files; a missing or mistyped one is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import MuseQuestError
from .files import write_whole

TEXT, WHOLE, REAL, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
PHOTO = pa.struct([("bytes", pa.binary()), ("path", TEXT)])
OPTIONAL = {b"optional": b"true"}

# How each value kind is called in the metadata from which `datasets` restores its features.
FEATURES = {
    TEXT: {"dtype": "string", "_type": "Value"},
    REAL: {"dtype": "float64", "_type": "Value"},
    FLAG: {"dtype": "bool", "_type": "Value"},
    PHOTO: {"_type": "Image"},
}

# What to run when a file is absent or damaged.
REMEDIES = {
    "exhibits": "collect",
    "photos": "augment",
    "dialogs": "synthesize",
    "dataset": "dataset",
    "metrics": "train",
    "predictions": "infer",
    "scores": "score",
    "facts": "score",
}
# Of files that other programs write as well.
OR_ELSE = {"predictions": ", or mend the program that wrote it"}


def _dataset_schema() -> pa.Schema:
    """The dataset's columns, with the metadata by which `datasets` shows `image` as a photo."""
    fields = [("image", PHOTO)]
    texts = ["data_id", "item_name", "image_name", "dialog", "source_photo"]
    fields += [(name, TEXT) for name in texts]
    fields += [("augmented", FLAG), ("temperature", REAL), ("track", TEXT)]
    features = {name: FEATURES[kind] for name, kind in fields}
    return pa.schema(fields, {"huggingface": json.dumps({"info": {"features": features}})})


SCHEMAS: dict[str, pa.Schema] = {
    "exhibits": pa.schema(
        [
            ("item_id", WHOLE),
            ("item_name", TEXT),
            ("title", TEXT),
            ("link", TEXT),
            ("record", TEXT),
            ("description", TEXT),
            ("photos", pa.list_(TEXT)),
            ("license", TEXT),
            ("credit", TEXT),
            # A JSON object of strings for the offline writer; null where a museum has none.
            pa.field("facts", TEXT, metadata=OPTIONAL),
            # A JSON list, an object of license, credit, record and source for each photo.
            pa.field("photo_credits", TEXT, metadata=OPTIONAL),
            # A JSON list, the SHA-256 of each photo as it was collected.
            pa.field("photo_digests", TEXT, metadata=OPTIONAL),
            # A JSON object, the numbers of its photos by split, where a museum lists them so.
            pa.field("splits", TEXT, metadata=OPTIONAL),
        ]
    ),
    "photos": pa.schema(
        [
            ("item_name", TEXT),
            ("slot", WHOLE),
            ("image_name", TEXT),
            ("path", TEXT),
            ("source_photo", TEXT),
            ("augmented", FLAG),
            ("transform", TEXT),
        ]
    ),
    "dialogs": pa.schema(
        [
            ("dialog_id", TEXT),
            ("item_name", TEXT),
            ("pair_index", WHOLE),
            ("temperature", REAL),
            ("question", TEXT),
            ("answer", TEXT),
            ("writer", TEXT),
            ("prompt_sha256", TEXT),
            ("response_id", TEXT),
            # Null for the offline writer, whose pairs depend on nothing but exhibit and seed.
            ("created_at", pa.timestamp("s", tz="UTC")),
            ("prompt_tokens", WHOLE),
            ("completion_tokens", WHOLE),
            ("cost_usd", REAL),
            # JSON, the numbers of a pair that were found in the exhibit's texts; null where a
            # writer composes from the texts themselves.
            pa.field("support", TEXT, metadata=OPTIONAL),
        ]
    ),
    "dataset": _dataset_schema(),
    "metrics": pa.schema(
        [
            ("step", WHOLE),
            ("epoch", REAL),
            ("train_loss", REAL),
            ("eval_loss", REAL),
            ("learning_rate", REAL),
            ("seconds", REAL),
        ]
    ),
    "predictions": pa.schema(
        [
            ("data_id", TEXT),
            ("item_name", TEXT),
            ("image_name", TEXT),
            ("question", TEXT),
            ("ground_truth", TEXT),
            ("answer", TEXT),
            ("new_tokens", WHOLE),
            ("seconds", REAL),
        ]
    ),
    "scores": pa.schema([("model", TEXT), ("data_id", TEXT)]),
    # kind: number or name; status: recalled or missing (of the ground truth), invented.
    "facts": pa.schema(
        [("model", TEXT), ("data_id", TEXT), ("kind", TEXT), ("status", TEXT), ("fact", TEXT)]
    ),
}


def read_table(kind: str, path: str | Path) -> pd.DataFrame:
    """Read a parquet file of `kind` (a key of SCHEMAS) with its columns checked.

    An absent or damaged file, a missing or mistyped column raises MuseQuestError.
    """
    path = Path(path)
    with _open(kind, path) as file:
        table = file.read()
        table.validate(full=True)  # texts that are no UTF-8, too
        return _checked(kind, table, path).to_pandas()


def as_kind(kind: str, table: pa.Table, path: Path) -> pd.DataFrame:
    """A table read otherwise from `path`, its columns checked as by `read_table`."""
    try:
        table.validate(full=True)
    except pa.ArrowException as error:
        raise _unreadable(kind, path, error) from None
    return _checked(kind, table, path).to_pandas()


def iterate_table(kind: str, path: str | Path, rows_at_once: int = 100) -> Iterator[dict[str, Any]]:
    """Give the rows of a parquet file one by one, for files too large to be held whole.

    Columns are checked as by `read_table`, before the first row is given.
    """
    path = Path(path)
    with _open(kind, path) as file:
        _checked(kind, file.schema_arrow.empty_table(), path)
        for batch in file.iter_batches(rows_at_once):
            yield from _checked(kind, pa.Table.from_batches([batch]), path).to_pylist()


def write_table(kind: str, path: str | Path, rows: list[dict[str, Any]] | pd.DataFrame) -> None:
    """Write rows as a parquet file of `kind`, whole or not at all.

    Columns are put in the schema's order, additional ones behind them. Equal rows give equal
    bytes. A missing or mistyped column raises MuseQuestError and leaves the old file as it was.
    """
    path = Path(path)
    try:
        table = _checked(kind, _as_table(SCHEMAS[kind], rows), path)
    except pa.ArrowException as error:
        raise MuseQuestError(f"{path} was not written: {str(error).splitlines()[0]}.") from None
    with write_whole(path) as temporary:
        pq.write_table(
            table, temporary, row_group_size=_rows_a_group(kind), write_page_checksum=True
        )


@contextmanager
def table_writer(kind: str, path: str | Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give a function that writes one row more, for files too large to be held whole.

    The file is written whole or not at all, with the same bytes as by `write_table`.
    """
    path, schema, waiting = Path(path), SCHEMAS[kind], []

    with (
        write_whole(path) as temporary,
        pq.ParquetWriter(temporary, schema, write_page_checksum=True) as writer,
    ):

        def flush() -> None:
            writer.write_table(_checked(kind, _as_table(schema, waiting), path))
            waiting.clear()

        def write(row: dict[str, Any]) -> None:
            waiting.append(row)
            if len(waiting) == _rows_a_group(kind):
                flush()

        yield write
        if waiting:
            flush()


def _rows_a_group(kind: str) -> int:
    """Fewer where rows hold photos, since a reader takes a group at a time."""
    return 100 if kind == "dataset" else 10_000


@contextmanager
def _open(kind: str, path: Path) -> Iterator[pq.ParquetFile]:
    """The file, and a sentence where it is absent or damaged."""
    if path.is_dir():
        raise MuseQuestError(f"{path} is a folder; name the parquet file in it.")
    if not path.is_file():
        raise MuseQuestError(f"{path} does not exist; {_remedy(kind)} first.")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(kind, path, error) from None


def _unreadable(kind: str, path: Path, error: Exception) -> MuseQuestError:
    reason, other = str(error).splitlines()[0], OR_ELSE.get(kind, "")
    discard = "" if other else "delete it and "
    return MuseQuestError(
        f"{path} is no readable parquet file ({reason}); {discard}{_remedy(kind)} again{other}."
    )


def _as_table(schema: pa.Schema, rows: list[dict[str, Any]] | pd.DataFrame) -> pa.Table:
    if isinstance(rows, pd.DataFrame):
        return pa.Table.from_pandas(rows, preserve_index=False)
    if not rows:
        return schema.empty_table()
    columns = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: _column(schema, rows, name) for name in columns})


def _column(schema: pa.Schema, rows: list[dict[str, Any]], name: str) -> pa.Array:
    """One column; photos keep their declared kind, everything else is checked afterwards."""
    declared = schema.field(name).type if name in schema.names else None
    return pa.array([row.get(name) for row in rows], PHOTO if declared == PHOTO else None)


def _checked(kind: str, table: pa.Table, path: Path) -> pa.Table:
    schema, columns = SCHEMAS[kind], {}
    again = f"{_remedy(kind)} again{OR_ELSE.get(kind, '')}"
    for name in table.column_names:
        if table.column_names.count(name) > 1:
            raise MuseQuestError(f"{path} has the column '{name}' more than once; {again}.")
    for field in schema:
        if field.name in table.column_names:
            columns[field.name] = _cast(table[field.name], field, path, again)
        elif field.metadata == OPTIONAL:
            columns[field.name] = pa.nulls(len(table), field.type)
        else:
            raise MuseQuestError(f"{path} lacks the column '{field.name}'; {again}.")
    extra = {name: table[name] for name in table.column_names if name not in columns}
    return pa.table({**columns, **extra}).replace_schema_metadata(schema.metadata)


def _cast(column: pa.ChunkedArray, field: pa.Field, path: Path, again: str) -> pa.ChunkedArray:
    """The column in the schema's kind; only a moment's fractions of a second may be lost."""
    if pa.types.is_dictionary(column.type):  # as pandas writes categories
        column = column.cast(column.type.value_type)
    has, wants = _family(column.type), _family(field.type)
    blank = pa.types.is_null(column.type) or 0 < len(column) == column.null_count
    if has != wants and not blank and (has, wants) != ("integer", "number"):
        raise MuseQuestError(
            f"{path}: the column '{field.name}' holds {column.type} where {field.type} is "
            f"expected; {again}."
        )
    return column.cast(field.type, safe=wants != "moment")


def _family(kind: pa.DataType) -> str:
    """The kinds that may stand for one another share a family."""
    tests = {
        "text": lambda k: pa.types.is_string(k) or pa.types.is_large_string(k),
        "integer": pa.types.is_integer,
        "number": pa.types.is_floating,
        "moment": pa.types.is_timestamp,
        "list": lambda k: pa.types.is_list(k) or pa.types.is_large_list(k),
    }
    return next((name for name, test in tests.items() if test(kind)), str(kind))


def _remedy(kind: str) -> str:
    return f"run `python -m musequest {REMEDIES[kind]}`"
