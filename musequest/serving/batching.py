"""Dynamic batching: visitors' questions wait in one line, and one thread answers those in front.

    batcher = Batcher(guide.answer)
    async for state in batcher.ask(question):   # its place, then words, then the answer
        ...

All that is shared belongs to the event loop; the thread of the model only hands words over to it.
Questions, photos and answers are held in memory while they are asked, and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..core.errors import MuseQuestError
from .web import Refused

if TYPE_CHECKING:
    from .guide import Answer, Question

LOGGER = logging.getLogger(__name__)
TOGETHER = 16  # questions of a batch
MOST_WAITING = 48  # with photos of at most 7 MB each
Answering = Callable[[Sequence["Question"], Callable[[int, str], None]], list["Answer"]]


@dataclass
class State:
    """How far a question is."""

    place: int | None = None  # in the line, from 1; None once it is being answered
    text: str = ""  # the words so far
    answer: Answer | None = None


@dataclass(eq=False)
class _Ticket:
    """One question on its way. A visitor who reads slowly gets the newest state, not each."""

    question: Question
    state: State = field(default_factory=State)
    error: Exception | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    gone: bool = False

    def tell(self, **news: Any) -> None:
        for name, value in news.items():
            setattr(self.state, name, value)
        self.changed.set()

    def fail(self, error: Exception) -> None:
        self.error = error
        self.changed.set()


class _AllGone(Exception):
    """Nobody waits any more for what is being answered."""


class Batcher:
    """A line of questions before one model; to be opened and used within one event loop."""

    def __init__(
        self, answer: Answering, together: int = TOGETHER, most_waiting: int = MOST_WAITING
    ) -> None:
        self.answer, self.together, self.most_waiting = answer, together, most_waiting
        self.waiting: deque[_Ticket] = deque()
        self.asked = asyncio.Event()
        self.seconds = 1.0  # that a batch takes, of late
        self.ending = False

    async def __aenter__(self) -> Batcher:
        self.thread = ThreadPoolExecutor(1, "docent")
        self.work = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *_: object) -> None:
        """End what is being answered at its next word."""
        self.ending = True
        self.work.cancel()
        self.thread.shutdown(wait=False, cancel_futures=True)

    def check_room(self) -> None:
        """Raise Refused, with the time to come again, while the line is full."""
        if len(self.waiting) >= self.most_waiting:
            wait = math.ceil(self.seconds * math.ceil(len(self.waiting) / self.together))
            raise Refused(
                "Many visitors are asking just now; please ask again in {} s.",
                429,
                wait,
                Retry_After=str(wait),
            )

    async def ask(self, question: Question) -> AsyncIterator[State]:
        """The states of a question up to its answer; who stops listening gives up the place.

        A full line raises Refused, and so does a question that could not be answered.
        """
        self.check_room()
        ticket = _Ticket(question)
        self.waiting.append(ticket)
        ticket.tell(place=len(self.waiting))
        self.asked.set()
        try:
            while ticket.state.answer is None:
                await ticket.changed.wait()
                ticket.changed.clear()
                if ticket.error:
                    raise ticket.error
                yield ticket.state
        finally:
            ticket.gone = True
            if ticket in self.waiting:
                self.waiting.remove(ticket)
                self._tell_places()

    def _tell_places(self) -> None:
        for place, ticket in enumerate(self.waiting, start=1):
            if ticket.state.place != place:
                ticket.tell(place=place)

    async def _work(self) -> None:
        while True:
            await self.asked.wait()
            self.asked.clear()
            while self.waiting:
                count = min(self.together, len(self.waiting))
                batch = [self.waiting.popleft() for _ in range(count)]
                for ticket in batch:
                    ticket.tell(place=None)
                self._tell_places()
                await self._batch(batch)

    async def _batch(self, batch: list[_Ticket]) -> None:
        """Answer a batch; where that fails, each of its questions alone."""
        loop, start = asyncio.get_running_loop(), time.monotonic()
        try:
            answers = await loop.run_in_executor(self.thread, self._answers, loop, batch)
        except _AllGone:
            return
        except Exception as error:
            if len(batch) > 1:
                for ticket in batch:
                    await self._batch([ticket])
                return
            if not isinstance(error, MuseQuestError):
                LOGGER.exception("A question has no answer")
                error = Refused("Something went wrong here; please ask again.", 500)
            batch[0].fail(error)
            return
        self.seconds = 0.7 * self.seconds + 0.3 * (time.monotonic() - start)
        for ticket, answer in zip(batch, answers, strict=True):
            ticket.tell(text=answer.text, answer=answer)

    def _answers(self, loop: asyncio.AbstractEventLoop, batch: list[_Ticket]) -> list[Answer]:
        """In the model's thread: the answers to a batch, its words handed over as they come."""

        def on_words(place: int, text: str) -> None:
            if self.ending or all(ticket.gone for ticket in batch):
                raise _AllGone
            loop.call_soon_threadsafe(lambda: batch[place].tell(text=text))

        return self.answer([ticket.question for ticket in batch], on_words)
