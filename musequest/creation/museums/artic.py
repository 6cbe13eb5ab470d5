"""The Art Institute of Chicago, whose API needs no key; described at https://api.artic.edu/docs/.

Its descriptions are CC BY 4.0, everything else of its records CC0; a photo is CC0 where the artwork
is in the public domain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ...core.files import dig
from . import records
from .http import NotFound
from .records import CC0, Entry, Museum, MuseumPhoto, MuseumRecord, plain_text

IIIF_URL = "https://www.artic.edu/iiif/2"
PAGE = "https://www.artic.edu/artworks"
ROWS = 100  # a page of results, the API's largest
LAST_ROW = 1000  # the API gives no further ones
NAME = "Art Institute of Chicago"
DETAILS = {
    "artist_display": "Artist",
    "date_display": "Date",
    "place_of_origin": "Place",
    "medium_display": "Medium",
    "dimensions": "Dimensions",
}
FIELDS = ",".join(
    ["id", "title", *DETAILS, "credit_line", "description", "image_id", "alt_image_ids"]
    + ["is_public_domain", "api_link"]
)
ARTWORK = re.compile(r"(?:/artworks/|^)(\d+)(?:/|$)")


class ArtInstitute(Museum):
    """The museum as `collect_museum` asks it."""

    name = "artic"
    BASE_URL = "https://api.artic.edu/api/v1"

    def find(self, entry: Entry, *, any_license: bool = False) -> MuseumRecord:
        """By its number, else by its very title; NotFound where several artworks bear that."""
        found = [ARTWORK.search(address) for address in (entry.record, entry.link)]
        if number := next((match[1] for match in found if match), None):
            answer = self._get(f"/{number}", {})
            if not isinstance(answer.get("data"), dict):
                raise NotFound(f"The answer about artwork {number} holds no artwork.")
            return self._parsed(answer["data"], answer)
        rows, _ = self._rows({"q": entry.words}, 1)
        same = [row for row in rows if row.title.casefold() == entry.title.casefold()]
        if len(same) != 1:
            raise NotFound(
                f"{len(same)} artworks bear the title {entry.title!r}; add the artwork's number as "
                "its record."
            )
        return same[0]

    def pages(self, query: str, *, any_license: bool = False) -> Iterator[list[MuseumRecord]]:
        """Give what matches, page by page, as far as the API goes."""
        asked = {"q": query}
        if not any_license:
            asked["query[term][is_public_domain]"] = "true"
        page, pages = 1, 1
        while page <= min(pages, LAST_ROW // ROWS):
            rows, pages = self._rows(asked, page)
            yield rows
            page += 1

    def _rows(self, asked: dict[str, str], page: int) -> tuple[list[MuseumRecord], int]:
        answer = self._get("/search", asked | {"limit": str(ROWS), "page": str(page)})
        rows = [row for row in records.many(answer.get("data")) if isinstance(row, dict)]
        pages = dig(answer, "pagination").get("total_pages")
        return [self._parsed(row, answer) for row in rows], pages if isinstance(pages, int) else 1

    def _get(self, path: str, asked: dict[str, str]) -> dict[str, Any]:
        return self.client.get_json(f"{self.base_url}/artworks{path}", asked | {"fields": FIELDS})

    def _parsed(self, row: dict[str, Any], answer: dict[str, Any]) -> MuseumRecord:
        number = plain_text(row.get("id"))
        narrative = plain_text(row.get("description"))
        details = [(label, plain_text(row.get(key))) for key, label in DETAILS.items()]
        iiif = dig(answer, "config").get("iiif_url")
        credit = plain_text(row.get("credit_line"))
        return MuseumRecord(
            record_id=number,
            title=" ".join(plain_text(row.get("title")).split()),
            link=f"{PAGE}/{number}",
            record=plain_text(row.get("api_link")) or f"{self.BASE_URL}/artworks/{number}",
            narrative=narrative,
            details=records.details_text(details),
            license="CC-BY-4.0" if narrative else CC0,
            credit=", ".join(part for part in (credit, NAME) if part),
            photos=_photos(row, str(iiif) if records.is_web_address(iiif) else IIIF_URL),
        )


def _photos(row: dict[str, Any], iiif: str) -> list[MuseumPhoto]:
    """The artwork's photo and its other views; an artwork without a photo has none."""
    others = row.get("alt_image_ids")
    ids = [row.get("image_id"), *(others if isinstance(others, list) else [])]
    own = dict.fromkeys(quote(each, errors="replace") for each in ids if isinstance(each, str))
    licence = CC0 if row.get("is_public_domain") is True else "not in the public domain"
    # 843 px wide is the size the museum keeps ready for everyone.
    end = "full/843,/0/default.jpg"
    return [MuseumPhoto(f"{iiif.rstrip('/')}/{each}/{end}", licence) for each in own if each]
