"""The pocket museum's catalogue agrees with its facts, its photos and the split rule's needs."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter

import pytest
from PIL import Image

from musequest.core.home import root

MUSEUM = root() / "assets" / "pocket_museum"
COLUMNS = [
    "item_id",
    "item_name",
    "title",
    "link",
    "record",
    "description",
    "photos",
    "license",
    "credit",
    "facts",
]
FACTS = [
    "maker",
    "culture",
    "place",
    "date",
    "material",
    "technique",
    "measures",
    "weight",
    "detail",
    "significance",
]
ARTICLES = {"a", "an", "the"}
MAX_PHOTOS_BYTES = 8_000_000
MIN_PHOTO_PX = 256

LISTS = [
    path
    for path in sorted((root() / "assets").glob("*/*.csv"))
    if {"license", "credit"} <= {*path.read_text(encoding="utf-8").splitlines()[0].split(",")}
]

with (MUSEUM / "exhibits.csv").open(newline="", encoding="utf-8") as catalogue:
    ROWS = list(csv.DictReader(catalogue))

each_exhibit = pytest.mark.parametrize("row", ROWS, ids=[row["item_name"] for row in ROWS])


def numbers(text: str) -> list[str]:
    """Every number of a text as written, in order."""
    return re.findall(r"\d+(?:\.\d+)?", text)


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return re.findall(r"[a-z0-9.'-]*[a-z0-9]", text.lower())


def photos(row: dict[str, str]) -> list[str]:
    """The photo paths an exhibit lists, relative to the museum's folder."""
    return row["photos"].split("\n")


def facts(row: dict[str, str]) -> dict[str, str]:
    """The exhibit's facts."""
    return json.loads(row["facts"])


def test_the_catalogue_has_the_columns_of_an_exhibit() -> None:
    assert list(ROWS[0]) == COLUMNS


def test_there_are_enough_exhibits_kinds_and_siblings() -> None:
    kinds = Counter(row["item_name"].split("_")[-1] for row in ROWS)
    assert len(ROWS) >= 24
    assert len(kinds) >= 12
    assert sum(n > 1 for n in kinds.values()) >= 3


@pytest.mark.parametrize("column", COLUMNS[:6])
def test_what_identifies_an_exhibit_is_unique(column: str) -> None:
    assert len({row[column] for row in ROWS}) == len(ROWS)


def test_no_two_titles_begin_alike() -> None:
    openings = [next(w for w in words(row["title"]) if w not in ARTICLES) for row in ROWS]
    assert len(set(openings)) == len(openings)


@each_exhibit
def test_identifiers_are_well_formed(row: dict[str, str]) -> None:
    name = row["item_name"]
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
    assert row["link"] == f"https://example.org/pocket-museum/{name}"
    assert row["record"] == f"PM-{int(row['item_id']):04d}"
    assert row["license"] == "CC0-1.0"
    assert row["credit"] == "Pocket Museum, rendered"


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.parent.name)
def test_a_credit_says_whose_it_is_and_the_licence_stands_apart(path) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert row["license"].split("-")[0] not in row["credit"], f"{row['credit']!r} says it twice"


@each_exhibit
def test_the_description_is_plain_text_of_80_to_250_words(row: dict[str, str]) -> None:
    text = row["description"]
    assert 80 <= len(text.split()) <= 250
    assert text.isascii()
    assert text.isprintable()
    assert not re.search(r"[<>{}#*_|]", text)


@each_exhibit
def test_the_facts_are_complete(row: dict[str, str]) -> None:
    known = facts(row)
    assert set(known) <= set(FACTS)
    assert {"place", "date", "material", "measures", "detail", "significance"} <= set(known)
    assert {"maker", "culture"} & set(known)
    assert re.fullmatch(r"(about )?\d{4}", known["date"])
    assert known["significance"].startswith("it ")
    assert not any(value.endswith(".") or value != value.strip() for value in known.values())


@each_exhibit
def test_the_facts_fit_into_an_answer(row: dict[str, str]) -> None:
    assert 30 <= sum(len(value.split()) for value in facts(row).values()) <= 45


@each_exhibit
def test_the_description_states_every_fact(row: dict[str, str]) -> None:
    text, known = row["description"].lower(), facts(row)
    assert row["title"].lower() in text
    for key, value in known.items():
        assert value.lower() in text, f"{row['item_name']}: {key} is not in the description"


@each_exhibit
def test_description_and_facts_hold_the_same_numbers(row: dict[str, str]) -> None:
    of_facts = numbers(" ".join(facts(row).values()))
    assert set(of_facts) == set(numbers(row["description"]))
    assert 3 <= len(of_facts) <= 5


def test_no_two_exhibits_share_a_number() -> None:
    shared = Counter(n for row in ROWS for n in set(numbers(" ".join(facts(row).values()))))
    assert [n for n, times in shared.items() if times > 1] == []


@each_exhibit
def test_photos_are_listed_under_the_exhibits_name(row: dict[str, str]) -> None:
    listed = photos(row)
    assert listed == [f"photos/{row['item_name']}/{i:02d}.jpg" for i in range(len(listed))]


def test_photo_counts_reach_every_branch_of_the_split_rule() -> None:
    counts = {len(photos(row)) for row in ROWS}
    assert min(counts) == 1 and 2 in counts and max(counts) == 16
    assert counts & {3, 4, 5} and 6 in counts and counts & set(range(7, 15))


def test_the_museum_says_that_it_is_fictional() -> None:
    assert "This museum is fictional." in (MUSEUM / "README.md").read_text(encoding="utf-8")


def test_the_listed_photos_and_no_others_exist() -> None:
    files = [path for path in (MUSEUM / "photos").rglob("*") if path.is_file()]
    found = {path.relative_to(MUSEUM).as_posix() for path in files}
    assert found == {path for row in ROWS for path in photos(row)}


def test_the_photos_stay_small_altogether() -> None:
    assert sum(p.stat().st_size for p in (MUSEUM / "photos").rglob("*.jpg")) <= MAX_PHOTOS_BYTES


@each_exhibit
def test_photos_are_whole_large_and_different(row: dict[str, str]) -> None:
    seen = set()
    for path in photos(row):
        with Image.open(MUSEUM / path) as photo:
            photo.load()
            assert photo.mode == "RGB"
            assert min(photo.size) >= MIN_PHOTO_PX
            seen.add(photo.tobytes())
    assert len(seen) == len(photos(row))


@pytest.mark.parametrize("folder", ["pocket_museum", "pocket_outsiders", "pocket_strangers"])
def test_every_photo_shows_something(folder: str):
    photos = sorted((root() / "assets" / folder).rglob("*.jpg"))
    assert photos
    for path in photos:
        with Image.open(path) as photo:
            darkest, brightest = photo.convert("L").getextrema()
        assert brightest - darkest > 60, path
