"""A run's connection to the server: its address and key, and what the progress bar shows."""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import openai

from ...credentials import unsafe_way
from ...errors import MuseQuestError
from ..dialogs import WriterStopped
from .calls import Calls
from .ledger import Ledger
from .pacing import RateLimiter
from .prices import Estimate, Price
from .prompts import Request

Result = TypeVar("Result")
WHOLE = 2  # times the time-out that a whole answer may take
OPENAI_URL = "https://api.openai.com/v1"


@dataclass(frozen=True)
class ServerConfig:
    """Where a run asks, and within which bounds."""

    key: str
    base_url: str
    price: Price
    max_cost_usd: float
    concurrency: int  # calls at once
    timeout_s: float  # without a sign of the answer; twice as long for the whole of it
    backoff_s: float  # before the first repeat

    def __post_init__(self) -> None:
        if not self.max_cost_usd >= 0:
            raise MuseQuestError(
                f"A limit of {self.max_cost_usd} USD is none; give --max-cost-usd 0 or more."
            )

    def room(self, planned: Estimate, ledger: Ledger) -> str:
        """What was spent before, the limit, and whether it will be enough."""
        spent = ledger.committed_usd
        text = f"{spent:.4f} USD are spent before; the limit is {self.max_cost_usd} USD."
        if spent + planned.usd > self.max_cost_usd:
            text += " That will not be enough; the run will stop there and keep what it has."
        return text


@dataclass
class Session:
    """One run's connection, on an event loop of its own thread, for a notebook has one already."""

    server: ServerConfig
    ledger: Ledger
    planned: Estimate
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def __post_init__(self) -> None:
        self._begun, self._paid_before = time.monotonic(), self.ledger.paid_usd
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.calls = self._run(self._connect())

    def ask(self, asked: Request) -> dict[str, Any]:
        """Wait for the response to a request."""
        return self._run(self.calls.ask(asked))

    def judge(self, key: str, response: dict[str, Any], flaw: str, *, again: bool = False) -> None:
        """Say of a new response whether it could be used: `flaw` is empty, or why it could not.

        `again` is one to a request of which an earlier run had useless responses. Raises
        WriterStopped where too many in a row could not be used.
        """
        self._run(self.calls.judge(key, response, flaw, again))

    def stop(self) -> None:
        """Let no further call begin."""
        self._run(self.calls.limiter.stop_soon(WriterStopped("The run was stopped.")))

    def state(self) -> str:
        """Return what the progress bar shows."""
        answered, paid_usd = self.calls.answered, self.ledger.paid_usd
        left = max(0, self.planned.calls - answered)
        each = self.planned.usd / max(1, self.planned.calls)
        if answered:
            each = (paid_usd - self._paid_before) / answered
        rate = answered / (time.monotonic() - self._begun) * 60
        return f"{paid_usd:.4f} of about {paid_usd + left * each:.4f} USD, {rate:.0f} calls/min"

    def close(self) -> None:
        """Close the connection and end the thread."""
        self._run(self.calls.client.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _connect(self) -> Calls:
        server = self.server
        client = openai.AsyncOpenAI(
            api_key=server.key,
            base_url=server.base_url,
            max_retries=0,
            timeout=server.timeout_s,
            # A redirect that is followed is a call that the ledger does not know.
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
        )
        limiter = RateLimiter(self.ledger, server.concurrency, server.max_cost_usd)
        longest_s = WHOLE * server.timeout_s
        return Calls(client, limiter, self.ledger, server.price, server.backoff_s, longest_s)

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()


def address_of(base_url: str | None) -> str:
    """The server's address: as given, else from the environment, else OpenAI's."""
    address = base_url or os.environ.get("OPENAI_BASE_URL", "").strip() or OPENAI_URL
    if not address.startswith(("https://", "http://")):
        raise MuseQuestError(
            f"The address {address!r} is none; write it as http://127.0.0.1:8000/v1."
        )
    return address


def key_of(base_url: str, who: str, instead: str) -> str:
    """The key from the environment; a server of one's own needs none.

    Without one for OpenAI, MuseQuestError says that `who` needs it, or what to do `instead`; one
    that would leave this machine unencrypted raises it too.
    """
    if key := os.environ.get("OPENAI_API_KEY", "").strip():
        if not re.fullmatch(r"[!-~]+", key):
            raise MuseQuestError("OPENAI_API_KEY holds signs that no key has; copy it again.")
        if reason := unsafe_way("OPENAI_API_KEY", base_url):
            raise MuseQuestError(reason)
        return key
    if base_url != OPENAI_URL:
        return "none"
    raise MuseQuestError(
        f"{who} needs a key; set OPENAI_API_KEY, name a server of your own with --base-url, or "
        f"{instead}."
    )
