"""A museum's list may be CSV, parquet or JSON lines, and says the same in each."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from musequest.core.errors import MuseQuestError
from musequest.creation.exhibits import collect_folder, load_exhibits, read_folder


def as_parquet(museum: Path) -> Path:
    table = pd.read_csv(museum / "exhibits.csv")
    table["photos"] = table["photos"].str.split("\n")
    table.to_parquet(museum / "exhibits.parquet")
    return museum / "exhibits.parquet"


def as_jsonl(museum: Path) -> Path:
    rows = pd.read_csv(museum / "exhibits.csv", keep_default_na=False).to_dict("records")
    for row in rows:
        row["photos"] = row["photos"].split("\n")
        row["facts"] = json.loads(row["facts"])
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (museum / "exhibits.jsonl").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    return museum / "exhibits.jsonl"


@pytest.mark.parametrize("column", ["title", "description", "credit", "facts"])
def test_half_a_sign_leaves_its_exhibit_out_alone(
    museum: Path, home: Path, caplog: pytest.LogCaptureFixture, column: str
):
    path = as_jsonl(museum)
    (museum / "exhibits.csv").unlink()
    first, *others = path.read_text(encoding="utf-8").splitlines()
    row = json.loads(first)
    row[column] = {"d\ud83d": "1742"} if column == "facts" else f"Made of oak \ud83d {row[column]}"
    path.write_text("\n".join([json.dumps(row), *others]), encoding="utf-8")
    assert len(collect_folder(museum, "t", progress=False)) == 4
    (message,) = caplog.messages
    assert "line 1" in message and f"the {column} of" in message and "U+D83D" in message


@pytest.mark.parametrize("write", [as_parquet, as_jsonl])
def test_all_kinds_of_lists_say_the_same(museum: Path, write):
    wanted, _ = read_folder(museum)
    write(museum)
    (museum / "exhibits.csv").unlink()
    assert read_folder(museum) == (wanted, [])


def test_a_collection_is_a_museum_again(museum: Path, home: Path):
    collect_folder(museum, "t", progress=False)
    collect_folder(home / "data/t", "u", progress=False)
    again, first = load_exhibits("u"), load_exhibits("t")
    # A photo that is saved as JPEG once more has other bytes.
    assert again == [
        replace(one, photo_digests=other.photo_digests)
        for one, other in zip(first, again, strict=True)
    ]


def test_absent_cells_of_a_data_frame_are_empty(museum: Path, home: Path):
    rows = pd.read_csv(museum / "exhibits.csv").drop(columns=["license"])
    rows["credit"] = [None, "us", None, "us", float("nan")]
    rows["item_id"] = rows["item_id"].astype(float)
    rows.to_parquet(museum / "exhibits.parquet")
    (museum / "exhibits.csv").unlink()
    exhibits, problems = read_folder(museum)
    assert problems == [] and [exhibit.credit for exhibit in exhibits] == ["", "us", "", "us", ""]
    assert [exhibit.item_id for exhibit in exhibits] == [1, 2, 3, 4, 5]


def test_empty_rows_may_stand_above_the_header(museum: Path):
    wanted = read_folder(museum)
    text = (museum / "exhibits.csv").read_text(encoding="utf-8")
    (museum / "exhibits.csv").write_text(f"\n,,\n{text}", encoding="utf-8")
    assert read_folder(museum) == wanted


@pytest.mark.parametrize("name", ["exhibits.xlsx", "Exhibits.CSV"])
def test_a_list_of_another_kind_is_named(tmp_path: Path, name: str):
    (tmp_path / name).touch()
    with pytest.raises(MuseQuestError, match=rf"exhibits\.csv does not exist; .*; save {name} so"):
        read_folder(tmp_path)


def test_two_lists_are_one_too_many(museum: Path):
    as_jsonl(museum)
    with pytest.raises(MuseQuestError, match="holds exhibits.csv and exhibits.jsonl; keep"):
        read_folder(museum)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{not json", "line 2: it is no JSON"),
        ('["a"]', "line 2: it is no JSON object"),
        ('{"item_name": "a", "title": "b"}', r'line 2 \("a"\): .* lacks the column'),
        ('{"item_name": "a", "title": ' + "9" * 5000 + "}", r'line 2 \("a"\): it is no JSON'),
        ("[" * 100_000, "line 2: it is no JSON"),
        ('{"Title": "a", "title": "b", "item_name": "c", "description": "d"}', "'title' twice"),
    ],
)
def test_a_bad_line_is_a_problem_of_its_own(
    museum: Path, home: Path, caplog: pytest.LogCaptureFixture, line: str, sentence: str
):
    path = as_jsonl(museum)
    (museum / "exhibits.csv").unlink()
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0], line, *lines[2:]]), encoding="utf-8")
    with caplog.at_level(logging.WARNING, logger="musequest"):
        assert len(collect_folder(museum, "t", progress=False)) == 4
    (message,) = caplog.messages
    assert pd.Series([message]).str.contains(sentence).all()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("exhibits.parquet", b"PAR1 nothing", "is no readable parquet file"),
        ("exhibits.jsonl", b"\xff\xfe", "is not in UTF-8"),
        ("exhibits.jsonl", b"\n\n", "lists no exhibit"),
    ],
)
def test_an_unreadable_list_is_a_sentence(tmp_path: Path, name: str, content: bytes, sentence: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MuseQuestError, match=sentence):
        read_folder(tmp_path)


def test_a_parquet_file_needs_its_columns(tmp_path: Path):
    pd.DataFrame({"item_name": ["a"]}).to_parquet(tmp_path / "exhibits.parquet")
    with pytest.raises(MuseQuestError, match="lacks the column 'title'"):
        read_folder(tmp_path)


def test_single_photos_may_bear_rights_of_their_own(museum: Path, home: Path):
    photo = read_folder(museum)[0][1].photos[1]
    (museum / "credits.csv").write_text(f"photo,license,source\n{photo},CC-BY-4.0,page 7\n")
    collect_folder(museum, "t", progress=False)
    exhibit = load_exhibits("t")[1]
    shared = {"license": "CC0-1.0", "credit": "drawn for the tests", "record": "test-2"}
    assert exhibit.photo_credits == [
        shared | {"source": ""},
        shared | {"license": "CC-BY-4.0", "source": "page 7"},
    ]
    table = pd.read_csv(home / "data/t/credits.csv", keep_default_na=False)
    assert len(table) == 16 and list(table["license"]).count("CC-BY-4.0") == 1
