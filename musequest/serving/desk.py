"""The curator's desk: a page on which a collection's dialogs are approved, edited or withheld.

    run(lambda: open_desk("pocket"), "127.0.0.1", 8100)

It shows a dialog beside its photo, each statement beside what the museum's text says of it, and
what `creation.flags` would have one look at. What is decided is kept by `creation.review`, in whose
file other windows and commands write too: all that is shown is as of now, and a decision about
something that has changed meanwhile is refused. It has no accounts, so it listens on this machine
alone.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp
from typing_extensions import TypedDict

from ..core.errors import MuseQuestError
from ..core.files import parse_json, stamp_of
from ..core.home import collection_dir
from ..core.json_shapes import DecisionLine
from ..core.tables import read_table
from ..creation.exhibits import SENSITIVE, Exhibit, load_exhibits
from ..creation.flags import KINDS, Flag, SensitiveWords, flags_of, sensitive_words
from ..creation.review import Conflict, Decision, Review, decide, read_review, text_digest
from ..creation.split import SLOTS
from . import web
from .sources import Entry

MOST_BYTES = 2**16  # of a decision
A_MINUTE = 600  # decisions, more than a person makes


class Asked(TypedDict):
    """What the page sends to have a decision kept."""

    version: int  # of what was on the screen
    decision: DecisionLine


@dataclass
class Texts:
    """What a collection says, as its files stood at one moment."""

    folder: Path
    exhibits: dict[str, Exhibit]
    dialogs: dict[str, dict[str, Any]]  # dialog_id -> row, in the order of the exhibits
    sensitive: SensitiveWords
    flagged: dict[tuple[str, str, str], list[Flag]] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)

    def flags(self, dialog: dict[str, Any]) -> list[Flag]:
        """What to look at; of each text this is found once."""
        exhibit = self.exhibits[dialog["item_name"]]
        key = (exhibit.item_name, dialog["question"], dialog["answer"])
        if key not in self.flagged:
            self.flagged[key] = flags_of(exhibit, dialog, self.sensitive)
        return self.flagged[key]

    def sentences(self, dialog: dict[str, Any]) -> list[dict[str, Any]]:
        """The sentences of the answer, each with the statement that bears it out, or null."""
        name = dialog["item_name"]
        if name not in self.entries:
            self.entries[name] = Entry(self.exhibits[name])
        (sentences,) = self.entries[name].sourced([dialog["answer"]])
        return [asdict(sentence) for sentence in sentences]

    def photo(self, item_name: str, number: int) -> Path | None:
        """A photo that collect has put among the originals; no other file is shown."""
        exhibit, originals = self.exhibits.get(item_name), (self.folder / "originals").resolve()
        if exhibit is None or not 0 <= number < len(exhibit.photos):
            return None
        path = (self.folder / exhibit.photos[number]).resolve()
        return path if path.is_relative_to(originals) and path.is_file() else None


class Desk:
    """One collection; its methods may be called from any thread."""

    def __init__(self, collection: str) -> None:
        """Read everything once; what is absent or unreadable raises MuseQuestError."""
        self.collection, self.folder = collection, collection_dir(collection)
        self._finding = threading.Lock()
        self.shown()

    @property
    def texts(self) -> Texts:
        """The collection as it is now; read again where a file has changed."""
        names = ("exhibits.parquet", "dialogs.parquet", SENSITIVE)
        return _texts(self.collection, tuple(stamp_of(self.folder / name) for name in names))

    def shown(self) -> dict[str, Any]:
        """All that the page lists: dialogs with state and flags, and exhibits."""
        texts, review = self.texts, read_review(self.collection)
        return {
            "collection": self.collection,
            "kinds": KINDS,
            "exhibits": [self._exhibit(each, review) for each in texts.exhibits.values()],
            "dialogs": [self._dialog(each, texts, review) for each in texts.dialogs.values()],
        }

    def beside(self, dialog_id: str) -> dict[str, Any]:
        """What stands beside a dialog: its sentences with sources, and who decided what when."""
        texts, review = self.texts, read_review(self.collection)
        dialog = _known(texts.dialogs, dialog_id)
        history = review.history.get((dialog["item_name"], dialog_id), ())
        with self._finding:
            sentences = texts.sentences(review.decided(dialog))
        return {"sentences": sentences, "history": [asdict(each) for each in history]}

    def save(self, body: bytes) -> dict[str, Any]:
        """Keep a decision as the page sends it; returns the dialog or exhibit as it is then."""
        try:
            asked = parse_json(body, Asked)
        except ValueError as error:
            raise MuseQuestError(f"That is no decision ({error}); load the page again.") from None
        decision = Decision(**{**asked["decision"], "at": ""})
        decide(self.collection, decision, asked["version"])
        texts, review = self.texts, read_review(self.collection)
        if decision.dialog_id is None:
            return self._exhibit(_known(texts.exhibits, decision.item_name), review)
        return self._dialog(_known(texts.dialogs, decision.dialog_id), texts, review)

    def _exhibit(self, exhibit: Exhibit, review: Review) -> dict[str, Any]:
        own = review.history.get((exhibit.item_name, None))
        link = exhibit.link or exhibit.record
        return {
            "item_name": exhibit.item_name, "title": exhibit.title, "language": exhibit.language,
            "description": exhibit.description, "facts": exhibit.facts, "credit": exhibit.credit,
            "link": link if link.startswith(("https://", "http://")) else "",
            "withheld": exhibit.item_name in review.withheld,
            "version": review.version(exhibit.item_name), "last": own and asdict(own[-1]),
        }  # fmt: skip

    def _dialog(self, dialog: dict[str, Any], texts: Texts, review: Review) -> dict[str, Any]:
        word, name = review.of(dialog), dialog["item_name"]
        told = review.decided(dialog)
        slot = texts.exhibits[name].slots()[dialog["pair_index"]]
        return {
            "dialog_id": dialog["dialog_id"], "item_name": name, "number": dialog["pair_index"],
            "writer": dialog["writer"], "photo": f"/photos/{name}/{slot.photo}",
            "question": told["question"], "answer": told["answer"],
            "text_sha256": text_digest(dialog),
            "version": review.version(name, dialog["dialog_id"]),
            "state": word.decision if word else "open", "last": word and asdict(word),
            "flags": [asdict(flag) for flag in texts.flags(told)],
        }  # fmt: skip


def open_desk(collection: str) -> ASGIApp:
    """The desk of a collection that has dialogs; MuseQuestError where it has none."""
    own = Desk(collection)

    def home(request: Request) -> Response:
        return web.page("desk.html.j2", collection=collection)

    def shown(request: Request) -> Response:
        return JSONResponse(own.shown())

    def beside(request: Request) -> Response:
        return JSONResponse(own.beside(request.path_params["dialog_id"]))

    async def save(request: Request) -> Response:
        try:
            return JSONResponse(await run_in_threadpool(own.save, await request.body()))
        except Conflict as conflict:
            raise web.Refused(str(conflict), 409) from None

    def photo(request: Request) -> Response:
        found = own.texts.photo(request.path_params["item_name"], request.path_params["number"])
        if found is None:
            raise HTTPException(404)
        return FileResponse(found, media_type="image/jpeg")

    routes = [
        Route("/", home),
        Route("/dialogs", shown),
        Route("/dialogs/{dialog_id}", beside),
        Route("/decisions", save, methods=["POST"]),
        Route("/photos/{item_name}/{number:int}", photo),
    ]
    return web.site(routes, most_bytes=MOST_BYTES, a_minute=A_MINUTE)


@functools.lru_cache(maxsize=1)
def _texts(collection: str, stamp: tuple[tuple[int, ...], ...]) -> Texts:
    """The texts as of the stamp of their files; dialogs of exhibits that are gone are not shown."""
    folder, exhibits = collection_dir(collection), load_exhibits(collection)
    rows = read_table("dialogs", folder / "dialogs.parquet").to_dict("records")
    names = {exhibit.item_name: exhibit for exhibit in exhibits}
    places = {name: place for place, name in enumerate(names)}
    rows = [row for row in rows if row["item_name"] in names and row["pair_index"] in range(SLOTS)]
    rows.sort(key=lambda row: (places[row["item_name"]], row["pair_index"]))
    return Texts(
        folder, names, {row["dialog_id"]: row for row in rows}, sensitive_words(collection)
    )


def _known(those: dict[str, Any], name: str) -> Any:
    if name not in those:
        raise web.Refused(f"There is no '{name}' any more; load the page again.", 404)
    return those[name]
