"""A run's calls: each is repeated until there is a response or no hope, and paid at most once.

What goes wrong is told apart by what it costs and what helps: a 429 waits, a passing fault is
repeated, a refused request fails alone, a wrong key or an unknown model ends the run.
"""

from __future__ import annotations

import asyncio
import functools
import random
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

import openai

from ...core.errors import LOGGER, MuseQuestError
from ..dialogs import WriterStopped
from . import server
from .ledger import Ledger
from .limiter import LONGEST_PAUSE_S, RateLimiter
from .replies import keeps_schema, record_of, words_of
from .requests import JSON, Estimate, Request

WHOLE = 2  # times the time-out that a whole answer may take, however it drips in
REPEATS = 3  # of a call that failed, or whose response was not accepted
REPEATS_LIMITED = 20  # of a call that met a rate limit
MOST_REFUSED = 2  # requests, if none was ever answered; one more ends the run
GIVEN_UP = 5  # as many calls in a row without an answer end the run
FEW = 5  # replies, none of which could be used, end a run that has used none before
MANY = 20  # end any other: five exhibits whose replies could not be used, nor their repeats

Json = dict[str, Any]
Given = ParamSpec("Given")
Result = TypeVar("Result")


def on_loop(
    method: Callable[Concatenate[Session, Given], Coroutine[Any, Any, Result]],
) -> Callable[Concatenate[Session, Given], Result]:
    """Have a method run on the session's loop, while whoever calls it, in any thread, waits."""

    @functools.wraps(method)
    def wait(session: Session, *args: Given.args, **options: Given.kwargs) -> Result:
        work = method(session, *args, **options)
        return asyncio.run_coroutine_threadsafe(work, session._loop).result()

    return wait


class Session:
    """One run's connection, on an event loop of its own thread, for a notebook has one already."""

    def __init__(self, config: server.ServerConfig, ledger: Ledger, planned: Estimate) -> None:
        self.server, self.ledger, self.planned = config, ledger, planned
        self.proven = False  # whether a reply of this model could ever be used
        self._useless: set[str] = set()  # requests since the last reply that could
        self._schema: bool | None = None  # whether the server keeps to one, once that is known
        self._answered = 0
        self._failed = 0  # tries since the last answer
        self._refused = 0  # requests that failed alone
        self._given_up = 0  # calls since the last answer that had none after all repeats
        self._told: set[str] = set()  # parameters that are not sent, as far as that was told
        self._under_way: dict[str, asyncio.Task[Json]] = {}
        self._flushing = asyncio.Lock()
        self._next_flush: asyncio.Task[None] | None = None
        self._begun, self._paid_before = time.monotonic(), ledger.paid_usd
        self._limiter = RateLimiter(ledger, config.concurrency, config.max_cost_usd)
        self._client = openai.AsyncOpenAI(
            api_key=config.key,
            base_url=config.base_url,
            max_retries=0,
            timeout=config.timeout_s,
            # A redirect that is followed is a call that the ledger does not know.
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
        )
        self._url = str(self._client.base_url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @on_loop
    async def ask(self, request: Request) -> Json:
        """Wait for the response to a request, which is in the ledger by then.

        Exhibits with the same texts share one call. Raises NoSchema, MuseQuestError if this
        request is hopeless, WriterStopped if all are.
        """
        if response := self.ledger.find(request.key):
            return response
        if request.key not in self._under_way:
            task = asyncio.create_task(self._until_answered(request))
            task.add_done_callback(lambda _: self._under_way.pop(request.key))
            self._under_way[request.key] = task
        return await self._under_way[request.key]

    @on_loop
    async def judge(self, key: str, response: Json, flaw: str, *, again: bool = False) -> None:
        """Say of a new response whether it could be used: `flaw` is empty, or why it could not.

        `again` is one of a request with useless responses in an earlier run, and no sign where
        others could be used. Raises WriterStopped where too many in a row could not.
        """
        if not flaw:
            self.proven = True
            self._useless.clear()
            self._limiter.open()
        elif not (again and self.proven):
            self._useless.add(key)
            count = len(self._useless)
            if count >= (MANY if self.proven else FEW):
                raise self._limiter.stop(
                    f"{self._url} gave {count} replies in a row that could not be used, the last "
                    f"because {flaw}: {words_of(response)!r}; what was paid is recorded, check "
                    "--model and --base-url."
                )

    @on_loop
    async def stop(self) -> None:
        """Let no further call begin."""
        self._limiter.stop("The run was stopped.")

    def state(self) -> str:
        """Return what the progress bar shows."""
        answered, paid_usd = self._answered, self.ledger.paid_usd
        left = max(0, self.planned.calls - answered)
        each = self.planned.usd / max(1, self.planned.calls)
        if answered:
            each = (paid_usd - self._paid_before) / answered
        rate = answered / (time.monotonic() - self._begun) * 60
        return f"{paid_usd:.4f} of about {paid_usd + left * each:.4f} USD, {rate:.0f} calls/min"

    def close(self) -> None:
        """Close the connection and end the thread."""
        asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _until_answered(self, request: Request) -> Json:
        """The response after as many calls as it takes or may take."""
        faults = limits = 0
        while True:
            try:
                return await self._once(request)
            except server.Limited as fault:
                limits += 1
                self._limiter.narrow(fault.headers, self._delay_s(limits))
                if limits > REPEATS_LIMITED:
                    raise self._give_up(fault, request) from None
            except server.Fault as fault:
                faults += 1
                if faults > REPEATS or self._hopeless:
                    raise self._give_up(fault, request) from None
                if self._answered:
                    await asyncio.sleep(self._delay_s(faults))
                else:  # as long as there never was an answer, all calls wait
                    self._limiter.pause(self._delay_s(self._failed))
            except server.Untaken:
                continue  # without it, which the ledger knows by now
            except OSError as error:
                raise self._limiter.stop(
                    f"{self.ledger.path} cannot be written ({error}); make room and run again."
                ) from None

    async def _once(self, request: Request) -> Json:
        """One call, its beginning on the disk before it leaves and its end before it is used.

        The next call need not wait for the disk: the limiter is left once the response is written.
        """
        worst_usd = request.most_usd(self.server.price)
        async with self._limiter.room(request.key, worst_usd) as call:
            try:
                if request.form == JSON and self._schema is False:
                    raise server.NoSchema("the server kept to none before")
                await self._on_disk()
                begun = time.monotonic()
                response, headers = await self._response(request, worst_usd)
            except (MuseQuestError, server.NoSchema, server.Untaken, server.Fault) as error:
                self._close_call(call, request, error)
                raise
            response["seconds"] = round(time.monotonic() - begun, 3)
            self.ledger.add("paid", call=call, key=request.key, response=response)
            if request.form == JSON and self._schema is None:
                self._schema = keeps_schema(response)
            self._limiter.widen(headers)
            self._answered, self._failed, self._given_up = self._answered + 1, 0, 0
        await self._on_disk()
        return response

    def _close_call(self, call: str, request: Request, error: Exception) -> None:
        """Write down what a call without a response has cost, and heed what it says of others."""
        ended = {"call": call, "reason": str(error)}
        if cost_usd := getattr(error, "cost_usd", 0.0):
            self.ledger.add("failed", **ended, form=request.form, cost_usd=cost_usd)
        elif getattr(error, "free", True):
            self.ledger.add("free", **ended)
        if isinstance(error, WriterStopped):
            self._limiter.stop(error)
        elif isinstance(error, server.NoSchema):
            self._schema = False
        elif isinstance(error, server.Untaken):
            untaken = {"base_url": self._url, "model": request.model, "name": error.name}
            self.ledger.add("untaken", **untaken, reason=str(error))
        elif isinstance(error, server.Fault) and not isinstance(error, server.Limited):
            self._failed += 1
            if self._hopeless:  # said before another call may begin in the place of this one
                self._limiter.stop(self._no_answer(error))

    async def _on_disk(self) -> None:
        """Return when all that was written before is on the disk; OSError if it cannot be.

        Who comes while a flush is under way waits for the next, together with all others.
        """
        if self._next_flush is None:
            self._next_flush = asyncio.create_task(self._flush())
        await self._next_flush

    async def _flush(self) -> None:
        async with self._flushing:
            self._next_flush = None
            await asyncio.to_thread(self.ledger.flush)

    async def _response(self, request: Request, worst_usd: float) -> tuple[Json, Mapping[str, str]]:
        """What the server says, as the ledger keeps it, and its headers."""
        without = dict(self.ledger.untaken(self._url, request.model))
        for name in without.keys() - self._told:
            self._told.add(name)
            LOGGER.warning("%s", server.sentence_of(self._url, request.model, name, without[name]))
        sent, settings = server.as_sent(request, without)
        longest_s = WHOLE * self.server.timeout_s
        try:
            async with asyncio.timeout(longest_s):
                raw = await self._client.chat.completions.with_raw_response.create(**sent)
        except TimeoutError:
            raise server.Fault(f"no whole answer within {longest_s:.0f} s", free=False) from None
        except openai.APIConnectionError as error:
            raise server.lost(error) from None
        except openai.APIStatusError as error:
            raise self._refusal(error, request, without) from None
        except (openai.OpenAIError, ValueError) as error:
            raise server.Fault(f"a response that cannot be read ({error})", free=False) from None
        body = server.answer_in(raw.text)
        record = record_of(body, settings, self.server.price, worst_usd)
        if told := server.told_error(body):
            refusal = self._refusal(server.as_refusal(told, raw), request, without)
            if record["usage_reported"]:
                refusal.cost_usd = record["cost_usd"]  # type: ignore[attr-defined]
            raise refusal
        return record, raw.headers

    def _refusal(
        self, error: openai.APIStatusError, request: Request, without: Mapping[str, str]
    ) -> Exception:
        """What an answer of 300 or more means; where no request was ever answered, for the run."""
        if known := server.refusal_of(error, request, self._url, without):
            return known
        told = server.words_in(error)
        self._refused += 1
        earlier = (each["model"] == request.model for each in self.ledger.responses())
        if self._refused > MOST_REFUSED and not self._answered and not any(earlier):
            return WriterStopped(
                f"{self._url} refused the first {self._refused} requests ({told}); check --model "
                f"and --base-url, or mend {request.source}."
            )
        return MuseQuestError(f"{self._url} refused the request ({told}); mend {request.source}.")

    def _give_up(self, fault: server.Fault, request: Request) -> MuseQuestError:
        """Where no call ever had an answer, or many in a row had none, the run ends."""
        self._given_up += 1
        if not self._answered or self._given_up >= GIVEN_UP:
            self._limiter.stop(error := self._no_answer(fault))
            return error
        return MuseQuestError(f"the server gave no answer ({fault}); run {request.command} again.")

    @property
    def _hopeless(self) -> bool:
        """Whether the first calls of the run all failed."""
        return not self._answered and self._failed > REPEATS

    def _no_answer(self, fault: server.Fault) -> WriterStopped:
        return WriterStopped(
            f"{self._url} gives no answer ({fault}); what is finished is kept, "
            "check the address and run again."
        )

    def _delay_s(self, repeat: int) -> float:
        longest = min(LONGEST_PAUSE_S, self.server.backoff_s * 2 ** (repeat - 1))
        return longest * random.uniform(0.5, 1.0)
