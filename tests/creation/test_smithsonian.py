"""Smithsonian records are read whatever their shape, and found only where they are confirmed."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from museum_server import ARK, MuseumServer, artwork, running, smithsonian_row

from musequest.creation.museums import client as museum_client
from musequest.creation.museums import photo_path
from musequest.creation.museums.artic import ArtInstitute
from musequest.creation.museums.client import MuseumClient
from musequest.creation.museums.http import NotFound, Refused
from musequest.creation.museums.records import (
    Entry,
    MuseumPhoto,
    heading,
    main_links,
    main_photo,
    main_text,
    plain_text,
)
from musequest.creation.museums.smithsonian import Smithsonian, ids_within, parse_record, record_id


def row(**freetext: Any) -> dict[str, Any]:
    record = smithsonian_row("test_1", "aa1", [])
    record["content"]["freetext"] |= freetext
    return record


def notes(*items: Any) -> str:
    return parse_record(row(notes=list(items))).narrative


def note(label: str, content: Any) -> dict[str, Any]:
    return {"label": label, "content": content}


def media(**changes: Any) -> dict[str, Any]:
    return {
        "type": "Images",
        "idsId": "T-1",
        "content": "https://ids.example.org/T-1",
        "usage": {"access": "CC0"},
    } | changes


def photos(*items: Any) -> list[MuseumPhoto]:
    return parse_record(smithsonian_row("test_1", "aa1", list(items))).photos


def test_a_record_is_read():
    record = parse_record(row())
    assert (record.record_id, record.title) == ("test_1", "Machine test_1")
    assert record.record == f"{ARK}aa1" and record.license == "CC0-1.0"
    assert record.credit == "Gift of Tomas Reke, Museum of Tests"
    assert record.narrative.startswith("Machine test_1 was built in 1742 by Ada Holm.")
    assert record.details == "From the museum's record: Date: 1742. Name: Holm, Ada."
    assert record.description == f"{record.narrative}\n\n{record.details}"


def test_repeated_labels_are_one_text_and_split_sentences_whole_again():
    told = notes(
        note("Description", "It first flew at Kitty"),
        note("Summary", "A machine."),
        note("Description", "Hawk in 1903."),
        note("Summary", "A machine."),
    )
    assert told == "It first flew at Kitty Hawk in 1903.\n\nA machine."


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("<p>The <i>Spirit</i> &amp; its crew</p>", "The Spirit & its crew"),
        ("&lt;b&gt;Bold&lt;/b&gt; claim", "Bold claim"),
        ("Fish &amp;amp; chips", "Fish & chips"),
        ("One.<br/>Two.<p>Three.</p>", "One.\nTwo.\n\nThree."),
        ("A<script>alert(1)</script> wheel\x07", "A wheel"),
        ("Less than 5 cm: 3 < 5", "Less than 5 cm: 3 < 5"),
        (1903, "1903"),
        (["a list"], ""),
        (None, ""),
    ],
)
def test_tags_and_entities_are_gone(content: Any, told: str):
    assert notes(note("Description", content)) == told


def test_notes_about_rights_and_sources_are_not_told():
    assert notes(
        note("Rights", "Ask us."), note("Provenance", "Bought."), note("Description", "A wheel.")
    ) == ("A wheel.")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["Ada Holm"], "Name: Ada Holm."),
        ([{"type": "personal", "content": "Ada Holm"}, "Ada Holm"], "Name: Ada Holm."),
        ([{"type": "personal"}, 7, None], "Name: 7."),
        ("Ada Holm", "Name: Ada Holm."),
    ],
)
def test_indexed_names_may_be_texts_or_objects(names: Any, told: str):
    record = row()
    record["content"]["indexedStructured"]["name"] = names
    assert parse_record(record).details.endswith(told)


@pytest.mark.parametrize(
    ("own", "changes"),
    [
        ("nasm_A1", {"id": "edanmdm-nasm_A1"}),
        ("nasm_A1", {"id": "ld1-1643398-1643399-0", "url": "edanmdm:nasm_A1"}),
        ("", {"id": "ld1-1643398-1643399-0", "url": None}),
    ],
)
def test_the_id_is_the_museums_own(own: str, changes: dict[str, Any]):
    assert record_id({"id": "", "content": {"descriptiveNonRepeating": {}}} | changes) == own
    told = {"descriptiveNonRepeating": {"record_ID": "nmah_7"}}
    assert record_id(changes | {"content": told}) == "nmah_7"


@pytest.mark.parametrize("broken", [{}, {"content": None}, {"content": {"freetext": []}}])
def test_a_record_without_anything_is_empty(broken: dict[str, Any]):
    record = parse_record(broken)
    assert (record.title, record.narrative, record.photos) == ("", "", [])
    assert record.license == "not stated"


def test_a_record_without_media_has_no_photo():
    assert parse_record(smithsonian_row("test_1", "aa1", None)).photos == []


@pytest.mark.parametrize(
    ("usage", "licence"),
    [
        ({"access": "CC0"}, "CC0-1.0"),
        ({"access": "Usage conditions apply"}, "Usage conditions apply"),
        ({}, "not stated"),
        (None, "not stated"),
    ],
)
def test_a_photo_bears_its_own_licence_not_its_records(usage: Any, licence: str):
    (photo,) = photos(media(usage=usage))
    assert photo.license == licence


def test_videos_are_no_photos_and_photos_come_once():
    assert len(photos(media(), media(type="Youtube videos", idsId="V"), media(), "odd")) == 1


def sized(width: int, label: str = "High-resolution JPEG", kind: str = "jpg") -> dict[str, Any]:
    url = f"https://ids.example.org/{width}.{kind}"
    return {"label": label, "url": url, "width": width, "height": width // 2}


@pytest.mark.parametrize(
    ("changes", "address"),
    [
        ({"resources": [sized(9000), sized(3000), sized(800)]}, "/3000.jpg"),
        ({"resources": [sized(9000, "High-resolution TIFF", "tif")]}, "/T-1"),
        ({"resources": [sized(800)]}, "/T-1"),
        ({"resources": [sized(800)], "content": None}, "/800.jpg"),
        ({"resources": [{"label": "Screen Image", "url": "javascript:x"}, None]}, "/T-1"),
        ({"resources": [sized(2000) | {"width": "2000"}]}, "/2000.jpg"),
        ({"content": "T-1.jpg"}, "/ids/deliveryService?id=T-1&max=1536"),
    ],
)
def test_the_smallest_photo_that_is_large_enough_is_taken(changes: dict[str, Any], address: str):
    (photo,) = photos(media(**changes))
    assert photo.url.endswith(address) and photo.url.startswith("https://ids.")


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("https://www.si.edu/object/1903-wright-flyer:nasm_A19610048000", "nasm_A19610048000"),
        ("https://hirshhorn.si.edu/collection/artwork/?edanUrl=edanmdm:hmsg_66.785", "hmsg_66.785"),
        ("https://asia.si.edu/collections/search/edanmdm:fsg_F1904.323/", "fsg_F1904.323"),
        ("https://nmaahc.si.edu/object/nmaahc_2012.147ab", "nmaahc_2012.147ab"),
        ("nasm_A19610048000", "nasm_A19610048000"),
        ("edanmdm-nasm_A19610048000", "nasm_A19610048000"),
    ],
)
def test_ids_are_read_from_addresses(address: str, own: str):
    assert ids_within(Entry(1, "a", address, "", "")) == [own]
    assert ids_within(Entry(1, "a", "", address, "")) == [own]


def test_no_id_is_read_from_other_addresses():
    page = "https://www.si.edu/newsdesk/snapshot/edison-light-bulb"
    assert ids_within(Entry(1, "a", page, f"{ARK}ng49-456c", "Light_bulb lamp")) == []


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MuseumServer]:
    monkeypatch.setattr(museum_client, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setenv("SMITHSONIAN_API_KEY", "k3y")
    with running() as museum:
        yield museum


@pytest.fixture
def museum(server: MuseumServer, tmp_path: Path) -> Iterator[Smithsonian]:
    with MuseumClient(tmp_path / "cache", requests_per_minute=60_000) as client:
        yield Smithsonian(client, server.smithsonian)


def entry(link: str = "", record: str = "", title: str = "") -> Entry:
    return Entry(1, "machine-seven", link, record, title)


def test_an_entry_is_found_by_the_id_in_its_page(server: MuseumServer, museum: Smithsonian):
    server.add_record("test_7", "ng49-77-aa")
    found = museum.find(entry(link="https://www.si.edu/object/machine:test_7"))
    assert (found.record_id, found.link) == ("test_7", "https://www.si.edu/object/machine:test_7")
    assert server.paths() == ["/openaccess/api/v1.0/content/edanmdm:test_7"]
    assert server.asked[0].params == {"api_key": "k3y"}


def test_newer_ids_are_found_by_search(server: MuseumServer, museum: Smithsonian):
    server.add_record("test_7", "ng49-77-aa", url="ld1:16-17-0", id="ld1-16-17-0")
    assert museum.find(entry(record="edanmdm:test_7", title="Machine")).record_id == "test_7"


def test_an_entry_is_found_by_its_record_link(server: MuseumServer, museum: Smithsonian):
    server.add_record("test_6", "ng49-66-aa")
    server.add_record("test_7", "ng49-77-aa")
    record = "https://n2t.net/ark:/65665/ng49-77-aa"  # https, where the museum writes http
    assert museum.find(entry(record=record)).record_id == "test_7"
    assert server.asked[0].params["q"] == '"ng49-77-aa"'


def test_an_entry_is_found_by_title_and_confirmed_by_record(
    server: MuseumServer, museum: Smithsonian
):
    server.add_record("test_6", "ng49-66-aa", title="Machine seven")
    other = server.add_record("test_7", "ng49-77-aa", title="Machine seven")
    other["content"]["descriptiveNonRepeating"]["record_link"] = "https://museum.org/objects/77/"
    assert museum.find(entry(record="http://www.museum.org/objects/77")).record_id == "test_7"
    assert server.asked[-1].params["q"] == "machine seven"


def test_an_equal_title_alone_confirms_nothing(server: MuseumServer, museum: Smithsonian):
    server.add_record("test_6", "ng49-66-aa", title="Machine seven")
    with pytest.raises(NotFound, match="no record of the museum is confirmed"):
        museum.find(entry(record="https://n2t.net/ark:/65665/ng49-77-bb", title="Machine seven"))


PAGE = """<html><head><meta property="og:image" content="https://example.org/a.jpg"></head>
<body><nav><p>Visit us today, we are open until six.</p></nav>
<main><h1>Seven</h1><p>{}</p><p>Photo by us</p></main></body></html>"""
LONG = "The seventh machine was built in 1801 in Ost. " + "It wove the finest cloth. " * 30


def test_a_short_record_is_completed_from_its_page(server: MuseumServer, museum: Smithsonian):
    record = server.add_record("test_7", "ng49-77-aa")
    record["content"]["freetext"]["notes"] = [note("Description", "A machine.")]
    server.pages["/machine:test_7"] = PAGE.format(LONG)
    found = museum.find(entry(link=f"{server.address}/machine:test_7"))
    assert found.narrative == LONG.strip() and found.license == "not stated"
    assert "1742" in found.details and len(found.photos) == 2


def test_a_page_that_fails_leaves_the_record_as_it_is(server: MuseumServer, museum: Smithsonian):
    record = server.add_record("test_7", "ng49-77-aa")
    record["content"]["freetext"]["notes"] = [note("Description", "A machine.")]
    found = museum.find(entry(link=f"{server.address}/machine:test_7"))
    assert found.narrative == "A machine." and found.license == "CC0-1.0"


@pytest.mark.parametrize("fault", ["firewall", "500"])
def test_pages_out_of_reach_are_not_asked_for_again_in_this_run(
    server: MuseumServer, museum: Smithsonian, caplog: pytest.LogCaptureFixture, fault: str
):
    for number in (1, 2):
        record = server.add_record(f"test_{number}", f"ng49-{number}")
        record["content"]["freetext"]["notes"] = [note("Description", "A machine.")]
    server.faults["page"] = [fault] * 99
    for number in (1, 2):
        found = museum.find(entry(link=f"{server.address}/page:test_{number}"))
        assert found.narrative == "A machine."
    assert set(server.paths("page")) == {"/page:test_1"}
    assert "Records are taken as they are, since pages cannot be read" in caplog.text


def test_without_a_record_the_page_is_read_where_any_licence_will_do(
    server: MuseumServer, museum: Smithsonian
):
    server.pages["/machine"] = PAGE.format(LONG)
    found = museum.find(entry(link=f"{server.address}/machine"), any_license=True)
    assert (found.title, found.narrative) == ("machine seven", LONG.strip())
    assert found.photos == [MuseumPhoto("https://example.org/a.jpg", "not stated")]
    with pytest.raises(NotFound, match="no page says that its photo is CC0"):
        museum.find(entry(link=f"{server.address}/machine"))


LINKS = """<html><body><header><a href="/object/menu:test_9">Menu</a></header><main><h1>Seven</h1>
{}</main><footer><a href="/object/other:test_8">More</a></footer></body></html>"""


def link_to(*ids: str) -> str:
    return LINKS.format(
        "".join(f'<a href="/object/a-thing:{own}?from=page#top">x</a>' for own in ids)
    )


def test_the_record_that_a_page_links_to_is_taken(server: MuseumServer, museum: Smithsonian):
    for own in ("test_7", "test_8", "test_9"):
        server.add_record(own, f"ng49-{own[-1]}")
    server.pages["/snapshot/hidden-words"] = link_to("test_7")
    found = museum.find(entry(link=f"{server.address}/snapshot/hidden-words"))
    assert found.record_id == "test_7"
    assert not any("search" in path for path in server.paths())


def test_of_several_records_on_a_page_one_must_be_confirmed(
    server: MuseumServer, museum: Smithsonian
):
    for own in ("test_5", "test_6", "test_7"):
        server.add_record(own, f"ng49-{own[-1] * 2}-aa", title="Nothing alike")
    row = server.records[1]["content"]["descriptiveNonRepeating"]
    row["record_link"] = "https://museum.org/objects/66"
    server.pages["/snapshot/hidden-words"] = link_to("test_5", "test_6")
    link = f"{server.address}/snapshot/hidden-words"
    with pytest.raises(NotFound, match="no record of the museum is confirmed"):
        museum.find(entry(link=link))
    assert museum.find(entry(link, "http://museum.org/objects/66/")).record_id == "test_6"


def test_a_pages_only_record_with_another_permanent_link_is_not_its_own(
    server: MuseumServer, museum: Smithsonian
):
    server.add_record("test_5", "ng49-55-aa", title="Nothing alike")
    server.pages["/snapshot/hidden-words"] = link_to("test_5")
    link = f"{server.address}/snapshot/hidden-words"
    with pytest.raises(NotFound, match="no record of the museum is confirmed"):
        museum.find(entry(link=link, record=f"{ARK}ng49-77-zz"))


def test_a_pages_heading_finds_what_its_address_does_not(server: MuseumServer, museum: Smithsonian):
    record = server.add_record("test_5", "ng49-55-aa", title="Seven of the Loom")
    record["content"]["descriptiveNonRepeating"]["record_link"] = "https://museum.org/objects/55"
    server.pages["/snapshot/hidden-words"] = LINKS.format("")
    found = museum.find(
        entry(f"{server.address}/snapshot/hidden-words", "http://museum.org/objects/55/")
    )
    assert found.record_id == "test_5"
    assert server.asked[-1].params["q"] == "Seven"


def test_a_search_follows_its_pages_and_gives_each_record_once(
    server: MuseumServer, museum: Smithsonian, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("musequest.creation.museums.smithsonian.ROWS", 2)
    for number in (1, 2, 3, 2, 5):
        server.add_record(f"test_{number}", f"aa{number}", photos=0)
    own = [record.record_id for record in museum.search("machine")]
    assert own == ["test_1", "test_2", "test_3", "test_5"]
    assert [asked.params["start"] for asked in server.asked] == ["0", "2", "4"]
    assert server.asked[0].params["q"] == (
        "(machine) AND online_media_type:Images AND media_usage:CC0"
    )


def test_a_count_that_promises_too_much_ends_the_search(
    server: MuseumServer, museum: Smithsonian, monkeypatch: pytest.MonkeyPatch
):
    told = {"responseCode": 1, "response": {"rows": [], "rowCount": 9_000_000}}
    monkeypatch.setattr("museum_server._smithsonian", lambda *_: (200, told))
    assert list(museum.search("machine")) == [] and len(server.asked) == 1


def test_an_error_within_a_good_status_is_an_error(server: MuseumServer, museum: Smithsonian):
    server.faults["search"] = ["error with status 200"]
    with pytest.raises(NotFound, match="responseCode 0"):
        next(museum.search("machine"))


def test_without_a_key_the_demo_key_is_used(
    server: MuseumServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SMITHSONIAN_API_KEY", "")
    server.faults["search"] = ["bad key"]
    with MuseumClient(tmp_path) as client, pytest.raises(Refused):
        next(Smithsonian(client, server.smithsonian).search("machine"))
    assert server.asked[0].params["api_key"] == "DEMO_KEY"


def test_a_paragraph_ends_where_the_next_begins_closed_or_not():
    words = "of which there are six words"
    page = f"<main><p>One {words}<br>&amp; more<p>Two <b>{words}</b></p></p><p>Few.</main>"
    assert main_text(page) == f"One {words}\n& more\n\nTwo {words}"


@pytest.mark.parametrize(
    "page",
    ["<p>" * 20_000, "<div>" * 50_000, "<!--" * 50_000, "<" * 99_999, "<a " * 9_999, "<![x", "<!",
     "&#99999999999;", "\ud800<b>", "<b a='" * 9_999],
)  # fmt: skip
def test_markup_that_nobody_would_write_takes_no_time(page: str):
    begun = time.process_time()
    for read in (main_text, main_links, heading, main_photo, plain_text):
        read(page)
    assert time.process_time() - begun < 10


@pytest.mark.parametrize(
    "value", [True, -1, 10**4000, math.inf, "\ud800", [], {}, [[]], [{}], "http://[", "9" * 5000,
              "http://a:99999999/x", "http://a\u2100b/", "<![x", {"content": "\ud800"}, None],
)  # fmt: skip
def test_a_record_may_hold_anything_anywhere(value: object):
    media = {"type": "Images", "idsId": "x", "content": "http://a/b.jpg", "resources": [
        {"url": "http://a/c.jpg", "label": "JPEG", "width": "100", "height": 200}]}  # fmt: skip
    record = smithsonian_row("a_1", "ark", [media])
    for row in replaced(record, value):
        told = parse_record(row) if isinstance(row, dict) else None
        for photo in told.photos if told else ():
            photo_path("a", photo.url).encode()
        if told:
            (told.title + told.description + told.link + told.credit + told.license).encode()
    art = ArtInstitute(MuseumClient("unused"), "http://127.0.0.1:1")
    answer = {"data": artwork(3), "config": {"iiif_url": "http://x/iiif"}}
    for changed in replaced(answer, value):
        row = changed.get("data") if isinstance(changed, dict) else None
        for photo in art._parsed(row, changed).photos if isinstance(row, dict) else ():
            photo_path("a", photo.url).encode()


def replaced(tree: Any, value: object) -> Iterator[Any]:
    """The tree with each of its parts in turn replaced by a value."""
    yield value
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, part in list(parts):
        changes = replaced(part, value) if isinstance(part, dict | list) else [value]
        for changed in changes:
            copied = tree.copy()
            copied[key] = changed
            yield copied
