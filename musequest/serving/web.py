"""What the pages of this package stand on: a small server that asks nothing of anybody else.

    run(lambda: site([Route("/", home)]), "127.0.0.1", 8000)

Scripts and styles come from the package alone, the strict policy of content lets a page ask nobody
but this server, and nobody else's page may ask it anything. No visit is written down.

Gradio was tried: its page weighs more and asks many times before it stands, needs scripts within
the page, which the policy forbids, and reports its launch to its makers. FastAPI is Starlette and
schemas for interfaces, of which there is one here.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Lifespan, Message, Receive, Scope, Send

from ..core.errors import MuseQuestError
from .words import Words

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; media-src 'self' blob:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
MOST_BYTES = 16 * 2**20  # of a request
DRAINED = 4  # times as much is read and dropped, so that a browser hears why it is refused
BODY_SECONDS = 60.0  # in which a request has to be here
A_MINUTE = 300  # requests of one address that change or ask something
ADDRESSES = 10_000  # remembered
ENGLISH = Words()
GRACE_SECONDS = 5  # for what is being answered when the server is stopped
READING = ("GET", "HEAD")


class Refused(MuseQuestError):
    """A sentence for whoever asked, its {} filled with values; status and headers of the answer."""

    def __init__(self, sentence: str, status: int = 400, *values: object, **headers: str) -> None:
        super().__init__(sentence.format(*values) if values else sentence)
        self.sentence, self.status, self.values = sentence, status, values
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def site(
    routes: Sequence[BaseRoute],
    *,
    names: Iterable[str] = (),
    most_bytes: int = MOST_BYTES,
    a_minute: int = A_MINUTE,
    lifespan: Lifespan[Starlette] | None = None,
    say: Words = ENGLISH,
) -> ASGIApp:
    """The routes, and those of the package's static files, behind a Guard.

    `names` are host names under which it is reached besides those of this machine. A
    MuseQuestError that a route raises is told to the visitor, as a page or as JSON, in the
    language of `say`.
    """
    handlers: dict[Any, Any] = {
        MuseQuestError: _refusal,
        HTTPException: _refusal,
        Exception: _failure,
    }
    app = Starlette(
        routes=[*routes, Route("/static/{name}", StaticFiles(directory=Path(__file__).parent))],
        exception_handlers=handlers,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return Guard(app, names, most_bytes, a_minute, say)


class Guard:
    """Lets requests through that are for this server, from its own pages, small and not too many.

    A name that somebody else had point at this machine is not its own (DNS rebinding); a number is,
    since nobody can have it point elsewhere. Browsers say which page asks; other programs do not.
    """

    def __init__(
        self, app: ASGIApp, names: Iterable[str], most_bytes: int, a_minute: int, say: Words
    ) -> None:
        own = socket.gethostname().casefold()
        self.app, self.say = app, say
        self.names = {"localhost", own, f"{own}.local", *(name.casefold() for name in names)}
        self.most_bytes, self.a_minute = most_bytes, a_minute
        self.left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests, at what time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                kept = "no-cache" if scope["path"].startswith("/static/") else "no-store"
                headers.setdefault("Cache-Control", kept)
            await send(message)

        scope["say"], bounded = self.say, self._bounded(receive)
        try:
            self._check(scope)
        except Refused as error:
            refusal = await _refusal(Request(scope), error)
            return await refusal(scope, receive, secured)
        await self.app(scope, bounded, secured)

    def _check(self, scope: Scope) -> None:
        """Raise Refused unless the request may come in."""
        headers = Headers(scope=scope)
        if not self._own(headers.get("host", "")):
            raise Refused(
                "This server is not known by that name; open it by its number, or name it with "
                "--public-url.",
                421,
            )
        if scope["method"] in READING:
            return
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site", "none" if origin is None else "")
        if not (site in ("same-origin", "none") or (site == "" and self._same(origin, headers))):
            raise Refused("That page is not of this server; open the docent's own page.", 403)
        if wait := self._seconds_too_early(_address(scope)):
            raise Refused(
                "That was very much in a short time; take a breath and ask again.",
                429,
                Retry_After=str(wait),
            )

    def _own(self, host: str) -> bool:
        """Whether a Host header names this server."""
        with suppress(ValueError):
            name = urlsplit(f"//{host}").hostname or ""
            if name in self.names:
                return True
            return bool(ipaddress.ip_address(name))
        return False

    def _same(self, origin: str | None, headers: Headers) -> bool:
        """Whether the page of an older browser is this server's own."""
        there = urlsplit(origin or "")
        return there.netloc == headers.get("host") or there.hostname in self.names

    def _seconds_too_early(self, address: str) -> int:
        """Seconds an address has to wait before its next request; it has a minute's at once."""
        now = time.monotonic()
        left, then = self.left.pop(address, (float(self.a_minute), now))
        left = min(self.a_minute, left + (now - then) * self.a_minute / 60)
        self.left[address] = (max(left - 1, 0) if left >= 1 else left, now)
        if len(self.left) > ADDRESSES:
            self.left.popitem(last=False)
        return 0 if left >= 1 else 1 + int(60 * (1 - left) / self.a_minute)

    def _bounded(self, receive: Receive) -> Receive:
        """Receives a request up to its bounds; the rest of a larger one is dropped as it comes."""
        seen, whole, due = 0, False, asyncio.get_running_loop().time() + BODY_SECONDS

        async def bounded() -> Message:
            nonlocal seen, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(due):
                    while True:
                        message = await receive()
                        seen += len(message.get("body", b""))
                        whole = not message.get("more_body", False)
                        if whole or not self.most_bytes < seen < DRAINED * self.most_bytes:
                            break
            except TimeoutError:
                raise Refused("The photo took too long on its way; send it again.", 408) from None
            if seen > self.most_bytes:
                if most := self.most_bytes // 2**20:
                    raise Refused("That is larger than {} MB; send a smaller photo.", 413, most)
                most = self.most_bytes // 2**10
                raise Refused("That is larger than {} KB; shorten it.", 413, most)
            return message

        return bounded


def _address(scope: Scope) -> str:
    """Who asks: an address, or the network of one household where each has millions (IPv6)."""
    address = (scope.get("client") or ("",))[0]
    with suppress(ValueError):
        if (there := ipaddress.ip_address(address)).version == 6:
            return str(ipaddress.ip_network((there, 64), strict=False))
    return address


async def _refusal(request: Request, error: Exception) -> Response:
    """The sentence of an error, in the form that was asked for."""
    if isinstance(error, HTTPException):
        sentence = "There is nothing here; go back to the first page."
        error = Refused(sentence, error.status_code, **(error.headers or {}))
    status, headers = getattr(error, "status", 400), getattr(error, "headers", None)
    say: Words = request.scope["say"]
    sentence = sentence_of(error, say)
    if "text/html" in request.headers.get("accept", ""):
        return page("refusal.html.j2", say, status=status, headers=headers, sentence=sentence)
    kind = "rate_limit_error" if status == 429 else "invalid_request_error"
    told = {"message": sentence, "type": kind if status < 500 else "server_error", "code": None}
    return JSONResponse({"error": told}, status, headers)


def sentence_of(error: Exception, say: Words) -> str:
    """The sentence of an error, in the language of `say` where its file knows the sentence."""
    return say(error.sentence, *error.values) if isinstance(error, Refused) else str(error)


async def _failure(request: Request, error: Exception) -> Response:
    """What a visitor hears of a fault of the program, which the log holds."""
    return await _refusal(request, Refused("Something went wrong here; please ask again.", 500))


def page(
    template: str, say: Words = ENGLISH, *, status: int = 200,
    headers: dict[str, str] | None = None, **values: Any,
) -> HTMLResponse:  # fmt: skip
    """A page of the templates in this package; what is put into it cannot become HTML."""
    shown = _templates().get_template(template).render(values, say=say)
    return HTMLResponse(shown, status, headers)


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


def run(make: Callable[[], ASGIApp], host: str, port: int) -> None:
    """Serve what `make` makes until Ctrl-C or SIGTERM; what is being answered then is ended.

    The port is taken first, so that one in use is told (MuseQuestError) before `make` loads
    anything; visitors who come meanwhile wait. Port 0 is any that is free. Behind a proxy of this
    machine a visitor's address is the one that the proxy tells.
    """
    with _listening(host, port) as listening:
        config = uvicorn.Config(
            make(), log_level="warning", access_log=False, ws="none", server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )  # fmt: skip
        where = f"[{host}]" if ":" in host else host
        print(f"Open http://{where}:{listening.getsockname()[1]}/ (Ctrl-C ends it).", flush=True)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])


@contextmanager
def in_thread(app: ASGIApp) -> Iterator[str]:
    """The address of an application, served beside what the block does; for notebooks and tests."""
    with _listening("127.0.0.1", 0) as listening:
        config = uvicorn.Config(app, log_level="critical", ws="none", server_header=False)
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _listening(host: str, port: int) -> socket.socket:
    """A socket that holds the port."""
    if not 0 <= port < 2**16:
        raise MuseQuestError(f"There is no port {port}; choose one up to 65535.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise MuseQuestError(
            {
                errno.EADDRINUSE: f"Port {port} of {host} is in use; end what listens there, or "
                "choose another one with --port.",
                errno.EACCES: f"This user may not listen on port {port}; choose one above 1023.",
            }.get(
                error.errno or 0,
                f"This machine has no address '{host}'; listen on 127.0.0.1, or on 0.0.0.0 for "
                "all of its addresses.",
            )
        ) from None
