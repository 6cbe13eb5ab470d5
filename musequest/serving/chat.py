"""OpenAI's chat format, as far as it is read here: the last question, and the last photo.

    question, url = asked(chat["messages"])
    photo = opened(url)

A docent learned from single questions about one photo, so that no more of a conversation is of use.
"""

from __future__ import annotations

import base64
import re
from typing import Any, Literal, NotRequired

from PIL import Image
from typing_extensions import TypedDict

from ..core.errors import MuseQuestError
from ..core.photos import prepared_photo
from ..systems.answering import LABEL, LONGEST_QUESTION
from ..text.sentences import flaw_of
from .web import Refused

DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")


class Text(TypedDict):
    """A part of a message in words."""

    type: Literal["text"]
    text: str


class Url(TypedDict):
    """Where a photo is: here in the text itself, as a data URL."""

    url: str


class Picture(TypedDict):
    """A part of a message that is a photo."""

    type: Literal["image_url"]
    image_url: Url


class Message(TypedDict):
    """A turn of a conversation."""

    role: str
    content: NotRequired[str | list[Text | Picture] | None]


class Chat(TypedDict):
    """What of the body of a chat completion is read."""

    messages: list[Message]
    model: NotRequired[str]
    stream: NotRequired[bool | None]


def asked(messages: list[Message]) -> tuple[str, str]:
    """The last question and the last photo's URL; Refused says what a visitor is to mend."""
    contents = [each.get("content") for each in messages if each["role"] == "user"]
    parts: list[list[Any]] = [
        [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        for content in contents
    ]
    urls = [each["image_url"]["url"] for said in parts for each in said if "image_url" in each]
    if not urls:
        raise Refused("There is no photo yet; take one, or choose one.")
    said = [each["text"] for each in parts[-1] if "text" in each]
    text = " ".join(" ".join(said).split())
    if not text:
        raise Refused("There is no question yet; write one.")
    if len(text) > LONGEST_QUESTION:
        raise Refused("That is very long; ask in {} characters at most.", 400, LONGEST_QUESTION)
    if flaw_of(LABEL.sub("", text)):
        raise Refused("There are signs in it that only machines write; ask in plain words.")
    return text, urls[-1]


def opened(url: str) -> Image.Image:
    """The photo of a data URL; nothing is fetched from elsewhere."""
    if not (start := DATA_URL.match(url)):
        raise Refused(
            "A photo comes along in the request, as a data URL (data:image/jpeg;base64,)."
        )
    try:
        return prepared_photo(base64.b64decode(url[start.end() :], validate=True))
    except (MuseQuestError, ValueError):
        raise Refused("I cannot read this photo; take another one, as JPEG or PNG.") from None
