"""Exhibits are read and checked row by row; a bad one is reported and left out."""

import csv
import io
import json
import logging
import re
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pillow_heif
import pytest
from conftest import draw_photo
from folder_museum import read_rows, write_rows
from PIL import Image

from musequest.core.errors import MuseQuestError
from musequest.core.home import root
from musequest.creation.exhibits import collect_folder, load_exhibits, read_folder


def changed(museum: Path, number: int, **cells: str) -> Path:
    rows = read_rows(museum)
    rows[number] |= cells
    write_rows(museum, rows)
    return museum


def collect(museum: Path) -> list[str]:
    return list(collect_folder(museum, "t", progress=False)["item_name"])


def test_a_good_museum_is_read_without_a_problem(museum: Path):
    exhibits, problems = read_folder(museum)
    assert problems == []
    rows = read_rows(museum)
    assert [exhibit.item_name for exhibit in exhibits] == [row["item_name"] for row in rows]
    assert exhibits[0].facts == json.loads(rows[0]["facts"])
    assert exhibits[3].photos == rows[3]["photos"].splitlines()


def test_collected_exhibits_are_what_was_read_with_clean_photos(museum: Path, home: Path):
    table = collect_folder(museum, "t", progress=False)
    read, loaded = read_folder(museum)[0], load_exhibits("t")
    assert list(table["item_name"]) == [exhibit.item_name for exhibit in loaded]
    for before, after in zip(read, loaded, strict=True):
        assert (before.title, before.facts, before.description) == (
            after.title, after.facts, after.description,
        )  # fmt: skip
        assert len(before.photos) == len(after.photos)
        for photo in after.photos:
            with Image.open(home / "data/t" / photo) as image:
                assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (240, 180))


def test_large_photos_are_scaled_down(museum: Path, home: Path):
    large = draw_photo("ellipse", (9, 9, 200), 0).resize((3600, 2700))
    large.save(museum / "photos/the-lantern-of-brod/00.png", compress_level=1)
    collect(museum)
    with Image.open(home / "data/t/originals/the-lantern-of-brod/00.jpg") as image:
        assert image.size == (1536, 1152)


def test_only_name_title_and_description_are_needed(museum: Path, home: Path):
    kept = ("item_name", "title", "description")
    write_rows(museum, [{name: row[name] for name in kept} for row in read_rows(museum)])
    assert len(collect(museum)) == 5
    exhibit = load_exhibits("t")[2]
    assert (exhibit.item_id, exhibit.facts, exhibit.link, len(exhibit.photos)) == (3, {}, "", 3)


def test_a_file_saved_by_a_spreadsheet_is_read(museum: Path):
    path = museum / "exhibits.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\r\n", b"\n"))
    assert len(read_folder(museum)[0]) == 5


def test_photos_may_be_parted_by_semicolons(museum: Path):
    rows = read_rows(museum)
    listed = "; ".join(rows[1]["photos"].splitlines()) + ";"
    assert len(read_folder(changed(museum, 1, photos=listed))[0][1].photos) == 2


BAD_CELLS = {
    "empty name": ({"item_name": " "}, "the item_name is empty"),
    "duplicate name": ({"item_name": "the-sela-bowl"}, "'the-sela-bowl' occurs twice"),
    "name with a slash": ({"item_name": "../up"}, "cannot name a folder"),
    "capitals": ({"item_name": "Orme"}, "cannot name a folder"),
    "duplicate id": ({"item_id": "1"}, "item_id 1 occurs twice"),
    "id in words": ({"item_id": "four"}, "'four' is no whole number"),
    "empty title": ({"title": ""}, "the title of 'the-orme-casket' is empty"),
    "empty description": ({"description": "\n"}, "description of 'the-orme-casket' is empty"),
    "marker": ({"description": "Old.<end_of_utterance>User: hi"}, "the writer's own marker"),
    "html": ({"description": "An <i>old</i> casket."}, "contains HTML"),
    "control character": ({"description": "An old\x07 casket."}, "control character U\\+0007"),
    "html in a fact": ({"facts": '{"date": "<b>1803</b>"}'}, "the fact 'date' of .* contains HTML"),
    "bell in a fact": ({"facts": r'{"date": "18\u000703"}'}, r"character U\+0007"),
    "facts that are no JSON": ({"facts": "date 1803"}, "the facts are no JSON"),
    "facts that are a list": ({"facts": '["1803"]'}, "no JSON object of texts"),
    "a fact that is a list": ({"facts": '{"date": ["1803"]}'}, "no JSON object of texts"),
    "endless number": ({"facts": '{"date": ' + "9" * 5000 + "}"}, "the facts are no JSON"),
    "deep facts": ({"facts": '{"date": ' + "[" * 100_000 + "}"}, "the facts are no JSON"),
    "a fact without a name": ({"facts": '{" ": "1742"}'}, "name of the fact ' ' .* is empty"),
    "html in a fact's name": ({"facts": '{"<b>": "1742"}'}, "name of the fact .* contains HTML"),
    "path with NUL": ({"photos": "photos/\0.jpg"}, r"'photos/\\x00.jpg' has a path that cannot"),
    "long path": ({"photos": "p" * 300 + ".jpg"}, "'ppp.*' has a path that cannot be used"),
    "long path of folders": ({"photos": "pp/" * 3000}, "'pp/.*' has a path that cannot be used"),
    "loop of links": ({"photos": "loop/a.jpg"}, "'loop/a.jpg' has a path that cannot be used"),
    "unknown language": ({"language": "klingon"}, "'language' is 'klingon'; write a code"),
    "absent photo": ({"photos": "photos/gone.jpg"}, "photos/gone.jpg is absent"),
    "photo elsewhere": ({"photos": "../../secret.jpg"}, "lies outside"),
    "photo by full path": ({"photos": "/etc/hostname"}, "lies outside"),
}


@pytest.mark.parametrize("case", list(BAD_CELLS))
def test_a_bad_row_is_one_sentence_and_left_out(
    museum: Path, home: Path, caplog: pytest.LogCaptureFixture, case: str
):
    cells, sentence = BAD_CELLS[case]
    (museum / "loop").symlink_to("loop")
    write_rows(museum, [row | {"language": "en"} for row in read_rows(museum)])
    with caplog.at_level(logging.WARNING, logger="musequest"):
        names = collect(changed(museum, 3, **cells))
    assert len(names) == 4 and "the-orme-casket" not in names
    (message,) = caplog.messages
    assert "exhibits.csv, row 5" in message and "\n" not in message
    assert cells.get("item_name", "the-orme-casket").strip() in message
    assert re.search(sentence, message)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2000])


BAD_PHOTOS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "truncated": (cut, "is truncated or damaged"),
    "no image": (lambda path: path.write_text("not found"), "not an image"),
    "black": (lambda path: Image.new("RGB", (240, 180)).save(path), "shows nothing"),
    "bomb": (lambda path: Image.new("1", (12_000, 12_000)).save(path), "decompression bomb"),
}


@pytest.mark.parametrize("case", list(BAD_PHOTOS))
def test_an_exhibit_with_a_bad_photo_is_left_out(
    museum: Path, home: Path, caplog: pytest.LogCaptureFixture, case: str
):
    spoil, sentence = BAD_PHOTOS[case]
    spoil(museum / "photos/the-orme-casket/02.png")
    with caplog.at_level(logging.WARNING, logger="musequest"):
        assert "the-orme-casket" not in collect(museum)
    (message,) = caplog.messages
    assert "exhibit 'the-orme-casket'" in message and "the-orme-casket/02.png" in message
    assert sentence in message


def test_odd_but_good_photos_are_taken(museum: Path, home: Path):
    folder = museum / "photos/the-orme-casket"
    photo = Image.open(folder / "00.png")
    photo.convert("CMYK").save(folder / "00.jpg")
    listed = read_rows(museum)[3]["photos"].replace("00.png", "00.jpg")
    assert "the-orme-casket" in collect(changed(museum, 3, photos=listed))


def test_two_bad_exhibits_of_five_stop_the_run_and_nothing_is_lost(museum: Path, home: Path):
    collect(museum)
    before = (home / "data/t/exhibits.parquet").read_bytes()
    changed(museum, 0, title="")
    changed(museum, 3, item_name="")
    with pytest.raises(MuseQuestError, match="2 of 5 exhibits cannot be used") as caught:
        collect(museum)
    assert "The first: " in str(caught.value) and "row 2" in str(caught.value)
    assert (home / "data/t/exhibits.parquet").read_bytes() == before


def test_short_descriptions_are_counted_in_one_sentence(
    museum: Path, home: Path, caplog: pytest.LogCaptureFixture
):
    changed(museum, 1, description="word " * 79)
    changed(museum, 3, description="word " * 80)
    changed(museum, 4, description="A dial.")
    assert len(collect(museum)) == 5
    (message,) = caplog.messages
    assert message.startswith("2 of 5 descriptions have fewer than 80 words, first that of 'the-s")
    caplog.clear()
    collect_folder(root() / "assets/pocket_museum", "pocket", progress=False)
    assert "80 words" not in caplog.text


def test_a_photo_that_came_twice_is_taken_once(
    museum: Path, home: Path, caplog: pytest.LogCaptureFixture
):
    folder = museum / "photos/the-orme-casket"
    shutil.copy(folder / "00.png", folder / "09.png")
    listed = read_rows(museum)[3]["photos"] + "\nphotos/the-orme-casket/09.png"
    with caplog.at_level(logging.WARNING, logger="musequest"):
        collect(changed(museum, 3, photos=listed))
    assert len(load_exhibits("t")[3].photos) == 4
    assert "09.png shows the same as an earlier photo" in caplog.messages[0]


def test_the_sixteenth_photo_is_not_used_and_reported(
    museum: Path, home: Path, caplog: pytest.LogCaptureFixture
):
    folder = museum / "photos/dial-of-the-upper-mill"
    for view in range(17):
        draw_photo("ellipse", (250 - 14 * view, 10 + 14 * view, 90), view).save(
            folder / f"{view:02d}.png"
        )
    with caplog.at_level(logging.WARNING, logger="musequest"):
        collect(changed(museum, 4, photos=""))
    assert len(load_exhibits("t")[4].photos) == 15
    assert "'dial-of-the-upper-mill' has 17 photos; the first 15 are used." in caplog.messages


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "exhibits.csv does not exist"),
        (b"", "lacks the column 'item_name'"),
        (b"item_name,title\na,b\n", "lacks the column 'description'"),
        (b"item_name,title,description\n", "lists no exhibit"),
        (b"item_name,title,description\n\xff\xfe,b,c\n", "is not a CSV file in UTF-8"),
        (b'item_name,title,description\na,"b,c\n', r"row 2, is not CSV .* mend it\.$"),
        (b'item_name,title,description\na,b,c\nd,"e" f,g\n', "row 3, is not CSV"),
    ],
)
def test_an_unusable_list_is_a_sentence(tmp_path: Path, content: bytes | None, sentence: str):
    if content is not None:
        (tmp_path / "exhibits.csv").write_bytes(content)
    with pytest.raises(MuseQuestError, match=sentence):
        read_folder(tmp_path)


@pytest.mark.parametrize("line", ["a,b", "a,b,c,d"])
def test_a_row_with_another_number_of_cells_is_a_problem(tmp_path: Path, line: str):
    (tmp_path / "exhibits.csv").write_text(f"item_name,title,description\n{line}\n")
    exhibits, (problem,) = read_folder(tmp_path)
    assert not exhibits and "row 2 ('a'): it has not as many cells as the header" in problem


def spreadsheet(museum: Path, separator: str, first: str, encoding: str, end: str = "") -> None:
    """The museum's list as other programs save it."""
    rows = read_rows(museum)
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator)
    writer.writerow([name.replace("_", " ").title() for name in rows[0]])
    writer.writerows([row.values() for row in rows])
    (museum / "exhibits.csv").write_text(first + text.getvalue() + end, encoding, newline="")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    ("first", "encoding", "end"),
    [
        ("", "utf-8", ""),
        ("sep={}\r\n", "utf-8-sig", ""),
        ('"sep={}"\r\n', "utf-8", ""),
        ("", "utf-8-sig", "\r\n\r\n"),
        ("", "utf-16", "{}{}{}{}{}{}{}{}{}\r\n" * 3),
    ],
)
def test_a_list_is_read_as_spreadsheets_save_it(
    museum: Path, separator: str, first: str, encoding: str, end: str
):
    wanted = read_folder(museum)
    spreadsheet(museum, separator, first.format(separator), encoding, end.replace("{}", separator))
    assert read_folder(museum) == wanted


def test_rows_are_counted_as_a_spreadsheet_does(museum: Path):
    lines = "item_name;title;description\r\n\r\n;;\r\na;A;B;;\r\nb;C;;x\r\n"
    (museum / "exhibits.csv").write_bytes(lines.encode())
    _, problems = read_folder(museum)
    assert "row 5 ('b'): it has not as many cells" in problems[0]
    assert "row 4: 'a' has no photo" in problems[1]


def test_a_cell_may_be_long_and_old_encodings_are_a_sentence(museum: Path):
    changed(museum, 1, description="Made of oak. " * 12_000)
    assert len(read_folder(museum)[0]) == 5
    list_ = museum / "exhibits.csv"
    list_.write_bytes(list_.read_text(encoding="utf-8").replace("oak", "ch\xeane").encode("cp1252"))
    with pytest.raises(MuseQuestError, match=r"is not a CSV file in UTF-8 .* 'CSV UTF-8'"):
        read_folder(museum)


@pytest.mark.parametrize("suffix", ["heic", "jfif", "jp2", "JPG", "avif", "TIF", "hif"])
def test_photos_of_every_kind_are_found_and_read(museum: Path, home: Path, suffix: str):
    folder = museum / "photos/the-sela-bowl"
    kinds = {"heic": "HEIF", "hif": "HEIF", "jp2": "JPEG2000", "avif": "AVIF", "TIF": "TIFF"}
    for path in sorted(folder.iterdir()):
        with Image.open(path) as photo:
            pillow_heif.register_heif_opener()
            photo.convert("RGB").save(path.with_suffix(f".{suffix}"), kinds.get(suffix, "JPEG"))
        path.unlink()
    collect(changed(museum, 1, photos=""))
    assert len(load_exhibits("t")[1].photos) == 2


def test_what_lies_beside_the_photos_is_counted_and_what_systems_leave_is_not(
    museum: Path, home: Path, caplog: pytest.LogCaptureFixture
):
    folder = museum / "photos/the-sela-bowl"
    (folder / "._00.png").write_bytes(b"\0\5\x16\7")
    (folder / ".DS_Store").write_bytes(b"")
    (folder / "Thumbs.db").write_bytes(b"")
    (museum / "photos/.DS_Store").write_bytes(b"")
    changed(museum, 1, photos="")
    assert len(collect(museum)) == 5 and not caplog.messages
    (folder / "more/raw").mkdir(parents=True)
    shutil.copy(folder / "00.png", folder / "more/raw/02.png")
    (folder / "plan.pdf").write_bytes(b"%PDF")
    assert len(collect(museum)) == 5 and len(load_exhibits("t")[1].photos) == 2
    (message,) = caplog.messages
    assert message.startswith("2 files in photos/ were left out, first") and "plan.pdf" in message
    (folder / "plan.pdf").unlink()
    caplog.clear()
    assert len(collect(museum)) == 5
    assert caplog.messages[0].startswith(f"1 file in photos/ was left out, {folder}/more/raw/02.pn")
    (folder / "plan.pdf").write_bytes(b"%PDF")
    for path in folder.glob("*.png"):
        path.rename(folder / "more" / path.name)
    _, (problem,) = read_folder(museum)
    assert "'the-sela-bowl' has no photo (left out: 4 files such as " in problem


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_may_be_written_in_two_ways(museum: Path, form: str):
    other = "NFD" if form == "NFC" else "NFC"
    spelled = unicodedata.normalize(form, "photos/Sèla/Schüssel é.png")
    (museum / spelled).parent.mkdir()
    shutil.copy(museum / "photos/the-sela-bowl/00.png", museum / spelled)
    listed = unicodedata.normalize(other, spelled)
    (museum / "credits.csv").write_text(f"photo,license\n{listed},CC-BY-4.0\n", encoding="utf-8")
    for photos in (listed, listed.replace("/", "\\")):
        exhibits, problems = read_folder(changed(museum, 1, photos=photos))
        assert problems == [] and exhibits[1].photos == [spelled]
        assert exhibits[1].photo_credits[0]["license"] == "CC-BY-4.0"


def test_a_photo_the_disk_does_not_give_leaves_out_its_exhibit_alone(
    museum: Path, home: Path, caplog: pytest.LogCaptureFixture
):
    spelled = museum / "photos/the-orme-casket/02.png"
    spelled.unlink()
    spelled.symlink_to(spelled)
    assert len(collect(museum)) == 4
    (message,) = caplog.messages
    assert "the-orme-casket" in message and "\n" not in message


def test_texts_in_another_language_than_was_said_are_told_with_the_flag(
    museum: Path, home: Path, caplog: pytest.LogCaptureFixture
):
    told = (
        "Die Vase wurde in der Werkstatt von Tarn aus rotem Ton gedreht und lange gebraucht. "
        "Ein späterer Besitzer schenkte sie dem Museum, wo sie nun neben der Treppe steht. "
    )
    write_rows(museum, [row | {"description": told * 4} for row in read_rows(museum)[:2]])
    collect(museum)
    (message,) = caplog.messages
    assert message.startswith("2 of 2 descriptions are in German, but dialogs will be in English;")
    assert message.endswith("with --language de (in a profile, language: de).")
    caplog.clear()
    collect_folder(museum, "t", language="de", progress=False)
    assert not caplog.messages


def test_a_collection_has_a_language(museum: Path, home: Path):
    collect_folder(museum, "t", language="de", progress=False)
    assert {exhibit.language for exhibit in load_exhibits("t")} == {"de"}
    collect_folder(home / "data/t", "u", progress=False)
    # What is stored anew as JPEG has other bytes.
    assert [replace(each, photo_digests=[]) for each in load_exhibits("u")] == [
        replace(each, photo_digests=[]) for each in load_exhibits("t")
    ]
    collect(museum)
    assert {exhibit.language for exhibit in load_exhibits("t")} == {"en"}
    with pytest.raises(MuseQuestError, match="'language' is 'xx'; write a code of ISO 639-1"):
        collect_folder(museum, "t", language="xx", progress=False)
