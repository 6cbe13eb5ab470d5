"""Asks a museum's server politely: at a steady rate, by name, with patience, and nothing twice.

Answers are cached on disk under their address, without keys. A photo is written whole or not at
all, once it has been looked at.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import logging
import os
import random
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
import webencodings

from ... import __version__
from ...core.errors import MuseQuestError, hidden
from ...core.files import parse_json, write_text, write_whole
from .http import Addresses, Again, NotFound, Unanswered, judge, pieces_of

T = TypeVar("T")

ATTEMPTS = 5
FIRST_WAIT_SECONDS = 1.0
TIMEOUT_SECONDS = 30.0
MOST_REDIRECTS = 5

# httpx reports whole addresses, keys included, to whoever logs at level INFO.
logging.getLogger("httpx").setLevel(logging.WARNING)


class MuseumClient:
    """A client with a cache folder; use it in a `with` block.

    `requests_per_minute` holds for all its requests together, retries included. Private
    addresses are not asked, but for what was allowed.
    """

    def __init__(self, cache: str | Path, *, requests_per_minute: float = 60):
        self.cache = Path(cache)
        self._addresses = Addresses()
        self._seconds_between = 60 / requests_per_minute
        self._next_turn = 0.0
        self._pending: dict[Path, str] = {}
        contact = os.environ.get("MUSEQUEST_CONTACT", "").strip()
        shown = f"; {contact}" if contact.isascii() and contact.isprintable() and contact else ""
        name = f"MuseQuest/{__version__} (collects open-access exhibits{shown})"
        headers = {"User-Agent": name, "AIC-User-Agent": name, "Accept-Encoding": "gzip"}
        self._http = httpx.Client(headers=headers, timeout=TIMEOUT_SECONDS)

    def __enter__(self) -> MuseumClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.close()

    def allow(self, base_url: str) -> None:
        """Let the museum at `base_url` be asked, even if its address is private."""
        self._addresses = Addresses(base_url)

    def get_json(
        self, url: str, params: dict[str, str], secret: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Return the JSON object at `url`, from the cache where it was kept before.

        `secret` are further parameters that are sent, but neither cached nor shown. Raises
        NotFound, Refused or Unanswered.
        """

        def take(response: httpx.Response) -> str:
            text = hidden(b"".join(pieces_of(response)).decode("utf-8", errors="replace"))
            _object(text)
            return text

        try:
            return _object(self._cached(url, params, secret or {}, take))
        except Again as error:
            raise MuseQuestError(
                f"{self.cache} holds a damaged answer of {url} ({error}); delete that folder."
            ) from None

    def get_text(self, url: str) -> str:
        """Return the text (a web page) at `url`, as `get_json` does."""
        return self._cached(url, {}, {}, lambda response: hidden(_text(response)))

    def keep(self) -> None:
        """Write the answers since the last `keep` or `forget` to the cache, a "no" included."""
        for path, text in self._pending.items():
            write_text(path, text)
        self._pending.clear()

    def forget(self) -> None:
        """Drop the answers since the last `keep`, so that they are asked for again."""
        self._pending.clear()

    def download(self, url: str, path: Path, check: Callable[[Path], object]) -> None:
        """Write what lies at `url` to `path`, whole or not at all, unless it is there already.

        `check` looks at the file before it gets its name; a MuseQuestError of it lets the download
        be tried once more. Raises NotFound, Refused or Unanswered.
        """
        if path.is_file():
            return

        def take(response: httpx.Response) -> None:
            with write_whole(path) as temporary:
                with temporary.open("wb") as file:
                    for piece in pieces_of(response):
                        file.write(piece)
                try:
                    check(temporary)
                except MuseQuestError as error:
                    reason = str(error).replace(str(temporary), "what it sent")
                    raise Again(reason, damaged=True) from None

        self._answer(url, {}, take)

    def _cached(
        self,
        url: str,
        params: dict[str, str],
        secret: dict[str, str],
        take: Callable[[httpx.Response], str],
    ) -> str:
        asked = json.dumps([url, sorted(params.items())])
        path = self.cache / f"{hashlib.sha256(asked.encode()).hexdigest()[:32]}.txt"
        miss = path.with_suffix(".missing")
        for each in (miss, path):
            if (text := self._pending.get(each)) is None and each.is_file():
                text = each.read_text(encoding="utf-8")
            if text is not None and each == miss:
                raise NotFound(text)
            if text is not None:
                return text
        try:
            text = self._answer(url, params | secret, take)
        except NotFound as error:
            self._pending[miss] = str(error)
            raise
        self._pending[path] = text
        return text

    def _answer(self, url: str, params: dict[str, str], take: Callable[[httpx.Response], T]) -> T:
        """What `take` makes of a good answer; asks up to ATTEMPTS times, ever more slowly."""
        useless = 0
        for attempt in range(1, ATTEMPTS + 1):
            time.sleep(max(0.0, self._next_turn - time.monotonic()))
            self._next_turn = time.monotonic() + self._seconds_between
            try:
                return self._ask(url, params, take)
            except Again as again:
                if attempt == ATTEMPTS:
                    raise Unanswered(
                        f"{url} gave no answer in {attempt} attempts ({again}); "
                        "run the same command again later."
                    ) from None
                useless += again.damaged
                if useless > 1:
                    raise NotFound(f"{url} gave nothing of use, twice ({again}).") from None
                wait = again.wait_seconds
                if wait is None:  # twice as long each time, with jitter against crowds
                    wait = FIRST_WAIT_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)
                self._next_turn = time.monotonic() + wait
        raise AssertionError("the last attempt returns or raises")

    def _ask(self, url: str, params: dict[str, str], take: Callable[[httpx.Response], T]) -> T:
        """What `take` makes of the first answer that is no redirect; of those no body is read."""
        try:
            request = self._http.build_request("GET", url, params=params or None)
            for _ in range(MOST_REDIRECTS + 1):
                if request.url.scheme not in ("http", "https") or not request.url.host:
                    raise httpx.UnsupportedProtocol("it begins with neither http:// nor https://")
                self._addresses.check(request.url)
                request.extensions |= self._addresses.watching(request.url)
                with closing(self._http.send(request, stream=True)) as response:
                    if response.next_request is None:
                        if response.status_code != 200:
                            judge(response, url)
                        return take(response)
                    request = response.next_request
        except httpx.TimeoutException:
            raise Again(f"no answer within {TIMEOUT_SECONDS:g} s") from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
            raise NotFound(f"{url} is no address ({error}); check it.") from None
        except httpx.RequestError as error:
            raise Again(str(error) or type(error).__name__) from None
        raise NotFound(f"{url} leads from one address to the next without end.")


def _text(response: httpx.Response) -> str:
    """A page's text in the encoding it names, if browsers know that one; else as UTF-8.

    Python knows others too, some of which are no encodings of texts.
    """
    named = response.charset_encoding or "utf-8"
    with suppress(LookupError):
        named = codecs.lookup(named).name  # where browsers know a name in one spelling only
    encoding = webencodings.lookup(named) or webencodings.UTF8
    return webencodings.decode(b"".join(pieces_of(response)), encoding, errors="replace")[0]


def _object(text: str) -> dict[str, Any]:
    try:
        answer = parse_json(text, Any)
    except ValueError:
        raise Again("the answer is no JSON") from None
    if not isinstance(answer, dict):
        raise Again("the answer is no JSON object")
    return answer
