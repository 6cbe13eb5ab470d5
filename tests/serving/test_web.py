"""The base of all pages: only its own pages ask it, little at a time; nothing else is served."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from musequest.core.errors import MuseQuestError
from musequest.serving import web

MOST = 2**20
CLIENT = httpx.Client(trust_env=False, verify=False, headers={"Connection": "close"})


async def _echo(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def _bad(request: Request) -> Response:
    raise MuseQuestError("The photo is <b>blank</b>; take another one.")


async def _broken(request: Request) -> Response:
    raise ZeroDivisionError("a secret path /home/curator")


ROUTES = [
    Route("/", _echo, methods=["GET", "POST"]),
    Route("/bad", _bad),
    Route("/broken", _broken),
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    app = web.site(ROUTES, names=["docent.example"], most_bytes=MOST, a_minute=10**6)
    with web.in_thread(app) as where:
        yield where


def asked(address: str, method: str = "GET", path: str = "/", **how) -> httpx.Response:
    return CLIENT.request(method, address + path, **how)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("192.168.7.9", 200),
        ("[::1]:8000", 200),
        ("LOCALHOST", 200),
        ("docent.example", 200),
        ("docent.example.evil.example", 421),
        ("evil.example", 421),
        ("evil.example:80@localhost.evil", 421),
        ("[", 421),
        ("", 421),
    ],
)
def test_only_names_of_its_own_are_answered(address: str, host: str, status: int):
    assert asked(address, headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://docent.example"}, 200),
    ],
)
def test_only_its_own_pages_and_programs_ask_it_something(address, headers, status):
    assert asked(address, "POST", headers=headers).status_code == status
    assert asked(address, headers=headers).status_code == 200  # what anybody may read
    own = {"Origin": address}
    assert asked(address, "POST", headers=own).status_code == 200


@pytest.mark.parametrize("path", ["/", "/bad", "/broken", "/nowhere", "/static/base.css"])
def test_every_answer_carries_the_policy(address: str, path: str):
    answer = asked(address, path=path)
    for name, value in web.HEADERS.items():
        assert answer.headers[name] == value
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] in ("no-store", "no-cache")
    assert "server" not in answer.headers


def test_what_went_wrong_is_told_as_it_was_asked_for(address: str):
    told = asked(address, path="/bad")
    assert told.status_code == 400 and told.json()["error"]["message"].startswith(
        "The photo is <b>"
    )
    page = asked(address, path="/bad", headers={"Accept": "text/html"})
    assert page.status_code == 400 and "The photo is &lt;b&gt;blank" in page.text
    broken = asked(address, path="/broken")
    assert broken.status_code == 500 and "please ask again" in broken.text
    assert "secret" not in broken.text and asked(address, path="/nowhere").status_code == 404


@pytest.mark.parametrize(
    "name", ["../web.py", "..%2fweb.py", "%2e%2e/web.py", "/etc/passwd", "", "base.css/", "base"]
)
def test_no_path_of_a_request_leads_to_a_file(address: str, name: str):
    assert asked(address, path=f"/static/{name}").status_code == 404


def test_a_style_is_sent_once(address: str):
    first = asked(address, path="/static/base.css")
    assert first.headers["content-type"].startswith("text/css") and first.text
    again = asked(
        address, path="/static/base.css", headers={"If-None-Match": first.headers["ETag"]}
    )
    assert again.status_code == 304 and not again.content


def test_a_request_has_bounds_whether_it_tells_its_size_or_not(address: str):
    assert asked(address, "POST", content=b"x" * MOST).text == str(MOST)
    pieces = (b"x" * 10_000 for _ in range(110))
    for content in (b"x" * (MOST + 1), pieces):
        answer = asked(address, "POST", content=content)
        assert answer.status_code == 413 and "larger than 1 MB" in answer.text


def test_one_that_stops_in_the_middle_is_let_go(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(web, "BODY_SECONDS", 0.2)
    with web.in_thread(web.site(ROUTES)) as address:
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf")
            assert b" 408 " in slow.recv(100)


def test_who_asks_very_often_waits_and_others_do_not():
    with web.in_thread(web.site(ROUTES, a_minute=5)) as address:
        by = [
            asked(address, "POST", headers={"X-Forwarded-For": visitor})
            for visitor in [*["10.0.0.1"] * 6, "10.0.0.2", "2001:db8::1"]
        ]
        assert [each.status_code for each in by] == [200] * 5 + [429] + [200] * 2
        assert 0 < int(by[5].headers["Retry-After"]) <= 13
        assert by[5].json()["error"]["type"] == "rate_limit_error"
        near = {"X-Forwarded-For": "2001:db8::ffff"}  # the same household
        assert [asked(address, "POST", headers=near).status_code for _ in range(5)][-1] == 429
        assert asked(address).status_code == 200


def test_a_port_is_taken_before_anything_is_made():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(MuseQuestError, match=f"Port {port} of 127.0.0.1 is in use; end what"):
            web.run(lambda: pytest.fail("made"), "127.0.0.1", port)
    for host, number, sentence in [
        ("203.0.113.9", 0, "no address '203.0.113.9'"),
        ("no.such.name.invalid", 0, "no address 'no.such.name.invalid'"),
        ("127.0.0.1", 70_000, "There is no port 70000"),
    ]:
        with pytest.raises(MuseQuestError, match=sentence):
            web.run(lambda: pytest.fail("made"), host, number)


SLOW = """
import asyncio
from musequest.serving import web
from starlette.responses import PlainTextResponse
from starlette.routing import Route
async def slow(request):
    print("asked", flush=True)
    await asyncio.sleep(0.5)
    return PlainTextResponse("answered")
web.run(lambda: web.site([Route("/", slow)]), "127.0.0.1", 0)
print("ended")
"""


def test_stopped_by_hand_it_answers_who_was_asking_and_ends_well():
    command = [sys.executable, "-c", SLOW]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        address = server.stdout.readline().split()[1]
        answers: list[str] = []
        visitor = threading.Thread(target=lambda: answers.append(asked(address, path="").text))
        visitor.start()
        assert server.stdout.readline() == "asked\n"
        time.sleep(0.05)
        server.send_signal(signal.SIGINT)
        visitor.join()
        assert server.wait(10) == 0 and server.stdout.read() == "ended\n"
    assert answers == ["answered"]
