"""Whatever a file holds, its parser gives what is right or one sentence that names the file."""

import csv
import io
import json
import math
from pathlib import Path
from types import MappingProxyType

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json, write_json
from musequest.core.keys import read_yaml
from musequest.core.settings import Profile, load_profile, profile_keys
from musequest.core.tables import SCHEMAS
from musequest.creation.exhibit_lists import read_csv, read_list
from musequest.creation.exhibits import read_folder
from musequest.creation.hosted.ledger import Ledger
from musequest.evaluation.answer_files import read_answers

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANYTHING = st.recursive(
    PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
NAMES = st.sampled_from(["item_name", "title", "description", "photos", "license", "facts", "S"])
CELLS = st.dictionaries(NAMES, st.text() | st.sampled_from(["../x", '{"a": 1}', "a\0b", "[[", "é"]))
NEEDED = ("item_name", "description")


def as_csv(rows: list[dict[str, str]], columns: list[str]) -> str:
    sink = io.StringIO()
    writer = csv.DictWriter(sink, columns, restval="")
    writer.writeheader()
    writer.writerows({name: row.get(name, "") for name in columns} for row in rows)
    return sink.getvalue()


def attempt(parse, path: Path):
    """What a parser gives, or None where it says in a sentence why not."""
    try:
        return parse(path)
    except MuseQuestError as error:
        assert path.name in str(error) or path.parent.name in str(error), error
        assert "Traceback" not in str(error) and str(error).strip()
        return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("parsed")


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes(folder, content):
    for name, parse in (
        ("exhibits.csv", lambda path: read_list(path, NEEDED)),
        ("exhibits.jsonl", lambda path: read_list(path, NEEDED)),
        ("exhibits.parquet", lambda path: read_list(path, NEEDED)),
        ("run.json", read_json),
        ("tiny.yaml", load_profile),
        ("answers.csv", read_answers),
    ):
        (folder / name).write_bytes(content)
        attempt(parse, folder / name)


@given(st.lists(st.tuples(st.text(), st.text()).filter(lambda row: any(map(str.strip, row)))))
def test_cells_come_back_as_they_were_written(folder, rows):
    path = folder / "exhibits.csv"
    content = [{"item_name": name, "description": text} for name, text in rows]
    path.write_text(as_csv(content, [*NEEDED]), encoding="utf-8", newline="")
    found = attempt(lambda path: read_csv(path, NEEDED), path)
    if found is None:
        assert not rows or any("\0" in cell for row in rows for cell in row)
        return
    read, problems = found
    assert not problems
    written = [{name: cell.strip() for name, cell in row.items()} for row in content]
    assert [row.cells for row in read] == written


@given(st.lists(CELLS, min_size=1, max_size=4))
def test_any_row_is_an_exhibit_or_a_problem(folder, rows):
    museum = folder / "museum"
    museum.mkdir(exist_ok=True)
    columns = ["item_name", "title", "description", "photos", "license", "facts"]
    (museum / "exhibits.csv").write_text(as_csv(rows, columns), encoding="utf-8", newline="")
    try:
        exhibits, problems = read_folder(museum)
    except MuseQuestError as error:
        assert "exhibits.csv" in str(error)
        return
    assert not exhibits and problems  # no photo is there


@given(ANYTHING)
def test_json_comes_back_or_is_refused_before_it_is_written(folder, content):
    path = folder / "any.json"
    try:
        write_json(path, content)
    except ValueError:
        return  # a NaN, or half a surrogate pair
    read = attempt(read_json, path)
    assert read is None or json.dumps(read) == json.dumps(content)


@given(st.dictionaries(st.sampled_from(sorted(profile_keys())), ANYTHING))
def test_any_profile_is_one_or_a_sentence(folder, values):
    path = folder / "tiny.yaml"
    sound = {"base_model": "x", "collection": "t", "image_size": 64}
    path.write_text(yaml.safe_dump({**sound, **values}), encoding="utf-8")
    found = attempt(load_profile, path)
    assert found is None or isinstance(found, Profile)
    assert attempt(read_yaml, path) is None or found is None or found.name == "tiny"


EVENTS = st.fixed_dictionaries(
    {"event": st.sampled_from(["sent", "paid", "free", "accepted", "too_many", "other"])},
    optional={
        "call": st.sampled_from("ab") | PLAIN,
        "key": st.sampled_from("xy") | ANYTHING,
        "most_usd": st.floats(0, 1) | ANYTHING,
        "response": st.fixed_dictionaries({"cost_usd": st.floats(0, 1)}) | ANYTHING,
        "batch": st.sampled_from("pq") | ANYTHING,
        **dict.fromkeys(("id", "calls", "reason", "refused", "at", "base_url"), ANYTHING),
    },
)
LINES = st.binary(max_size=40) | (EVENTS | ANYTHING).map(lambda event: json.dumps(event).encode())


@given(st.lists(LINES, max_size=6))
def test_any_ledger_is_opened_and_keeps_what_it_had(folder, lines):
    path = folder / "ledger.jsonl"
    before = b"\n".join(lines)
    path.write_bytes(before)
    if (ledger := attempt(Ledger, path)) is None:  # an amount that no call costs
        assert path.read_bytes() == before
        return
    try:
        call = ledger.sent("new", 0.5)
        ledger.add("paid", call=call, key="new", response={"cost_usd": 0.25})
        ledger.flush()
        assert ledger.find("new") == {"cost_usd": 0.25}
        assert math.isfinite(ledger.paid_usd) and ledger.paid_usd >= 0.25
        assert math.isfinite(ledger.committed_usd)
    finally:
        ledger.close()
    assert path.read_bytes().startswith(before)


ANSWER = MappingProxyType({name: PLAIN | st.integers() for name in SCHEMAS["predictions"].names})


@given(st.lists(st.fixed_dictionaries({}, optional=dict(ANSWER)), max_size=3), st.booleans())
def test_any_answers_are_a_table_or_a_sentence(folder, rows, lines):
    path = folder / "answers.json"
    text = "\n".join(map(json.dumps, rows)) if lines else json.dumps(rows)
    path.write_text(text, encoding="utf-8")
    table = attempt(read_answers, path)
    assert table is None or len(table) == len(rows)
