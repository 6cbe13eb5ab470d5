"""The hosted writer: pairs by a language model, each response paid at most once.

A response becomes data where all its pairs are fine, name their exhibit, are in its language, and
state no number that its texts do not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ...errors import MuseQuestError
from ...text.numbers import find_numbers, known_numbers
from ..dialogs import (
    PAIRS_EACH,
    TEMPERATURES,
    Pair,
    Writer,
    WriterStopped,
    flaw_of_pair,
    sha256_of,
)
from ..exhibit import Exhibit
from .ledger import Ledger
from .replies import Unacceptable, check_language, language_model, says_name, texts_of
from .requests import (
    FORMS,
    JSON,
    MARKED,
    Estimate,
    Request,
    base_prompt,
    estimate,
    price_of,
    request,
)
from .server import NoSchema, ServerConfig, address_of, key_of
from .session import REPEATS, Session

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
            language_model()  # now, since the first reply's verdict opens the limiter
            self._session = Session(self.server, ledger, planned)
            self._session.proven = has_rows(folder / "dialogs.parquet")
            try:
                yield
            finally:
                self._session.close()
                self._session = None

    @contextmanager
    def _reading(self, folder: Path) -> Iterator[Ledger]:
        """Have the collection's ledger open."""
        self._ledger = Ledger(folder / "ledger.jsonl")
        try:
            yield self._ledger
        finally:
            self._ledger.close()
            self._ledger, self._told = None, {}

    def write(self, exhibit: Exhibit, temperature: float, n: int, seed: int) -> list[Pair]:
        """Return `n` accepted pairs, from the ledger where they were paid for before.

        A response that is not accepted is asked for again with the reason, at most three times a
        run; then MuseQuestError leaves the exhibit for the next run.
        """
        pairs, begun, reason = self._paid_pairs(exhibit, temperature, n)
        if pairs:
            return pairs
        for attempt in range(begun, begun + 1 + REPEATS):
            asked, response = self._ask(exhibit, temperature, n, attempt, reason)
            reason = ""
            try:
                pairs = self._accepted(exhibit, temperature, n, response)
            except Unacceptable as flaw:
                reason = str(flaw)
            self._open.judge(asked.key, response, reason, again=begun > 0)
            if not reason:
                return pairs
        raise self._unusable(exhibit, temperature, reason)

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
        attempt, reason = 0, ""
        while True:
            try:
                response = self._known(exhibit, temperature, n, attempt, reason)
                pairs = self._accepted(exhibit, temperature, n, response) if response else []
                return pairs, attempt, reason
            except Unacceptable as flaw:
                attempt, reason = attempt + 1, str(flaw)

    def _known(
        self, exhibit: Exhibit, temperature: float, n: int, attempt: int, reason: str
    ) -> dict[str, Any] | None:
        """The response that was paid for, whichever form it was asked in."""
        for form in FORMS:
            asked = request(self.name, exhibit, temperature, n, form, attempt, reason)
            if self._ledger and (response := self._ledger.find(asked.key)):
                return response
        return None

    def _ask(
        self, exhibit: Exhibit, temperature: float, n: int, attempt: int, reason: str
    ) -> tuple[Request, dict[str, Any]]:
        """A request and its new response, in the form of text where the server takes no schema."""
        asked = request(self.name, exhibit, temperature, n, self._form, attempt, reason)
        try:
            return asked, self._open.ask(asked)
        except NoSchema:
            self._form = MARKED
        return self._ask(exhibit, temperature, n, attempt, reason)

    def _accepted(
        self, exhibit: Exhibit, temperature: float, n: int, response: dict[str, Any]
    ) -> list[Pair]:
        """The pairs of a response; Unacceptable unless all of them may become data."""
        texts = texts_of(response, n)
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

    def _unusable(self, exhibit: Exhibit, temperature: float, reason: str) -> MuseQuestError:
        return MuseQuestError(
            f"the writer '{self.name}' on the exhibit '{exhibit.item_name}' at temperature "
            f"{temperature}: {reason}; {self.remedy}, or mend the exhibit's text."
        )

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


def numbers_of(exhibit: Exhibit, question: str, answer: str) -> str:
    """Return the numbers of a pair as JSON, {"numbers": [...]}, each as the pair writes it.

    All of them occur in the exhibit's texts: as the same value, as the same measure in another
    unit, or as the century or decade of a year there; one that does not raises Unacceptable.
    """
    source = [exhibit.title, exhibit.description, *exhibit.facts.values()]
    known = known_numbers("\n\n".join(source))
    told: list[str] = []
    for text in (question, answer):
        for number in find_numbers(text):
            written = text[number.start : number.end]
            if not known.supports(number):
                raise Unacceptable(f"the number {written!r} does not occur in the texts")
            told.append(written)
    return json.dumps({"numbers": list(dict.fromkeys(told))}, ensure_ascii=False)


def check_pairs(exhibit: Exhibit, pairs: list[Pair], earlier: Iterable[str]) -> None:
    """Raise Unacceptable at the first pair that must not become data.

    `earlier` are the exhibit's answers that were accepted before, which must not come again.
    """
    answers = set(map(_plain, earlier))
    questions: set[str] = set()
    for pair in pairs:
        if flaw := flaw_of_pair(exhibit, pair):
            raise Unacceptable(flaw)
        if _plain(pair.question) in questions:
            raise Unacceptable(f"a question came twice ({pair.question[:60]!r} ...)")
        if _plain(pair.answer) in answers:
            raise Unacceptable(f"an answer came twice ({pair.answer[:60]!r} ...)")
        questions.add(_plain(pair.question))
        answers.add(_plain(pair.answer))
    for pair in pairs:
        if not says_name(pair.answer, exhibit.title):
            raise Unacceptable(f"an answer never names the exhibit ({pair.answer[:60]!r} ...)")
    check_language(pairs, exhibit.language)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _pairs(
    texts: list[tuple[str, str]], support: list[str], response: dict[str, Any], prompt_sha256: str
) -> list[Pair]:
    """The pairs of a response, each with its share of tokens and money."""
    n, created = len(texts), response["created"]
    return [
        Pair(
            question=question,
            answer=answer,
            prompt_sha256=prompt_sha256,
            response_id=response["id"],
            prompt_tokens=_share(response["prompt_tokens"], n, index),
            completion_tokens=_share(response["completion_tokens"], n, index),
            cost_usd=response["cost_usd"] / n,
            created_at=None if created is None else datetime.fromtimestamp(created, UTC),
            temperature_taken=response["temperature"] is not None,
            support=support[index],
        )
        for index, (question, answer) in enumerate(texts)
    ]


def _share(tokens: int, n: int, index: int) -> int:
    """One of `n` shares of which all together make the whole."""
    return tokens // n + (index < tokens % n)
