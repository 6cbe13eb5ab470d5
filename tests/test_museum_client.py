"""The client waits, goes on after faults, keeps what was answered and gives its key to no one."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from museum_server import MuseumServer, running
from PIL import Image

from musequest.creation import museum_client
from musequest.creation.museum_client import MuseumClient
from musequest.creation.museum_faults import NotFound, Refused, Unanswered
from musequest.errors import MuseQuestError
from musequest.photos import open_photo

SECRET = {"api_key": "a-very-secret-key"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MuseumServer]:
    monkeypatch.setattr(museum_client, "FIRST_WAIT_SECONDS", 0.02)
    monkeypatch.setattr(museum_client, "TIMEOUT_SECONDS", 0.3)
    with running() as museum:
        museum.add_record("test_1", "aa1")
        yield museum


@pytest.fixture
def client(tmp_path: Path) -> Iterator[MuseumClient]:
    with MuseumClient(tmp_path / "cache", requests_per_minute=60_000) as client:
        yield client


def ask(client: MuseumClient, server: MuseumServer) -> dict:
    return client.get_json(f"{server.smithsonian}/content/edanmdm:test_1", {}, SECRET)


PASSING = ["500", "crowd", "html", "cut", "timeout", "reset"]


@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_is_waited_out(client: MuseumClient, server: MuseumServer, fault: str):
    server.faults["content"] = [fault, fault]
    assert ask(client, server)["response"]["url"] == "edanmdm:test_1"
    assert len(server.asked) == 3


@pytest.mark.parametrize("fault", PASSING)
def test_a_lasting_fault_ends_after_five_attempts(
    client: MuseumClient, server: MuseumServer, fault: str
):
    server.faults["content"] = [fault] * 99
    with pytest.raises(Unanswered, match="gave no answer in 5 attempts") as caught:
        ask(client, server)
    assert len(server.asked) == 5 and "\n" not in str(caught.value)


def test_waits_grow_and_are_never_equal(client: MuseumClient, server: MuseumServer):
    server.faults["content"] = ["500"] * 4
    ask(client, server)
    times = [asked.at for asked in server.asked]
    waits = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    assert waits[0] >= 0.01 and waits[3] >= 0.08 and len(set(waits)) == 4


def test_a_wait_that_the_server_names_is_kept(client: MuseumClient, server: MuseumServer):
    server.faults["content"] = ["crowd, wait 1 s"]
    ask(client, server)
    assert server.asked[1].at - server.asked[0].at >= 1


@pytest.mark.parametrize(
    ("fault", "kind", "sentence"),
    [
        ("404", NotFound, r"not to be had \(not found: the resource"),
        ("400", NotFound, r"not to be had \(bad request: one of"),
        ("bad key", Refused, "does not accept the key .*api.data.gov/signup"),
        ("quota used up", Refused, "30 requests are used up .*in an hour"),
        ("crowd, wait an hour", Refused, "asks for 3600 s of rest"),
        ("firewall", Refused, "refuses to answer .*firewall"),
    ],
)
def test_a_final_no_is_asked_once_and_is_a_sentence(
    client: MuseumClient, server: MuseumServer, fault: str, kind: type, sentence: str
):
    server.faults["content"] = [fault] * 99
    with pytest.raises(kind, match=sentence) as caught:
        ask(client, server)
    assert len(server.asked) == 1 and "\n" not in str(caught.value)


def test_requests_keep_their_distance(tmp_path: Path, server: MuseumServer):
    with MuseumClient(tmp_path / "cache", requests_per_minute=600) as client:
        for number in range(3):
            client.get_json(f"{server.smithsonian}/search", {"q": str(number)}, SECRET)
    first, second, third = (asked.at for asked in server.asked)
    assert second - first >= 0.09 and third - second >= 0.09


def test_the_client_says_who_it_is(
    tmp_path: Path, server: MuseumServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MUSEQUEST_CONTACT", "docent@example.org")
    with MuseumClient(tmp_path) as client:
        ask(client, server)
    assert server.asked[0].agent.startswith("MuseQuest/")
    assert "docent@example.org" in server.asked[0].agent


def test_a_kept_answer_is_not_asked_for_again(
    tmp_path: Path, client: MuseumClient, server: MuseumServer
):
    answer = ask(client, server)
    client.keep()
    with MuseumClient(tmp_path / "cache") as later:
        assert ask(later, server) == answer
    assert len(server.asked) == 1


def test_a_damaged_cache_is_a_sentence(tmp_path: Path, client: MuseumClient, server: MuseumServer):
    ask(client, server)
    client.keep()
    next((tmp_path / "cache").iterdir()).write_text("{")
    with pytest.raises(MuseQuestError, match="cache holds a damaged answer .* delete that folder"):
        ask(client, server)


def test_a_forgotten_answer_is_asked_for_again(client: MuseumClient, server: MuseumServer):
    ask(client, server)
    client.forget()
    ask(client, server)
    assert len(server.asked) == 2


def test_the_key_reaches_the_server_and_nothing_else(
    tmp_path: Path, client: MuseumClient, server: MuseumServer, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.DEBUG):
        ask(client, server)
    client.keep()
    server.faults["content"] = ["500"] * 99
    with pytest.raises(Unanswered) as caught:
        client.get_json(f"{server.smithsonian}/content/other", {}, SECRET)
    assert server.asked[0].params == SECRET
    kept = "".join(path.name + path.read_text() for path in tmp_path.rglob("*.txt"))
    assert kept and SECRET["api_key"] not in kept + str(caught.value)
    assert not [m for m in caplog.messages if SECRET["api_key"] in m and "http" in m.lower()]


@pytest.mark.parametrize("fault", ["cut", "cut unseen", "html", "reset", "timeout"])
def test_a_photo_that_broke_off_is_fetched_again(
    tmp_path: Path, client: MuseumClient, server: MuseumServer, fault: str
):
    server.faults["media"] = [fault]
    target = tmp_path / "photos/a.jpg"
    client.download(server.add_photo("a.jpg"), target, open_photo)
    with Image.open(target) as image:
        assert image.size == (240, 180)
    assert target.read_bytes() == server.photos["/media/a.jpg"]
    assert [path.name for path in target.parent.iterdir()] == ["a.jpg"]


@pytest.mark.parametrize(
    ("fault", "kind", "asked"),
    [("cut", Unanswered, 5), ("cut unseen", NotFound, 2), ("html", NotFound, 2)],
)
def test_a_photo_that_stays_broken_leaves_nothing(
    tmp_path: Path, client: MuseumClient, server: MuseumServer, fault: str, kind: type, asked: int
):
    server.faults["media"] = [fault] * 99
    target = tmp_path / "photos/a.jpg"
    with pytest.raises(kind) as caught:
        client.download(server.add_photo("a.jpg"), target, open_photo)
    assert list(target.parent.iterdir()) == [] and len(server.asked) == asked
    assert str(tmp_path) not in str(caught.value)


def test_a_photo_on_disk_is_not_fetched(tmp_path: Path, client: MuseumClient, server: MuseumServer):
    target = tmp_path / "a.jpg"
    for _ in range(2):
        client.download(server.add_photo("a.jpg"), target, open_photo)
    assert len(server.asked) == 1


def test_what_is_too_large_is_not_taken(
    tmp_path: Path, client: MuseumClient, server: MuseumServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(museum_client, "LARGEST_ANSWER_MIB", 0.001)
    with pytest.raises(NotFound, match="holds too much"):
        client.download(server.add_photo("a.jpg"), tmp_path / "a.jpg", open_photo)
    assert len(server.asked) == 1 and not (tmp_path / "a.jpg").exists()


@pytest.mark.parametrize("url", ["ftp://example.org/a.jpg", "http://", "no address"])
def test_what_is_no_address_is_a_sentence(tmp_path: Path, client: MuseumClient, url: str):
    with pytest.raises(NotFound, match="is no address"):
        client.download(url, tmp_path / "a.jpg", open_photo)
