"""A museum on loopback: speaks as both APIs, delivers photos and pages, and fails when told to.

All it was asked stands in `asked`, in order. `faults` maps a part of a path to what happens there,
one after the other; when they are used up, the answer is good.
"""

import contextlib
import functools
import gzip
import io
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from conftest import draw_photo

LOOKS = [
    ("ellipse", (60, 110, 200)),
    ("triangle", (200, 60, 50)),
    ("rectangle", (70, 150, 90)),
    ("ellipse", (20, 20, 20)),
]
ARK = "http://n2t.net/ark:/65665/"


@dataclass
class Asked:
    path: str
    params: dict[str, str]
    agent: str
    at: float


@dataclass
class MuseumServer:
    """What the museum has, and what goes wrong in it."""

    records: list[dict[str, Any]] = field(default_factory=list)  # Smithsonian rows
    artworks: list[dict[str, Any]] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)  # path -> HTML
    photos: dict[str, bytes] = field(default_factory=dict)  # path -> bytes
    faults: dict[str, list[str]] = field(default_factory=dict)
    leads: dict[str, str] = field(default_factory=dict)  # path -> where it redirects to
    asked: list[Asked] = field(default_factory=list)
    address: str = ""

    @property
    def smithsonian(self) -> str:
        return f"{self.address}/openaccess/api/v1.0"

    @property
    def artic(self) -> str:
        return f"{self.address}/api/v1"

    def paths(self, part: str = "") -> list[str]:
        return [each.path for each in self.asked if part in each.path]

    def add_photo(self, name: str, view: int = 0, look: int = 0) -> str:
        """Put a photo up for download, of one look for each exhibit; returns its address."""
        buffer = io.BytesIO()
        draw_photo(*LOOKS[look % len(LOOKS)], view).save(buffer, format="JPEG", quality=95)
        self.photos[f"/media/{name}"] = buffer.getvalue()
        return f"{self.address}/media/{name}"

    def add_record(self, own: str, ark: str, photos: int = 2, **changes: Any) -> dict[str, Any]:
        """Put a Smithsonian record up with CC0 photos; `changes` go into the whole row."""
        media = [
            {
                "type": "Images",
                "idsId": f"{own}-{view}",
                "content": self.add_photo(f"{own}-{view}.jpg", view, len(self.records)),
                "usage": {"access": "CC0"},
            }
            for view in range(photos)
        ]
        row = smithsonian_row(own, ark, media) | changes
        self.records.append(row)
        return row


def smithsonian_row(own: str, ark: str, media: list[dict[str, Any]] | None) -> dict[str, Any]:
    """A record as the API gives it; of invented content."""
    told: dict[str, Any] = {
        "record_ID": own,
        "guid": f"{ARK}{ark}",
        "record_link": f"{ARK}{ark}",
        "title": {"label": "Title", "content": f"Machine {own}"},
        "metadata_usage": {"access": "CC0"},
        "data_source": "Museum of Tests",
    }
    if media is not None:
        told["online_media"] = {"mediaCount": len(media), "media": media}
    story = f"Machine {own} was built in 1742 by Ada Holm. " + "It has a wheel of oak. " * 20
    return {
        "id": f"edanmdm-{own}",
        "title": f"Machine {own}",
        "unitCode": "TEST",
        "url": f"edanmdm:{own}",
        "content": {
            "descriptiveNonRepeating": told,
            "freetext": {
                "notes": [{"label": "Description", "content": story.strip()}],
                "date": [{"label": "Date", "content": "1742"}],
                "creditLine": [{"label": "Credit Line", "content": "Gift of Tomas Reke"}],
                "dataSource": [{"label": "Data Source", "content": "Museum of Tests"}],
            },
            "indexedStructured": {"name": ["Holm, Ada"]},
        },
    }


def artwork(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "title": f"Landscape No. {number}",
        "artist_display": "Mira Quell\nOstian, 1801-1860",
        "date_display": "1840",
        "medium_display": "Oil on canvas",
        "place_of_origin": "Ost",
        "dimensions": "30 × 40 cm",
        "credit_line": "Gift of the tests",
        "description": f"<p>A <em>wide</em> landscape &amp; a mill, number {number}.</p>",
        "image_id": f"img-{number}",
        "alt_image_ids": [],
        "is_public_domain": True,
        "api_link": f"https://api.artic.edu/api/v1/artworks/{number}",
    } | changes


@contextmanager
def running() -> Iterator[MuseumServer]:
    """A museum that is open for the length of a `with` block."""
    museum = MuseumServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(museum))
    museum.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield museum
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(museum: MuseumServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            path = unquote(parts.path)
            params = {key: values[0] for key, values in parse_qs(parts.query).items()}
            agent = self.headers.get("User-Agent", "")
            museum.asked.append(Asked(path, params, agent, time.monotonic()))
            status, headers, body = _answer(museum, path, params)
            fault = _next_fault(museum, path)
            if fault:
                _FAULTS[fault](self, body)
            else:
                self.send(status, headers, body)

        def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


def _next_fault(museum: MuseumServer, path: str) -> str | None:
    for part, faults in museum.faults.items():
        if part in path and faults:
            return faults.pop(0)
    return None


def _answer(museum: MuseumServer, path: str, params: dict) -> tuple[int, dict[str, str], bytes]:
    if path.startswith("/openaccess/api/v1.0/"):
        status, answer = _smithsonian(museum, path.removeprefix("/openaccess/api/v1.0/"), params)
        return status, {"Content-Type": "application/json"}, json.dumps(answer).encode()
    if path.startswith("/api/v1/artworks"):
        status, answer = _artic(museum, path.removeprefix("/api/v1/artworks"), params)
        return status, {"Content-Type": "application/json"}, json.dumps(answer).encode()
    if path in museum.leads:
        return 302, {"Location": museum.leads[path]}, b""
    if path.startswith("/iiif/2/"):
        path = "/media/" + path.split("/")[3]
    if path in museum.photos:
        return 200, {"Content-Type": "image/jpeg"}, museum.photos[path]
    if path in museum.pages:
        return 200, {"Content-Type": "text/html; charset=utf-8"}, museum.pages[path].encode()
    return 404, {"Content-Type": "text/html"}, b"<html>gone</html>"


def _smithsonian(museum: MuseumServer, path: str, params: dict) -> tuple[int, dict[str, Any]]:
    if not params.get("api_key"):
        return 403, {"error": {"code": "API_KEY_MISSING", "message": "No api_key was supplied."}}
    if path.startswith("content/"):
        wanted = path.removeprefix("content/")
        found = [row for row in museum.records if wanted in (row["id"], row["url"])]
        if not found:
            told = "not found: the resource you were acting on could not be found"
            return 404, {"status": 404, "responseCode": 0, "response": {"error": told}}
        return 200, {"status": 200, "responseCode": 1, "response": found[0]}
    start, count = int(params.get("start", 0)), int(params.get("rows", 10))
    wanted = [word.casefold() for word in params["q"].split(" AND ")[0].strip('()"').split()]
    found = [row for row in museum.records if _matches(row, wanted)]
    rows = found[start : start + count]
    response = {"rows": rows, "rowCount": len(found), "message": "content found"}
    return 200, {"status": 200, "responseCode": 1, "response": response}


def _matches(row: dict[str, Any], words: list[str]) -> bool:
    text = json.dumps(row).casefold()
    return all(word in text for word in words)


def _artic(museum: MuseumServer, path: str, params: dict) -> tuple[int, dict[str, Any]]:
    config = {"iiif_url": f"{museum.address}/iiif/2", "website_url": "http://www.artic.edu"}
    if path != "/search":
        found = [row for row in museum.artworks if path == f"/{row['id']}"]
        if not found:
            return 404, {"status": 404, "error": "Not found", "detail": "No such artwork."}
        return 200, {"data": found[0], "config": config}
    page, limit = int(params.get("page", 1)), int(params.get("limit", 10))
    found = [row for row in museum.artworks if _matches(row, params["q"].casefold().split())]
    pages = -(-len(found) // limit)
    pagination = {"total": len(found), "limit": limit, "current_page": page, "total_pages": pages}
    rows = found[(page - 1) * limit : page * limit]
    return 200, {"pagination": pagination, "data": rows, "config": config}


def _envelope(status: int, text: str) -> Callable[[Any, bytes], None]:
    told = {"status": status, "responseCode": 0, "response": {"error": text}}
    return lambda handler, _: handler.send(status, {}, json.dumps(told).encode())


def _limit(headers: dict[str, str]) -> Callable[[Any, bytes], None]:
    told = json.dumps({"error": {"code": "OVER_RATE_LIMIT", "message": "Too many."}}).encode()
    return lambda handler, _: handler.send(429, headers, told)


def _bad_key(handler: Any, body: bytes) -> None:
    told = {"error": {"code": "API_KEY_INVALID", "message": "An invalid api_key was supplied."}}
    handler.send(403, {}, json.dumps(told).encode())


def _reset(handler: Any, body: bytes) -> None:
    """Close with a RST, as a broken middlebox does."""
    handler.close_connection = True
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.rfile.close()
    handler.wfile.close()
    handler.wfile = io.BytesIO()
    handler.connection.close()


def _silent(handler: Any, body: bytes) -> None:
    time.sleep(0.6)
    handler.close_connection = True


def _endless(handler: Any, status: int, headers: dict[str, str]) -> None:
    """Send zeros for as long as somebody reads them."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(bytes(2**16))


@functools.cache
def bomb(times: int) -> bytes:
    """100 MiB that were packed so often."""
    data = bytes(100 * 2**20)
    for _ in range(times):
        data = gzip.compress(data, 6)
    return data


def _packed(times: int) -> Callable[[Any, bytes], None]:
    headers = {"Content-Encoding": ", ".join(["gzip"] * times)}
    return lambda handler, _: handler.send(200, headers, bomb(times))


def _page(charset: str) -> Callable[[Any, bytes], None]:
    headers = {"Content-Type": f"text/html; charset={charset}"}
    return lambda handler, _: handler.send(200, headers, "<p>Käse</p>".encode())


def _told(status: int, answer: str) -> Callable[[Any, bytes], None]:
    return lambda handler, _: handler.send(status, {}, answer.encode())


def _echo(handler: Any, body: bytes) -> None:
    handler.send(200, {}, json.dumps({"asked": handler.path}).encode())


def _echo_error(handler: Any, body: bytes) -> None:
    handler.send(400, {}, json.dumps({"error": f"what is {handler.path}?"}).encode())


_FAULTS: dict[str, Callable[[Any, bytes], None]] = {
    "404": _envelope(404, "not found: the resource you were acting on could not be found"),
    "400": _envelope(400, "bad request: one of your params did not pass validation"),
    "error with status 200": lambda handler, _: handler.send(
        200, {}, b'{"status": 400, "responseCode": 0, "response": {"error": "bad request"}}'
    ),
    "bad key": _bad_key,
    "quota used up": _limit({"X-RateLimit-Limit": "30", "X-RateLimit-Remaining": "0"}),
    "crowd": _limit({"X-RateLimit-Limit": "1000", "X-RateLimit-Remaining": "812"}),
    "crowd, wait 1 s": _limit({"Retry-After": "1"}),
    "crowd, wait an hour": _limit({"Retry-After": "3600"}),
    "firewall": lambda handler, _: handler.send(
        403, {"Content-Type": "text/html"}, b"<html><h1>Request blocked</h1></html>"
    ),
    "500": lambda handler, _: handler.send(500, {}, b"oops"),
    "html": lambda handler, _: handler.send(200, {}, b"<html>We are moving house</html>"),
    "cut": lambda handler, body: handler.send(
        200, {"Content-Length": str(len(body))}, body[: len(body) // 2]
    ),
    "cut unseen": lambda handler, body: handler.send(200, {}, body[: len(body) // 2]),
    "endless error": lambda handler, _: _endless(handler, 404, {}),
    "endless redirect": lambda handler, _: _endless(handler, 302, {"Location": "/pages/there"}),
    "endless answer": lambda handler, _: _endless(handler, 200, {}),
    "packed": lambda handler, body: handler.send(
        200, {"Content-Encoding": "gzip"}, gzip.compress(body)
    ),
    "packed, cut": lambda handler, body: handler.send(
        200, {"Content-Encoding": "gzip"}, gzip.compress(body)[:-20]
    ),
    "packed, a bomb": _packed(1),
    "packed twice": _packed(2),
    "deep": _told(200, "[" * 200_000),
    "deep error": _told(404, '{"error":' * 200_000),
    "long number": _told(200, f'{{"a": {"7" * 5000}}}'),
    "long number, error": _told(404, f'{{"a": {"7" * 5000}}}'),
    "charset idna": _page("idna"),
    "charset undefined": _page("undefined"),
    "charset base64": _page("base64"),
    "charset unheard of": _page("x-no-such"),
    "charset latin-1": lambda handler, _: handler.send(
        200, {"Content-Type": "text/html; charset=latin-1"}, "<p>Käse</p>".encode("latin-1")
    ),
    "echo": _echo,
    "echo, error": _echo_error,
    "timeout": _silent,
    "reset": _reset,
}
