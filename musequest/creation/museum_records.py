"""What every museum's record comes down to, and the plain text within its markup."""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
from bs4 import BeautifulSoup, NavigableString, PageElement, Tag
from bs4.exceptions import ParserRejectedMarkup

from .texts import UNFIT

CC0 = "CC0-1.0"
NOT_STATED = "not stated"
# Elements that stand on lines of their own.
BLOCKS = ["p", "div", "br", "li", "h1", "h2", "h3", "h4", "tr", "blockquote"]
TAG = re.compile(r"<(/?)([A-Za-z]\w*)")
COMMENT = re.compile(r"<!--.*?(-->|\Z)", re.DOTALL)
VOID = {"br", "img", "hr", "meta", "link", "input", "source", "wbr", "area", "base", "col"}
MOST_TAGS, DEEPEST = 100_000, 1000
FURNITURE = ["script", "style", "noscript", "nav", "header", "footer", "aside", "form", "button"]


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
        text = _without_tags(_parsed(text))
    signs = "".join(
        sign for sign in text if sign in "\n\t" or unicodedata.category(sign) not in UNFIT
    )
    lines = [" ".join(line.split()) for line in signs.split("\n")]
    return re.sub(r"\n{2,}", "\n\n", "\n".join(lines)).strip()


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


def _parsed(markup: str) -> BeautifulSoup:
    """Markup as elements; none where it nests as no page does, or is no markup at all.

    Whoever follows the elements needs a time that grows with their number times their depth.
    """
    markup = COMMENT.sub("", markup).encode("utf-8", "replace").decode()
    tags = TAG.findall(markup)
    if len(tags) > MOST_TAGS or _depth(tags) > DEEPEST:
        return BeautifulSoup("", "html.parser")
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


def _main_part(page: str) -> Tag:
    """A web page's main part, or the whole of it, without menus and footers."""
    soup = _parsed(page)
    for element in soup.find_all(FURNITURE):
        element.decompose()
    places = (soup.select_one(place) for place in ("main", "[role=main]", "article"))
    return next((place for place in places if place), soup)


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


def details_text(pairs: list[tuple[str, str]]) -> str:
    """Labels and values as one paragraph; values of one label stand together, none twice."""
    values: dict[str, list[str]] = {}
    for label, value in pairs:
        value = " ".join(value.split()).rstrip(".;")
        if value and value not in values.setdefault(label.strip().rstrip(":"), []):
            values[label.strip().rstrip(":")].append(value)
    told = ". ".join(f"{label}: {'; '.join(own)}" for label, own in values.items() if own)
    return f"From the museum's record: {told}." if told else ""


def _without_tags(soup: BeautifulSoup) -> str:
    for element in soup.find_all(FURNITURE):
        element.decompose()
    for element in soup.find_all(BLOCKS):
        if element.name == "br":
            element.insert_after("\n")
        else:
            element.insert_before("\n\n")
            element.insert_after("\n\n")
    return soup.get_text()
