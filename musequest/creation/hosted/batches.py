"""Batches: requests handed over together, answered within a day, for half the price.

Before a batch leaves, its calls are in the ledger under a name of our own, which goes along as
metadata. So a process that dies at any moment leaves either a batch that the next one finds by that
name or by the file of its requests, or calls that never left; nothing is handed over twice,
whatever the clocks say.
"""

from __future__ import annotations

import functools
import json
import time
import uuid
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import openai

from ...core.files import dig, json_lines, parse_json
from ..dialogs import WriterStopped
from . import server
from .ledger import Batch, Ledger
from .replies import record_of
from .requests import Price, Request

ENDPOINT: Final = "/v1/chat/completions"
NAME = "musequest"  # of the metadata that holds a batch's own name
# What the API takes at once; its own limits are 50,000 requests and 200 MB.
MOST_REQUESTS, MOST_BYTES = 40_000, 150_000_000
ENDED = ("completed", "failed", "expired", "cancelled")
LISTED = 100  # batches at once, the most that the API gives
LATE = 408  # a time-out on the way, behind which a batch may have been made
LISTED_S = 900  # after which a batch surely stands in the server's list
PASSING = (408, 409, 429)  # refusals that say nothing of the request


class Batches:
    """The batches of one collection, at one server."""

    def __init__(self, config: server.ServerConfig, ledger: Ledger, price: Price) -> None:
        """`price` is that of a batch."""
        self.client = openai.OpenAI(
            api_key=config.key,
            base_url=config.base_url,
            timeout=config.timeout_s,
            max_retries=3,
            http_client=openai.DefaultHttpxClient(follow_redirects=False),
        )
        self.ledger, self.price, self.url = ledger, price, str(self.client.base_url)

    def settle(self) -> None:
        """Take in what has been answered; what is under way stays, what failed is free again."""
        for name, batch in list(self.ledger.batches.items()):
            if batch.base_url not in (None, self.url):
                raise WriterStopped(
                    f"Batch {batch.id or name} was handed over to {batch.base_url}; run with "
                    "--base-url and that address until it is collected."
                )
            if batch.id is None and not self._find(name, batch):
                continue
            state = functools.partial(self.client.batches.with_raw_response.retrieve, str(batch.id))
            there = self._ask(f"batches/{batch.id}", state, whole=True).parse()
            if there.status in ENDED:
                self._take(batch, there)
                continue
            counts = there.request_counts
            done = f"{counts.completed} of {counts.total} answered" if counts else "not begun"
            server.say(f"Batch {there.id} is {there.status}, {done}; come back later.")

    def submit(self, requests: list[Request], room_usd: float) -> int:
        """Hand over as many requests as cost at most `room_usd`; returns how many.

        Where the server once took no more at a time, the others wait until there is room.
        """
        affordable = []
        for each in requests:
            if (room_usd := room_usd - each.most_usd(self.price)) < 0:
                break
            affordable.append(each)
        together, most = affordable, self.ledger.most_together
        if most is not None:
            together = affordable[: max(0, most - self.ledger.in_batches)]
        if waiting := len(affordable) - len(together):
            server.say(
                f"The server took no more at once than about {most} requests; {waiting} wait for a "
                "later run."
            )
        for part in _parts(together):
            self._hand_over(part)
        return len(affordable)

    def _hand_over(self, requests: list[Request]) -> None:
        model = requests[0].model  # of all
        untaken = self.ledger.untaken(self.url, model)
        without = list(untaken)
        for parameter, reason in untaken.items():
            server.say(server.sentence_of(self.url, model, parameter, reason))
        lines = "".join(f"{_line(each, without)}\n" for each in requests).encode()
        files = self.client.files.with_raw_response
        upload = self._ask(
            "files", lambda: files.create(file=("requests.jsonl", lines), purpose="batch")
        )
        name, file_id = uuid.uuid4().hex, self._id_in(upload.text, "files")
        batch = {
            "batch": name,
            "base_url": self.url,
            "file": file_id,
            "uploaded_at": _server_time(upload.headers),
            "without": without,
        }
        for each in requests:
            settings = server.as_sent(each, without)[1]
            self.ledger.sent(each.key, each.most_usd(self.price), settings=settings, **batch)
        self.ledger.flush()
        # Not repeated by the client: a batch whose answer is lost may exist.
        once = self.client.with_options(max_retries=0).batches.with_raw_response
        try:
            made = once.create(
                input_file_id=file_id,
                endpoint=ENDPOINT,
                completion_window="24h",
                metadata={NAME: name},
            )
            server_id = self._id_in(made.text, "batches")
        except openai.APIStatusError as error:
            if error.status_code < 500 and error.status_code != LATE:
                self._free(self.ledger.batches[name], error.message)
            raise self._refusal("batches", error) from None
        except (openai.OpenAIError, WriterStopped) as error:
            raise WriterStopped(
                f"Whether {self.url} took the batch is not known ({error}); run the same command "
                "again, which looks for it first."
            ) from None
        self._accept(name, server_id)
        server.say(f"Batch {server_id} is handed over: {len(requests)} requests.")

    def _accept(self, name: str, server_id: str) -> None:
        self.ledger.add("accepted", batch=name, id=server_id)
        self.ledger.flush()

    def _find(self, name: str, batch: Batch) -> bool:
        """Look for a batch whose id was never heard, in all that the server has; whether there is.

        Its own name and its file tell it, and no clock does. One that is not listed never left,
        once that is sure. Only where the server told no time, when it had the file or now, do the
        seconds pass by the clock of this machine.
        """
        batches = self.client.batches.with_raw_response
        listed = self._ask("batches", lambda: batches.list(limit=LISTED), whole=True)
        for there in self._ask("batches", lambda: list(listed.parse())):
            named = (there.metadata or {}).get(NAME) == name
            if named or (batch.file and there.input_file_id == batch.file):
                self._accept(name, there.id)
                return True
        now, then = _server_time(listed.headers), batch.uploaded_at
        if now is None or then is None:
            sent_at = datetime.fromisoformat(batch.sent_at).astimezone(UTC)
            now, then = time.time(), sent_at.timestamp()
        if now - then > LISTED_S:
            self._free(batch, "never handed over")
        else:
            server.say(
                f"Whether {self.url} took the batch of {len(batch.calls)} requests is not "
                f"known yet; come back {LISTED_S // 60} minutes after it was sent."
            )
        return False

    def _take(self, batch: Batch, there: Any) -> None:
        """Write an ended batch's responses into the ledger; calls without one are free."""
        answered = self._lines(there.output_file_id)
        if there.request_counts and len(answered) < (there.request_counts.completed or 0):
            raise WriterStopped(
                f"The results of batch {there.id} came cut short; run the same command again."
            )
        failures = self._lines(there.error_file_id)
        total, paid = len(batch.calls), 0
        for line in answered + failures:
            if call := batch.calls.get(str(line.get("custom_id"))):
                paid += self._keep(call, line)
        errors = there.errors.data if there.errors and there.errors.data else []
        if any(error.code == "token_limit_exceeded" for error in errors):
            self.ledger.add("too_many", calls=self.ledger.in_batches)
        reasons = [_reason(line) for line in failures] + [str(error.message) for error in errors]
        self._free(batch, reasons[0] if reasons else f"the batch has {there.status}")
        self.ledger.flush()
        why = f" The first without: {reasons[0][:200]}" if reasons else ""
        server.say(f"Batch {there.id} has {there.status}: {paid} of {total} answered.{why}")

    def _keep(self, call: dict[str, Any], line: dict[str, Any]) -> bool:
        """Write one response or refusal into the ledger; whether it is a response."""
        response = dig(line, "response")
        code: Any = response.get("status_code")
        body = response.get("body")
        if code == 200:
            record = record_of(body, call["settings"], self.price, call["most_usd"])
            self.ledger.add("paid", call=call["call"], key=call["key"], response=record)
            return True
        refused = isinstance(code, int) and 400 <= code < 500 and code not in PASSING
        if refused and not self._learns(call, code, body):
            reason = f"the server refused it ({_reason(line)[:200]})"
            self.ledger.add("free", call=call["call"], reason=reason, refused=call["key"])
        return False

    def _learns(self, call: dict[str, Any], code: int, body: Any) -> bool:
        """Whether a refusal says that the model does not take a parameter; then it goes without."""
        error = server.told_error(dig(body)) or {}
        words = " ".join(f"{error.get('message')} {error.get('code')}".split())[:300]
        name = server.untaken_in(code, error.get("param"), words, call.get("without") or ())
        model = call["settings"]["model"]
        if name and name not in self.ledger.untaken(self.url, model):
            told = {"base_url": self.url, "model": model, "name": name, "reason": words}
            self.ledger.add("untaken", **told)
        return name is not None

    def _free(self, batch: Batch, reason: str) -> None:
        for call in list(batch.calls.values()):
            self.ledger.add("free", call=call["call"], reason=reason)

    def _lines(self, file_id: str | None) -> list[dict[str, Any]]:
        """The lines of a result file; one that is cut short is left out."""
        if not file_id:
            return []
        return list(json_lines(self._ask("files", lambda: self.client.files.content(file_id).text)))

    def _id_in(self, text: str, what: str) -> str:
        """The id of what was made; WriterStopped with the server's words where it tells none."""
        with suppress(ValueError):
            found = parse_json(text, dict[str, Any]).get("id")
            if found and isinstance(found, str):
                return found
        raise WriterStopped(f"{self.url}{what} tells no id: {text[:200]!r}.")

    def _ask(self, what: str, call: Callable[[], Any], *, whole: bool = False) -> Any:
        """A call that may be repeated, with what goes wrong as one sentence.

        That is also an answer that is not `whole`, a JSON object, but a web page, say.
        """
        try:
            answer = call()
        except openai.APIStatusError as error:
            raise self._refusal(what, error) from None
        except openai.OpenAIError as error:
            raise WriterStopped(
                f"{self.url} gives no answer ({error}); nothing is lost, run the same "
                "command again later."
            ) from None
        with suppress(ValueError):
            if not whole or parse_json(answer.text, dict[str, Any]):
                return answer
        raise WriterStopped(
            f"{self.url}{what} is not there, but {answer.text[:200]!r}; check --base-url."
        )

    def _refusal(self, what: str, error: openai.APIStatusError) -> WriterStopped:
        if stopped := server.keeps_out(self.url, error):
            return stopped
        told = server.words_in(error).rstrip(".")
        if error.status_code in (404, 405):
            return WriterStopped(
                f"{self.url}{what} is not there ({told}); run without --batch, or with the key and "
                "the address by which it was handed over."
            )
        return WriterStopped(f"{self.url}{what} failed ({told}); run the same command again later.")


def _reason(line: dict[str, Any]) -> str:
    return f"{line.get('error') or line.get('response')}"


def _server_time(headers: Mapping[str, str]) -> float | None:
    """When an answer left, in seconds of the server's clock; None where it does not say."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except ValueError:
        return None


def _line(request: Request, without: Container[str] = ()) -> str:
    body, _ = server.as_sent(request, without)
    line = {"custom_id": request.key, "method": "POST", "url": ENDPOINT, "body": body}
    return json.dumps(line, ensure_ascii=False)


def _parts(requests: list[Request]) -> Iterator[list[Request]]:
    """Lists of requests that the API takes at once."""
    part: list[Request] = []
    size = 0
    for each in requests:
        length = len(_line(each).encode()) + 1
        if part and (len(part) == MOST_REQUESTS or size + length > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(each)
        size += length
    if part:
        yield part
