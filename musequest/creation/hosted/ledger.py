"""The ledger: every call that may cost money, on disk before its answer is used.

`ledger.jsonl` of a collection only grows. A line is an event, with these keys:

    sent      call, key, most_usd                a call leaves, and the most it can cost
    paid      call, key, response                its response, whole
    free      call, reason, refused              it failed and costs nothing; `refused` is its key
                                                 where the server of a batch refused it
    failed    call, form, reason, cost_usd       its answer was an error that cost something
    untaken   base_url, model, name, reason      a model does not take a parameter
    accepted  batch, id                          what the server calls a batch
    too_many  calls                              so many were in batches when it took no more

A call that was sent and never heard of again, because the process was killed or the connection
broke, counts with the most it can have cost. Calls of a batch bear its name. What is written is
surely on the disk after `flush`, and a response can be found from then on.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import threading
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...core.errors import LOGGER, MuseQuestError, hidden
from ...core.files import json_lines, parse_json
from .requests import is_usd


@dataclass
class Batch:
    """Calls that were handed over together and whose ends are not known yet."""

    sent_at: str  # in UTC
    base_url: str | None = None  # where it was handed over; None in ledgers that do not tell
    id: str | None = None  # what the server calls it, once that is known
    file: str | None = None  # what the server calls the file of its requests
    uploaded_at: float | None = None  # when the server had that file, in seconds of its own clock
    calls: dict[str, dict[str, Any]] = field(default_factory=dict)  # request -> its `sent` event


class Ledger:
    """Opened by one process at a time; its methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Read what was paid so far; MuseQuestError while another process has it open."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.paid_usd = 0.0  # what all responses cost
        self.batches: dict[str, Batch] = {}  # those with open calls, by the name they were given
        self.refusals: dict[str, str] = {}  # requests that a batch's server refused, with reasons
        self.most_together: int | None = None  # calls in batches at once, where a limit was met
        self._lock = threading.Lock()
        self._places: dict[str, tuple[int, int]] = {}  # request -> first byte and bytes of its line
        self._written: dict[str, tuple[int, int]] = {}  # the same of those not flushed yet
        self._open_usd: dict[str, float] = {}  # call -> the most it can cost
        self._place_in_batch: dict[str, tuple[str, str]] = {}  # call -> batch and request
        self._untaken: dict[tuple[str, str], dict[str, str]] = {}
        # What was asked and answered is for its owner alone, or for those he lets in later.
        self._file = open(path, "ab+", 0, opener=_for_its_owner)  # noqa: SIM115
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise MuseQuestError(
                f"Another run is writing to {path}; wait for it, or stop it."
            ) from None
        self._read()

    @property
    def committed_usd(self) -> float:
        """What was paid and the most that all calls without a known end can cost."""
        with self._lock:
            return self.paid_usd + sum(self._open_usd.values())

    def find(self, key: str) -> dict[str, Any] | None:
        """Return the response to a request, if it was paid for and is on the disk."""
        if key not in self._places:
            return None
        first, length = self._places[key]
        event: dict[str, Any] = json.loads(os.pread(self._file.fileno(), length, first))
        return event["response"]

    def responses(self) -> Iterator[dict[str, Any]]:
        """Give every response that was paid for."""
        for key in list(self._places):
            if response := self.find(key):
                yield response

    def untaken(self, base_url: str, model: str) -> dict[str, str]:
        """The parameters that a model at a server was found not to take, with its reasons."""
        return self._untaken.setdefault((base_url, model), {})

    @property
    def in_batches(self) -> int:
        """How many calls are in batches now."""
        return sum(len(batch.calls) for batch in self.batches.values())

    def sent(self, key: str, most_usd: float, **more: Any) -> str:
        """Write down that a call will leave; returns its name.

        `more` are the name of its batch, the fields of `Batch`, and what will be needed to read it.
        """
        call = uuid.uuid4().hex
        self.add("sent", call=call, key=key, most_usd=most_usd, **more)
        return call

    def flush(self) -> None:
        """Return when all that was written before is on the disk."""
        with self._lock:
            written, self._written = self._written, {}
        os.fsync(self._file.fileno())
        with self._lock:
            self._places |= written

    def close(self) -> None:
        """Let the next process have it."""
        self._file.close()

    def add(self, kind: str, /, **told: Any) -> None:
        """Write down an event of one of the kinds above, with all that its kind has."""
        event = {"event": kind, **told, "at": datetime.now(UTC).isoformat(timespec="seconds")}
        # A server's words may repeat a key; what is sent back to it stays as it is.
        event |= hidden({k: event[k] for k in event.keys() - {"base_url", "id"}})
        line = json.dumps(event).encode("ascii") + b"\n"
        with self._lock:
            first = self._file.seek(0, os.SEEK_END)
            if self._file.write(line) != len(line):
                self._file.truncate(first)  # the next line begins where this one did
                raise OSError(errno.ENOSPC, "the line did not fit")
            self._note(event, first, len(line))

    def _read(self) -> None:
        """Take in the lines on disk; one cut short by a kill or a power cut is passed over."""
        first, line = 0, b"\n"
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    self._note(parse_json(line, dict[str, Any]), first, len(line))
                except ForgedAmount as amount:
                    self._file.close()
                    raise MuseQuestError(
                        f"{self.path}, line {number}, tells of {amount} USD, which no call costs; "
                        "put the amount right, or the limit would be another."
                    ) from None
                except (ValueError, KeyError, TypeError, AttributeError):
                    LOGGER.warning("%s: a line cut short at byte %d is left.", self.path, first)
                first += len(line)
        if not line.endswith(b"\n"):
            self._file.write(b"\n")
        self.flush()  # a process that was killed may have left it to the system

    def _note(self, event: dict[str, Any], first: int, length: int) -> None:
        """Keep an event's place and money."""
        match event["event"]:
            case "accepted":
                if event["batch"] in self.batches:
                    self.batches[event["batch"]].id = event["id"]
            case "too_many":
                half = max(1, event["calls"] // 2)
                self.most_together = min(half, self.most_together or half)
            case "untaken":
                self.untaken(event["base_url"], event["model"])[event["name"]] = event["reason"]
            case "sent":
                call = event["call"]
                self._open_usd[call] = _usd(event["most_usd"])
                if name := event.get("batch"):
                    told: dict[str, Any] = {
                        each: event.get(each) for each in ("base_url", "file", "uploaded_at")
                    }
                    batch = self.batches.setdefault(name, Batch(event["at"], **told))
                    batch.calls[event["key"]] = event
                    self._place_in_batch[call] = (name, event["key"])
            case "paid":
                self._end(event["call"], _usd(event["response"]["cost_usd"]))
                self._written[event["key"]] = (first, length)
            case "failed":
                self._end(event["call"], _usd(event["cost_usd"]))
            case _:
                if key := event.get("refused"):
                    self.refusals[key] = event["reason"]
                self._end(event["call"])

    def _end(self, call: str, paid_usd: float = 0.0) -> None:
        """Close a call, take it out of its batch, and the batch away with its last call."""
        self.paid_usd += paid_usd
        self._open_usd.pop(call, None)
        if place := self._place_in_batch.pop(call, None):
            name, key = place
            del self.batches[name].calls[key]
            if not self.batches[name].calls:
                del self.batches[name]


def _for_its_owner(path: str, flags: int) -> int:
    """Open a file, made for its owner alone; one of before is closed to all but owner and group."""
    number = os.open(path, flags, 0o600)
    with contextlib.suppress(OSError):  # a file of another user, or a disk without rights
        os.fchmod(number, os.fstat(number).st_mode & 0o770)
    return number


class ForgedAmount(Exception):
    """An amount of money that no call costs."""


def _usd(amount: Any) -> float:
    """An amount as the ledger may hold it; ForgedAmount where it would raise the limit."""
    if not is_usd(amount):
        raise ForgedAmount(f"{amount!r:.40}")
    return float(amount)


def paid_usd_of(path: Path, forms: Collection[str]) -> float:
    """Return what a ledger's calls of these forms cost, without opening it; 0 without one."""
    paid_usd = 0.0
    for event in json_lines(path.read_bytes() if path.is_file() else b""):
        with contextlib.suppress(KeyError, TypeError, ForgedAmount):
            told = event["response"] if event["event"] == "paid" else event
            if event["event"] in ("paid", "failed") and told["form"] in forms:
                paid_usd += _usd(told["cost_usd"])
    return paid_usd
