"""What HTTP brings from a museum, and what may be asked: addresses, bodies, refusals.

A museum's answers and redirects hold addresses that nobody here has chosen. One of this machine, of
the network around it, or of a cloud's own services would be asked in our name. A body is read
within bounds of size and time once unpacked, whatever its status. How a server says no decides what
follows for one exhibit and for the run.
"""

from __future__ import annotations

import ipaddress
import socket
import time
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx

from ...core.errors import MuseQuestError
from ...core.files import dig, parse_json

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
PORTS = {"http": 80, "https": 443}
# A server that asks for more time than this is not waited for, s.
LONGEST_WAIT_SECONDS = 60.0
# Of one answer, from its first byte to its last.
LONGEST_ANSWER_SECONDS = 300.0
LARGEST_ANSWER_MIB = 64
LONGEST_BEGINNING_SECONDS = 10.0
PIECE_BYTES = 2**16
GZIP = 16 + zlib.MAX_WBITS


class Addresses:
    """What may be asked when a museum is at `base_url`, and where it is not known if None.

    A `base_url` on this machine allows its own port. One within a private network allows that
    network's other hosts too, which deliver its photos.
    """

    def __init__(self, base_url: str | None = None) -> None:
        try:
            url = httpx.URL(base_url or "")
        except (httpx.InvalidURL, UnicodeError) as error:
            raise NotFound(f"{base_url!r} is no address ({error}); check it.") from None
        self._own = (url.host, port_of(url))

    def check(self, url: httpx.URL, found: list[Address] | None = None) -> None:
        """Raise NotFound unless all addresses of the URL's host may be asked, or those `found`.

        A name that cannot be resolved raises Again; behind a proxy, which resolves it, it may pass.
        """
        if found is None:
            found = _resolved(url.host, port_of(url))
            if not found and not proxied(url):
                raise Again(f"the name {url.host} cannot be resolved")
        if (url.host, port_of(url)) == self._own:
            return
        private = [address for address in found if not address.is_global]
        if private and any(map(_is_network, _resolved(*self._own))):
            private = [address for address in private if not _is_network(address)]
        if private:
            shown = url.copy_with(query=None, fragment=None)
            raise NotFound(
                f"{shown} is a private address ({private[0]}), which no museum may lead to; name "
                "the museum's own with --base-url if it is one."
            )

    def watching(self, url: httpx.URL) -> dict[str, Any]:
        """Extensions of a request that look once more at what it was connected to.

        A name may resolve to another address the second time it is asked. Nothing is sent before.
        """

        def trace(event: str, info: dict[str, Any]) -> None:
            if event == "connection.connect_tcp.complete" and not proxied(url):
                stream = info["return_value"]
                try:
                    self.check(url, [_plain(stream.get_extra_info("server_addr")[0])])
                except NotFound:
                    stream.close()
                    raise

        return {"trace": trace}


def _is_network(address: Address) -> bool:
    """Whether an address belongs to a network of one's own, and to no single machine."""
    kinds = ("is_loopback", "is_link_local", "is_unspecified", "is_multicast", "is_reserved")
    return address.is_private and not any(getattr(address, kind) for kind in kinds)


def port_of(url: httpx.URL) -> int:
    """The port that an address names, or its scheme's own."""
    return url.port or PORTS.get(url.scheme, 0)


def _resolved(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [_plain(str(each[4][0])) for each in found]


def _plain(text: str) -> Address:
    """An address, out of IPv6 where it is one of IPv4 in disguise."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address.sixtofour or address
    return address


def proxied(url: httpx.URL) -> bool:
    """Whether the environment sends requests to an address through a proxy."""
    proxies = urllib.request.getproxies()
    known = proxies.get(url.scheme) or proxies.get("all")
    return bool(known) and not urllib.request.proxy_bypass(url.host)


class NotFound(MuseQuestError):
    """The museum has no such thing; the exhibit is listed as missing."""


class Unanswered(MuseQuestError):
    """No usable answer after several attempts; the exhibit is left for the next run."""


class Refused(MuseQuestError):
    """The server will not serve us now, whatever we ask; the run stops."""


class Again(Exception):
    """One attempt failed in a way that another may mend.

    `damaged` says that an answer came whole and was of no use, for which a second attempt is
    enough; `wait_seconds` is what the server asks for, if it does.
    """

    def __init__(self, reason: str, *, damaged: bool = False, wait_seconds: float | None = None):
        super().__init__(reason.rstrip("."))
        self.damaged = damaged
        self.wait_seconds = wait_seconds


def judge(response: httpx.Response, url: str) -> None:
    """Raise Again, NotFound or Refused for an answer that is not good."""
    status = response.status_code
    try:
        body = parse_json(_beginning_of(response), dict[str, Any])
    except ValueError:
        body = {}
    code = str(dig(body, "error").get("code") or "")
    if code.startswith("API_KEY") or status == 401:
        raise Refused(
            f"{url} does not accept the key ({code[:40] or status}); put a valid one into "
            "SMITHSONIAN_API_KEY (free at https://api.data.gov/signup/), or unset it."
        )
    if status == 429:
        wait = _retry_after(response, url)
        # An hourly quota used up is worth no waiting; a moment's crowd is.
        if wait is None and response.headers.get("X-RateLimit-Remaining", "").strip() == "0":
            limit = response.headers.get("X-RateLimit-Limit", "all")[:12]
            raise Refused(
                f"{url}: the key's {limit} requests are used up (OVER_RATE_LIMIT); what was "
                "answered is kept, so run the same command in an hour, or with a "
                "SMITHSONIAN_API_KEY of your own (free at https://api.data.gov/signup/)."
            )
        raise Again("status 429, too many requests", wait_seconds=wait)
    if status == 403:
        raise Refused(
            f"{url} refuses to answer (status 403, perhaps a firewall); wait an hour, then run the "
            "same command again, with a lower --requests-per-minute."
        )
    if status >= 500 or status in (408, 425):
        raise Again(f"status {status}", wait_seconds=_retry_after(response, url))
    # The server's own reason, in whichever of the known places it stands.
    told = dig(body, "response").get("error") or body.get("detail") or body.get("error")
    reason = " ".join(told.split())[:200] if isinstance(told, str) else ""
    raise NotFound(f"{url} is not to be had ({(reason or f'status {status}').rstrip('.')}).")


def _retry_after(response: httpx.Response, url: str) -> float | None:
    text = response.headers.get("Retry-After", "").strip()
    if not text.isdecimal():
        return None
    if float(text) > LONGEST_WAIT_SECONDS:
        raise Refused(
            f"{url} asks for {text[:12]} s of rest; run the same command again after that."
        )
    return float(text)


def pieces_of(response: httpx.Response) -> Iterator[bytes]:
    """The body in pieces of at most 64 KiB, as long as it stays within size and time."""
    size, until = 0, time.monotonic() + LONGEST_ANSWER_SECONDS
    for piece in _unpacked(response):
        size += len(piece)
        if size > LARGEST_ANSWER_MIB * 2**20:
            raise NotFound(f"{response.url.copy_with(query=None)} holds too much (the limit is "
                           f"{LARGEST_ANSWER_MIB} MiB).")  # fmt: skip
        if time.monotonic() > until:
            raise Again(f"not at its end after {LONGEST_ANSWER_SECONDS:g} s")
        yield piece


def _beginning_of(response: httpx.Response) -> bytes:
    """The first 64 KiB of a body, or what of it comes in time; for answers that fail."""
    begun, until = b"", time.monotonic() + LONGEST_BEGINNING_SECONDS
    with suppress(Again, NotFound, httpx.RequestError):  # that it failed matters more
        for piece in _unpacked(response):
            begun += piece
            if len(begun) >= PIECE_BYTES or time.monotonic() > until:
                break
    return begun[:PIECE_BYTES]


def _unpacked(response: httpx.Response) -> Iterator[bytes]:
    """The body as it was before the server packed it, which it may do once, as gzip.

    httpx would unpack each piece it receives at once, to a thousand times its size and more, and as
    often as the server says.
    """
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding in ("", "identity"):
        yield from response.iter_raw(PIECE_BYTES)
        return
    if coding not in ("gzip", "x-gzip"):
        raise Again(f"the answer is packed as {coding[:40]!r}, unasked", damaged=True)
    unpacker = zlib.decompressobj(GZIP)
    try:
        for packed in response.iter_raw(PIECE_BYTES):
            while packed and not unpacker.eof:
                yield unpacker.decompress(packed, PIECE_BYTES)
                packed = unpacker.unconsumed_tail
    except zlib.error as error:
        raise Again(f"the answer cannot be unpacked ({error})", damaged=True) from None
    if not unpacker.eof:
        raise Again("the answer broke off")
