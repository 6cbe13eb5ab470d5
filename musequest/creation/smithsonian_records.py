"""A record of Smithsonian Open Access, read as it comes: fields absent, repeated, split, tagged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from .museum_records import (
    CC0,
    NOT_STATED,
    MuseumPhoto,
    MuseumRecord,
    details_text,
    is_web_address,
    many,
    plain_text,
)

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


def parse_record(row: dict[str, Any]) -> MuseumRecord:
    """Return what a row of /search, or the response of /content, tells of an exhibit.

    Whatever is absent or of another kind than expected becomes an empty text or no photo.
    """
    told = _dig(row, "content", "descriptiveNonRepeating")
    freetext = _dig(row, "content", "freetext")
    title = plain_text(_dig(told, "title").get("content")) or plain_text(row.get("title"))
    source = _first(freetext, "dataSource") or plain_text(told.get("data_source"))
    parts = dict.fromkeys(part for part in (_first(freetext, "creditLine"), source) if part)
    return MuseumRecord(
        record_id=record_id(row),
        title=" ".join(title.split()),
        link=plain_text(told.get("record_link")),
        record=plain_text(told.get("guid")) or plain_text(told.get("record_link")),
        narrative=_narrative(freetext),
        details=details_text(_details(freetext, _dig(row, "content", "indexedStructured"))),
        license=license_name(_dig(told, "metadata_usage").get("access")),
        credit=", ".join(parts),
        photos=_photos(_dig(told, "online_media").get("media")),
    )


def record_id(row: dict[str, Any]) -> str:
    """Return the museum's own id (`nasm_A19610048000`), under which records stay findable.

    The `id` of a row is no such thing: it begins with `edanmdm-` in older data and is a number
    beginning with `ld1-` in newer.
    """
    own = _dig(row, "content", "descriptiveNonRepeating").get("record_ID")
    if isinstance(own, str) and own.strip():
        return own.strip()
    for key in ("url", "id"):
        found = re.match(r"edanmdm[:-](\S+)", str(row.get(key) or ""))
        if found:
            return found[1]
    return ""


def license_name(access: object) -> str:
    """Return the licence of a `usage.access`: CC0 by its full name, else the museum's words."""
    text = plain_text(access)
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


def _details(freetext: dict[str, Any], indexed: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = [pair for group in DETAILS for pair in _labelled(freetext.get(group))]
    if not freetext.get("name"):
        pairs += [("Name", text) for text in _index_names(indexed.get("name"))]
    return pairs


def _index_names(items: Any) -> Iterator[str]:
    """Names are texts in most records, objects with a `content` in some."""
    for item in many(items):
        yield plain_text(item.get("content") if isinstance(item, dict) else item)


def _photos(media: Any) -> list[MuseumPhoto]:
    """The images among the media, each once, whatever their usage."""
    photos: dict[str, MuseumPhoto] = {}
    for item in many(media):
        if not isinstance(item, dict) or not _is_image(item):
            continue
        address = _photo_address(item)
        if address:
            key = plain_text(item.get("idsId")) or address
            licence = license_name(_dig(item, "usage").get("access"))
            photos.setdefault(key, MuseumPhoto(address, licence))
    return list(photos.values())


def _is_image(item: dict[str, Any]) -> bool:
    return plain_text(item.get("type")).casefold() in ("", "image", "images")


def _photo_address(item: dict[str, Any]) -> str | None:
    """The smallest JPEG that is large enough; else the largest; else what delivers the image."""
    sized = [
        (_longest_edge(resource), resource["url"].strip())
        for resource in many(item.get("resources"))
        if isinstance(resource, dict)
        and is_web_address(resource.get("url"))
        and JPEG.search(f"{resource.get('label')} {resource['url']}")
        and _longest_edge(resource)
    ]
    enough = [pair for pair in sized if pair[0] >= ENOUGH_PX]
    if enough:
        return min(enough)[1]
    if is_web_address(item.get("content")):
        return item["content"].strip()
    if sized:
        return max(sized)[1]
    ids = plain_text(item.get("idsId"))
    return f"{DELIVERY}?id={quote(ids)}&max={ENOUGH_PX}" if ids else None


def _longest_edge(resource: dict[str, Any]) -> int:
    edges = [plain_text(resource.get(key)) for key in ("width", "height")]
    return max((int(edge) for edge in edges if re.fullmatch(r"\d{1,9}", edge)), default=0)


def _labelled(items: Any) -> Iterator[tuple[str, str]]:
    for item in many(items):
        if isinstance(item, dict):
            yield plain_text(item.get("label")) or "Note", plain_text(item.get("content"))
        else:
            yield "Note", plain_text(item)


def _first(freetext: dict[str, Any], group: str) -> str:
    return next((" ".join(text.split()) for _, text in _labelled(freetext.get(group)) if text), "")


def _dig(value: Any, *keys: str) -> dict[str, Any]:
    """The object under the keys; an empty one where something on the way is absent or no object."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}
