"""What a writer is: it composes question-answer pairs about an exhibit at a temperature."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..errors import MuseQuestError
from .exhibits import Exhibit


@dataclass(frozen=True)
class Pair:
    """One question and its answer, and what it took to get them."""

    question: str
    answer: str
    prompt_sha256: str
    response_id: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    created_at: datetime | None = None  # in UTC; None where it does not depend on the time
    temperature_taken: bool = True  # False where the model took none and chose its own
    support: str | None = None  # JSON: what of the exhibit's texts bears the answer out


class WriterStopped(MuseQuestError):
    """What ends a whole run, since every further exhibit would meet the same."""


class Writer(ABC):
    """Composes question-answer pairs about an exhibit."""

    name: str
    concurrency = 1  # exhibits handed to `write` at the same time, each in a thread of its own

    @abstractmethod
    def prompt(self, exhibit: Exhibit, temperature: float, n: int, seed: int) -> str:
        """Return what is asked; while it stays the same, pairs on disk are kept."""

    @abstractmethod
    def write(self, exhibit: Exhibit, temperature: float, n: int, seed: int) -> list[Pair]:
        """Return `n` pairs; called for an exhibit's temperatures in ascending order.

        MuseQuestError where the writer cannot, WriterStopped where it can do no more at all.
        """

    @contextmanager
    def working(self, exhibits: list[Exhibit], folder: Path) -> Iterator[None]:
        """Enclose all `write` of a run; `exhibits` are the missing ones of data/<collection>."""
        yield

    def ready(self, exhibits: list[Exhibit]) -> list[Exhibit]:
        """Return those that can be written now; the others are left for a later run."""
        return exhibits

    def stop(self) -> None:  # noqa: B027
        """Begin nothing more: the run ends once what is under way has come back."""

    def state(self) -> str:
        """Return what the progress bar shows beside its own, such as money spent."""
        return ""


def sha256_of(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
