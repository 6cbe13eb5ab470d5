"""A curator's word on dialogs and exhibits: approved, edited or withheld, by whom and when.

data/<collection>/review.jsonl only grows, and a line is a decision:

    item_name, dialog_id    what it is about; without a dialog_id, the exhibit
    decision                approved, edited, withheld, or open, which takes the one before back
    text_sha256             of question and answer as the writer of the dialog wrote them
    question, answer        as the curator wrote them, where decision is edited
    by, at, note            who, when (in UTC), and why

The last line about a dialog's present text counts, so a dialog that was written anew is unreviewed
again. What is withheld of an exhibit is not bound to its text. A line that a killed process did not
finish was never told to be saved and counts for nothing. Without the file nothing was reviewed, and
everything is as it would be without curators.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from ..core.errors import MuseQuestError
from ..core.files import parse_json, stamp_of, sync_folder
from ..core.home import collection_dir
from ..core.json_shapes import DecisionLine
from ..core.settings import Profile
from ..core.tables import read_table
from ..text.sentences import flaw_of
from .dialogs import sha256_of
from .exhibits import load_exhibits
from .split import STRANGER, dialogs_table, outdated

TAKEN = ("approved", "edited")
DECISIONS = (*TAKEN, "withheld", "open")
REVIEWED = ("review", "reviewed_by", "reviewed_at")  # what provenance tells of a decision
LONGEST = {"by": 80, "note": 500, "question": 1000, "answer": 5000}  # characters


@dataclass(frozen=True)
class Decision:
    """A line of review.jsonl."""

    item_name: str
    decision: str  # one of DECISIONS
    by: str
    dialog_id: str | None = None
    text_sha256: str | None = None
    question: str | None = None
    answer: str | None = None
    note: str = ""
    at: str = ""  # when it is saved

    @property
    def about(self) -> tuple[str, str | None]:
        """The exhibit, and the dialog if it is about one."""
        return self.item_name, self.dialog_id

    @property
    def texts(self) -> dict[str, str]:
        """Question and answer, where it is an edit."""
        return {"question": self.question or "", "answer": self.answer or ""}


KEYS = {item.name for item in fields(Decision)}


class Conflict(MuseQuestError):
    """Somebody else decided meanwhile, or the text is another one now."""


class Review:
    """All decisions about a collection, as they stood when they were read."""

    def __init__(self, decisions: Iterable[Decision] = ()) -> None:
        self.history: dict[tuple[str, str | None], list[Decision]] = defaultdict(list)
        for decision in decisions:
            self.history[decision.about].append(decision)

    def __bool__(self) -> bool:
        return bool(self.history)

    def version(self, item_name: str, dialog_id: str | None = None) -> int:
        """How many decisions there are about it; another window's save makes one more."""
        return len(self.history.get((item_name, dialog_id), ()))

    def of(self, dialog: Mapping[str, Any]) -> Decision | None:
        """What counts for a row of dialogs.parquet; None while it is unreviewed."""
        digest = text_digest(dialog)
        about = (dialog["item_name"], dialog["dialog_id"])
        own = [each for each in self.history.get(about, ()) if each.text_sha256 == digest]
        return own[-1] if own and own[-1].decision != "open" else None

    @cached_property
    def withheld(self) -> frozenset[str]:
        """The item_names of the exhibits that are withheld."""
        ends = ((*about, own[-1].decision) for about, own in self.history.items())
        return frozenset(
            name for name, dialog, last in ends if dialog is None and last == "withheld"
        )

    @cached_property
    def changed(self) -> dict[str, dict[str, str] | None]:
        """Digest of a text that may have been learned -> how it is told by now; None: not at all.

        Of a dialog that is edited or withheld that is its own text, and what it was edited to
        before. Every other text is told as it is.
        """
        found: dict[str, dict[str, str] | None] = {}
        for own in self.history.values():
            # In the order of the decisions, so that every process tells the same.
            for digest in dict.fromkeys(each.text_sha256 for each in own if each.text_sha256):
                said = [each for each in own if each.text_sha256 == digest]
                last = said[-1].decision
                if last == "open":
                    continue
                now = said[-1].texts if last == "edited" else None
                learned = {text_digest(each.texts) for each in said if each.answer}
                learned |= {digest} if last != "approved" else set()
                learned -= {text_digest(now)} if now else set()
                hidden = {each for each, told in found.items() if told is None}  # another dialog's
                found |= dict.fromkeys(learned - hidden, now)
        return found

    def decided(self, dialog: Mapping[str, Any]) -> dict[str, Any]:
        """A row of dialogs.parquet with its texts as edited, and what was decided, by whom, when.

        The columns of REVIEWED and `note` are only there if something is decided.
        """
        if (word := self.of(dialog)) is None:
            return dict(dialog)
        texts = word.texts if word.decision == "edited" else {}
        told = dict(zip(REVIEWED, (word.decision, word.by, word.at), strict=True))
        return {**dialog, **texts, **told, "note": word.note}

    def taken(self, dialogs: Iterable[Mapping[str, Any]], required: bool) -> list[dict[str, Any]]:
        """Those of the dialogs, as decided, that may be learned.

        With `required` that is what is approved or edited, else whatever is not withheld.
        """
        fit = TAKEN if required else (*TAKEN, None)
        return [row for row in map(self.decided, dialogs) if row.get("review") in fit]


def text_digest(dialog: Mapping[str, Any]) -> str:
    """The SHA-256 of a dialog's question and answer."""
    return sha256_of(json.dumps([dialog["question"], dialog["answer"]], ensure_ascii=False))


def review_path(collection: str) -> Path:
    """Where the decisions about a collection are kept."""
    return collection_dir(collection) / "review.jsonl"


def read_review(collection: str) -> Review:
    """All decisions so far; as quick as looking at a file's date where nothing was added.

    A line that is none raises MuseQuestError: it may be one that withholds something.
    """
    path = review_path(collection)
    stamp = stamp_of(path)
    return _read_once(path, stamp) if stamp else Review()


def withheld(collection: str) -> frozenset[str]:
    """The item_names of the exhibits that are not to be told of, as of now."""
    return read_review(collection).withheld


def decide(collection: str, decision: Decision, version: int) -> Decision:
    """Save a decision, whole or not at all, and return it as it was saved.

    `version` is that of what the curator saw. Where it has grown meanwhile, or the text is another
    one by now, Conflict says so and nothing is saved. A text that could not be learned from, a
    dialog or an exhibit that is unknown and a curator without a name raise MuseQuestError.
    """
    (saved,) = decide_all(collection, [(decision, version)])
    if isinstance(saved, MuseQuestError):
        raise saved
    return saved


def decide_all(
    collection: str, decisions: Sequence[tuple[Decision, int]]
) -> list[Decision | MuseQuestError]:
    """Save those that can be kept, each with its version, as `decide` does one.

    Returns them in their order as they were saved, or what `decide` would have raised.
    """
    folder = collection_dir(collection)
    rows = {
        (row.item_name, getattr(row, "dialog_id", None)): row
        for kind in {"dialogs" if each.dialog_id else "exhibits" for each, _ in decisions}
        for row in read_table(kind, folder / f"{kind}.parquet").itertuples()
    }
    found: list[Decision | MuseQuestError] = []
    for decision, _ in decisions:
        row = rows.get((decision.item_name, decision.dialog_id or None))
        try:
            found.append(_checked(decision, row, collection))
        except MuseQuestError as error:
            found.append(error)
    if not any(isinstance(each, Decision) for each in found):
        return found
    path = review_path(collection)
    new = not path.exists()
    with open(path, "ab+", 0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        content = file.read()
        history, lines = _parsed(path, content).history, bytearray()
        for number, (kept, (_, version)) in enumerate(zip(found, decisions, strict=True)):
            if isinstance(kept, Decision):
                if len(own := history[kept.about]) != version:
                    found[number] = _conflict(own)
                    continue
                own.append(kept)
                lines += json.dumps(asdict(kept), ensure_ascii=False).encode() + b"\n"
        whole = content.rfind(b"\n") + 1
        try:
            file.truncate(whole)  # what a killed process did not finish
            if file.write(lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(whole)
            raise
    if new:
        sync_folder(path.parent)
    return found


def _conflict(own: list[Decision]) -> Conflict:
    told = f"{own[-1].by} has decided ({own[-1].decision})" if own else "A decision was removed"
    return Conflict(f"{told} about this meanwhile; look at it as it is now.")


def check_learned(collection: str, profile: Profile | None = None) -> None:
    """Raise MuseQuestError where the dataset holds what may not be learned by now.

    That is a row of an exhibit or a dialog that was withheld, a text that was edited or written
    anew since, and with a `profile` of `require_review` whatever nobody approved; strangers need
    no approval. A dataset without dialogs beside it was made elsewhere.
    """
    review, required = read_review(collection), profile is not None and profile.require_review
    path = collection_dir(collection) / "dialogs.parquet"
    if not (review or required or path.is_file()):
        return
    dialogs = _current(collection, path) if path.is_file() else []
    may, hidden = {_text(row) for row in review.taken(dialogs, required)}, review.withheld
    learned = dialogs_table(collection)
    rows = learned[learned["item_name"] != STRANGER].to_dict("records")
    gone = [row for row in rows if row["item_name"] in hidden or _text(row) not in may]
    held, why = gone, "no curator approved"
    if not required:
        why = "a curator withheld or edited since"
        held = [
            row for row in gone if row["item_name"] in hidden or text_digest(row) in review.changed
        ]
    if not held and path.is_file():
        held, why = gone, "are of texts that have changed since"
    if held:
        added = f" --profile {profile.name}" if profile is not None else ""
        raise MuseQuestError(
            f"The dataset of '{collection}' holds {len(held)} rows that {why}; run `python -m "
            f"musequest dataset --collection {collection}{added}` again."
        )


def check_dialogs(collection: str) -> list[dict[str, Any]]:
    """The dialogs there are to be reviewed; MuseQuestError where there are none."""
    path = collection_dir(collection) / "dialogs.parquet"
    rows = read_table("dialogs", path).to_dict("records")
    if not rows:
        raise MuseQuestError(
            f"{path} holds no dialogs; run `python -m musequest synthesize` first."
        )
    return rows


def _current(collection: str, path: Path) -> list[dict[str, Any]]:
    """The dialogs that were written from what the exhibits' texts are now."""
    texts = {each.item_name: each.source_sha256 for each in load_exhibits(collection)}
    rows = read_table("dialogs", path).to_dict("records")
    return [row for row in rows if not outdated(row, texts.get(row["item_name"]))]


def _text(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["item_name"], row["question"], row["answer"]


def _checked(decision: Decision, row: Any, collection: str) -> Decision:
    """The decision with its moment, its texts looked at; `row` is what it is about, or None."""
    about = decision.dialog_id or decision.item_name
    if row is None:
        raise Conflict(f"There is no '{about}' in '{collection}' any more; load the list again.")
    if decision.decision not in DECISIONS:
        known = ", ".join(DECISIONS)
        raise MuseQuestError(f"{decision.decision!r} is no decision; write one of {known}.")
    if not decision.dialog_id and decision.decision in TAKEN:
        raise MuseQuestError("An exhibit can be withheld or not; approve and edit its dialogs.")
    texts = {name: (getattr(decision, name) or "").strip() for name in LONGEST}
    texts |= {name: " ".join(texts[name].split()) for name in ("by", "note", "question")}
    for name, most in LONGEST.items():
        if len(texts[name]) > most:
            raise MuseQuestError(f"The {name} has more than {most:,} characters; shorten it.")
        if texts[name] and (flaw := flaw_of(texts[name])):
            raise MuseQuestError(f"The {name} {flaw}; write it as plain text.")
    if not texts["by"]:
        raise MuseQuestError("Nobody is named as the curator; give a name first.")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    decision = replace(decision, by=texts["by"], note=texts["note"], at=now)
    if not decision.dialog_id:
        return replace(decision, text_sha256=None, question=None, answer=None)
    dialog = row._asdict()
    if decision.text_sha256 != text_digest(dialog):
        raise Conflict(
            f"The text of '{about}' was written anew meanwhile; look at it as it is now."
        )
    if decision.decision != "edited":
        return replace(decision, question=None, answer=None)
    for name in ("question", "answer"):
        if not texts[name]:
            raise MuseQuestError(f"The {name} is empty; write one, or withhold the dialog.")
    if (texts["question"], texts["answer"]) == (dialog["question"], dialog["answer"]):
        return replace(decision, decision="approved", question=None, answer=None)
    return replace(decision, question=texts["question"], answer=texts["answer"])


@functools.lru_cache(maxsize=8)
def _read_once(path: Path, stamp: tuple[int, ...]) -> Review:
    return _parsed(path, path.read_bytes())


def _parsed(path: Path, content: bytes) -> Review:
    """The decisions of a file; behind its last line end stands what was not finished."""
    decisions = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            told = parse_json(line, DecisionLine)
            decisions.append(Decision(**{name: told[name] for name in KEYS & told.keys()}))
        except ValueError as error:
            raise MuseQuestError(
                f"{path}, line {number}, is no decision of a curator ({error}); mend that line, "
                "for it may say what is not to be told."
            ) from None
    return Review(decisions)
