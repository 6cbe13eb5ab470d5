"""Parquet files between the stages: the columns are checked on both sides."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from musequest.core.errors import MuseQuestError
from musequest.core.tables import SCHEMAS, iterate_table, read_table, table_writer, write_table

ROW = {
    "data_id": "bowl-00",
    "item_name": "bowl",
    "image_name": "bowl-00.jpg",
    "question": "What is this?",
    "ground_truth": "A bowl.",
    "answer": "A cup.",
    "new_tokens": 4,
    "seconds": 0.5,
}
STEP = {"step": 1, "epoch": 0.1, "train_loss": 2.0, "eval_loss": None, "learning_rate": 1e-3}


def test_flipped_bits_are_found_when_a_table_is_read(tmp_path):
    path = tmp_path / "predictions.parquet"
    row = dict.fromkeys(SCHEMAS["predictions"].names, "An answer of some length.")
    write_table("predictions", path, [{**row, "new_tokens": 1, "seconds": 0.1}])
    whole = path.read_bytes()
    place = whole.index(b"An answer")
    path.write_bytes(whole[:place] + b"Xn" + whole[place + 2 :])
    with pytest.raises(MuseQuestError, match="predictions.parquet is no readable parquet file"):
        read_table("predictions", path)
    path.write_bytes(whole)
    assert len(read_table("predictions", path)) == 1


@pytest.mark.parametrize("frame", [False, True])
def test_rows_come_back_in_the_order_of_the_schema(tmp_path: Path, frame: bool):
    rows = [dict(reversed(ROW.items()))]
    write_table("predictions", tmp_path / "p.parquet", pd.DataFrame(rows) if frame else rows)
    table = read_table("predictions", tmp_path / "p.parquet")
    assert list(table.columns) == SCHEMAS["predictions"].names
    assert table.to_dict("records") == [ROW]


def test_equal_rows_give_equal_bytes(tmp_path: Path):
    for name in ("a", "b"):
        write_table("predictions", tmp_path / f"{name}.parquet", [ROW])
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_whole_numbers_may_stand_for_real_ones_and_nulls_for_anything(tmp_path: Path):
    write_table("metrics", tmp_path / "m.parquet", [STEP | {"seconds": 3}])
    table = read_table("metrics", tmp_path / "m.parquet")
    assert table["seconds"].dtype == "float64" and table["eval_loss"].isna().all()


def test_additional_columns_are_kept_behind(tmp_path: Path):
    write_table("scores", tmp_path / "s.parquet", [{"rouge_l": 0.5, "model": "a", "data_id": "b"}])
    assert list(read_table("scores", tmp_path / "s.parquet")) == ["model", "data_id", "rouge_l"]


def test_no_rows_are_a_table_too(tmp_path: Path):
    write_table("dialogs", tmp_path / "d.parquet", [])
    assert list(read_table("dialogs", tmp_path / "d.parquet")) == SCHEMAS["dialogs"].names


@pytest.mark.parametrize("column", list(ROW))
def test_a_missing_column_is_named_with_file_and_remedy(tmp_path: Path, column: str):
    path = tmp_path / "p.parquet"
    rows = [{name: value for name, value in ROW.items() if name != column}]
    sentence = f"p.parquet lacks the column '{column}'; run `python -m musequest infer`"
    with pytest.raises(MuseQuestError, match=sentence):
        write_table("predictions", path, rows)
    assert not path.exists()
    pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(MuseQuestError, match=sentence):
        read_table("predictions", path)


@pytest.mark.parametrize(("column", "value"), [("answer", 3), ("new_tokens", "four"),
                                               ("new_tokens", 1.5), ("seconds", "1")])  # fmt: skip
def test_a_mistyped_column_is_named_with_file_and_remedy(tmp_path: Path, column: str, value):
    path = tmp_path / "p.parquet"
    write_table("predictions", path, [ROW])
    before = path.read_bytes()
    with pytest.raises(MuseQuestError, match=f"p.parquet: the column '{column}' holds"):
        write_table("predictions", path, [ROW | {column: value}])
    assert path.read_bytes() == before
    pq.write_table(pa.Table.from_pylist([ROW | {column: value}]), path)
    with pytest.raises(MuseQuestError, match=f"the column '{column}' holds .*infer"):
        read_table("predictions", path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all"])
def test_a_damaged_file_is_a_sentence(tmp_path: Path, content: bytes):
    (tmp_path / "p.parquet").write_bytes(content)
    with pytest.raises(MuseQuestError, match="p.parquet is no readable parquet file"):
        read_table("predictions", tmp_path / "p.parquet")


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path):
    with pytest.raises(MuseQuestError, match="exhibits.parquet does not exist; run .*collect"):
        read_table("exhibits", tmp_path / "exhibits.parquet")


def test_rows_can_be_read_one_by_one(tmp_path: Path):
    path = tmp_path / "p.parquet"
    rows = [ROW | {"data_id": f"bowl-{number}"} for number in range(7)]
    write_table("predictions", path, rows)
    assert list(iterate_table("predictions", path, rows_at_once=3)) == rows
    pq.write_table(pa.Table.from_pylist([ROW | {"answer": 3}]), path)
    with pytest.raises(MuseQuestError, match="the column 'answer' holds int64"):
        next(iterate_table("predictions", path))
    path.write_bytes(b"PAR1")
    with pytest.raises(MuseQuestError, match="is no readable parquet file"):
        next(iterate_table("predictions", path))


def test_a_text_that_is_no_utf_8_is_a_sentence_however_it_is_read(tmp_path: Path):
    path = tmp_path / "p.parquet"
    spoiled = pa.array([b"\xff"]).view(pa.string())
    table = pa.Table.from_pylist([ROW])
    place = table.column_names.index("answer")
    pq.write_table(table.set_column(place, "answer", spoiled), path)
    for read in (read_table, lambda *told: list(iterate_table(*told))):
        with pytest.raises(MuseQuestError, match="p.parquet is no readable parquet file"):
            read("predictions", path)


def test_rows_written_one_by_one_give_the_bytes_of_a_whole_table(tmp_path: Path):
    rows = [dict.fromkeys(SCHEMAS["photos"].names, "x") | {"slot": n, "augmented": True, "mark": n}
            for n in range(10_001)]  # fmt: skip
    write_table("photos", tmp_path / "whole.parquet", rows)
    with table_writer("photos", tmp_path / "rows.parquet", [pa.field("mark", pa.int64())]) as write:
        for row in rows:
            write(row)
    assert (tmp_path / "rows.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_of_a_file_read_row_by_row_little_is_held(tmp_path: Path):
    row = dict.fromkeys(SCHEMAS["dataset"].names, "x") | {"augmented": False, "temperature": 0.4}
    rng = np.random.default_rng(0)  # as photos are, it cannot be compressed
    photos = [{"bytes": rng.bytes(2000), "path": "x.jpg"} for _ in range(2000)]
    write_table("dataset", path := tmp_path / "d.parquet", [row | {"image": p} for p in photos])
    before, rows = pa.total_allocated_bytes(), iterate_table("dataset", path)
    assert next(rows)["image"] == photos[0]
    assert pa.total_allocated_bytes() - before < path.stat().st_size / 3
    assert [row["image"] for row in rows] == photos[1:]


def test_rows_can_be_read_without_some_columns(tmp_path: Path):
    write_table("predictions", path := tmp_path / "p.parquet", [ROW])
    (row,) = iterate_table("predictions", path, without=("answer", "question"))
    assert row == {name: ROW[name] for name in ROW if name not in ("answer", "question")}


def test_facts_are_optional(tmp_path: Path):
    texts = dict.fromkeys(("item_name", "title", "link", "record", "description"), "x")
    row = {"item_id": 1, **texts, "photos": ["a.jpg"], "license": "", "credit": ""}
    write_table("exhibits", tmp_path / "e.parquet", [row])
    table = read_table("exhibits", tmp_path / "e.parquet")
    assert table["facts"].isna().all() and list(table["photos"][0]) == ["a.jpg"]
