"""The hosted writer: pairs by a language model, each response paid at most once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ...errors import MuseQuestError
from ...languages import prepare_languages
from ..dialogs import PAIRS_EACH, TEMPERATURES, Pair, Writer, WriterStopped, sha256_of
from ..exhibits import Exhibit
from .acceptance import check_pairs, numbers_of
from .calls import REPEATS
from .faults import NoSchema
from .ledger import Ledger
from .prices import Estimate, estimate, price_of
from .prompts import FORMS, JSON, MARKED, Request, base_prompt, request
from .replies import Unacceptable, parse, text_of
from .session import ServerConfig, Session, address_of, key_of

MODEL = "gpt-4o-mini"
MAX_COST_USD = 1.0
CONCURRENCY = 64
TIMEOUT_S = 120.0
WAITING = 2  # exhibits in work for each call at once, so that no call waits for a thread


class HostedWriter(Writer):
    """Asks a model behind any OpenAI-compatible server; the seed is not sent.

    `base_url` is the server's address up to /v1 (default: OPENAI_BASE_URL, else OpenAI). The limit
    `max_cost_usd` is for all that data/<collection>/ledger.jsonl knows, runs of the past included.
    """

    remedy = "run synthesize again"

    def __init__(
        self,
        model: str = MODEL,
        *,
        base_url: str | None = None,
        max_cost_usd: float = MAX_COST_USD,
        concurrency: int = CONCURRENCY,
        timeout_s: float = TIMEOUT_S,
        backoff_s: float = 1.0,
    ) -> None:
        """Prepare everything but the connection; a missing key or price raises MuseQuestError."""
        self.name = model
        price, address = price_of(model), address_of(base_url)
        self.server = ServerConfig(
            key=key_of(address, "The hosted writer", "take --writer offline"),
            base_url=address,
            price=price,
            max_cost_usd=max_cost_usd,
            concurrency=concurrency,
            timeout_s=timeout_s,
            backoff_s=backoff_s,
        )
        self.concurrency = WAITING * concurrency
        self._form = JSON
        self._ledger: Ledger | None = None
        self._session: Session | None = None
        self._told: dict[str, list[str]] = {}  # exhibit -> its answers at lower temperatures

    def prompt(self, exhibit: Exhibit, temperature: float, n: int, seed: int) -> str:
        """Return what is asked but for the form of the reply."""
        return base_prompt(exhibit, n)

    def estimate(self, exhibits: list[Exhibit], folder: Path) -> Estimate:
        """Return what dialogs for these exhibits will cost; responses in the ledger are free."""
        return expected_cost(exhibits, folder, self.name)

    @contextmanager
    def working(self, exhibits: list[Exhibit], folder: Path) -> Iterator[None]:
        """Open ledger and connection, and tell the estimate before the first call."""
        with self._reading(folder) as ledger:
            if ledger.batches:
                raise WriterStopped(
                    f"{ledger.path} tells of a batch under way, which would be paid twice; run "
                    "with --batch until it is collected, or cancel it at the provider first."
                )
            planned = _estimate(exhibits, self.name, ledger)
            tqdm.write(f"{planned}\n{self.server.room(planned, ledger)}", file=sys.stderr)
            prepare_languages()  # now, since the first reply's verdict opens the limiter
            self._session = Session(self.server, ledger, planned)
            self._session.calls.verdicts.proven = has_rows(folder / "dialogs.parquet")
            try:
                yield
            finally:
                self._session.close()
                self._session = None

    def write(self, exhibit: Exhibit, temperature: float, n: int, seed: int) -> list[Pair]:
        """Return `n` accepted pairs, from the ledger where they were paid for before.

        A response that is not accepted is asked for again with the reason, at most three times a
        run; then MuseQuestError leaves the exhibit for the next run.
        """
        asked, reason = 0, ""
        for attempt in count():
            response = self._known(exhibit, temperature, n, attempt, reason)
            if response is None and asked > REPEATS:
                break
            known, flaw, pairs = response is not None, "", []
            try:
                if response is None:
                    asked += 1
                    response = self._asked(exhibit, temperature, n, attempt, reason)
                pairs = self._accepted(exhibit, temperature, n, response)
            except Unacceptable as unacceptable:
                flaw = str(unacceptable)
            if response and not known:
                key = request(
                    self.name, exhibit, temperature, n, response["form"], attempt, reason
                ).key
                self._open.judge(key, response, flaw, again=attempt >= asked)
            if not flaw:
                return pairs
            reason = flaw
        raise self._unusable(exhibit, temperature, reason)

    def _unusable(self, exhibit: Exhibit, temperature: float, reason: str) -> MuseQuestError:
        return MuseQuestError(
            f"the writer '{self.name}' on the exhibit '{exhibit.item_name}' at temperature "
            f"{temperature}: {reason}; {self.remedy}, or mend the exhibit's text."
        )

    @contextmanager
    def _reading(self, folder: Path) -> Iterator[Ledger]:
        """Have the collection's ledger open."""
        self._ledger = Ledger(folder / "ledger.jsonl")
        try:
            yield self._ledger
        finally:
            self._ledger.close()
            self._ledger, self._told = None, {}

    def stop(self) -> None:
        """Send nothing more; responses under way still reach the ledger."""
        if self._session:
            self._session.stop()

    def state(self) -> str:
        """Return spent and projected USD, and calls a minute."""
        return self._session.state() if self._session else ""

    def _known(
        self, exhibit: Exhibit, temperature: float, n: int, attempt: int, reason: str
    ) -> dict[str, Any] | None:
        """The response that was paid for, whichever form it was asked in."""
        for form in FORMS:
            asked = request(self.name, exhibit, temperature, n, form, attempt, reason)
            if self._ledger and (response := self._ledger.find(asked.key)):
                return response
        return None

    def _asked(
        self, exhibit: Exhibit, temperature: float, n: int, attempt: int, reason: str
    ) -> dict[str, Any]:
        """A new response, in the form of text where the server takes no schema."""
        asked = request(self.name, exhibit, temperature, n, self._form, attempt, reason)
        try:
            return self._open.ask(asked)
        except NoSchema:
            self._form = MARKED
        return self._asked(exhibit, temperature, n, attempt, reason)

    def _accepted(
        self, exhibit: Exhibit, temperature: float, n: int, response: dict[str, Any]
    ) -> list[Pair]:
        """The pairs of a response; Unacceptable unless all of them may become data."""
        texts = parse(text_of(response), response["form"], n)
        support = [numbers_of(exhibit, *pair) for pair in texts]
        prompt_sha256 = sha256_of(self.prompt(exhibit, temperature, n, 0))
        pairs = _pairs(texts, support, response, prompt_sha256)
        first = temperature == min(TEMPERATURES)
        told = [] if first else self._told.get(exhibit.item_name, [])
        check_pairs(exhibit, pairs, told)
        self._told[exhibit.item_name] = [*told, *(pair.answer for pair in pairs)]
        if temperature == max(TEMPERATURES):
            del self._told[exhibit.item_name]
        return pairs

    @property
    def _open(self) -> Session:
        if self._session is None:
            raise RuntimeError("HostedWriter.write needs the context of HostedWriter.working")
        return self._session


def expected_cost(exhibits: list[Exhibit], folder: Path, model: str = MODEL) -> Estimate:
    """Return what dialogs of `model` will cost, asking nobody and without a key.

    What the ledger of data/<collection> holds is free.
    """
    if not (folder / "ledger.jsonl").is_file():
        return _estimate(exhibits, model, None)
    with closing(Ledger(folder / "ledger.jsonl")) as ledger:
        return _estimate(exhibits, model, ledger)


def _estimate(exhibits: list[Exhibit], model: str, ledger: Ledger | None) -> Estimate:
    missing: list[Request] = []
    for exhibit in exhibits:
        for temperature in TEMPERATURES:
            asked = [request(model, exhibit, temperature, PAIRS_EACH, form) for form in FORMS]
            if not ledger or not any(ledger.find(each.key) for each in asked):
                missing.append(asked[0])
    return estimate(missing, model, price_of(model), past_of(ledger) if ledger else ())


def past_of(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """The responses of a ledger to requests for dialogs; other systems keep theirs there too."""
    return (response for response in ledger.responses() if response["form"] in FORMS)


def has_rows(path: Path) -> bool:
    """Whether a parquet file is there and has any."""
    try:
        return path.is_file() and pq.read_metadata(path).num_rows > 0
    except (OSError, pa.ArrowException):
        return False


def _pairs(
    texts: list[tuple[str, str]], support: list[str], response: dict[str, Any], prompt_sha256: str
) -> list[Pair]:
    """The pairs of a response, each with its share of tokens and money."""
    n, created = len(texts), response["created"]
    moment = None if created is None else datetime.fromtimestamp(created, UTC)
    shares = [
        {
            name: response[name] // n + (index < response[name] % n)
            for name in ("prompt_tokens", "completion_tokens")
        }
        for index in range(n)
    ]
    return [
        Pair(
            question=question,
            answer=answer,
            prompt_sha256=prompt_sha256,
            response_id=response["id"],
            cost_usd=response["cost_usd"] / n,
            created_at=moment,
            temperature_taken=response["temperature"] is not None,
            support=support[index],
            **shares[index],
        )
        for index, (question, answer) in enumerate(texts)
    ]
