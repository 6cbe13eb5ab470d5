"""The server: its address and key, and what its refusals mean."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

import openai
from tqdm import tqdm

from ...core.errors import MuseQuestError, hidden_text, unsafe_way
from ...core.files import parse_json
from ..dialogs import WriterStopped
from .requests import JSON, Estimate, Price, Request, price_of

OPENAI_URL = "https://api.openai.com/v1"

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

# Newer models want max_completion_tokens, and some take no temperature but their own. A server says
# so with a status of 400 or 422, which costs nothing; the ledger keeps it.
INSTEAD = {"max_tokens": "max_completion_tokens", "temperature": None}
TOLD = {
    "max_tokens": "max_completion_tokens bounds its answers, their reasoning included",
    "temperature": "none is sent, and none is recorded beside what it writes",
}
UNTAKEN = re.compile(
    r"un-?supported|n[o']t (be )?(support|allow|permit|accept|recogni[sz]e|availabl)|"
    r"un(known|recogni[sz]ed|expected) |extra_forbidden|deprecated|only the default|"
    r"max_completion_tokens",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ServerConfig:
    """Where a run asks, and within which bounds."""

    key: str
    base_url: str
    price: Price
    max_cost_usd: float = 1.0
    concurrency: int = 16  # calls at once
    timeout_s: float = 120.0  # without a sign of the answer; twice as long for the whole of it
    backoff_s: float = 1.0  # before the first repeat; doubles with each

    @classmethod
    def of(
        cls, model: str, base_url: str | None, who: str, instead: str, **limits: Any
    ) -> ServerConfig:
        """The server of a model: its price, address and key as `address_of` and `key_of` say."""
        price, address = price_of(model), address_of(base_url)
        return cls(key_of(address, who, instead), address, price, **limits)

    def __post_init__(self) -> None:
        if not self.max_cost_usd >= 0:
            raise MuseQuestError(
                f"A limit of {self.max_cost_usd} USD is none; give --max-cost-usd 0 or more."
            )

    def announce(self, planned: Estimate, spent_usd: float) -> None:
        """Say what is planned, what was spent before, and whether the limit will be enough."""
        text = f"{spent_usd:.4f} USD are spent before; the limit is {self.max_cost_usd} USD."
        if spent_usd + planned.usd > self.max_cost_usd:
            text += " That will not be enough; the run will stop there and keep what it has."
        say(f"{planned}\n{text}")


def say(sentence: str) -> None:
    """Write a sentence to the screen, above the progress bar."""
    tqdm.write(hidden_text(sentence), file=sys.stderr)


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
    elif base_url == OPENAI_URL:
        raise MuseQuestError(
            f"{who} needs a key; set OPENAI_API_KEY, name a server of your own with --base-url, or "
            f"{instead}."
        )
    return key or "none"


class NoSchema(Exception):
    """The server does not take a JSON schema."""


class Untaken(Exception):
    """The model does not take a parameter: `name`, and the server's words."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


class Fault(Exception):
    """A call failed in a way that may pass; `free` says that it surely costs nothing."""

    def __init__(self, reason: str, *, free: bool, headers: Mapping[str, str] | None = None):
        super().__init__(reason)
        self.free, self.headers = free, headers or {}


class Limited(Fault):
    """The server asks to come back later; its `headers` may say when."""


def lost(error: openai.APIConnectionError) -> Fault:
    """What a broken connection means; it costs nothing if the call never left."""
    cause = type(error.__cause__).__name__
    reason = "no answer in time" if isinstance(error, openai.APITimeoutError) else error.message
    return Fault(f"{reason.rstrip('.')}, {cause}", free=cause in NOT_SENT)


def answer_in(text: str) -> dict[str, Any]:
    """An answer of status 200, which has choices or tells of an error; Fault where it does not."""
    flaw = f"it has no choices: {text[:200]}"
    try:
        body = parse_json(text, Any)
        if isinstance(body, dict) and (told_error(body) or isinstance(body.get("choices"), list)):
            return body
    except ValueError:
        flaw = f"it is no JSON: {' '.join(text.split())[:200]!r}"
    raise Fault(f"a response that cannot be read ({flaw})", free=False)


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
    message = str(told.get("message") or told)
    error = openai.APIStatusError(message, response=answer.http_response, body=told)
    error.status_code = (
        int(code) if re.fullmatch("[45][0-9][0-9]", code := str(error.code)) else 502
    )
    return error


def words_in(error: openai.APIStatusError) -> str:
    """The server's own words, on one line."""
    return " ".join(error.message.split())[:300]


def refusal_of(
    error: openai.APIStatusError, request: Request, url: str, without: Container[str]
) -> Exception | None:
    """What an answer of 300 or more means; None where it may be about this request alone.

    `without` are parameters that were not sent.
    """
    told, code = words_in(error), error.status_code
    if code == 429 and error.code != "insufficient_quota":
        return Limited(told, free=True, headers=error.response.headers)
    if code in (408, 409) or code >= 500:
        return Fault(f"an error of the server ({told})", free=code in FREE)
    if stopped := keeps_out(url, error):
        return stopped
    if code in (402, 429):
        return WriterStopped(f"The account at {url} has no credit left ({told}); add some.")
    if code != 404 and request.form == JSON and SCHEMA_WORDS.search(told):
        return NoSchema(told)
    if name := untaken_in(code, error.param, f"{told} {error.code}", without):
        return Untaken(name, told)
    said = (error.code, error.type, error.param)
    no_model = re.compile(NO_MODEL.format(model=re.escape(request.model)), re.I)
    unknown = any(NO_MODEL_CODE.fullmatch(str(each)) for each in said)
    if code == 404 or unknown or no_model.search(error.message):
        return WriterStopped(
            f"{url} has no model '{request.model}' ({told}); check --model and --base-url."
        )
    return None


def keeps_out(url: str, error: openai.APIStatusError) -> WriterStopped | None:
    """What a redirect, 401 or 403 means: nobody here is served; None of any other answer.

    A redirect is never followed: the ledger would not know that call.
    """
    if error.status_code < 400:
        there = error.response.headers.get("location", "nowhere")
        return WriterStopped(
            f"{url} redirects to {there[:200]!r} (status {error.status_code}), which is not "
            "followed; if that is the right address, give it up to /v1 with --base-url."
        )
    if error.status_code == 403 and PAGE.match(str(error.response.text)):
        return WriterStopped(
            f"{url} was not reached: a page came instead of its answer (status 403), as firewalls "
            "and proxies send it; check the address, and what this network lets through."
        )
    if error.status_code in (401, 403):
        told = words_in(error).rstrip(".")
        return WriterStopped(f"{url} refused the key ({told}); check OPENAI_API_KEY.")
    return None


def sentence_of(url: str, model: str, name: str, reason: str) -> str:
    """Say that a parameter is not taken, and what becomes of it."""
    return (
        f"The model '{model}' at {url} does not take {name} ({reason.rstrip('.')}); {TOLD[name]}."
    )


def untaken_in(status: int, param: object, words: str, without: Container[str] = ()) -> str | None:
    """Return the parameter that a refusal is about, or None; `without` were not sent.

    `param` is what the refusal itself names, if it does; `words` are its message and its code.
    """
    if status in (400, 422) and UNTAKEN.search(words):
        for name in INSTEAD:
            named = param == name if param else re.search(rf"\b{name}\b", words)
            if named and name not in without:
                return name
    return None


def as_sent(request: Request, without: Container[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a request's body without what is not taken, and its settings as they were sent.

    Where there is another parameter, it takes the place; a temperature that is not sent is None.
    """
    body = {
        sent: value
        for name, value in request.body.items()
        if (sent := INSTEAD[name] if name in INSTEAD and name in without else name)
    }
    return body, request.settings | ({"temperature": None} if "temperature" in without else {})
