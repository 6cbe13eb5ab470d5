"""Smithsonian Open Access: exhibits found by id, by record link or by title, and confirmed.

The API is described at https://edan.si.edu/openaccess/apidocs/.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from ..credentials import unsafe_way
from ..errors import LOGGER, MuseQuestError
from .exhibit_lists import Entry
from .museum_client import MuseumClient
from .museum_http import NotFound, Refused
from .museum_records import (
    NOT_STATED,
    MuseumPhoto,
    MuseumRecord,
    heading,
    main_links,
    main_photo,
    main_text,
    many,
)
from .smithsonian_records import parse_record, record_id
from .texts import ENOUGH_WORDS

BASE_URL = "https://api.si.edu/openaccess/api/v1.0"
UNCONFIRMED = "no record of the museum is confirmed as this exhibit"
ROWS = 100  # a page of results
# The id of a record within the address of its page: `.../object/a-name:nasm_A19610048000`.
RECORD_ID = re.compile(r"(?:^|edanmdm[:-]|[/:])([A-Za-z]+_[A-Za-z0-9][\w.-]*)/?$")
MOST_LINKED = 5  # records linked from one page that are looked at
ARK = re.compile(r"ark:/\d+/[\w-]+")


class Smithsonian:
    """The museum as `collect_museum` asks it; the key comes from SMITHSONIAN_API_KEY."""

    name = "smithsonian"

    def __init__(self, client: MuseumClient, base_url: str | None = None):
        self.client = client
        self.base_url = (base_url or BASE_URL).rstrip("/")
        self._key = {"api_key": _key(self.base_url)}
        client.allow(self.base_url)
        self._pages_closed = False  # whether pages turned out to be out of reach

    @staticmethod
    def address() -> str:
        """Where it is asked unless told otherwise."""
        return BASE_URL

    def find(self, entry: Entry, *, any_license: bool = False) -> MuseumRecord:
        """Return the record of a catalogue's entry.

        Where the record has less to tell than 80 words, the text of the entry's page is taken if
        that is longer. An entry that no record is confirmed for is read from its page, but with
        `any_license` alone, since no page says of its photo that it is CC0. Raises NotFound,
        Refused or Unanswered.
        """
        row = self._by_id(entry) or self._by_own_names(entry)
        row = row or self._by_page(entry) or self._by_words(entry.words, entry)
        if row is None:
            if not any_license:
                raise NotFound(f"{UNCONFIRMED}, and no page says that its photo is CC0.")
            return self._from_page(entry)
        record = parse_record(row)
        record = replace(record, link=entry.link or record.link)
        if len(record.narrative.split()) < ENOUGH_WORDS and entry.link:
            record = self._with_text_of_page(record, entry.link)
        return record

    def search(self, query: str, *, any_license: bool = False) -> Iterator[MuseumRecord]:
        """Give the records with images that match, in the museum's order, each once."""
        filters = "online_media_type:Images" + ("" if any_license else " AND media_usage:CC0")
        seen: set[str] = set()
        start, count = 0, 1
        while start < count:
            rows, count = self._rows(f"({query}) AND {filters}", start, ROWS)
            new = [row for row in rows if record_id(row) and record_id(row) not in seen]
            if not new:  # the end, whatever the museum says of how many there are
                return
            for row in new:
                if (own := record_id(row)) not in seen:
                    seen.add(own)
                    yield parse_record(row)
            start += len(rows)

    def _by_id(self, entry: Entry) -> dict[str, Any] | None:
        wanted = ids_within(entry)
        row = self._content(wanted[0]) if wanted else None
        return row if row and confirmed(row, entry) else None

    def _by_own_names(self, entry: Entry) -> dict[str, Any] | None:
        """Asked for the record's own names: its id, and the last part of its address."""
        last = entry.record.rstrip("/").rpartition("/")[2]
        names = [*ids_within(entry), *([last] if re.fullmatch(r"[\w.-]{6,}", last) else [])]
        for name in dict.fromkeys(names):
            if row := self._by_words(f'"{name}"', entry):
                return row
        return None

    def _by_page(self, entry: Entry) -> dict[str, Any] | None:
        """The record that the entry's page links to; else one that bears the page's heading.

        The only record on a page is its own where the entry names no other; of several, and of
        those found by the heading, one has to be confirmed.
        """
        page = self._page(entry.link) if entry.link else None
        if page is None:
            return None
        linked = [row for own in ids_on(page)[:MOST_LINKED] if (row := self._content(own))]
        for row in linked:
            if confirmed(row, entry) or (len(linked) == 1 and not entry.record):
                return row
        title = heading(page)
        return self._by_words(_words(title), entry) if title else None

    def _by_words(self, query: str, entry: Entry) -> dict[str, Any] | None:
        """The first row of a search that is confirmed."""
        try:
            rows, _ = self._rows(query if query.startswith('"') else _words(query), 0, ROWS)
        except NotFound:
            return None
        return next((row for row in rows if confirmed(row, entry)), None)

    def _content(self, own: str) -> dict[str, Any] | None:
        """The record of an id, if there is one."""
        try:
            answer = self._get(f"content/{quote(f'edanmdm:{own}', safe=':')}", {})
        except NotFound:
            return None
        row = answer.get("response")
        return row if isinstance(row, dict) else None

    def _page(self, link: str) -> str | None:
        """A page of the museum; None where it cannot be had, then none is asked for any more."""
        if self._pages_closed:
            return None
        try:
            return self.client.get_text(link)
        except NotFound:
            return None
        except MuseQuestError as error:
            LOGGER.warning("Records are taken as they are, since pages cannot be read: %s", error)
            self._pages_closed = True
            return None

    def _rows(self, query: str, start: int, rows: int) -> tuple[list[dict[str, Any]], int]:
        asked = {"q": query, "start": str(start), "rows": str(rows)}
        answer = self._get("search", asked).get("response")
        answer = answer if isinstance(answer, dict) else {}
        found = [row for row in many(answer.get("rows")) if isinstance(row, dict)]
        count = answer.get("rowCount")
        return found, count if isinstance(count, int) else len(found)

    def _get(self, path: str, params: dict[str, str]) -> dict[str, Any]:
        url = f"{self.base_url}/{path}"
        answer = self.client.get_json(url, params, self._key)
        # Some errors come with status 200 and say so inside only.
        if answer.get("responseCode") == 0:
            raise NotFound(f"{url} is not to be had (responseCode 0).")
        return answer

    def _with_text_of_page(self, record: MuseumRecord, link: str) -> MuseumRecord:
        text = main_text(self._page(link) or "")
        if len(text.split()) <= len(record.narrative.split()):
            return record
        return replace(record, narrative=text, license=NOT_STATED)

    def _from_page(self, entry: Entry) -> MuseumRecord:
        if not entry.link:
            raise NotFound(f"{UNCONFIRMED}, and it has no page.")
        try:
            page = self.client.get_text(entry.link)
        except (NotFound, Refused) as error:
            raise NotFound(f"{UNCONFIRMED}, and its page cannot be read: {error}") from None
        photo = main_photo(page)
        return MuseumRecord(
            record_id="",
            title=entry.words,
            link=entry.link,
            record=entry.record,
            narrative=main_text(page),
            details="",
            license=NOT_STATED,
            credit="Smithsonian Institution",
            photos=[MuseumPhoto(photo, NOT_STATED)] if photo else [],
        )


def _key(base_url: str) -> str:
    key = os.environ.get("SMITHSONIAN_API_KEY", "").strip()
    if key and (reason := unsafe_way("SMITHSONIAN_API_KEY", base_url)):
        raise MuseQuestError(reason)
    return key or "DEMO_KEY"


def ids_within(entry: Entry) -> list[str]:
    """Return the ids of records that an entry's addresses carry, the record's own first."""
    found = [RECORD_ID.search(address) for address in (entry.record, entry.link)]
    return list(dict.fromkeys(match[1] for match in found if match))


def ids_on(page: str) -> list[str]:
    """Return the ids of records that a page's main part links to, each once."""
    found = (RECORD_ID.search(address) for address in main_links(page))
    return list(dict.fromkeys(match[1] for match in found if match))


def confirmed(row: dict[str, Any], entry: Entry) -> bool:
    """Whether a row is the entry's exhibit: by id, by permanent link or by page; never by words."""
    if record_id(row).casefold() in {wanted.casefold() for wanted in ids_within(entry)}:
        return True
    told = parse_record(row)
    own = {_address(address) for address in (told.record, told.link) if address}
    asked = {_address(address) for address in (entry.record, entry.link) if address}
    return bool(own & asked)


def _address(text: str) -> str:
    """An address by what identifies it: its ark, else host and path without scheme and slash."""
    if ark := ARK.search(text):
        return ark[0].casefold()
    return re.sub(r"^https?://(www\.)?", "", text.strip().casefold()).rstrip("/")


def _words(text: str) -> str:
    """Words of a title without the signs that mean something in a query."""
    return " ".join(re.findall(r"\w+", text))
