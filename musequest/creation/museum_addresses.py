"""Which addresses may be asked: those of the internet, and a private one only if it was named.

A museum's answers and redirects hold addresses that nobody here has chosen. One of this machine, of
the network around it, or of a cloud's own services would be asked in our name.
"""

from __future__ import annotations

import ipaddress
import socket
import urllib.request
from typing import Any

import httpx

from .museum_faults import Again, NotFound

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
PORTS = {"http": 80, "https": 443}


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
        self._own = (url.host, _port(url))

    def check(self, url: httpx.URL) -> None:
        """Raise NotFound unless all that the address's host resolves to may be asked.

        A name that cannot be resolved raises Again; behind a proxy, which resolves it, it may pass.
        """
        found = _resolved(url.host, _port(url))
        if not found and not _proxied(url):
            raise Again(f"the name {url.host} cannot be resolved")
        self._check(url, found)

    def watching(self, url: httpx.URL) -> dict[str, Any]:
        """Extensions of a request that look once more at what it was connected to.

        A name may resolve to another address the second time it is asked. Nothing is sent before.
        """

        def trace(event: str, info: dict[str, Any]) -> None:
            if event == "connection.connect_tcp.complete" and not _proxied(url):
                stream = info["return_value"]
                peer = stream.get_extra_info("server_addr")
                try:
                    self._check(url, [_plain(peer[0])])
                except NotFound:
                    stream.close()
                    raise

        return {"trace": trace}

    def _check(self, url: httpx.URL, found: list[Address]) -> None:
        if (url.host, _port(url)) == self._own:
            return
        for address in found:
            if not (address.is_global or self._in_own_network(address)):
                shown = url.copy_with(query=None, fragment=None)
                raise NotFound(
                    f"{shown} is a private address ({address}), which no museum may lead to; name "
                    "the museum's own with --base-url if it is one."
                )

    def _in_own_network(self, address: Address) -> bool:
        return _is_network(address) and any(map(_is_network, _resolved(*self._own)))


def _is_network(address: Address) -> bool:
    """Whether an address belongs to a network of one's own, and to no single machine."""
    special = (
        address.is_loopback, address.is_link_local, address.is_unspecified, address.is_multicast,
        address.is_reserved,
    )  # fmt: skip
    return address.is_private and not any(special)


def _port(url: httpx.URL) -> int:
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


def _proxied(url: httpx.URL) -> bool:
    """Whether the environment sends requests to an address through a proxy."""
    proxies = urllib.request.getproxies()
    known = proxies.get(url.scheme) or proxies.get("all")
    return bool(known) and not urllib.request.proxy_bypass(url.host)
