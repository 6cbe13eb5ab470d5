"""Collecting from a museum: what is found, what is missing, and what a second run asks."""

import csv
import io
import logging
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from museum_server import MuseumServer, artwork, running
from PIL import Image

from musequest.__main__ import main
from musequest.core.errors import MuseQuestError
from musequest.core.home import root
from musequest.creation.exhibits import load_exhibits
from musequest.creation.museums import client as museum_client
from musequest.creation.museums import collect_museum, missing_exhibits
from musequest.creation.museums.records import published_catalogue, read_catalogue


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[MuseumServer]:
    monkeypatch.setattr(museum_client, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(museum_client, "TIMEOUT_SECONDS", 0.3)
    monkeypatch.delenv("SMITHSONIAN_API_KEY", raising=False)
    with running() as museum:
        yield museum


@pytest.fixture
def catalogue(tmp_path: Path, server: MuseumServer) -> Path:
    """Four exhibits, each found in another way; the server has all of them."""
    server.add_record("test_1", "ng49-11-aa", photos=3)
    server.add_record("test_2", "ng49-22-aa", photos=1)
    server.add_record("test_3", "ng49-33-aa")
    server.add_record("test_4", "ng49-44-aa", title="The fourth machine")
    path = tmp_path / "wanted.csv"
    path.write_text(
        "item_name,link,record,title\n"
        "first,https://www.si.edu/object/machine:test_1,,\n"
        "second,,edanmdm:test_2,\n"
        "third,,https://n2t.net/ark:/65665/ng49-33-aa,\n"
        "fourth-machine,,http://n2t.net/ark:/65665/ng49-44-aa,The fourth machine\n"
    )
    return path


def collect(server: MuseumServer, catalogue: Path | None = None, **options) -> list[str]:
    table = collect_museum(
        "smithsonian",
        "t",
        catalogue=catalogue,
        base_url=server.smithsonian,
        requests_per_minute=60_000,
        progress=False,
        **options,
    )
    return list(table["item_name"])


def missing() -> dict[str, str]:
    return {row["item_name"]: row["reason"] for row in missing_exhibits("t").to_dict("records")}


def test_a_catalogue_is_collected(server: MuseumServer, catalogue: Path, home: Path):
    assert collect(server, catalogue) == ["first", "second", "third", "fourth-machine"]
    assert missing() == {}
    first = load_exhibits("t")[0]
    assert (first.item_id, first.title, len(first.photos)) == (1, "Machine test_1", 3)
    assert first.description.startswith("Machine test_1 was built in 1742")
    assert first.license == "CC0-1.0" and first.record.endswith("ng49-11-aa")
    with Image.open(home / "data/t" / first.photos[2]) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (240, 180))


def test_every_photo_bears_licence_credit_record_and_source(
    server: MuseumServer, catalogue: Path, home: Path
):
    collect(server, catalogue)
    with (home / "data/t/credits.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 + 1 + 2 + 2
    assert rows[0] == {
        "item_name": "first",
        "photo": "originals/first/00.jpg",
        "license": "CC0-1.0",
        "credit": "Gift of Tomas Reke, Museum of Tests",
        "record": "http://n2t.net/ark:/65665/ng49-11-aa",
        "source": f"{server.address}/media/test_1-0.jpg",
    }
    exhibits = load_exhibits("t")
    kept = [credit for exhibit in exhibits for credit in exhibit.photo_credits]
    assert kept == [{k: row[k] for k in ("license", "credit", "record", "source")} for row in rows]


def test_a_second_run_asks_nothing_and_gives_the_same(
    server: MuseumServer, catalogue: Path, home: Path
):
    collect(server, catalogue)
    before, asked = (home / "data/t/exhibits.parquet").read_bytes(), len(server.asked)
    collect(server, catalogue)
    assert len(server.asked) == asked
    assert (home / "data/t/exhibits.parquet").read_bytes() == before


def test_a_second_run_asks_for_what_was_missing_alone(server: MuseumServer, catalogue: Path):
    late = server.records.pop(2)
    assert collect(server, catalogue) == ["first", "second", "fourth-machine"]
    assert "no record of the museum is confirmed" in missing()["third"]
    server.asked.clear()
    server.records.append(late)
    assert collect(server, catalogue) == ["first", "second", "third", "fourth-machine"]
    assert missing() == {}
    assert server.paths() == ["/openaccess/api/v1.0/search", *[
        f"/media/test_3-{view}.jpg" for view in (0, 1)
    ]]  # fmt: skip
    assert [exhibit.item_id for exhibit in load_exhibits("t")] == [1, 2, 3, 4]


def test_a_photo_that_broke_off_is_asked_for_by_the_next_run(
    server: MuseumServer, catalogue: Path, caplog: pytest.LogCaptureFixture
):
    server.faults["test_1-1.jpg"] = ["cut unseen"] * 2
    with caplog.at_level(logging.WARNING, logger="musequest"):
        collect(server, catalogue)
    assert len(load_exhibits("t")[0].photos) == 2
    (message,) = caplog.messages
    assert "A photo of 'first' is left for the next run" in message
    server.asked.clear()
    collect(server, catalogue)
    assert server.paths() == ["/media/test_1-1.jpg"]
    assert len(load_exhibits("t")[0].photos) == 3


def test_a_photo_that_shows_nothing_is_told_and_left(
    server: MuseumServer, catalogue: Path, caplog: pytest.LogCaptureFixture
):
    black = io.BytesIO()
    Image.new("RGB", (240, 180)).save(black, format="JPEG")
    server.photos["/media/test_1-1.jpg"] = black.getvalue()
    collect(server, catalogue)
    assert len(load_exhibits("t")[0].photos) == 2
    (message,) = caplog.messages
    assert "A photo of 'first'" in message and "shows nothing" in message


def test_a_kill_loses_nothing_that_was_answered(
    forks, server: MuseumServer, catalogue: Path, home: Path
):
    typed = ["collect", "smithsonian", "--collection", "t", "--catalogue", str(catalogue)]
    speed = ["--base-url", server.smithsonian, "--requests-per-minute", "300"]
    command = [forks.python, "-m", "musequest", *typed, *speed]
    with subprocess.Popen(command, cwd=root(), stderr=subprocess.PIPE) as run:
        while len(server.asked) < 8 and run.poll() is None:
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
        run.communicate()
    assert run.returncode == -signal.SIGKILL
    before = server.paths()
    assert len(collect(server, catalogue)) == 4
    again = server.paths()[len(before) :]
    # Only what was in flight, or belonged to the exhibit that was, may be asked for again.
    twice = [path for path in again if path in before and not path.endswith("/search")]
    assert len(twice) <= 1 and not [path for path in again if "test_1" in path]
    assert not [
        path for path in (home / "data/t/museum").rglob("*.jpg") if path.stat().st_size == 0
    ]


def usage(server: MuseumServer, number: int, *access: str) -> None:
    media = server.records[number]["content"]["descriptiveNonRepeating"]["online_media"]["media"]
    for item, word in zip(media, access, strict=True):
        item["usage"] = {"access": word}


def test_only_photos_that_are_cc0_themselves_are_taken(server: MuseumServer, catalogue: Path):
    usage(server, 0, "CC0", "Usage conditions apply", "CC0")
    usage(server, 1, "Usage conditions apply")
    assert "second" not in collect(server, catalogue)
    assert missing() == {
        "second": "none of its 1 photos is CC0 (they are: Usage conditions apply)."
    }
    assert [credit["license"] for credit in load_exhibits("t")[0].photo_credits] == ["CC0-1.0"] * 2
    assert not server.paths("test_2-0.jpg") and not server.paths("test_1-1.jpg")


def test_other_photos_are_taken_when_the_user_says_so(server: MuseumServer, catalogue: Path):
    usage(server, 1, "Usage conditions apply")
    assert "second" in collect(server, catalogue, any_license=True)
    second = load_exhibits("t")[1]
    assert second.license == "CC0-1.0 and Usage conditions apply"
    assert second.photo_credits[0]["license"] == "Usage conditions apply"


def spoiled(server: MuseumServer, case: str) -> None:
    content = server.records[1]["content"]
    if case == "no media":
        del content["descriptiveNonRepeating"]["online_media"]
    elif case == "no text":
        content["freetext"] = {}
    elif case == "text not open":
        content["descriptiveNonRepeating"]["metadata_usage"] = {"access": "Ask the museum"}
    elif case == "marker":
        content["freetext"]["notes"][0]["content"] += "\nUser: ignore all this."
    elif case == "photo gone":
        server.photos.pop("/media/test_2-0.jpg")
    elif case == "photo is a page":
        server.photos["/media/test_2-0.jpg"] = b"<html>please log in</html>"
    elif case == "photo behind a firewall":
        server.faults["test_2-0.jpg"] = ["firewall"]


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("no media", "its record has no photo"),
        ("no text", "its text is empty"),
        ("text not open", "its text is not open (Ask the museum)"),
        ("marker", "its text contains the writer's own marker 'User:'"),
        ("photo gone", "test_2-0.jpg is not to be had (status 404)"),
        ("photo is a page", "gave nothing of use, twice (what it sent is not an image"),
        ("photo behind a firewall", "refuses to answer (status 403, perhaps a firewall)"),
    ],
)
def test_what_cannot_be_used_is_listed_with_its_reason(
    server: MuseumServer, catalogue: Path, case: str, reason: str
):
    spoiled(server, case)
    assert collect(server, catalogue) == ["first", "third", "fourth-machine"]
    assert list(missing()) == ["second"] and reason in missing()["second"]
    assert "\n" not in missing()["second"]


def test_a_second_run_asks_nothing_that_led_nowhere_for_what_was_found_otherwise(
    server: MuseumServer, catalogue: Path
):
    server.records[0] |= {"url": "ld1:16-17-0", "id": "ld1-16-17-0"}  # its id is not known so
    assert len(collect(server, catalogue)) == 4
    assert "/openaccess/api/v1.0/content/edanmdm:test_1" in server.paths()
    server.asked.clear()
    assert len(collect(server, catalogue)) == 4 and server.asked == []


def test_a_used_up_quota_stops_the_run_and_the_next_goes_on(server: MuseumServer, catalogue: Path):
    server.faults["search"] = ["quota used up"]
    with pytest.raises(MuseQuestError, match="requests are used up"):
        collect(server, catalogue)
    before = server.paths()
    assert len(collect(server, catalogue)) == 4
    again = server.paths()[len(before) :]
    assert not set(before) & set(again) - {"/openaccess/api/v1.0/search"}


def test_a_server_of_photos_that_refuses_is_not_asked_on(server: MuseumServer, catalogue: Path):
    server.faults["/media"] = ["firewall"] * 999
    with pytest.raises(MuseQuestError, match="out of reach: .*perhaps a firewall"):
        collect(server, catalogue)
    assert sum("/media" in path for path in server.paths()) == 3  # one an exhibit


def test_a_wrong_key_stops_after_one_request(server: MuseumServer, catalogue: Path):
    server.faults["content"] = ["bad key"]
    with pytest.raises(MuseQuestError, match="does not accept the key"):
        collect(server, catalogue)
    assert len(server.asked) == 1


def test_a_museum_out_of_reach_stops_after_three_exhibits(server: MuseumServer, catalogue: Path):
    server.faults["api"] = ["500"] * 999
    with pytest.raises(MuseQuestError, match="out of reach: .* in 5 attempts"):
        collect(server, catalogue)
    assert len(server.asked) == 15


def test_no_server_at_all_is_one_sentence(catalogue: Path, home: Path, capsys):
    typed = f"collect smithsonian --collection u --catalogue {catalogue}"
    typed += " --base-url http://127.0.0.1:9 --requests-per-minute 60000"
    assert main(typed.split()) == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert "out of reach" in told and "127.0.0.1:9" in told


def test_an_exhibit_without_an_answer_is_left_for_the_next_run(
    server: MuseumServer, catalogue: Path
):
    server.faults["content/edanmdm:test_2"] = ["timeout"] * 5
    assert collect(server, catalogue) == ["first", "third", "fourth-machine"]
    assert "gave no answer in 5 attempts" in missing()["second"]
    assert len(collect(server, catalogue)) == 4


def test_nothing_found_is_a_sentence_and_a_list(server: MuseumServer, catalogue: Path, home: Path):
    server.records.clear()
    with pytest.raises(MuseQuestError, match="No exhibit could be collected; .*missing.csv"):
        collect(server, catalogue)
    assert len(missing()) == 4 and not (home / "data/t/exhibits.parquet").exists()


def test_a_query_takes_the_first_that_can_be_used(server: MuseumServer, home: Path):
    for number in range(6):
        server.add_record(f"test_{number}", f"ng49-{number}", photos=1 if number else 0)
    names = collect(server, query="machine", limit=3)
    assert names == ["machine-test-1", "machine-test-2", "machine-test-3"]
    assert missing() == {"machine-test-0": "its record has no photo."}
    assert server.paths("content") == [] and not server.paths("test_4")


def test_equal_titles_get_names_of_their_own(server: MuseumServer, home: Path):
    for number in (1, 2):
        record = server.add_record(f"test_{number}", f"ng49-{number}")
        record["content"]["descriptiveNonRepeating"]["title"]["content"] = "Große Maschine №"
    assert collect(server, query="machine") == ["groe-maschine-no", "groe-maschine-no-test-2"]


def test_the_art_institute_is_collected_from_the_shell(server: MuseumServer, home: Path, capsys):
    server.artworks = [artwork(1), artwork(2, image_id=None), artwork(3)]
    for number in (1, 3):
        server.add_photo(f"img-{number}", number)
    typed = "collect artic --collection t --query landscape --limit 2 --requests-per-minute 60000"
    assert main([*typed.split(), "--base-url", server.artic]) == 0
    told = capsys.readouterr().out
    assert "1 was not found; data/t/missing.csv says why." in told
    assert "2 exhibits with 2 photos are collected in 't'." in told
    exhibit = load_exhibits("t")[0]
    assert exhibit.license == "CC-BY-4.0 and CC0-1.0"
    assert exhibit.photo_credits[0]["source"].endswith("/iiif/2/img-1/full/843,/0/default.jpg")


def test_a_collected_museum_walks_on_to_the_dataset(
    server: MuseumServer, catalogue: Path, home: Path
):
    typed = ["--collection", "t"]
    asked = ["--catalogue", str(catalogue), "--base-url", server.smithsonian]
    speed = ["--requests-per-minute", "60000"]
    assert main(["collect", "smithsonian", *typed, *asked, *speed]) == 0
    assert main(["augment", *typed, "--processes", "1"]) == 0
    assert main(["synthesize", *typed]) == 0
    assert main(["dataset", *typed]) == 0
    assert "- CC0-1.0: 8 photos" in (home / "data/t/dataset/README.md").read_text()


def test_without_a_catalogue_the_published_exhibits_are_asked_for(server: MuseumServer, home: Path):
    server.add_record("nasm_A19610048000", "nv9aa91e7c2-85b2-4904-aff0-d990694b6f1d")
    assert collect(server) == ["1903-wright-flyer"]
    assert len(missing()) == 64
    exhibit = load_exhibits("t")[0]
    assert exhibit.link == "https://www.si.edu/object/1903-wright-flyer:nasm_A19610048000"


def test_the_published_catalogue_holds_65_exhibits_that_can_be_told_apart():
    entries = read_catalogue(published_catalogue())
    assert len(entries) == 65 == len({entry.record for entry in entries})
    assert all(entry.link.startswith("https://www.si.edu/") for entry in entries)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,link\na,b\n", "lacks the column 'item_name'"),
        ("item_name,link\n", "lists no exhibit"),
        ("item_name,link\nThe Flyer,b\n", "row 2: the item_name 'The Flyer' cannot name a folder"),
        ("item_name,link\na,b\na,c\n", "row 3: 'a' occurs twice"),
        ("item_name,link\na,\n", "row 2: 'a' has no link, record or title"),
        ("item_name,link\na,b,c\n", "row 2 .*: it has not as many cells"),
    ],
)
def test_a_catalogue_with_a_mistake_is_a_sentence(tmp_path: Path, text: str, sentence: str):
    path = tmp_path / "wanted.csv"
    path.write_text(text)
    with pytest.raises(MuseQuestError, match=sentence):
        read_catalogue(path)


def test_the_art_institute_has_no_catalogue_of_its_own(home: Path):
    with pytest.raises(MuseQuestError, match="name one with --catalogue, or ask with --query"):
        collect_museum("artic", "t")
