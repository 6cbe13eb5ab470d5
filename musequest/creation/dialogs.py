"""Dialogs: a writer composes 15 question-answer pairs an exhibit, five at each temperature.

A `Writer` is whatever composes pairs about an exhibit: the offline writer by rules, the hosted
writer by asking a language model. `synthesize` asks either about every exhibit that has no dialogs
yet, several at once where the writer allows it.
"""

from __future__ import annotations

import hashlib
import pickle
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from tqdm import tqdm

from ..core.errors import MuseQuestError, leave_out
from ..core.files import holds_collection
from ..core.home import collection_dir
from ..core.tables import SCHEMAS, iterate_table, read_table, table_writer
from ..text.sentences import count_words, flaw_of
from ..text.titles import names_title
from .exhibits import Exhibit, load_exhibits
from .split import SLOTS

TEMPERATURES = (0.4, 0.7, 0.9)
PAIRS_EACH = SLOTS // len(TEMPERATURES)
SHORTEST, LONGEST = 40, 300  # words of an answer
SAVE_SECONDS = 10.0  # at most so much of a writer's work is lost when the machine dies,
SAVE_SHARE = 0.02  # or more where saving would hold up the writer for more than this share


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


@holds_collection
def synthesize(
    collection: str, writer: Writer, *, seed: int = 0, progress: bool = True
) -> pd.DataFrame:
    """Write data/<collection>/dialogs.parquet: 15 pairs an exhibit, in the exhibits' order.

    Pairs already on disk stay as long as exhibit and prompt are the same; after an interruption
    the finished exhibits are kept. An exhibit whose pairs are bad is reported and left out; more
    than 10 % of them raises MuseQuestError, as do a file of another writer and a writer that stops.
    """
    return read_table("dialogs", write_dialogs(collection, writer, seed=seed, progress=progress))


@holds_collection
def write_dialogs(collection: str, writer: Writer, *, seed: int = 0, progress: bool = True) -> Path:
    """Do what `synthesize` does and return the file, which takes less memory to write than to read.

    Errors are those of `synthesize`.
    """
    path = collection_dir(collection) / "dialogs.parquet"
    exhibits = load_exhibits(collection)
    done = _kept(path, exhibits, writer, seed)
    missing = [exhibit for exhibit in exhibits if exhibit.item_name not in done]
    problems: list[str] = []

    known = pq.read_schema(path) if path.is_file() else SCHEMAS["dialogs"]
    more = [each for each in known if each.name not in SCHEMAS["dialogs"].names]
    blank = dict.fromkeys(each.name for each in more)

    def save() -> None:
        with table_writer("dialogs", path, more) as write:
            for exhibit in exhibits:
                for row in _unpacked(done.get(exhibit.item_name)):
                    write(blank | row)

    if missing or not path.is_file():
        shown = {"total": len(exhibits) * SLOTS, "initial": len(done) * SLOTS, "unit": "pair"}
        try:
            with (
                writer.working(missing, path.parent),
                tqdm(desc="Writing dialogs", disable=not progress, **shown) as bar,
            ):
                problems = _fill(done, writer.ready(missing), writer, seed, bar, save)
        finally:
            save()
    leave_out(problems, len(exhibits), path)
    return path


def flaw_of_pair(exhibit: Exhibit, pair: Pair) -> str | None:
    """Return what makes a pair unusable, as a part of a sentence; None where it is fine."""
    for noun, text in (("question", pair.question), ("answer", pair.answer)):
        if flaw := flaw_of(text):
            return f"the {noun} {flaw}"
    words = count_words(pair.answer)
    if not SHORTEST <= words <= LONGEST:
        return f"the answer has {words} words, not {SHORTEST} to {LONGEST}"
    if names_title(pair.question, exhibit.title):
        return f"the question names the exhibit ({pair.question!r})"
    return None


def _fill(
    done: dict[str, bytes], missing: list[Exhibit], writer: Writer, seed: int, bar: tqdm,
    save: Callable[[], None],
) -> list[str]:  # fmt: skip
    """Add the rows of the missing exhibits to `done`, saving now and then; returns problems.

    When it ends early, what is under way is waited for, and nothing more is begun.
    """
    problems: list[str] = []
    due = time.monotonic() + SAVE_SECONDS
    with ThreadPoolExecutor(max(1, writer.concurrency)) as pool:
        try:
            jobs = {pool.submit(_rows, each, writer, seed, bar): each.item_name for each in missing}
            for job in as_completed(jobs):
                try:
                    done[jobs[job]] = job.result()
                except WriterStopped:
                    raise
                except MuseQuestError as error:
                    problems.append(str(error))
                if (begun := time.monotonic()) > due:
                    save()
                    now = time.monotonic()
                    due = now + max(SAVE_SECONDS, (now - begun) / SAVE_SHARE)
        except BaseException:
            writer.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return problems


def _rows(exhibit: Exhibit, writer: Writer, seed: int, bar: tqdm) -> bytes:
    """The 15 rows of an exhibit, checked and packed."""
    rows: list[dict[str, Any]] = []
    for temperature in TEMPERATURES:
        pairs = writer.write(exhibit, temperature, PAIRS_EACH, seed)
        flaw = None
        if len(pairs) != PAIRS_EACH:
            flaw = f"{len(pairs)} pairs came where {PAIRS_EACH} were asked"
        for pair in pairs:
            flaw = flaw or flaw_of_pair(exhibit, pair)
            if not flaw and any(pair.answer == row["answer"] for row in rows):
                flaw = f"an answer came twice ({pair.answer[:60]!r} ...)"
            row = vars(pair) | {
                "dialog_id": f"{exhibit.item_name}-{len(rows):02d}",
                "item_name": exhibit.item_name,
                "pair_index": len(rows),
                "temperature": temperature if pair.temperature_taken else None,
                "writer": writer.name,
                "source_sha256": exhibit.source_sha256,
            }
            rows.append({name: row[name] for name in SCHEMAS["dialogs"].names})
        if flaw:
            raise MuseQuestError(
                f"the writer '{writer.name}' on the exhibit '{exhibit.item_name}': {flaw}; mend "
                "the exhibit's text, or run synthesize again."
            )
        bar.set_postfix_str(writer.state(), refresh=False)
        bar.update(PAIRS_EACH)
    return _packed(rows)


def _packed(rows: list[dict[str, Any]]) -> bytes:
    """Rows as they are held until all are written, in about a tenth of the memory."""
    return zlib.compress(pickle.dumps(rows), level=1)


def _unpacked(rows: bytes | None) -> list[dict[str, Any]]:
    return pickle.loads(zlib.decompress(rows)) if rows else []


def _kept(path: Path, exhibits: list[Exhibit], writer: Writer, seed: int) -> dict[str, bytes]:
    """The rows on disk, packed, that this writer would be asked for with the same words."""
    if not path.is_file():
        return {}
    found: dict[str, list[bytes]] = {}
    writers = set()
    for name, rows in groupby(iterate_table("dialogs", path), itemgetter("item_name")):
        found.setdefault(name, []).append(_packed(own := [*rows]))
        writers |= {row["writer"] for row in own}
    if others := sorted(writers - {writer.name}):
        raise MuseQuestError(
            f"{path} holds the work of the writer '{others[0]}'; move it away, or choose another "
            f"collection for the writer '{writer.name}'."
        )
    kept = {}
    for exhibit in (each for each in exhibits if each.item_name in found):
        own = [row for part in found.pop(exhibit.item_name) for row in _unpacked(part)]
        own.sort(key=itemgetter("pair_index"))
        asked = [sha256_of(writer.prompt(exhibit, t, PAIRS_EACH, seed)) for t in TEMPERATURES]
        expected = [prompt for prompt in asked for _ in range(PAIRS_EACH)]
        if [row["prompt_sha256"] for row in own] == expected:
            kept[exhibit.item_name] = _packed(own)
    return kept


def sha256_of(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
