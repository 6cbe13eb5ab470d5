"""Calls: one request through the `openai` client, until there is a response or no hope.

What goes wrong is told apart by what it costs and what helps: a 429 waits, a passing fault is
repeated, a refused request fails alone, a wrong key or an unknown model ends the run.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import openai

from ...errors import LOGGER, MuseQuestError
from ..dialogs import WriterStopped
from .faults import (
    FREE,
    SCHEMA_WORDS,
    Fault,
    Limited,
    NoSchema,
    Untaken,
    Verdicts,
    as_refusal,
    body_without,
    elsewhere,
    lacks_model,
    lost,
    parsed,
    sentence_of,
    settings_without,
    shut_out,
    told_error,
    untaken_in,
)
from .ledger import Disk, Ledger
from .pacing import LONGEST_PAUSE_S, RateLimiter
from .prices import Price, most_usd
from .prompts import JSON, Request
from .replies import keeps_schema, record_of, words_of

REPEATS = 3  # of a call that failed, or whose response was not accepted
REPEATS_LIMITED = 20  # of a call that met a rate limit
MOST_REFUSED = 2  # requests, if none was ever answered; one more ends the run
GIVEN_UP = 5  # as many calls in a row without an answer end the run


@dataclass
class Calls:
    """The calls of one run, all on one event loop."""

    client: openai.AsyncOpenAI
    limiter: RateLimiter
    ledger: Ledger
    price: Price
    backoff_s: float = 1.0  # before the first repeat; doubles with each
    longest_s: float = 240.0  # for a whole answer, however it drips in
    schema: bool | None = None  # whether the server keeps to one; None until that is known
    answered: int = 0
    failed: int = 0  # tries since the last answer
    refused: int = 0  # requests that failed alone
    given_up: int = 0  # calls since the last answer that had none after all repeats
    under_way: dict[str, asyncio.Task[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.disk = Disk(self.ledger)
        self.verdicts = Verdicts(str(self.client.base_url))
        self._told: set[str] = set()  # parameters that are not sent, as far as that was told

    async def judge(self, key: str, response: dict[str, Any], flaw: str, again: bool) -> None:
        """Take in a verdict on a new response; see `Session.judge`."""
        if not flaw:
            self.verdicts.used()
            await self.limiter.open()
        elif stopped := self.verdicts.refuse(key, flaw, words_of(response), again):
            await self.limiter.stop_soon(stopped)
            raise stopped

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
                self.limiter.narrow(fault.headers, self._delay_s(limits))
                if limits > REPEATS_LIMITED:
                    raise await self._give_up(fault, request) from None
            except Fault as fault:
                faults += 1
                if faults > REPEATS or self._hopeless:
                    raise await self._give_up(fault, request) from None
                await self._back_off(faults)
            except Untaken:
                continue  # without it, which the ledger knows by now
            except OSError as error:
                text = f"{self.ledger.path} cannot be written ({error}); make room and run again."
                await self.limiter.stop_soon(WriterStopped(text))
                raise WriterStopped(text) from None

    async def _once(self, request: Request) -> dict[str, Any]:
        """One call, its beginning on the disk before it leaves and its end before it is used.

        The next call need not wait for the disk: the limiter is left once the response is written.
        """
        worst = most_usd(request, self.price)
        call = await self.limiter.enter(request.key, worst)
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
            self.limiter.widen(headers)
            self.answered, self.failed, self.given_up = self.answered + 1, 0, 0
        except Fault as fault:
            self._book(call, request, fault, free=fault.free)
            self.failed += not isinstance(fault, Limited)
            if self._hopeless:  # said before another call may begin in the place of this one
                self.limiter.stop(self._no_answer(fault))
            raise
        except (MuseQuestError, NoSchema, Untaken) as error:
            self._book(call, request, error, free=True)
            if isinstance(error, WriterStopped):
                self.limiter.stop(error)
            if isinstance(error, NoSchema):
                self.schema = False
            if isinstance(error, Untaken):
                url = str(self.client.base_url)
                self.ledger.not_taken(url, request.model, error.name, str(error))
            raise
        finally:
            await self.limiter.leave()
        await self.disk.reached()
        return response

    def _book(self, call: str, request: Request, error: Exception, *, free: bool) -> None:
        """Write down what a call that failed has cost, where that is known."""
        if cost_usd := getattr(error, "cost_usd", 0.0):
            self.ledger.failed(call, request.form, str(error), cost_usd)
        elif free:
            self.ledger.free(call, str(error))

    def _without(self, request: Request) -> dict[str, str]:
        """The parameters that are not sent, each told once a run, with the server's reasons."""
        url, model = str(self.client.base_url), request.model
        without = self.ledger.untaken(url, model)
        for name in without.keys() - self._told:
            self._told.add(name)
            LOGGER.warning("%s", sentence_of(url, model, name, without[name]))
        return dict(without)

    async def _response(
        self, request: Request, worst_usd: float
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        """What the server says, as the ledger keeps it, and its headers."""
        without = self._without(request)
        settings = settings_without(request.settings, without)
        try:
            async with asyncio.timeout(self.longest_s):
                raw = await self.client.chat.completions.with_raw_response.create(
                    **body_without(request.body, without)
                )
            body = parsed(raw.text)
            told = told_error(body) if isinstance(body, dict) else None
            if not (told or isinstance(body, dict) and isinstance(body.get("choices"), list)):
                raise ValueError(f"it has no choices: {raw.text[:200]}")
        except TimeoutError:
            reason = f"no whole answer within {self.longest_s:.0f} s"
            raise Fault(reason, free=False) from None
        except openai.APIConnectionError as error:
            raise lost(error) from None
        except openai.APIStatusError as error:
            raise self._refused(error, request, without) from None
        except (openai.OpenAIError, ValueError, RecursionError) as error:
            raise Fault(f"a response that cannot be read ({error})", free=False) from None
        record = record_of(body, settings, self.price, worst_usd)
        if told:
            refusal = self._refused(as_refusal(told, raw), request, without)
            if record["usage_reported"]:
                refusal.cost_usd = record["cost_usd"]  # type: ignore[attr-defined]
            raise refusal
        return record, raw.headers

    def _refused(
        self, error: openai.APIStatusError, request: Request, without: Mapping[str, str]
    ) -> Exception:
        """What an answer of 300 or more means."""
        told = " ".join(error.message.split())[:300]
        url, code = self.client.base_url, error.status_code
        if code < 400:
            return WriterStopped(elsewhere(str(url), error))
        if code == 429 and error.code != "insufficient_quota":
            return Limited(told, error.response.headers)
        if code in (408, 409) or code >= 500:
            return Fault(f"an error of the server ({told})", free=code in FREE)
        if code in (401, 403):
            return WriterStopped(shut_out(url, error))
        if code in (402, 429):
            return WriterStopped(f"The account at {url} has no credit left ({told}); add some.")
        if code != 404 and request.form == JSON and SCHEMA_WORDS.search(told):
            return NoSchema(told)
        if name := untaken_in(code, error.param, f"{told} {error.code}", without):
            return Untaken(name, told)
        if code == 404 or lacks_model(error, request.model):
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
            await self.limiter.stop_soon(error := self._no_answer(fault))
            return error
        return MuseQuestError(f"the server gave no answer ({fault}); run {request.command} again.")

    @property
    def _hopeless(self) -> bool:
        """Whether the first calls of the run all failed."""
        return not self.answered and self.failed > REPEATS

    def _no_answer(self, fault: Fault) -> WriterStopped:
        return WriterStopped(
            f"{self.client.base_url} gives no answer ({fault}); what is finished is kept, "
            "check the address and run again."
        )

    async def _back_off(self, faults: int) -> None:
        """Wait before a repeat; as long as there never was an answer, let all calls wait."""
        if self.answered:
            await asyncio.sleep(self._delay_s(faults))
        else:
            self.limiter.pause(self._delay_s(self.failed))

    def _delay_s(self, repeat: int) -> float:
        longest = min(LONGEST_PAUSE_S, self.backoff_s * 2 ** (repeat - 1))
        return longest * random.uniform(0.5, 1.0)
