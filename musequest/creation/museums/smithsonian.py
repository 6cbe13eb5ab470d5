"""Smithsonian Open Access: exhibits found by id, by record link or by title, and confirmed.

The API is described at https://edan.si.edu/openaccess/apidocs/. Its records are read as they come:
fields absent, repeated, split, tagged.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from ...core.errors import LOGGER, MuseQuestError, unsafe_way
from ...core.files import dig
from ...text.sentences import ENOUGH_WORDS
from . import records
from .client import MuseumClient
from .http import NotFound, Refused
from .records import CC0, NOT_STATED, Entry, Museum, MuseumPhoto, MuseumRecord, plain_text

UNCONFIRMED = "no record of the museum is confirmed as this exhibit"
ROWS = 100  # a page of results
# The id of a record within the address of its page: `.../object/a-name:nasm_A19610048000`.
RECORD_ID = re.compile(r"(?:^|edanmdm[:-]|[/:])([A-Za-z]+_[A-Za-z0-9][\w.-]*)/?$")
MOST_LINKED = 5  # records linked from one page that are looked at
ARK = re.compile(r"ark:/\d+/[\w-]+")
# Notes that tell nothing of the exhibit itself.
UNTOLD = re.compile(
    r"right|usage|credit|cite|provenance|data source|see more|web ?site|link|bibliograph|"
    r"reference|identifier|number|published|record|history \(exhibition\)",
    re.IGNORECASE,
)
# Groups of freetext that become details, in this order.
DETAILS = ("name", "date", "place", "physicalDescription")
JPEG = re.compile(r"jpe?g|screen", re.IGNORECASE)
# Longest edge that is of use, px; see LONGEST_EDGE in photos.py.
ENOUGH_PX = 1536
DELIVERY = "https://ids.si.edu/ids/deliveryService"


class Smithsonian(Museum):
    """The museum as `collect_museum` asks it; the key comes from SMITHSONIAN_API_KEY."""

    name = "smithsonian"
    BASE_URL = "https://api.si.edu/openaccess/api/v1.0"

    def __init__(self, client: MuseumClient, base_url: str | None = None):
        key = os.environ.get("SMITHSONIAN_API_KEY", "").strip()
        if key and (reason := unsafe_way("SMITHSONIAN_API_KEY", base_url or self.BASE_URL)):
            raise MuseQuestError(reason)
        super().__init__(client, base_url)
        self._key = {"api_key": key or "DEMO_KEY"}
        self._pages_closed = False  # whether pages turned out to be out of reach

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
        words = len(record.narrative.split())
        if words < ENOUGH_WORDS and entry.link:
            text = records.main_text(self._page(entry.link) or "")
            if len(text.split()) > words:
                return replace(record, narrative=text, license=NOT_STATED)
        return record

    def pages(self, query: str, *, any_license: bool = False) -> Iterator[list[MuseumRecord]]:
        """Give what matches and has images, page by page."""
        filters = "online_media_type:Images" + ("" if any_license else " AND media_usage:CC0")
        start, count = 0, 1
        while start < count:
            rows, count = self._rows(f"({query}) AND {filters}", start)
            yield [parse_record(row) for row in rows]
            start += len(rows)

    def _by_id(self, entry: Entry) -> dict[str, Any] | None:
        wanted = ids_within(entry)
        row = self._content(wanted[0]) if wanted else None
        return row if row and _confirmed(row, entry) else None

    def _by_own_names(self, entry: Entry) -> dict[str, Any] | None:
        """Asked for the record's own names: its id, and the last part of its address."""
        last = entry.record.rstrip("/").rpartition("/")[2]
        names = [*ids_within(entry), *([last] if re.fullmatch(r"[\w.-]{6,}", last) else [])]
        for name in dict.fromkeys(names):
            if row := self._matching(f'"{name}"', entry):
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
        ids = _ids_of(records.main_links(page))[:MOST_LINKED]
        linked = [row for own in ids if (row := self._content(own))]
        for row in linked:
            if _confirmed(row, entry) or (len(linked) == 1 and not entry.record):
                return row
        title = records.heading(page)
        return self._by_words(title, entry) if title else None

    def _by_words(self, title: str, entry: Entry) -> dict[str, Any] | None:
        """Asked for the words of a title, without the signs that mean something in a query."""
        return self._matching(" ".join(re.findall(r"\w+", title)), entry)

    def _matching(self, query: str, entry: Entry) -> dict[str, Any] | None:
        """The first row of a search that is confirmed."""
        try:
            rows, _ = self._rows(query, 0)
        except NotFound:
            return None
        return next((row for row in rows if _confirmed(row, entry)), None)

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

    def _rows(self, query: str, start: int) -> tuple[list[dict[str, Any]], int]:
        asked = {"q": query, "start": str(start), "rows": str(ROWS)}
        answer = dig(self._get("search", asked), "response")
        found = [row for row in records.many(answer.get("rows")) if isinstance(row, dict)]
        count = answer.get("rowCount")
        return found, count if isinstance(count, int) else len(found)

    def _get(self, path: str, params: dict[str, str]) -> dict[str, Any]:
        url = f"{self.base_url}/{path}"
        answer = self.client.get_json(url, params, self._key)
        # Some errors come with status 200 and say so inside only.
        if answer.get("responseCode") == 0:
            raise NotFound(f"{url} is not to be had (responseCode 0).")
        return answer

    def _from_page(self, entry: Entry) -> MuseumRecord:
        if not entry.link:
            raise NotFound(f"{UNCONFIRMED}, and it has no page.")
        try:
            page = self.client.get_text(entry.link)
        except (NotFound, Refused) as error:
            raise NotFound(f"{UNCONFIRMED}, and its page cannot be read: {error}") from None
        photo = records.main_photo(page)
        return MuseumRecord(
            record_id="",
            title=entry.words,
            link=entry.link,
            record=entry.record,
            narrative=records.main_text(page),
            details="",
            license=NOT_STATED,
            credit="Smithsonian Institution",
            photos=[MuseumPhoto(photo, NOT_STATED)] if photo else [],
        )


def ids_within(entry: Entry) -> list[str]:
    """Return the ids of records that an entry's addresses carry, the record's own first."""
    return _ids_of([entry.record, entry.link])


def _ids_of(addresses: list[str]) -> list[str]:
    found = (RECORD_ID.search(address) for address in addresses)
    return list(dict.fromkeys(match[1] for match in found if match))


def _confirmed(row: dict[str, Any], entry: Entry) -> bool:
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


def parse_record(row: dict[str, Any]) -> MuseumRecord:
    """Return what a row of /search, or the response of /content, tells of an exhibit.

    Whatever is absent or of another kind than expected becomes an empty text or no photo.
    """
    told = dig(row, "content", "descriptiveNonRepeating")
    freetext = dig(row, "content", "freetext")
    title = plain_text(dig(told, "title").get("content")) or plain_text(row.get("title"))
    source = _first(freetext, "dataSource") or plain_text(told.get("data_source"))
    parts = dict.fromkeys(part for part in (_first(freetext, "creditLine"), source) if part)
    details = [pair for group in DETAILS for pair in _labelled(freetext.get(group))]
    if not freetext.get("name"):
        # Names are texts in most records, objects with a `content` in some.
        indexed = records.many(dig(row, "content", "indexedStructured").get("name"))
        details += [("Name", text) for _, text in _labelled(indexed)]
    return MuseumRecord(
        record_id=record_id(row),
        title=" ".join(title.split()),
        link=plain_text(told.get("record_link")),
        record=plain_text(told.get("guid")) or plain_text(told.get("record_link")),
        narrative=_narrative(freetext),
        details=records.details_text(details),
        license=_license(dig(told, "metadata_usage")),
        credit=", ".join(parts),
        photos=_photos(dig(told, "online_media").get("media")),
    )


def record_id(row: dict[str, Any]) -> str:
    """Return the museum's own id (`nasm_A19610048000`), under which records stay findable.

    The `id` of a row is no such thing: it begins with `edanmdm-` in older data and is a number
    beginning with `ld1-` in newer.
    """
    own = dig(row, "content", "descriptiveNonRepeating").get("record_ID")
    if isinstance(own, str) and own.strip():
        return own.strip()
    named = (re.match(r"edanmdm[:-](\S+)", str(row.get(key) or "")) for key in ("url", "id"))
    return next((found[1] for found in named if found), "")


def _license(usage: dict[str, Any]) -> str:
    """The licence that an `access` gives: CC0 by its full name, else the museum's words."""
    text = plain_text(usage.get("access"))
    return CC0 if text.casefold() == "cc0" else text or NOT_STATED


def _narrative(freetext: dict[str, Any]) -> str:
    """The notes, one paragraph a label: pieces of a label are parts of one text."""
    paragraphs: dict[str, list[str]] = {}
    seen = set()
    for label, text in _labelled(freetext.get("notes")):
        if text and not UNTOLD.search(label) and text not in seen:
            seen.add(text)
            paragraphs.setdefault(label.casefold(), []).append(text)
    return "\n\n".join(" ".join(pieces) for pieces in paragraphs.values())


def _photos(media: Any) -> list[MuseumPhoto]:
    """The images among the media, each once, whatever their usage."""
    photos: dict[str, MuseumPhoto] = {}
    for item in records.many(media):
        kind = plain_text(item.get("type")).casefold() if isinstance(item, dict) else "none"
        if kind in ("", "image", "images") and (address := _photo_address(item)):
            key = plain_text(item.get("idsId")) or address
            photos.setdefault(key, MuseumPhoto(address, _license(dig(item, "usage"))))
    return list(photos.values())


def _photo_address(item: dict[str, Any]) -> str | None:
    """The smallest JPEG that is large enough; else the largest; else what delivers the image."""
    sized = [
        (_longest_edge(resource), resource["url"].strip())
        for resource in records.many(item.get("resources"))
        if isinstance(resource, dict)
        and records.is_web_address(resource.get("url"))
        and JPEG.search(f"{resource.get('label')} {resource['url']}")
        and _longest_edge(resource)
    ]
    if enough := [pair for pair in sized if pair[0] >= ENOUGH_PX]:
        return min(enough)[1]
    if records.is_web_address(item.get("content")):
        return item["content"].strip()
    if sized:
        return max(sized)[1]
    ids = plain_text(item.get("idsId"))
    return f"{DELIVERY}?id={quote(ids)}&max={ENOUGH_PX}" if ids else None


def _longest_edge(resource: dict[str, Any]) -> int:
    edges = [plain_text(resource.get(key)) for key in ("width", "height")]
    return max((int(edge) for edge in edges if re.fullmatch(r"\d{1,9}", edge)), default=0)


def _labelled(items: Any) -> Iterator[tuple[str, str]]:
    for item in records.many(items):
        if isinstance(item, dict):
            yield plain_text(item.get("label")) or "Note", plain_text(item.get("content"))
        else:
            yield "Note", plain_text(item)


def _first(freetext: dict[str, Any], group: str) -> str:
    return next((" ".join(text.split()) for _, text in _labelled(freetext.get(group)) if text), "")
