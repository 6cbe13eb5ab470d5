"""Where the server is that answers, and the key that it takes."""

from __future__ import annotations

import os
import re

from ...credentials import unsafe_way
from ...errors import MuseQuestError

OPENAI_URL = "https://api.openai.com/v1"


def address_of(base_url: str | None) -> str:
    """The server's address: as given, else from the environment, else OpenAI's."""
    address = base_url or os.environ.get("OPENAI_BASE_URL", "").strip() or OPENAI_URL
    if not address.startswith(("https://", "http://")):
        raise MuseQuestError(
            f"The address {address!r} is none; write it as http://127.0.0.1:8000/v1."
        )
    return address


def key_of(base_url: str, who: str, instead: str) -> str:
    """The key from the environment; a server of one's own needs none.

    Without one for OpenAI, MuseQuestError says that `who` needs it, or what to do `instead`; one
    that would leave this machine unencrypted raises it too.
    """
    if key := os.environ.get("OPENAI_API_KEY", "").strip():
        if not re.fullmatch(r"[!-~]+", key):
            raise MuseQuestError("OPENAI_API_KEY holds signs that no key has; copy it again.")
        if reason := unsafe_way("OPENAI_API_KEY", base_url):
            raise MuseQuestError(reason)
        return key
    if base_url != OPENAI_URL:
        return "none"
    raise MuseQuestError(
        f"{who} needs a key; set OPENAI_API_KEY, name a server of your own with --base-url, or "
        f"{instead}."
    )
