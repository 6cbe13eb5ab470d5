"""The client waits, goes on after faults, keeps what was answered and gives its key to no one."""

import gzip
import logging
import socket
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from museum_server import MuseumServer, bomb, running
from PIL import Image

from musequest.core.errors import MuseQuestError
from musequest.core.photos import open_photo
from musequest.creation.museums import client as museum_client
from musequest.creation.museums import http as museum_http
from musequest.creation.museums.client import MuseumClient
from musequest.creation.museums.http import NotFound, Refused, Unanswered

REQUEST = httpx.Request("GET", "https://example.org/")
SECRET = {"api_key": "a-very-secret-key"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MuseumServer]:
    monkeypatch.setattr(museum_client, "FIRST_WAIT_SECONDS", 0.02)
    monkeypatch.setattr(museum_client, "TIMEOUT_SECONDS", 0.3)
    with running() as museum:
        museum.add_record("test_1", "aa1")
        yield museum


@pytest.fixture
def client(tmp_path: Path, server: MuseumServer) -> Iterator[MuseumClient]:
    with opened(tmp_path, server) as client:
        yield client


def opened(folder: Path, server: MuseumServer, requests_per_minute: float = 60_000):
    client = MuseumClient(folder / "cache", requests_per_minute=requests_per_minute)
    client.allow(server.address)
    return client


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
    # By this side's clock, for requests that leave in time may arrive at any.
    begun = time.monotonic()
    with opened(tmp_path, server, 600) as client:
        for number in range(6):
            client.get_json(f"{server.smithsonian}/search", {"q": str(number)}, SECRET)
    assert time.monotonic() - begun >= 0.5 and len(server.asked) == 6


def test_the_client_says_who_it_is(
    tmp_path: Path, server: MuseumServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MUSEQUEST_CONTACT", "docent@example.org")
    with opened(tmp_path, server) as client:
        ask(client, server)
    assert server.asked[0].agent.startswith("MuseQuest/")
    assert "docent@example.org" in server.asked[0].agent


def test_a_kept_answer_is_not_asked_for_again(
    tmp_path: Path, client: MuseumClient, server: MuseumServer
):
    answer = ask(client, server)
    client.keep()
    with opened(tmp_path, server) as later:
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
    monkeypatch.setattr(museum_http, "LARGEST_ANSWER_MIB", 0.001)
    with pytest.raises(NotFound, match="holds too much"):
        client.download(server.add_photo("a.jpg"), tmp_path / "a.jpg", open_photo)
    assert len(server.asked) == 1 and not (tmp_path / "a.jpg").exists()


@pytest.mark.parametrize("url", ["ftp://example.org/a.jpg", "http://", "no address"])
def test_what_is_no_address_is_a_sentence(tmp_path: Path, client: MuseumClient, url: str):
    with pytest.raises(NotFound, match="is no address"):
        client.download(url, tmp_path / "a.jpg", open_photo)


def page(client: MuseumClient, server: MuseumServer, *faults: str) -> str:
    server.pages |= {"/pages/here": "<p>here</p>", "/pages/there": "<p>there</p>"}
    server.faults["/pages/here"] = list(faults)
    client.forget()
    return client.get_text(f"{server.address}/pages/here")


def test_an_answer_that_fails_is_read_no_further_than_needed(
    client: MuseumClient, server: MuseumServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(museum_http, "LARGEST_ANSWER_MIB", 1)
    bomb(2)
    tracemalloc.start()
    with pytest.raises(NotFound, match=r"is not to be had \(status 404\)"):
        page(client, server, "endless error")
    assert page(client, server, "endless redirect") == "<p>there</p>"
    with pytest.raises(NotFound, match="holds too much"):
        page(client, server, "endless answer")
    with pytest.raises(NotFound, match="nothing of use, twice .* packed as 'gzip, gzip', unasked"):
        page(client, server, "packed twice", "packed twice")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20


def test_an_answer_of_no_use_gets_its_second_attempt_after_a_fault_too(
    client: MuseumClient, server: MuseumServer
):
    bomb(2)  # made once, which takes longer than the client waits
    assert page(client, server, "crowd", "packed twice") == "<p>here</p>"
    assert len(server.asked) == 3


def test_bounds_hold_for_what_is_unpacked(
    client: MuseumClient, server: MuseumServer, monkeypatch: pytest.MonkeyPatch
):
    assert page(client, server, "packed") == "<p>here</p>"
    assert page(client, server, "packed, cut") == "<p>here</p>" and len(server.asked) == 3
    monkeypatch.setattr(museum_http, "LARGEST_ANSWER_MIB", 1)
    bomb(1)
    with pytest.raises(NotFound, match="holds too much .the limit is 1 MiB"):
        page(client, server, "packed, a bomb")


def test_pieces_are_small_however_well_they_were_packed():
    packed = gzip.compress(bytes(50 * 2**20))
    response = httpx.Response(
        200, headers={"Content-Encoding": "gzip"}, content=iter([packed]), request=REQUEST
    )
    sizes = [len(piece) for piece in museum_http.pieces_of(response)]
    assert sum(sizes) == 50 * 2**20 and max(sizes) <= 2**16


@pytest.mark.parametrize("fault", ["deep", "long number"])
def test_json_that_nobody_would_write_is_no_answer(
    client: MuseumClient, server: MuseumServer, fault: str
):
    server.faults["content"] = [fault] * 99
    with pytest.raises(Unanswered, match="the answer is no JSON"):
        ask(client, server)
    server.faults["content"] = [f"{fault} error" if fault == "deep" else f"{fault}, error"]
    with pytest.raises(NotFound, match="status 404"):
        ask(client, server)


@pytest.mark.parametrize("charset", ["idna", "undefined", "base64", "unheard of", "latin-1"])
def test_a_page_is_read_whatever_it_says_of_its_encoding(
    client: MuseumClient, server: MuseumServer, charset: str
):
    assert page(client, server, f"charset {charset}") == "<p>Käse</p>"


def test_a_key_that_the_server_repeats_is_neither_kept_nor_shown(
    client: MuseumClient, server: MuseumServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SMITHSONIAN_API_KEY", SECRET["api_key"])
    server.faults["content"] = ["echo"]
    assert ask(client, server)["asked"].endswith("?api_key=[SMITHSONIAN_API_KEY]")
    server.faults["search"] = ["echo, error"]
    with pytest.raises(NotFound, match=r"api_key=\[SMITHSONIAN_API_KEY\]") as caught:
        client.get_json(f"{server.smithsonian}/search", {"q": "a"}, SECRET)
    client.keep()
    kept = "".join(path.read_text() for path in (tmp_path / "cache").iterdir())
    assert "asked" in kept and SECRET["api_key"] not in kept + str(caught.value)


def test_a_redirect_is_followed_to_the_museum_alone(client: MuseumClient, server: MuseumServer):
    server.pages["/pages/there"] = "<p>there</p>"
    server.leads = {"/a": "/pages/there", "/b": "/b"}
    assert client.get_text(f"{server.address}/a") == "<p>there</p>"
    with pytest.raises(NotFound, match="from one address to the next without end"):
        client.get_text(f"{server.address}/b")
    port = int(server.address.rpartition(":")[2])
    with running() as other:
        other.pages["/secret"] = "secret"
        places = [
            other.address, other.address.replace("127.0.0.1", "localhost"),
            other.address.replace("127.0.0.1", "2130706433"), "http://169.254.169.254",
            f"http://127.0.0.2:{port}", f"http://[::ffff:127.0.0.1]:{port}", "http://10.0.0.1",
            "http://0.0.0.0", "http://[::1]", "http://192.168.1.1:8080", "http://100.64.0.1",
        ]  # fmt: skip
        for number, place in enumerate(places):
            server.leads[f"/c{number}"] = f"{place}/secret"
            with pytest.raises(NotFound, match="is a private address") as caught:
                client.get_text(f"{server.address}/c{number}")
            assert "--base-url" in str(caught.value)
        assert not other.asked
    for number, place in enumerate(("file:///etc/passwd", "ftp://example.org/a", "http://[x")):
        server.leads[f"/d{number}"] = place
        with pytest.raises(MuseQuestError, match="is no address|cannot be resolved"):
            client.get_text(f"{server.address}/d{number}")


def test_without_a_base_url_no_private_address_is_asked(tmp_path: Path, server: MuseumServer):
    client = MuseumClient(tmp_path, requests_per_minute=60_000)
    with client, pytest.raises(NotFound, match="is a private address"):
        client.get_text(f"{server.address}/pages/here")
    assert not server.asked


def test_a_name_that_resolves_to_another_address_later_is_asked_nothing(
    tmp_path: Path, server: MuseumServer, monkeypatch: pytest.MonkeyPatch
):
    resolve, public = socket.getaddrinfo, ["93.184.215.14"]

    def one_after_the_other(host, port, *kind, **more):
        return resolve(public.pop() if public else host, port, *kind, **more)

    monkeypatch.setattr(socket, "getaddrinfo", one_after_the_other)
    client = MuseumClient(tmp_path, requests_per_minute=60_000)
    with client, pytest.raises(NotFound, match=r"is a private address \(127.0.0.1\)"):
        client.get_text(f"{server.address}/pages/here")
    assert not server.asked


def test_a_private_network_may_hold_the_museums_photos_elsewhere(monkeypatch):
    allowed = museum_http.Addresses("http://10.1.2.3:8080/api")
    allowed.check(httpx.URL("http://10.1.2.4/iiif"))
    for url in ("http://127.0.0.1/", "http://169.254.169.254/", "http://[fe80::1]/"):
        with pytest.raises(NotFound, match="is a private address"):
            allowed.check(httpx.URL(url))
    museum_http.Addresses().check(httpx.URL("https://93.184.215.14/"))
