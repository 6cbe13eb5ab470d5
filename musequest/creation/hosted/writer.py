"""The hosted writers, one by one and in batches: pairs by a model, each response paid once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...core.errors import MuseQuestError
from ...text.sentences import prepare_languages
from ..dialogs import PAIRS_EACH, TEMPERATURES, Pair, Writer, WriterStopped, sha256_of
from ..exhibits import Exhibit
from .batches import Batches
from .ledger import Ledger
from .replies import Unacceptable, check_pairs, numbers_of, texts_of, words_of
from .requests import (
    BATCH_SHARE,
    FORMS,
    JSON,
    MARKED,
    Estimate,
    Price,
    Request,
    base_prompt,
    price_of,
    request,
)
from .server import NoSchema, ServerConfig, say
from .session import FEW, REPEATS, Session

MODEL = "gpt-4o-mini"
WAITING = 2  # exhibits in work for each call at once, so that no call waits for a thread


class HostedWriter(Writer):
    """Asks a model behind any OpenAI-compatible server; the seed is not sent.

    `base_url` is the server's address up to /v1 (default: OPENAI_BASE_URL, else OpenAI). The limit
    `max_cost_usd` is for all that data/<collection>/ledger.jsonl knows, runs of the past included.
    """

    remedy = "run synthesize again"
    tries = 1 + REPEATS  # in a run, for one response that is accepted

    def __init__(
        self,
        model: str = MODEL,
        *,
        base_url: str | None = None,
        concurrency: int = 64,
        **limits: Any,
    ) -> None:
        """Prepare everything but the connection; a missing key or price raises MuseQuestError.

        `limits` are the others of ServerConfig: max_cost_usd, timeout_s and backoff_s.
        """
        self.name = model
        who, instead = "The hosted writer", "take --writer offline"
        bounds = {"concurrency": concurrency, **limits}
        self.server = ServerConfig.of(model, base_url, who, instead, **bounds)
        self.concurrency = WAITING * concurrency
        self._form = JSON
        self._ledger: Ledger  # while working
        self._session: Session | None = None
        self._refused: dict[str, str] = {}  # requests that are not to be asked again, with reasons
        self._told: dict[str, list[str]] = {}  # exhibit -> its answers at lower temperatures

    def prompt(self, exhibit: Exhibit, temperature: float, n: int, seed: int) -> str:
        """Return what is asked but for the form of the reply."""
        return base_prompt(exhibit, n)

    @contextmanager
    def working(self, exhibits: list[Exhibit], folder: Path) -> Iterator[None]:
        """Open ledger and connection, and tell the estimate before the first call."""
        with closing(Ledger(folder / "ledger.jsonl")) as ledger:
            self._ledger = ledger
            if ledger.batches:
                raise WriterStopped(
                    f"{ledger.path} tells of a batch under way, which would be paid twice; run "
                    "with --batch until it is collected, or cancel it at the provider first."
                )
            planned = _estimate(exhibits, self.name, ledger)
            self.server.announce(planned, ledger.committed_usd)
            prepare_languages()  # now, since the first reply's verdict opens the limiter
            with closing(Session(self.server, ledger, planned)) as self._session:
                self._session.proven = has_rows(folder / "dialogs.parquet")
                yield

    def write(self, exhibit: Exhibit, temperature: float, n: int, seed: int) -> list[Pair]:
        """Return `n` accepted pairs, from the ledger where they were paid for before.

        A response that is not accepted is asked for again with the reason, at most three times a
        run; then MuseQuestError leaves the exhibit for the next run.
        """
        pairs, known, reason = self._paid_pairs(exhibit, temperature, n)
        for attempt in range(known, known + self.tries):
            if pairs:
                break
            assert self._session, "write needs the context of working"
            asked = request(self.name, exhibit, temperature, n, self._form, attempt, reason)
            try:
                response = self._session.ask(asked)
            except NoSchema:
                self._form = MARKED
                asked = request(self.name, exhibit, temperature, n, MARKED, attempt, reason)
                response = self._session.ask(asked)
            pairs, reason = self._accepted(exhibit, temperature, n, response)
            self._session.judge(asked.key, response, reason, again=known > 0)
        if not pairs:
            raise MuseQuestError(
                f"the writer '{self.name}' on the exhibit '{exhibit.item_name}' at temperature "
                f"{temperature}: {reason}; {self.remedy}, or mend the exhibit's text."
            )
        return pairs

    def stop(self) -> None:
        """Send nothing more; responses under way still reach the ledger."""
        if self._session:
            self._session.stop()

    def state(self) -> str:
        """Return spent and projected USD, and calls a minute."""
        return self._session.state() if self._session else ""

    def _paid_pairs(
        self, exhibit: Exhibit, temperature: float, n: int
    ) -> tuple[list[Pair], int, str]:
        """The accepted pairs among all that was paid for; else none, the next attempt, and why."""
        attempt, pairs, reason = 0, list[Pair](), ""
        while not pairs:
            asked = [request(self.name, exhibit, temperature, n, f, attempt, reason) for f in FORMS]
            paid = next(filter(None, (self._ledger.find(each.key) for each in asked)), None)
            flaw = self._refused.get(asked[0].key, "")
            if paid:
                pairs, flaw = self._accepted(exhibit, temperature, n, paid)
            elif not flaw:
                break
            attempt, reason = attempt + 1, flaw
        return pairs, attempt, reason

    def _accepted(
        self, exhibit: Exhibit, temperature: float, n: int, response: dict[str, Any]
    ) -> tuple[list[Pair], str]:
        """The pairs of a response, if all of them may become data; else none, and why."""
        first, last = temperature == min(TEMPERATURES), temperature == max(TEMPERATURES)
        told = [] if first else self._told.get(exhibit.item_name, [])
        try:
            pairs = _pairs(exhibit, response, n)
            check_pairs(exhibit, pairs, told)
        except Unacceptable as flaw:
            return [], str(flaw)
        self._told[exhibit.item_name] = [*told, *(pair.answer for pair in pairs)]
        if last:
            del self._told[exhibit.item_name]
        return pairs, ""


class BatchWriter(HostedWriter):
    """Asks as `HostedWriter` does, but in batches, which are answered within a day.

    Each run takes in what has been answered, hands over what is missing, and writes the exhibits
    whose responses are all there. A response that is not accepted is asked for again by the next
    run, at most three times.
    """

    remedy = "run synthesize without --batch"
    tries = 0  # nothing is asked one by one

    def __init__(self, model: str = MODEL, **options: Any) -> None:
        """Prepare as `HostedWriter` does, whose options are those but for `concurrency`."""
        super().__init__(model, concurrency=1, **options)
        self.concurrency, full = 1, self.server.price
        self.price = Price(full.input_usd * BATCH_SHARE, full.output_usd * BATCH_SHARE, full.as_of)
        self._proven, self._useless = False, list[str]()  # whether replies could be used, and flaws

    @contextmanager
    def working(self, exhibits: list[Exhibit], folder: Path) -> Iterator[None]:
        """Settle the batches under way and hand over what is missing."""
        with closing(Ledger(folder / "ledger.jsonl")) as ledger:
            self._ledger = ledger
            batches = Batches(self.server, ledger, self.price)
            with closing(batches.client):
                batches.settle()
                self._refused = ledger.refusals
                self._proven, self._useless = has_rows(folder / "dialogs.parquet"), []
                self._submit(exhibits, ledger, batches)
            yield

    def ready(self, exhibits: list[Exhibit]) -> list[Exhibit]:
        """Return the exhibits that wait for no response."""
        return [each for each in exhibits if not self._wanted(each)]

    def _submit(self, exhibits: list[Exhibit], ledger: Ledger, batches: Batches) -> None:
        wanted = [asked for exhibit in exhibits for asked in self._wanted(exhibit)]
        if not self._proven and len(self._useless) >= FEW:
            raise WriterStopped(
                f"None of {len(self._useless)} replies of {self.name} could be used, the last "
                f"because {self._useless[-1]}; what was paid is recorded, check --model and "
                "--base-url, or run synthesize without --batch."
            )
        under_way = {key for batch in ledger.batches.values() for key in batch.calls}
        # Exhibits with the same texts share one call.
        missing = list({a.key: a for a in wanted if a.key not in under_way}.values())
        if not missing:
            return
        planned = Estimate.of(missing, self.name, self.price, past_of(ledger))
        self.server.announce(planned, ledger.committed_usd)
        taken = batches.submit(missing, self.server.max_cost_usd - ledger.committed_usd)
        if taken < len(missing):
            text = (
                f"The limit of {self.server.max_cost_usd} USD lets {taken} of {len(missing)} "
                "requests go; raise --max-cost-usd for the others."
            )
            if not taken and not under_way:
                raise WriterStopped(text)
            say(text)

    def _wanted(self, exhibit: Exhibit) -> list[Request]:
        """The requests whose responses an exhibit waits for, one a temperature at most."""
        self._told.pop(exhibit.item_name, None)
        wanted = []
        for temperature in TEMPERATURES:
            pairs, attempt, reason = self._paid_pairs(exhibit, temperature, PAIRS_EACH)
            if not pairs and attempt <= REPEATS:
                wanted.append(
                    request(self.name, exhibit, temperature, PAIRS_EACH, JSON, attempt, reason)
                )
        return wanted

    def _accepted(
        self, exhibit: Exhibit, temperature: float, n: int, response: dict[str, Any]
    ) -> tuple[list[Pair], str]:
        pairs, flaw = super()._accepted(exhibit, temperature, n, response)
        if flaw:
            self._useless.append(f"{flaw}: {words_of(response)!r}")
        self._proven = self._proven or bool(pairs)
        return pairs, flaw


def expected_cost(exhibits: list[Exhibit], folder: Path, model: str = MODEL) -> Estimate:
    """Return what dialogs of `model` will cost, asking nobody and without a key.

    What the ledger of data/<collection> holds is free.
    """
    if not (folder / "ledger.jsonl").is_file():
        return _estimate(exhibits, model)
    with closing(Ledger(folder / "ledger.jsonl")) as ledger:
        return _estimate(exhibits, model, ledger)


def _estimate(exhibits: list[Exhibit], model: str, ledger: Ledger | None = None) -> Estimate:
    wanted = (
        [request(model, exhibit, temperature, PAIRS_EACH, form) for form in FORMS]
        for exhibit, temperature in itertools.product(exhibits, TEMPERATURES)
    )
    missing = (
        asked[0]
        for asked in wanted
        if not ledger or not any(ledger.find(each.key) for each in asked)
    )
    return Estimate.of(missing, model, price_of(model), past_of(ledger) if ledger else ())


def past_of(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """The responses of a ledger to requests for dialogs; other systems keep theirs there too."""
    return (response for response in ledger.responses() if response["form"] in FORMS)


def has_rows(path: Path) -> bool:
    """Whether a parquet file is there and has any."""
    try:
        return path.is_file() and pq.read_metadata(path).num_rows > 0
    except (OSError, pa.ArrowException):
        return False


def _pairs(exhibit: Exhibit, response: dict[str, Any], n: int) -> list[Pair]:
    """The pairs of a response, each with its share of money and, in whole numbers, of tokens."""
    prompt_sha256, created = sha256_of(base_prompt(exhibit, n)), response["created"]
    moment = None if created is None else datetime.fromtimestamp(created, UTC)
    pairs = []
    for index, (question, answer) in enumerate(texts_of(response, n)):
        shares: dict[str, Any] = {
            kind: response[kind] // n + (index < response[kind] % n)
            for kind in ("prompt_tokens", "completion_tokens")
        }
        shares |= {"cost_usd": response["cost_usd"] / n, "created_at": moment}
        shares["temperature_taken"] = response["temperature"] is not None
        support = numbers_of(exhibit, question, answer)
        told = (question, answer, prompt_sha256, response["id"])
        pairs.append(Pair(*told, support=support, **shares))
    return pairs
