"""What a museum gives, exhibit by exhibit, becoming a folder museum; and what it does not give."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from ..errors import LOGGER, MuseQuestError
from ..files import write_csv
from ..photos import open_photo, photo_suffixes
from .catalogue import Entry
from .credits import CREDIT_COLUMNS, RIGHTS
from .museum_client import MuseumClient
from .museum_faults import NotFound, Refused, Unanswered
from .museum_records import CC0, NOT_STATED, MuseumPhoto, MuseumRecord
from .split import SLOTS
from .texts import flaw_of

EXHIBIT_COLUMNS = ("item_id", "item_name", "title", "link", "record", "description", "photos")
MISSING_COLUMNS = ("item_name", "link", "record", "reason")
# Texts of museums are open as a rule, so only what says otherwise is left.
OPEN = ("CC0", "CC-BY", NOT_STATED)
# So many exhibits in a row without an answer, and the museum is taken to be out of reach.
PATIENCE = 3


@dataclass
class Gathering:
    """Exhibits on their way into `folder`/museum, and those that are missing.

    Photos that are not CC0, and texts that are not open, are left unless `any_license`.
    """

    client: MuseumClient
    folder: Path  # data/<collection>
    any_license: bool = False
    exhibits: list[dict[str, Any]] = field(default_factory=list)
    photos: list[dict[str, str]] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)
    unanswered: int = 0  # exhibits without an answer since the last with one

    def take(self, entry: Entry, record: MuseumRecord) -> None:
        """Add an exhibit and download its photos; NotFound or Unanswered says why it cannot be."""
        self._check_text(record)
        photos = self._download(entry, record, self._allowed(record))
        licenses = dict.fromkeys([record.license, *(photo["license"] for photo in photos)])
        paths = "\n".join(photo["photo"] for photo in photos)
        told = (record.title, record.link, record.record, record.description, paths)
        cells = zip(EXHIBIT_COLUMNS, (entry.item_id, entry.item_name, *told), strict=True)
        rights = {"license": " and ".join(licenses), "credit": record.credit}
        self.exhibits.append(dict(cells) | rights)
        self.photos += photos
        self.unanswered = 0

    def miss(self, entry: Entry, error: MuseQuestError) -> None:
        """List what was not found; raise MuseQuestError when the museum seems out of reach."""
        LOGGER.warning("Not collected: '%s': %s", entry.item_name, error)
        told = (entry.item_name, entry.link, entry.record, str(error))
        self.missing.append(dict(zip(MISSING_COLUMNS, told, strict=True)))
        self.unanswered = self.unanswered + 1 if isinstance(error, Unanswered) else 0
        if self.unanswered == PATIENCE:
            raise MuseQuestError(f"The museum is out of reach: {error}")

    def write(self) -> None:
        """Write museum/exhibits.csv, museum/credits.csv and missing.csv."""
        write_csv(self.folder / "missing.csv", MISSING_COLUMNS, self.missing)
        write_csv(self.folder / "museum/credits.csv", CREDIT_COLUMNS, self.photos)
        columns = (*EXHIBIT_COLUMNS, "license", "credit")
        write_csv(self.folder / "museum/exhibits.csv", columns, self.exhibits)

    def _check_text(self, record: MuseumRecord) -> None:
        texts = {"title": record.title, "text": record.narrative, "record": record.description}
        for noun, text in texts.items():
            if flaw := flaw_of(text):
                raise NotFound(f"its {noun} {flaw}.")
        if not self.any_license and not record.license.startswith(OPEN):
            raise NotFound(f"its text is not open ({record.license}).")

    def _allowed(self, record: MuseumRecord) -> list[MuseumPhoto]:
        if not record.photos:
            raise NotFound("its record has no photo.")
        allowed = [p for p in record.photos if self.any_license or p.license == CC0]
        if not allowed:
            kinds = ", ".join(sorted({photo.license for photo in record.photos}))
            raise NotFound(f"none of its {len(record.photos)} photos is CC0 (they are: {kinds}).")
        return allowed[:SLOTS]

    def _download(
        self, entry: Entry, record: MuseumRecord, photos: list[MuseumPhoto]
    ) -> list[dict[str, str]]:
        """The rows of credits.csv for what could be had; raises if that is nothing.

        A server of photos that refuses is not asked for the exhibit's other ones.
        """
        rows: list[dict[str, str]] = []
        fault: MuseQuestError = NotFound("it has no photo.")
        for photo in photos:
            path = photo_path(entry.item_name, photo.url)
            try:
                self.client.download(photo.url, self.folder / "museum" / path, open_photo)
            except MuseQuestError as error:
                name = entry.item_name
                LOGGER.warning("A photo of '%s' is left for the next run: %s", name, error)
                fault = error
                if isinstance(error, (Unanswered, Refused)):
                    break
                continue
            rights = (photo.license, record.credit, record.record, photo.url)
            row = {"item_name": entry.item_name, "photo": path}
            rows.append(row | dict(zip(RIGHTS, rights, strict=True)))
        if not rows:
            kind = Unanswered if isinstance(fault, (Unanswered, Refused)) else NotFound
            raise kind(str(fault))
        return rows


def photo_path(item_name: str, url: str) -> str:
    """Return where a photo lies in the folder museum; equal addresses lie in the same place."""
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    suffix = suffix if suffix in photo_suffixes() else ".jpg"
    return f"photos/{item_name}/{sha256(url.encode()).hexdigest()[:16]}{suffix}"
