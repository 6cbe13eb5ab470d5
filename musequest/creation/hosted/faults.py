"""What may go wrong with a call, told apart by what it costs and what helps."""

from __future__ import annotations

import re
from collections.abc import Mapping

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
