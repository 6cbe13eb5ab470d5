"""What may go wrong with a call, told apart by what it costs and what helps.

A parameter that a model does not take is left out or put otherwise: newer models want
`max_completion_tokens` for `max_tokens`, and some take no temperature but their own. A server says
so with a status of 400, which costs nothing; the ledger keeps it. Replies that come and cannot be
used are counted too, and too many in a row end the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

import openai

from ..dialogs import WriterStopped

FREE = (409, 500, 503)  # errors that surely cost nothing; with others a model may have answered
NOT_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol")
SCHEMA_WORDS = re.compile(r"response_format|json_schema")
PAGE = re.compile(r"\s*<(!doctype|html|head|body|\?xml)\b", re.I)
# How servers call a model that they do not have: in a field of the error, or in its sentence.
NO_MODEL_CODE = re.compile(r"model|model_not_found|(invalid|unknown|unsupported)_model", re.I)
NO_MODEL = (
    r"(invalid|unknown|unsupported|no such) model|not a valid model|"
    r"model\W+{model}\W+(\w+\W+)?(not|unknown|invalid|unavailable)\b"
)

FEW = 5  # replies, none of which could be used, end a run that has used none before
MANY = 20  # end any other: five exhibits whose replies could not be used, nor their repeats
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


class NoSchema(Exception):
    """The server does not take a JSON schema."""


class Untaken(Exception):
    """The model does not take a parameter."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


class Fault(Exception):
    """A call failed in a way that may pass."""

    def __init__(self, reason: str, *, free: bool) -> None:
        super().__init__(reason)
        self.free = free  # whether it surely costs nothing


class Limited(Fault):
    """The server asks to come back later."""

    def __init__(self, reason: str, headers: Mapping[str, str]) -> None:
        super().__init__(reason, free=True)
        self.headers = headers


def lost(error: openai.APIConnectionError) -> Fault:
    """What a broken connection means; it costs nothing if the call never left."""
    cause = type(error.__cause__).__name__
    reason = "no answer in time" if isinstance(error, openai.APITimeoutError) else error.message
    return Fault(f"{reason.rstrip('.')}, {cause}", free=cause in NOT_SENT)


def parsed(text: str) -> Any:
    """An answer's JSON; ValueError repeats the first words of one that is none, such as a page."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"it is no JSON: {' '.join(text.split())[:200]!r}") from None


def told_error(body: dict[str, Any]) -> dict[str, Any] | None:
    """Return the error that an answer of status 200 tells of, or None."""
    choices = body.get("choices")
    for place in [body, *(choices if isinstance(choices, list) else [])][:2]:
        if isinstance(place, dict) and (told := place.get("error")):
            return told if isinstance(told, dict) else {"message": str(told)}
    return None


def as_refusal(told: dict[str, Any], answer: Any) -> openai.APIStatusError:
    """Return an error told with status 200 as if it had come with its own status.

    That is its code, where it has one from 400 to 599; else 502, since a model may have answered.
    """
    error = openai.APIStatusError(
        str(told.get("message") or told), response=answer.http_response, body=told
    )
    code = str(error.code)
    error.status_code = int(code) if re.fullmatch("[45][0-9][0-9]", code) else 502
    return error


def elsewhere(url: str, error: openai.APIStatusError) -> str:
    """What a redirect is called, which is never followed: the ledger would not know that call."""
    there = error.response.headers.get("location", "nowhere")
    return (
        f"{url} redirects to {there[:200]!r} (status {error.status_code}), which is not followed; "
        "if that is the right address, give it up to /v1 with --base-url."
    )


def shut_out(url: object, error: openai.APIStatusError) -> str:
    """What 401 or 403 means: the key is refused, or something before the server keeps us out."""
    told = " ".join(error.message.split())[:300].rstrip(".")
    if error.status_code == 403 and PAGE.match(str(error.response.text)):
        return (
            f"{url} was not reached: a page came instead of its answer (status 403), as firewalls "
            "and proxies send it; check the address, and what this network lets through."
        )
    return f"{url} refused the key ({told}); check OPENAI_API_KEY."


def lacks_model(error: openai.APIStatusError, model: str) -> bool:
    """Whether a refusal says that the server does not have the model."""
    fields = [str(each) for each in (error.code, error.type, error.param)]
    if any(NO_MODEL_CODE.fullmatch(each) for each in fields):
        return True
    return re.search(NO_MODEL.format(model=re.escape(model)), error.message, re.I) is not None


@dataclass
class Verdicts:
    """Of the replies of one model, as they come; those of earlier runs do not count."""

    url: str
    proven: bool = False  # whether a reply of this model was ever used
    useless: set[str] = field(default_factory=set)  # requests since the last reply that was used

    def used(self) -> None:
        """A reply could be used."""
        self.proven = True
        self.useless.clear()

    def refuse(self, key: str, reason: str, words: str, again: bool) -> WriterStopped | None:
        """The reply to a request could not be used; returns what ends the run, once it must.

        Where others could be, one more (`again`) of an exhibit that failed before is no sign.
        """
        if again and self.proven:
            return None
        self.useless.add(key)
        count = len(self.useless)
        if count < (MANY if self.proven else FEW):
            return None
        return WriterStopped(
            f"{self.url} gave {count} replies in a row that could not be used, the last because "
            f"{reason}: {words!r}; what was paid is recorded, check --model and --base-url."
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
