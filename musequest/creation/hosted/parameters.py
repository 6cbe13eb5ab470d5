"""Parameters that some models do not take, and what is sent in their place.

Newer models want `max_completion_tokens` for `max_tokens`, and some take no temperature but their
own. A server says so with a status of 400, which costs nothing; the ledger keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any

INSTEAD = {"max_tokens": "max_completion_tokens", "temperature": None}
TOLD = {
    "max_tokens": "max_completion_tokens bounds its answers, their reasoning included",
    "temperature": "none is sent, and none is recorded beside what it writes",
}
STATUSES = (400, 422)
UNTAKEN = re.compile(
    r"un-?supported|n[o']t (be )?(support|allow|permit|accept|recogni[sz]e|availabl)|"
    r"un(known|recogni[sz]ed|expected) |extra_forbidden|deprecated|only the default|"
    r"max_completion_tokens",
    re.IGNORECASE,
)


def sentence_of(url: str, model: str, name: str, reason: str) -> str:
    """Say that a parameter is not taken, and what becomes of it."""
    return (
        f"The model '{model}' at {url} does not take {name} ({reason.rstrip('.')}); {TOLD[name]}."
    )


def untaken_in(status: int, param: object, words: str, without: Container[str] = ()) -> str | None:
    """Return the parameter that a refusal is about, or None; `without` were not sent.

    `param` is what the refusal itself names, if it does; `words` are its message and its code.
    """
    if status in STATUSES and UNTAKEN.search(words):
        for name in INSTEAD:
            named = param == name if param else re.search(rf"\b{name}\b", words)
            if named and name not in without:
                return name
    return None


def body_without(body: dict[str, Any], without: Container[str]) -> dict[str, Any]:
    """Return a request's body with other parameters in the place of those that are not taken."""
    names = {name: INSTEAD[name] if name in without else name for name in INSTEAD}
    sent = {names.get(name, name): value for name, value in body.items()}
    sent.pop(None, None)
    return sent


def settings_without(settings: dict[str, Any], without: Container[str]) -> dict[str, Any]:
    """Return a request's settings as they were sent: a temperature that was not is None."""
    return settings | ({"temperature": None} if "temperature" in without else {})
