"""What is wanted of a museum on the internet, what its record comes down to, and its plain text.

A catalogue is a CSV file that names exhibits (item_name, link, record, title). Each `Museum` finds
their records, or searches; whatever it wrote, a `MuseumRecord` is without markup.
"""

from __future__ import annotations

import html
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from bs4 import BeautifulSoup, NavigableString, PageElement, Tag
from bs4.exceptions import ParserRejectedMarkup

from ...core.errors import MuseQuestError
from ...core.home import root
from ...text.sentences import UNFIT
from ..exhibit_lists import flaw_of_name, read_whole_csv
from .client import MuseumClient

CC0 = "CC0-1.0"
NOT_STATED = "not stated"
# The 65 Smithsonian exhibits of the published experiment.
PUBLISHED = "smithsonian_65.csv"
# Elements that stand on lines of their own.
BLOCKS = ["p", "div", "br", "li", "h1", "h2", "h3", "h4", "tr", "blockquote"]
TAG = re.compile(r"<(/?)([A-Za-z]\w*)")
COMMENT = re.compile(r"<!--.*?(-->|\Z)", re.DOTALL)
VOID = {"br", "img", "hr", "meta", "link", "input", "source", "wbr", "area", "base", "col"}
MOST_TAGS, DEEPEST = 100_000, 1000
FURNITURE = ["script", "style", "noscript", "nav", "header", "footer", "aside", "form", "button"]


@dataclass(frozen=True)
class Entry:
    """One line of a catalogue: what is to be found, and by what it can be confirmed."""

    item_id: int
    item_name: str
    link: str  # the page that tells of it; may be empty
    record: str  # the address or id of its record; may be empty
    title: str

    @property
    def words(self) -> str:
        """What to search for: the title, else the name in words."""
        return self.title or re.sub(r"[-_]+", " ", self.item_name)


@dataclass(frozen=True)
class MuseumPhoto:
    """One photo that a museum offers, with the rights that are its own."""

    url: str
    license: str  # CC0 as above, or the museum's own words


@dataclass(frozen=True)
class MuseumRecord:
    """One exhibit as a museum tells it; texts are plain, whatever the museum wrote."""

    record_id: str
    title: str
    link: str  # the page for visitors
    record: str  # the permanent address of the record
    narrative: str  # what the museum tells of it, in sentences
    details: str  # maker, date, material and so on, in one paragraph
    license: str  # of the text
    credit: str
    photos: list[MuseumPhoto] = field(default_factory=list)

    @property
    def description(self) -> str:
        """Narrative and details, a blank line between them."""
        return "\n\n".join(part for part in (self.narrative, self.details) if part)


class Museum(ABC):
    """A museum with an API, which is asked at BASE_URL unless told otherwise."""

    name: str
    BASE_URL: str

    def __init__(self, client: MuseumClient, base_url: str | None = None):
        self.client = client
        self.base_url = (base_url or self.BASE_URL).rstrip("/")
        client.allow(self.base_url)

    @abstractmethod
    def find(self, entry: Entry, *, any_license: bool = False) -> MuseumRecord:
        """Return the record of a catalogue's entry; raise NotFound, Refused or Unanswered."""

    @abstractmethod
    def pages(self, query: str, *, any_license: bool = False) -> Iterator[list[MuseumRecord]]:
        """Give what matches, page by page."""

    def search(self, query: str, *, any_license: bool = False) -> Iterator[MuseumRecord]:
        """Give the records that match, in the museum's order, each once."""
        seen: set[str] = set()
        for records in self.pages(query, any_license=any_license):
            before = len(seen)
            for record in records:
                if record.record_id and record.record_id not in seen:
                    seen.add(record.record_id)
                    yield record
            if len(seen) == before:  # the end, whatever the museum says of how many there are
                return


def published_catalogue() -> Path:
    """Return where the catalogue of the published experiment lies."""
    return root() / "assets/catalogues" / PUBLISHED


def read_catalogue(path: str | Path) -> list[Entry]:
    """Return the entries in their order; every mistake in the file raises MuseQuestError.

    `item_name` is needed, and one of link, record and title; item_id is the line's number, from 1.
    """
    entries: dict[str, Entry] = {}
    for place, number, cells in read_whole_csv(Path(path), ("item_name",)):
        name = cells["item_name"]
        texts = {key: " ".join(cells.get(key, "").split()) for key in ("link", "record", "title")}
        flaw = flaw_of_name(name)
        if name in entries:
            flaw = f"'{name}' occurs twice; take one out."
        elif not any(texts.values()):
            flaw = flaw or f"'{name}' has no link, record or title; add one of them."
        if flaw:
            raise MuseQuestError(f"{path}, {place}: {flaw}")
        entries[name] = Entry(number, name, **texts)
    return list(entries.values())


def plain_text(text: object) -> str:
    """Return a text without tags, entities and characters that are none; '' for what is no text.

    Entities that were escaped twice are resolved too. Blank lines part paragraphs.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        return str(text)
    if not isinstance(text, str):
        return ""
    for _ in range(3):
        text = html.unescape(text)
    if "<" in text:
        soup = _bare(text)
        for element in soup.find_all(BLOCKS):
            if element.name != "br":
                element.insert_before("\n\n")
            element.insert_after("\n" if element.name == "br" else "\n\n")
        text = soup.get_text()
    signs = "".join(
        sign for sign in text if sign in "\n\t" or unicodedata.category(sign) not in UNFIT
    )
    lines = [" ".join(line.split()) for line in signs.split("\n")]
    return re.sub(r"\n{2,}", "\n\n", "\n".join(lines)).strip()


def details_text(pairs: list[tuple[str, str]]) -> str:
    """Labels and values as one paragraph; values of one label stand together, none twice."""
    values: dict[str, list[str]] = {}
    for label, value in pairs:
        value = " ".join(value.split()).rstrip(".;")
        if value and value not in (own := values.setdefault(label.strip().rstrip(":"), [])):
            own.append(value)
    told = ". ".join(f"{label}: {'; '.join(own)}" for label, own in values.items() if own)
    return f"From the museum's record: {told}." if told else ""


def main_text(page: str) -> str:
    """Return the paragraphs of a web page's main part, one after the other."""
    paragraphs = [plain_text(text) for text in _paragraphs(_main_part(page))]
    # Fewer words are captions, dates and buttons.
    told = [paragraph for paragraph in paragraphs if len(paragraph.split()) >= 6]
    return "\n\n".join(dict.fromkeys(told))


def main_links(page: str) -> list[str]:
    """Return the addresses that a web page's main part links to, without what follows a "?"."""
    links = _main_part(page).find_all("a", href=True)
    return [str(link["href"]).partition("#")[0].partition("?")[0] for link in links]


def heading(page: str) -> str:
    """Return the first heading of a web page's main part; '' where it has none."""
    element = _main_part(page).find("h1")
    return plain_text(element.decode_contents()) if element else ""


def main_photo(page: str) -> str | None:
    """Return the address of the photo by which a web page presents itself, if it does."""
    element = _parsed(page).select_one('meta[property="og:image"]')
    address = str(element.get("content") or "").strip() if element else ""
    return address if is_web_address(address) else None


def is_web_address(text: object) -> bool:
    """Whether a text is an address that can be asked over HTTP, and written down."""
    if not isinstance(text, str) or not re.match(r"https?://[^\s/]+", text.strip()):
        return False
    try:
        text.encode("utf-8")
        return bool(urlsplit(text.strip()).hostname and httpx.URL(text.strip()).host)
    except (ValueError, httpx.InvalidURL):  # half a sign, a bracket that does not close
        return False


def many(value: Any) -> list[Any]:
    """A list as it is, nothing as an empty one, a single thing as a list of it."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _parsed(markup: str) -> BeautifulSoup:
    """Markup as elements; none where it nests as no page does, or is no markup at all.

    Whoever follows the elements needs a time that grows with their number times their depth.
    """
    markup = COMMENT.sub("", markup).encode("utf-8", "replace").decode()
    tags = TAG.findall(markup)
    if len(tags) > MOST_TAGS or _depth(tags) > DEEPEST:
        markup = ""
    try:
        return BeautifulSoup(markup, "html.parser")
    except ParserRejectedMarkup:
        return BeautifulSoup("", "html.parser")


def _depth(tags: list[tuple[str, str]]) -> int:
    """How deep elements lie within each other, at the most, for a parser that closes none."""
    deepest = depth = 0
    for closing, name in tags:
        depth = max(0, depth - 1) if closing else depth + (name.lower() not in VOID)
        deepest = max(deepest, depth)
    return deepest


def _main_part(page: str) -> Tag:
    """A web page's main part, or the whole of it, without menus and footers."""
    soup = _bare(page)
    places = (soup.select_one(place) for place in ("main", "[role=main]", "article"))
    return next((place for place in places if place), soup)


def _bare(markup: str) -> BeautifulSoup:
    soup = _parsed(markup)
    for element in soup.find_all(FURNITURE):
        element.decompose()
    return soup


def _paragraphs(part: Tag) -> list[str]:
    """The own text of each paragraph; one that is never closed ends where the next begins."""
    texts: dict[int, list[str]] = {}
    waiting: list[tuple[PageElement, list[str] | None]] = [(part, None)]
    while waiting:
        element, own = waiting.pop()
        if isinstance(element, Tag):
            if element.name == "p":
                own = texts.setdefault(id(element), [])
            elif own is not None and element.name in BLOCKS:
                own.append("\n")
            waiting += [(child, own) for child in reversed(element.contents)]
        elif own is not None and type(element) is NavigableString:
            own.append(html.escape(element, quote=False))
    return ["".join(text) for text in texts.values()]
