"""Keys and tokens: taken from the environment, sent by safe ways alone, and never told again.

Servers repeat what they were sent. Whatever of theirs is kept or shown goes through `hidden` first:
every MuseQuestError, every line of the log, every answer that is cached or paid for.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

T = TypeVar("T")

# Those of .env.example are known whatever they look like, others by their names and length.
OWN = ("HF_TOKEN", "OPENAI_API_KEY", "SMITHSONIAN_API_KEY", "WANDB_API_KEY")
OTHERS = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
SHORTEST, SHORTEST_OTHERS = 8, 16  # characters; shorter ones are words that stand in any text
PASSWORD = re.compile(r"(?<=://)[^/@\s]+:[^/@\s]+(?=@)")
PLAIN_HTTP = "MUSEQUEST_PLAIN_HTTP"


def hidden(value: T) -> T:
    """A text, or the texts within lists and dicts, with [NAME] for the value of each credential."""
    return _hidden(value, _credentials())


def hidden_text(text: str) -> str:
    """`hidden` for people to read: passwords within addresses are taken out too."""
    return PASSWORD.sub("...", hidden(text))


def unsafe_way(name: str, url: str) -> str | None:
    """Why the credential `name` must not be sent to `url`, as a sentence; None where it may.

    Without encryption it may not leave this machine, unless MUSEQUEST_PLAIN_HTTP says that the
    network between is one's own.
    """
    if not os.environ.get(name, "").strip():
        return None
    allowed = os.environ.get(PLAIN_HTTP, "").strip().lower() in ("1", "true", "yes", "on")
    if allowed or urlsplit(url).scheme.lower() != "http" or _is_here(urlsplit(url).hostname or ""):
        return None
    return hidden_text(
        f"{name} would travel to {url} for all on the way to read; write https://, unset {name} if "
        f"that server needs none, or set {PLAIN_HTTP}=1 if the network between is your own."
    )


def _credentials() -> dict[str, str]:
    """What each is replaced by, the longest first."""
    found: dict[str, str] = {}
    for name, value in os.environ.items():
        value = value.strip()
        shortest = SHORTEST if name in OWN else SHORTEST_OTHERS
        if (name in OWN or OTHERS.search(name)) and len(value) >= shortest:
            found |= dict.fromkeys((value, quote(value, safe="")), f"[{name}]")
    return {value: found[value] for value in sorted(found, key=len, reverse=True)}


def _hidden(value: Any, credentials: dict[str, str]) -> Any:
    if isinstance(value, str):
        for credential, name in credentials.items():
            value = value.replace(credential, name)
    elif isinstance(value, list):
        return [_hidden(each, credentials) for each in value]
    elif isinstance(value, dict):
        return {_hidden(k, credentials): _hidden(each, credentials) for k, each in value.items()}
    return value


def _is_here(host: str) -> bool:
    """Whether a host is this machine, whatever names it has for itself."""
    try:
        found = socket.getaddrinfo(host, None)
        return all(ipaddress.ip_address(str(each[4][0])).is_loopback for each in found)
    except (OSError, ValueError):
        return False
