"""The ledger's way to the disk, which calls share: one flush serves all that wait for it."""

from __future__ import annotations

import asyncio

from .ledger import Ledger


class Disk:
    """Belongs to one event loop and is used in its thread alone."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None  # the flush that has not begun

    async def reached(self) -> None:
        """Return when all that was written before is on the disk; OSError if it cannot be."""
        if self._next is None:
            self._next = asyncio.create_task(self._flush())
        await self._next

    async def _flush(self) -> None:
        """Flush once the flush under way has ended; who comes later waits for the next."""
        async with self._turn:
            self._next = None
            await asyncio.to_thread(self.ledger.flush)
