"""What may go wrong with a call, told apart by what it costs and what helps."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import openai

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
