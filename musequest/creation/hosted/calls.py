"""Calls: one request through the `openai` client, until there is a response or no hope.

What goes wrong is told apart by what it costs and what helps: a 429 waits, a passing fault is
repeated, a refused request fails alone, a wrong key or an unknown model ends the run.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import openai

from ...errors import MuseQuestError
from ..writers import WriterStopped
from .disk import Disk
from .estimate import most_usd
from .ledger import Ledger
from .pacing import LONGEST_PAUSE_S, Gate
from .prices import Price
from .prompts import JSON, MAX_TOKENS, Request, Unacceptable, pairs_in_json

REPEATS = 3  # of a call that failed, or whose response was not accepted
REPEATS_LIMITED = 20  # of a call that met a rate limit
MOST_REFUSED = 2  # requests, if none was ever answered; one more ends the run
GIVEN_UP = 5  # as many calls in a row without an answer end the run
FREE = (409, 500, 503)  # errors that surely cost nothing; with others a model may have answered
NOT_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol")
SCHEMA_WORDS = re.compile(r"response_format|json_schema")
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


@dataclass
class Calls:
    """The calls of one run, all on one event loop."""

    client: openai.AsyncOpenAI
    gate: Gate
    ledger: Ledger
    price: Price
    backoff_s: float = 1.0  # before the first repeat; doubles with each
    longest_s: float = 240.0  # for a whole answer, however it drips in
    schema: bool | None = None  # whether the server keeps to one; None until that is known
    answered: int = 0
    failed: int = 0  # tries since the last answer
    refused: int = 0  # requests
    given_up: int = 0  # calls since the last answer that had none after all repeats
    under_way: dict[str, asyncio.Task[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.disk = Disk(self.ledger)

    async def ask(self, request: Request) -> dict[str, Any]:
        """Return the response to a request, which is in the ledger by then.

        Exhibits with the same texts share one call. Raises NoSchema, MuseQuestError if this
        request is hopeless, WriterStopped if all are.
        """
        if response := self.ledger.find(request.key):
            return response
        if request.key not in self.under_way:
            task = asyncio.create_task(self._until_answered(request))
            task.add_done_callback(lambda _: self.under_way.pop(request.key))
            self.under_way[request.key] = task
        return await self.under_way[request.key]

    async def _until_answered(self, request: Request) -> dict[str, Any]:
        """The response after as many calls as it takes or may take."""
        faults = limits = 0
        while True:
            try:
                return await self._once(request)
            except Limited as fault:
                limits += 1
                self.gate.narrow(fault.headers, self._delay_s(limits))
                if limits > REPEATS_LIMITED:
                    raise await self._give_up(fault, request) from None
            except Fault as fault:
                faults, self.failed = faults + 1, self.failed + 1
                if faults > REPEATS or (self.failed > REPEATS and not self.answered):
                    raise await self._give_up(fault, request) from None
                await self._back_off(faults)
            except OSError as error:
                text = f"{self.ledger.path} cannot be written ({error}); make room and run again."
                await self.gate.stop_soon(WriterStopped(text))
                raise WriterStopped(text) from None

    async def _once(self, request: Request) -> dict[str, Any]:
        """One call, its beginning on the disk before it leaves and its end before it is used.

        The next call need not wait for the disk: the gate is left once the response is written.
        """
        worst = most_usd(request, self.price)
        call = await self.gate.enter(request.key, worst)
        try:
            if request.form == JSON and self.schema is False:
                raise NoSchema("the server kept to none before")
            await self.disk.reached()
            begun = time.monotonic()
            response, headers = await self._response(request, worst)
            response["seconds"] = round(time.monotonic() - begun, 3)
            self.ledger.paid(call, request.key, response)
            if request.form == JSON and self.schema is None:
                self.schema = keeps_schema(response)
            self.gate.widen(headers)
            self.answered, self.failed, self.given_up = self.answered + 1, 0, 0
        except Fault as fault:
            if fault.free:
                self.ledger.free(call, str(fault))
            raise
        except (MuseQuestError, NoSchema) as error:
            self.ledger.free(call, str(error))
            if isinstance(error, WriterStopped):
                self.gate.stop(error)
            if isinstance(error, NoSchema):
                self.schema = False
            raise
        finally:
            await self.gate.leave()
        await self.disk.reached()
        return response

    async def _response(
        self, request: Request, worst_usd: float
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        """What the server says, as the ledger keeps it, and its headers."""
        try:
            async with asyncio.timeout(self.longest_s):
                raw = await self.client.chat.completions.with_raw_response.create(**request.body)
            body = json.loads(raw.text)
            if not isinstance(body, dict) or not isinstance(body.get("choices"), list):
                raise ValueError("it has no choices")
        except TimeoutError:
            reason = f"no whole answer within {self.longest_s:.0f} s"
            raise Fault(reason, free=False) from None
        except openai.APIConnectionError as error:
            raise _lost(error) from None
        except openai.APIStatusError as error:
            raise self._refused(error, request) from None
        except (openai.OpenAIError, ValueError) as error:
            raise Fault(f"a response that cannot be read ({error})", free=False) from None
        return record_of(body, request.settings, self.price, worst_usd), raw.headers

    def _refused(self, error: openai.APIStatusError, request: Request) -> Exception:
        """What an answer of 400 or more means."""
        told = " ".join(error.message.split())[:300]
        url, code = self.client.base_url, error.status_code
        if code == 429 and error.code != "insufficient_quota":
            return Limited(told, error.response.headers)
        if code in (408, 409) or code >= 500:
            return Fault(f"an error of the server ({told})", free=code in FREE)
        if code in (401, 403):
            return WriterStopped(f"{url} refused the key ({told}); check OPENAI_API_KEY.")
        if code in (402, 429):
            return WriterStopped(f"The account at {url} has no credit left ({told}); add some.")
        if code != 404 and request.form == JSON and SCHEMA_WORDS.search(told):
            return NoSchema(told)
        if code == 404 or _no_model(error, request.model):
            return WriterStopped(
                f"{url} has no model '{request.model}' ({told}); check --model and --base-url."
            )
        self.refused += 1
        if self.refused > MOST_REFUSED and not self._ever_answered(request.model):
            return WriterStopped(
                f"{url} refused the first {self.refused} requests ({told}); check --model and "
                f"--base-url, or mend {request.source}."
            )
        return MuseQuestError(f"{url} refused the request ({told}); mend {request.source}.")

    def _ever_answered(self, model: str) -> bool:
        """Whether this run or an earlier one had any response of a model."""
        return bool(self.answered) or any(r["model"] == model for r in self.ledger.responses())

    async def _give_up(self, fault: Fault, request: Request) -> MuseQuestError:
        """Where no call ever had an answer, or many in a row had none, the run ends."""
        self.given_up += 1
        if not self.answered or self.given_up >= GIVEN_UP:
            error = WriterStopped(
                f"{self.client.base_url} gives no answer ({fault}); what is finished is kept, "
                "check the address and run again."
            )
            await self.gate.stop_soon(error)
            return error
        return MuseQuestError(f"the server gave no answer ({fault}); run {request.command} again.")

    async def _back_off(self, faults: int) -> None:
        """Wait before a repeat; as long as there never was an answer, let all calls wait."""
        if self.answered:
            await asyncio.sleep(self._delay_s(faults))
        else:
            self.gate.pause(self._delay_s(self.failed))

    def _delay_s(self, repeat: int) -> float:
        longest = min(LONGEST_PAUSE_S, self.backoff_s * 2 ** (repeat - 1))
        return longest * random.uniform(0.5, 1.0)


def record_of(
    body: Any, settings: Mapping[str, Any], price: Price, worst_usd: float
) -> dict[str, Any]:
    """Return what the ledger keeps of a response to `Request.settings`, whatever its body is.

    A server that does not say how many tokens it counted is taken to have counted the most.
    """
    body = _dict(body)
    choices = body.get("choices")
    choice = _dict(choices[0]) if isinstance(choices, list) and choices else {}
    message, usage = _dict(choice.get("message")), _dict(body.get("usage"))
    counts: list[Any] = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
    reported = all(isinstance(count, int) and count >= 0 for count in counts)
    prompt, completion = counts if reported else (0, 0)
    created: Any = body.get("created")
    return {
        "id": str(body.get("id") or ""),
        **settings,
        "served_model": str(body.get("model") or ""),
        "created": int(created) if _is_moment(created) else None,
        "content": message.get("content"),
        "refusal": message.get("refusal"),
        "finish_reason": choice.get("finish_reason") if message else "no choices",
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "usage_reported": reported,
        "cost_usd": price.cost_usd(prompt, completion) if reported else worst_usd,
    }


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _no_model(error: openai.APIStatusError, model: str) -> bool:
    """Whether a server says that it does not have the model."""
    fields = [str(each) for each in (error.code, error.type, error.param)]
    if any(NO_MODEL_CODE.fullmatch(each) for each in fields):
        return True
    return re.search(NO_MODEL.format(model=re.escape(model)), error.message, re.I) is not None


def _is_moment(value: Any) -> bool:
    """Whether it can be seconds since 1970."""
    return isinstance(value, int | float) and 0 <= value < 2**32


def _lost(error: openai.APIConnectionError) -> Fault:
    cause = type(error.__cause__).__name__
    reason = "no answer in time" if isinstance(error, openai.APITimeoutError) else error.message
    return Fault(f"{reason.rstrip('.')}, {cause}", free=cause in NOT_SENT)


def keeps_schema(response: dict[str, Any]) -> bool | None:
    """Whether a response is JSON of the form that was asked; None where it says nothing whole."""
    try:
        content = text_of(response)
    except Unacceptable:
        return None
    try:
        pairs_in_json(content)
    except Unacceptable:
        return False
    return True


def text_of(response: dict[str, Any]) -> str:
    """Return what the model wrote; raises Unacceptable where it did not finish or refused."""
    if response["refusal"]:
        raise Unacceptable("the model refused")
    ends = {
        "length": f"the reply did not end within {MAX_TOKENS} tokens; write shorter answers",
        "content_filter": "the reply was held back by a content filter",
        "no choices": "the reply was empty",
    }
    if flaw := ends.get(str(response["finish_reason"])):
        raise Unacceptable(flaw)
    if not isinstance(response["content"], str) or not response["content"].strip():
        raise Unacceptable("the reply was empty")
    if any("\ud800" <= sign <= "\udfff" for sign in response["content"]):
        raise Unacceptable("the reply holds half a character")
    return response["content"]
