"""Collect exhibits from a museum on the internet.

What a museum gives becomes a folder museum, data/<collection>/museum/, which is then read like any
other. What it does not give is listed in data/<collection>/missing.csv, never guessed.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import urlsplit

import pandas as pd
from tqdm import tqdm

from ..errors import LOGGER, MuseQuestError
from ..files import write_csv
from ..home import collection_dir
from ..photos import open_photo
from .artic import ArtInstitute
from .catalogue import Entry, published_catalogue, read_catalogue
from .credits import RIGHTS
from .exhibits import PHOTO_SUFFIXES, collect_folder
from .museum_client import MuseumClient
from .museum_faults import NotFound, Refused, Unanswered
from .museum_records import CC0, NOT_STATED, MuseumRecord
from .smithsonian import Smithsonian
from .split import SLOTS
from .texts import flaw_of

MUSEUMS = {museum.name: museum for museum in (Smithsonian, ArtInstitute)}
COLUMNS = ("item_id", "item_name", "title", "link", "record", "description", "photos", "license")
MISSING = ("item_name", "link", "record", "reason")
# So many exhibits in a row without an answer, and the museum is taken to be out of reach.
PATIENCE = 3
# Matches looked at for each exhibit that is wanted.
LOOKS = 20


class Museum(Protocol):
    """What a museum's module offers."""

    client: MuseumClient

    def find(self, entry: Entry, *, any_license: bool = False) -> MuseumRecord:
        """Return the record of a catalogue's entry, or raise NotFound."""

    def search(self, query: str, *, any_license: bool = False) -> Iterator[MuseumRecord]:
        """Give the records that match."""


@dataclass
class _Gathered:
    """What came together so far: rows of exhibits.csv, photos.csv and missing.csv."""

    exhibits: list[dict[str, Any]] = field(default_factory=list)
    photos: list[dict[str, str]] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)
    unanswered: int = 0  # exhibits without an answer since the last with one

    def miss(self, entry: Entry, error: MuseQuestError) -> None:
        """List what was not found; raise MuseQuestError when the museum seems out of reach."""
        LOGGER.warning("Not collected: '%s': %s", entry.item_name, error)
        told = {"item_name": entry.item_name, "link": entry.link, "record": entry.record}
        self.missing.append(told | {"reason": str(error)})
        self.unanswered = self.unanswered + 1 if isinstance(error, Unanswered) else 0
        if self.unanswered == PATIENCE:
            raise MuseQuestError(f"The museum is out of reach: {error}")


def collect_museum(
    name: str,
    collection: str,
    *,
    catalogue: str | Path | None = None,
    query: str | None = None,
    limit: int = 50,
    base_url: str | None = None,
    any_license: bool = False,
    requests_per_minute: float = 60,
    progress: bool = True,
) -> pd.DataFrame:
    """Collect exhibits of the museum `name` (a key of MUSEUMS) into data/<collection>/.

    They are those of a catalogue (for the Smithsonian, without one, the 65 of the published
    experiment), or the first `limit` that match `query`. Only photos that are CC0 themselves are
    taken, unless `any_license`. What was answered before is not asked again. Returns the exhibits
    as `collect_folder` does; what is missing stands in missing.csv. A refused key, a used-up quota
    or a museum out of reach raises MuseQuestError; what was answered until then is kept.
    """
    target = collection_dir(collection)
    if query is None and catalogue is None:
        catalogue = _default_catalogue(name)
    entries = [] if catalogue is None else read_catalogue(catalogue)
    gathered = _Gathered()
    with MuseumClient(target / "asked", requests_per_minute=requests_per_minute) as client:
        museum = MUSEUMS[name](client, base_url)
        if query is None:
            with tqdm(entries, desc="Asking", unit="exhibit", disable=not progress) as bar:
                _gather_entries(museum, bar, target / "museum", any_license, gathered)
        else:
            with tqdm(total=limit, desc="Asking", unit="exhibit", disable=not progress) as bar:
                _gather_found(museum, query, limit, target / "museum", any_license, gathered, bar)
    _write(target, gathered)
    if not gathered.exhibits:
        first = gathered.missing[0]["reason"] if gathered.missing else "nothing matches."
        raise MuseQuestError(
            f"No exhibit could be collected; {target / 'missing.csv'} says why. The first: {first}"
        )
    return collect_folder(target / "museum", collection, progress=progress)


def missing_exhibits(collection: str) -> pd.DataFrame:
    """Return what the last `collect_museum` did not find, with reasons; no row if nothing."""
    path = collection_dir(collection) / "missing.csv"
    if not path.is_file():
        return pd.DataFrame(columns=list(MISSING))
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _default_catalogue(name: str) -> Path:
    if name != Smithsonian.name:
        raise MuseQuestError(
            f"'{name}' has no catalogue of its own; name one with --catalogue, or ask with --query."
        )
    return published_catalogue()


def _gather_entries(
    museum: Museum, entries: Any, folder: Path, any_license: bool, gathered: _Gathered
) -> None:
    for entry in entries:
        try:
            record = museum.find(entry, any_license=any_license)
            _take(museum, entry, record, folder, any_license, gathered)
            museum.client.keep()
        except Refused:
            raise
        except MuseQuestError as error:
            # What led nowhere today may lead somewhere tomorrow.
            museum.client.forget()
            gathered.miss(entry, error)


def _gather_found(
    museum: Museum,
    query: str,
    limit: int,
    folder: Path,
    any_license: bool,
    gathered: _Gathered,
    bar: tqdm,
) -> None:
    """The first matches that can be used; those that cannot are no loss, only listed."""
    names: set[str] = set()
    found = itertools.islice(museum.search(query, any_license=any_license), LOOKS * limit)
    for number, record in enumerate(found, start=1):
        entry = Entry(number, _slug(record, names), record.link, record.record, record.title)
        try:
            _take(museum, entry, record, folder, any_license, gathered)
            bar.update()
        except MuseQuestError as error:
            gathered.miss(entry, error)
        museum.client.keep()
        if len(gathered.exhibits) == limit:
            return


def _take(
    museum: Museum,
    entry: Entry,
    record: MuseumRecord,
    folder: Path,
    any_license: bool,
    gathered: _Gathered,
) -> None:
    """Add the exhibit and its photos; MuseQuestError says why it cannot be used."""
    _check_text(record, any_license)
    photos = _photos(museum, entry, record, folder, any_license)
    licenses = dict.fromkeys([record.license, *(photo["license"] for photo in photos)])
    gathered.unanswered = 0
    gathered.photos += photos
    gathered.exhibits.append(
        {
            "item_id": entry.item_id,
            "item_name": entry.item_name,
            "title": record.title,
            "link": record.link,
            "record": record.record,
            "description": record.description,
            "photos": "\n".join(photo["photo"] for photo in photos),
            "license": " and ".join(licenses),
            "credit": record.credit,
        }
    )


def _check_text(record: MuseumRecord, any_license: bool) -> None:
    for noun, text in (("title", record.title), ("text", record.narrative)):
        if flaw := flaw_of(text):
            raise NotFound(f"its {noun} {flaw}.")
    if flaw := flaw_of(record.description):
        raise NotFound(f"its details {flaw}.")
    # The texts of museums are open as a rule, so only what says otherwise is left.
    if not any_license and not record.license.startswith(("CC0", "CC-BY", NOT_STATED)):
        raise NotFound(f"its text is not open ({record.license}).")


def _photos(
    museum: Museum, entry: Entry, record: MuseumRecord, folder: Path, any_license: bool
) -> list[dict[str, str]]:
    """The rows of photos.csv for what could be had; NotFound or Unanswered if that is nothing."""
    allowed = [photo for photo in record.photos if any_license or photo.license == CC0]
    if not allowed:
        kinds = ", ".join(sorted({photo.license for photo in record.photos}))
        raise NotFound(
            f"none of its {len(record.photos)} photos is CC0 (they are: {kinds})."
            if kinds
            else "its record has no photo."
        )
    rows, faults = [], []
    for photo in allowed[:SLOTS]:
        path = _photo_path(entry.item_name, photo.url)
        try:
            museum.client.download(photo.url, folder / path, open_photo)
        except MuseQuestError as error:
            LOGGER.warning("A photo of '%s' is left for the next run: %s", entry.item_name, error)
            faults.append(error)
            if isinstance(error, Unanswered):
                break
            continue
        rights = (photo.license, record.credit, record.record, photo.url)
        rows.append({"photo": path, **dict(zip(RIGHTS, rights, strict=True))})
    if not rows:
        raise faults[0] if isinstance(faults[0], Unanswered) else NotFound(str(faults[0]))
    return rows


def _photo_path(item_name: str, url: str) -> str:
    """Relative to the folder museum; the same address gives the same path, so none is got twice."""
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    suffix = suffix if suffix in PHOTO_SUFFIXES else ".jpg"
    return f"photos/{item_name}/{sha256(url.encode()).hexdigest()[:16]}{suffix}"


def _slug(record: MuseumRecord, taken: set[str]) -> str:
    """A name for files from the title, with the record's id where titles are equal."""
    letters = unicodedata.normalize("NFKD", record.title).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:60].rstrip("-") or "exhibit"
    if plain in taken:
        own = re.sub(r"[^a-z0-9]+", "-", record.record_id.lower()).strip("-")[:19]
        plain = f"{plain}-{own}".rstrip("-")
    taken.add(plain)
    return plain


def _write(target: Path, gathered: _Gathered) -> None:
    write_csv(target / "missing.csv", MISSING, gathered.missing)
    write_csv(target / "museum/photos.csv", ("photo", *RIGHTS), gathered.photos)
    write_csv(target / "museum/exhibits.csv", (*COLUMNS, "credit"), gathered.exhibits)
