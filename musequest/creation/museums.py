"""Collect exhibits from a museum on the internet.

What a museum gives becomes a folder museum, data/<collection>/museum/, which is then read like any
other. What it does not give is listed in data/<collection>/missing.csv, never guessed.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import pandas as pd
from tqdm import tqdm

from ..errors import MuseQuestError
from ..home import collection_dir
from ..languages import ENGLISH
from ..locks import holds_collection
from .artic import ArtInstitute
from .catalogue import Entry, published_catalogue, read_catalogue
from .exhibits import collect_folder
from .gathering import MISSING_COLUMNS, Gathering
from .museum_client import MuseumClient
from .museum_faults import Refused
from .museum_records import MuseumRecord
from .smithsonian import Smithsonian

MUSEUMS = {museum.name: museum for museum in (Smithsonian, ArtInstitute)}
# Matches of a query looked at for each exhibit that is wanted.
LOOKS = 20


class Museum(Protocol):
    """What a museum's module offers."""

    def find(self, entry: Entry, *, any_license: bool = False) -> MuseumRecord:
        """Return the record of a catalogue's entry, or raise NotFound."""

    def search(self, query: str, *, any_license: bool = False) -> Iterator[MuseumRecord]:
        """Give the records that match."""


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
        catalogue = _default_catalogue(name)
    entries = [] if catalogue is None else read_catalogue(catalogue)
    total = len(entries) if query is None else limit
    with (
        MuseumClient(target / "asked", requests_per_minute=requests_per_minute) as client,
        tqdm(total=total, desc="Asking", unit="exhibit", disable=not progress) as bar,
    ):
        museum = MUSEUMS[name](client, base_url)
        gathering = Gathering(client, target, any_license)
        if query is None:
            _gather_entries(museum, entries, gathering, bar)
        else:
            _gather_matches(museum, query, limit, gathering, bar)
    gathering.write()
    _fail_on_nothing(gathering)
    return collect_folder(target / "museum", collection, language=language, progress=progress)


def missing_exhibits(collection: str) -> pd.DataFrame:
    """Return what the last `collect_museum` did not find, with reasons; no row if nothing."""
    path = collection_dir(collection) / "missing.csv"
    if not path.is_file():
        return pd.DataFrame(columns=list(MISSING_COLUMNS))
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _default_catalogue(name: str) -> Path:
    if name != Smithsonian.name:
        raise MuseQuestError(
            f"'{name}' has no catalogue of its own; name one with --catalogue, or ask with --query."
        )
    return published_catalogue()


def _gather_entries(
    museum: Museum, entries: Iterable[Entry], gathering: Gathering, bar: tqdm
) -> None:
    for entry in entries:
        try:
            record = museum.find(entry, any_license=gathering.any_license)
            gathering.take(entry, record)
            gathering.client.keep()
        except Refused:
            raise
        except MuseQuestError as error:
            # What led nowhere today may lead somewhere tomorrow.
            gathering.client.forget()
            gathering.miss(entry, error)
        bar.update()


def _gather_matches(
    museum: Museum, query: str, limit: int, gathering: Gathering, bar: tqdm
) -> None:
    """The first matches that can be used; those that cannot are no loss, only listed."""
    names: set[str] = set()
    matches = museum.search(query, any_license=gathering.any_license)
    for number, record in enumerate(itertools.islice(matches, LOOKS * limit), start=1):
        entry = Entry(number, _item_name(record, names), record.link, record.record, record.title)
        try:
            gathering.take(entry, record)
            bar.update()
        except MuseQuestError as error:
            gathering.miss(entry, error)
        gathering.client.keep()
        if len(gathering.exhibits) == limit:
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


def _fail_on_nothing(gathering: Gathering) -> None:
    if not gathering.exhibits:
        first = gathering.missing[0]["reason"] if gathering.missing else "nothing matches."
        raise MuseQuestError(
            f"No exhibit could be collected; {gathering.folder / 'missing.csv'} says why. The "
            f"first: {first}"
        )
