"""Museums on the internet: the exhibits of one collected into a folder museum.

`smithsonian` and `artic` know the two museums, `records` what any of them is asked for and tells,
`client` how one is asked, and `http` what may be asked and what comes back. What a museum gives
becomes a folder museum, data/<collection>/museum/, which is then read like any other. What it does
not give is listed in data/<collection>/missing.csv, never guessed. Until then a `Collector` holds
both.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
from tqdm import tqdm

from ...core.errors import LOGGER, MuseQuestError
from ...core.files import holds_collection, write_csv
from ...core.home import collection_dir
from ...core.keys import ENGLISH
from ...core.photos import collected_photo, photo_suffixes
from ...text.sentences import flaw_of
from ..exhibits import CREDIT_COLUMNS, RIGHTS, collect_folder
from ..split import SLOTS
from . import records
from .artic import ArtInstitute
from .client import MuseumClient
from .http import NotFound, Refused, Unanswered
from .records import CC0, NOT_STATED, Entry, Museum, MuseumPhoto, MuseumRecord
from .smithsonian import Smithsonian

MUSEUMS: dict[str, type[Museum]] = {museum.name: museum for museum in (Smithsonian, ArtInstitute)}
# Matches of a query looked at for each exhibit that is wanted.
LOOKS = 20
EXHIBIT_COLUMNS = ("item_id", "item_name", "title", "link", "record", "description", "photos")
MISSING_COLUMNS = ("item_name", "link", "record", "reason")
# Texts of museums are open as a rule, so only what says otherwise is left.
OPEN = ("CC0", "CC-BY", NOT_STATED)
# So many exhibits in a row without an answer, and the museum is taken to be out of reach.
PATIENCE = 3


@holds_collection
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
    language: str = ENGLISH,
    progress: bool = True,
) -> pd.DataFrame:
    """Collect exhibits of the museum `name` (a key of MUSEUMS) into data/<collection>/.

    They are those of a catalogue (for the Smithsonian, without one, the 65 of the published
    experiment), or the first `limit` that match `query`. Only photos that are CC0 themselves are
    taken, unless `any_license`. Dialogs will be in `language`. What was answered before is not
    asked again. Returns the exhibits as `collect_folder` does; what is missing stands in
    missing.csv. A refused key, a used-up quota or a museum out of reach raises MuseQuestError; what
    was answered until then is kept.
    """
    target = collection_dir(collection)
    if query is None and catalogue is None:
        if name != Smithsonian.name:
            raise MuseQuestError(
                f"'{name}' has no catalogue of its own; name one with --catalogue, or ask with "
                "--query."
            )
        catalogue = records.published_catalogue()
    entries = [] if catalogue is None else records.read_catalogue(catalogue)
    total = len(entries) if query is None else limit
    with (
        MuseumClient(target / "asked", requests_per_minute=requests_per_minute) as client,
        tqdm(total=total, desc="Asking", unit="exhibit", disable=not progress) as bar,
    ):
        museum = MUSEUMS[name](client, base_url)
        collector = Collector(client, target, any_license)
        if query is None:
            _collect_entries(museum, entries, collector, bar)
        else:
            _collect_matches(museum, query, limit, collector, bar)
    collector.write()
    return collect_folder(target / "museum", collection, language=language, progress=progress)


def missing_exhibits(collection: str) -> pd.DataFrame:
    """Return what the last `collect_museum` did not find, with reasons; no row if nothing."""
    path = collection_dir(collection) / "missing.csv"
    if not path.is_file():
        return pd.DataFrame(columns=list(MISSING_COLUMNS))
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _collect_entries(
    museum: Museum, entries: Iterable[Entry], collector: Collector, bar: tqdm
) -> None:
    for entry in entries:
        try:
            record = museum.find(entry, any_license=collector.any_license)
            collector.take(entry, record)
            collector.client.keep()
        except Refused:
            raise
        except MuseQuestError as error:
            # What led nowhere today may lead somewhere tomorrow.
            collector.client.forget()
            collector.miss(entry, error)
        bar.update()


def _collect_matches(
    museum: Museum, query: str, limit: int, collector: Collector, bar: tqdm
) -> None:
    """The first matches that can be used; those that cannot are no loss, only listed."""
    names: set[str] = set()
    matches = museum.search(query, any_license=collector.any_license)
    for number, record in enumerate(itertools.islice(matches, LOOKS * limit), start=1):
        entry = Entry(number, _item_name(record, names), record.link, record.record, record.title)
        try:
            collector.take(entry, record)
            bar.update()
        except MuseQuestError as error:
            collector.miss(entry, error)
        collector.client.keep()
        if len(collector.exhibits) == limit:
            return


def _item_name(record: MuseumRecord, taken: set[str]) -> str:
    """A name for files from the title, with the record's id where titles are equal."""
    letters = unicodedata.normalize("NFKD", record.title).encode("ascii", "ignore").decode()
    name = _plain(letters)[:60].rstrip("-") or "exhibit"
    if name in taken:
        name = f"{name}-{_plain(record.record_id)[:19]}".rstrip("-")
    taken.add(name)
    return name


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


@dataclass
class Collector:
    """Exhibits on their way into `folder`/museum, and those that are missing.

    Photos that are not CC0, and texts that are not open, are left unless `any_license`.
    """

    client: MuseumClient
    folder: Path  # data/<collection>
    any_license: bool
    exhibits: list[dict[str, Any]] = field(default_factory=list)
    photos: list[dict[str, str]] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)
    unanswered: int = 0  # exhibits without an answer since the last with one

    def take(self, entry: Entry, record: MuseumRecord) -> None:
        """Add an exhibit and download its photos; NotFound or Unanswered says why it cannot be."""
        texts = {"title": record.title, "text": record.narrative, "record": record.description}
        for noun, text in texts.items():
            if flaw := flaw_of(text):
                raise NotFound(f"its {noun} {flaw}.")
        if not self.any_license and not record.license.startswith(OPEN):
            raise NotFound(f"its text is not open ({record.license}).")
        if not record.photos:
            raise NotFound("its record has no photo.")
        allowed = [each for each in record.photos if self.any_license or each.license == CC0]
        if not allowed:
            kinds = ", ".join(sorted({photo.license for photo in record.photos}))
            raise NotFound(f"none of its {len(record.photos)} photos is CC0 (they are: {kinds}).")
        photos = self._download(entry, record, allowed[:SLOTS])
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
        """Write museum/exhibits.csv, museum/credits.csv and missing.csv; raise without exhibits."""
        write_csv(self.folder / "missing.csv", MISSING_COLUMNS, self.missing)
        write_csv(self.folder / "museum/credits.csv", CREDIT_COLUMNS, self.photos)
        columns = (*EXHIBIT_COLUMNS, "license", "credit")
        write_csv(self.folder / "museum/exhibits.csv", columns, self.exhibits)
        if not self.exhibits:
            first = self.missing[0]["reason"] if self.missing else "nothing matches."
            raise MuseQuestError(
                f"No exhibit could be collected; {self.folder / 'missing.csv'} says why. The "
                f"first: {first}"
            )

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
                self.client.download(photo.url, self.folder / "museum" / path, collected_photo)
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
