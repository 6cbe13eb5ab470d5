"""The columns of every parquet file that passes between the stages, read and written with checks.

Columns may be added to any of these files; a missing or mistyped one is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import MuseQuestError, refusal
from .files import write_whole

OPTIONAL = {b"optional": b"true"}
PHOTO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
# How a column's kind is written below; one without is text.
KINDS = {
    "": pa.string(),
    "whole": pa.int64(),
    "real": pa.float64(),
    "flag": pa.bool_(),
    "moment": pa.timestamp("s", tz="UTC"),
    "texts": pa.list_(pa.string()),
    "photo": PHOTO,
    "photos": pa.list_(PHOTO),
}
# How these kinds are called in the metadata from which `datasets` restores its features.
FEATURES = {
    "": {"dtype": "string", "_type": "Value"},
    "real": {"dtype": "float64", "_type": "Value"},
    "flag": {"dtype": "bool", "_type": "Value"},
    "photo": {"_type": "Image"},
    "photos": {"_type": "List", "feature": {"_type": "Image"}},
}
# What to run when a file is absent or damaged.
REMEDIES = {
    "exhibits": "collect",
    "photos": "augment",
    "dialogs": "synthesize",
    "dataset": "dataset",
    "dataset_of_several": "dataset",
    "metrics": "train",
    "predictions": "infer",
    "scores": "score",
    "facts": "score",
}
# Columns of a dataset's photos: the first of a row, and, if that is there, those behind it.
FURTHER = "further_images"
PHOTOS = ("image", FURTHER)
# Of files that other programs write as well.
OR_ELSE = {"predictions": ", or mend the program that wrote it"}


DATASET = "data_id item_name image_name dialog source_photo augmented:flag temperature:real track"


def _columns(columns: str, optional: str = "", features: bool = False) -> pa.Schema:
    """Columns and those that a file may lack, as "name name:kind ..."."""
    needed = [each.partition(":") for each in columns.split()]
    fields = [pa.field(name, KINDS[kind]) for name, _, kind in needed]
    fields += [pa.field(name, pa.string(), metadata=OPTIONAL) for name in optional.split()]
    if not features:
        return pa.schema(fields)
    told = {"info": {"features": {name: FEATURES[kind] for name, _, kind in needed}}}
    return pa.schema(fields, {"huggingface": json.dumps(told)})


SCHEMAS: dict[str, pa.Schema] = {
    # All optional ones are JSON. facts: an object of strings for the offline writer, null where a
    # museum has none. photo_credits: an object of license, credit, record and source for each
    # photo. photo_digests: the SHA-256 of each photo as it was collected. splits: the numbers of
    # its photos by split, where a museum lists them so.
    "exhibits": _columns(
        "item_id:whole item_name title link record description photos:texts license credit",
        optional="facts photo_credits photo_digests splits",
    ),
    "photos": _columns(
        "item_name slot:whole image_name path source_photo augmented:flag transform"
    ),
    # created_at: null for the offline writer, whose pairs depend on nothing but exhibit and seed.
    # support: JSON, the numbers of a pair that were found in the exhibit's texts; null where a
    # writer composes from the texts themselves. source_sha256: of the exhibit's texts as they were
    # when the pair was written.
    "dialogs": _columns(
        "dialog_id item_name pair_index:whole temperature:real question answer writer "
        "prompt_sha256 response_id created_at:moment prompt_tokens:whole completion_tokens:whole "
        "cost_usd:real",
        optional="support source_sha256",
    ),
    "dataset": _columns(f"image:photo {DATASET}", features=True),
    # As it is written where dialogs show several photos; it is read as any other.
    "dataset_of_several": _columns(f"image:photo {FURTHER}:photos {DATASET}", features=True),
    "metrics": _columns(
        "step:whole epoch:real train_loss:real eval_loss:real learning_rate:real seconds:real"
    ),
    "predictions": _columns(
        "data_id item_name image_name question ground_truth answer new_tokens:whole seconds:real"
    ),
    "scores": _columns("model data_id"),
    # kind: number or name; status: recalled or missing (of the ground truth), invented.
    "facts": _columns("model data_id kind status fact"),
}


def read_table(kind: str, path: str | Path, without: Sequence[str] = ()) -> pd.DataFrame:
    """Read a parquet file of `kind` (a key of SCHEMAS) with its columns checked.

    The columns `without` are not read. An absent or damaged file, a missing or mistyped column
    raises MuseQuestError.
    """
    with _open(kind, Path(path)) as file:
        columns = [name for name in file.schema_arrow.names if name not in without]
        return as_kind(kind, file.read(columns), Path(path), without)


def as_kind(kind: str, table: pa.Table, path: Path, without: Sequence[str] = ()) -> pd.DataFrame:
    """A table read otherwise from `path`, its columns checked as by `read_table`."""
    try:
        table.validate(full=True)  # texts that are no UTF-8, too
    except pa.ArrowException as error:
        raise _unreadable(kind, path, error) from None
    return _checked(kind, table, path, without).to_pandas()


def iterate_table(
    kind: str, path: str | Path, rows_at_once: int = 100, without: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Give the rows of a parquet file one by one, for files too large to be held whole.

    Columns are checked as by `read_table`, before the first row is given.
    """
    path = Path(path)
    with _open(kind, path) as file:
        _checked(kind, file.schema_arrow.empty_table(), path, without)
        columns = [name for name in file.schema_arrow.names if name not in without]
        for batch in file.iter_batches(rows_at_once, columns=columns):
            table = pa.Table.from_batches([batch])
            table.validate(full=True)  # texts that are no UTF-8, too
            yield from _checked(kind, table, path, without).to_pylist()


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
def table_writer(
    kind: str, path: str | Path, more: Sequence[pa.Field] = ()
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give a function that writes one row more, for files too large to be held whole.

    The file is written whole or not at all, with the same bytes as by `write_table`. Every row has
    the additional columns `more`, and no others.
    """
    path, fields = Path(path), (each.remove_metadata() for each in (*SCHEMAS[kind], *more))
    schema = pa.schema(fields, SCHEMAS[kind].metadata)
    waiting: list[Any] = []
    with (
        write_whole(path) as temporary,
        pq.ParquetWriter(temporary, schema, write_page_checksum=True) as writer,
    ):

        def write(*rows: dict[str, Any], least: int = _rows_a_group(kind)) -> None:
            waiting.extend(rows)
            if len(waiting) >= least:
                writer.write_table(_checked(kind, _as_table(schema, waiting), path).cast(schema))
                waiting.clear()

        yield write
        write(least=1)


def _rows_a_group(kind: str) -> int:
    """Fewer where rows hold photos, since a reader takes a group at a time."""
    return 100 if kind.startswith("dataset") else 10_000


@contextmanager
def _open(kind: str, path: Path) -> Iterator[pq.ParquetFile]:
    """The file, and a sentence where it is absent or damaged."""
    if path.is_dir():
        raise MuseQuestError(f"{path} is a folder; name the parquet file in it.")
    if not path.is_file():
        raise MuseQuestError(f"{path} does not exist; {_remedy(kind)} first.")
    try:
        with pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        if refusal(error):  # the machine's fault, not that of the file
            raise
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
    photos = {field.name: field.type for field in schema if field.name in PHOTOS}
    columns = {
        # Photos keep their declared kind, everything else is checked afterwards.
        name: pa.array([row.get(name) for row in rows], photos.get(name))
        for name in dict.fromkeys(name for row in rows for name in row)
    }
    return pa.table(columns)


def _checked(kind: str, table: pa.Table, path: Path, without: Sequence[str] = ()) -> pa.Table:
    schema, columns = SCHEMAS[kind], {}
    again = f"{_remedy(kind)} again{OR_ELSE.get(kind, '')}"
    for name in table.column_names:
        if table.column_names.count(name) > 1:
            raise MuseQuestError(f"{path} has the column '{name}' more than once; {again}.")
    for field in (each for each in schema if each.name not in without):
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
