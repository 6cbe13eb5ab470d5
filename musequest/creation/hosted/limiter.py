"""How much is asked of a server: so many calls at once, not before when, for so many dollars."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections.abc import AsyncIterator, Mapping

from ..dialogs import WriterStopped
from .ledger import Ledger

LONGEST_PAUSE_S = 120.0
SETTLED_S = 1.0  # within so short a time, several 429 are one
PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class RateLimiter:
    """What every call passes: how many at once, not before when, and never above the limit in USD.

    It opens for one call, and fully after the first answer that could be used, so that a wrong key
    costs a single call, and a server whose answers are of no use a few. A 429 halves what is let
    through and pauses all until the server's headers say; every answer widens it again by a little.
    It is used in the thread of one event loop alone.
    """

    def __init__(self, ledger: Ledger, concurrency: int, max_cost_usd: float) -> None:
        """Let through at most `concurrency` calls at once and `max_cost_usd` in the ledger."""
        self.ledger = ledger
        self.most, self.max_cost_usd = concurrency, max_cost_usd
        self.width, self.active = 1.0, 0
        self.opened = False
        self.stopped: WriterStopped | None = None
        self._until = self._narrowed = 0.0  # monotonic seconds
        self._change = asyncio.Event()  # of the next change, which has an event of its own

    @contextlib.asynccontextmanager
    async def room(self, key: str, most_usd: float) -> AsyncIterator[str]:
        """Wait for room, write the call into the ledger and give its name there.

        Raises WriterStopped when the run is stopped, or when the call could cross the limit and
        nothing under way can make room for it.
        """
        while not self._fits(most_usd, pause := self._until - time.monotonic()):
            await self._wait(pause)
        call = self.ledger.sent(key, most_usd)
        self.active += 1
        try:
            yield call
        finally:
            self.active -= 1
            self._wake()

    def _fits(self, most_usd: float, pause: float) -> bool:
        if self.stopped:
            raise self.stopped
        if pause > 0 or self.active >= int(self.width):
            return False
        if self.ledger.committed_usd + most_usd <= self.max_cost_usd:
            return True
        if self.active:
            return False
        raise self.stop(
            f"The limit of {self.max_cost_usd} USD is reached: {self.ledger.paid_usd:.4f} are "
            f"spent, {self.ledger.committed_usd:.4f} with calls whose end is not known, and one "
            f"more may cost {most_usd:.4f}; what is finished is kept, raise --max-cost-usd and "
            "run again."
        )

    async def _wait(self, pause: float) -> None:
        """Until something changes or the pause is over, each a little later than the other."""
        longest = pause + random.uniform(0, min(0.25, pause / 4)) if pause > 0 else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest):
                await self._change.wait()

    def _wake(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    def open(self) -> None:
        """After the first answer that could be used: let all through."""
        if not self.opened:
            self.opened, self.width = True, float(self.most)
            self._wake()

    def widen(self, headers: Mapping[str, str]) -> None:
        """After an answer: let a little more through, unless its headers say that all is used."""
        if self.opened:
            self.width = min(float(self.most), self.width + 1 / self.width)
        if pause := _exhausted_s(headers):
            self.pause(pause)

    def narrow(self, headers: Mapping[str, str], usual_s: float) -> None:
        """After a 429: let half through, and none before its headers say (else `usual_s`)."""
        now = time.monotonic()
        if now - self._narrowed > SETTLED_S:
            self.width = max(1.0, self.width / 2)
            self._narrowed = now
        self.pause(_retry_after_s(headers) or _exhausted_s(headers) or usual_s)

    def stop(self, reason: object) -> WriterStopped:
        """Let nothing through any more; the first reason stays. Returns it."""
        self.stopped = self.stopped or WriterStopped(reason)
        self._wake()
        return self.stopped

    def pause(self, seconds: float) -> None:
        """Let nothing through for a while, 120 s at most."""
        until = time.monotonic() + min(seconds, LONGEST_PAUSE_S)
        self._until = max(self._until, until)


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """The seconds that `retry-after-ms` or `retry-after` names; 0 without them."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if re.fullmatch(r"\d+(\.\d+)?", text := headers.get(name, "")):
            return float(text) * unit
    return 0.0


def _exhausted_s(headers: Mapping[str, str]) -> float:
    """The seconds until a limit of which nothing remains is filled again; 0 where all remain."""
    kinds = [
        each
        for each in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{each}") == "0"
    ]
    parts = (PART.findall(headers.get(f"x-ratelimit-reset-{kind}", "")) for kind in kinds)
    return max((sum(float(n) * SECONDS[unit] for n, unit in own) for own in parts), default=0.0)
