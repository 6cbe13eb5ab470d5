"""How a museum's server says no, and what follows from it for one exhibit and for the run."""

from __future__ import annotations

import json
from typing import Any

import httpx

from ..errors import MuseQuestError

# A server that asks for more time than this is not waited for, s.
LONGEST_WAIT_SECONDS = 60.0


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


def judge(response: httpx.Response, url: str, begun: bytes) -> None:
    """Raise Again, NotFound or Refused for an answer that is not good, and how its body begins."""
    status, body = response.status_code, _error_body(begun)
    code = _error_code(body)
    if code.startswith("API_KEY") or status == 401:
        raise Refused(
            f"{url} does not accept the key ({code[:40] or status}); put a valid one into "
            "SMITHSONIAN_API_KEY (free at https://api.data.gov/signup/), or unset it."
        )
    if status == 429:
        _judge_limit(response, url)
    if status == 403:
        raise Refused(
            f"{url} refuses to answer (status 403, perhaps a firewall); wait an hour, then run the "
            "same command again, with a lower --requests-per-minute."
        )
    if status >= 500 or status in (408, 425):
        raise Again(f"status {status}", wait_seconds=_retry_after(response, url))
    reason = _told(body) or f"status {status}"
    raise NotFound(f"{url} is not to be had ({reason.rstrip('.')}).")


def _judge_limit(response: httpx.Response, url: str) -> None:
    """An hourly quota used up is worth no waiting; a moment's crowd is."""
    wait = _retry_after(response, url)
    remaining = response.headers.get("X-RateLimit-Remaining", "")
    if wait is None and remaining.strip() == "0":
        limit = response.headers.get("X-RateLimit-Limit", "all")[:12]
        raise Refused(
            f"{url}: the key's {limit} requests are used up (OVER_RATE_LIMIT); what was answered "
            "is kept, so run the same command in an hour, or with a SMITHSONIAN_API_KEY of your "
            "own (free at https://api.data.gov/signup/)."
        )
    raise Again("status 429, too many requests", wait_seconds=wait)


def _retry_after(response: httpx.Response, url: str) -> float | None:
    text = response.headers.get("Retry-After", "").strip()
    if not text.isdecimal():
        return None
    if float(text) > LONGEST_WAIT_SECONDS:
        raise Refused(
            f"{url} asks for {text[:12]} s of rest; run the same command again after that."
        )
    return float(text)


def parsed(text: str | bytes) -> Any:
    """What JSON says; Again where it is none, or none that anybody would write.

    Python's reader also stops at numbers of more than 4,300 digits, and at some thousand lists
    within each other.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Again("the answer is no JSON") from None


def _error_body(begun: bytes) -> dict[str, Any]:
    try:
        body = parsed(begun)
    except Again:
        return {}
    return body if isinstance(body, dict) else {}


def _error_code(body: dict[str, Any]) -> str:
    error = body.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) else ""


def _told(body: dict[str, Any]) -> str:
    """The server's own reason, in whichever of the known places it stands."""
    response = body.get("response")
    inner = response.get("error") if isinstance(response, dict) else None
    reason = inner or body.get("detail") or body.get("error") or ""
    return " ".join(reason.split())[:200] if isinstance(reason, str) else ""
