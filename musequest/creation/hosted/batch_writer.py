"""The hosted writer in batches: submit, leave, come back, collect, for half the price."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
from tqdm import tqdm

from ...credentials import hidden_text
from ..dialogs import PAIRS_EACH, TEMPERATURES, WriterStopped
from ..exhibits import Exhibit
from .batches import Batches
from .calls import REPEATS
from .faults import FEW
from .ledger import Ledger
from .prices import estimate
from .prompts import JSON, Request, request
from .replies import Unacceptable, words_of
from .writer import MAX_COST_USD, MODEL, TIMEOUT_S, HostedWriter, has_rows, past_of


class BatchWriter(HostedWriter):
    """Asks as `HostedWriter` does, but in batches, which are answered within a day.

    Each run takes in what has been answered, hands over what is missing, and writes the exhibits
    whose responses are all there. A response that is not accepted is asked for again by the next
    run, at most three times.
    """

    remedy = "run synthesize without --batch"

    def __init__(
        self,
        model: str = MODEL,
        *,
        base_url: str | None = None,
        max_cost_usd: float = MAX_COST_USD,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Prepare everything but the connection; a missing key or price raises MuseQuestError."""
        super().__init__(
            model, base_url=base_url, max_cost_usd=max_cost_usd, timeout_s=timeout_s, concurrency=1
        )
        self.price = self.server.price.in_batch()
        self.concurrency = 1
        self._proven, self._useless = False, list[str]()  # whether replies could be used, and flaws

    @contextmanager
    def working(self, exhibits: list[Exhibit], folder: Path) -> Iterator[None]:
        """Settle the batches under way and hand over what is missing."""
        with self._reading(folder) as ledger:
            server = self.server
            client = openai.OpenAI(
                api_key=server.key,
                base_url=server.base_url,
                timeout=server.timeout_s,
                max_retries=3,
                http_client=openai.DefaultHttpxClient(follow_redirects=False),
            )
            batches = Batches(client, ledger, self.price)
            try:
                batches.settle()
                self._proven, self._useless = has_rows(folder / "dialogs.parquet"), []
                self._submit(exhibits, ledger, batches)
            finally:
                client.close()
                for sentence in batches.told:
                    tqdm.write(hidden_text(sentence), file=sys.stderr)
            yield

    def ready(self, exhibits: list[Exhibit]) -> list[Exhibit]:
        """Return the exhibits that wait for no response."""
        return [each for each in exhibits if not any(self._next(each))]

    def _submit(self, exhibits: list[Exhibit], ledger: Ledger, batches: Batches) -> None:
        under_way = {key for batch in ledger.batches.values() for key in batch.calls}
        wanted = [asked for exhibit in exhibits for asked in self._next(exhibit) if asked]
        if not self._proven and len(self._useless) >= FEW:
            raise WriterStopped(
                f"None of {len(self._useless)} replies of {self.name} could be used, the last "
                f"because {self._useless[-1]}; what was paid is recorded, check --model and "
                "--base-url, or run synthesize without --batch."
            )
        # Exhibits with the same texts share one call.
        missing = list({a.key: a for a in wanted if a.key not in under_way}.values())
        if not missing:
            return
        planned = estimate(missing, self.name, self.price, past_of(ledger))
        tqdm.write(f"{planned}\n{self.server.room(planned, ledger)}", file=sys.stderr)
        room_usd = self.server.max_cost_usd - ledger.committed_usd
        taken = batches.submit(missing, room_usd)
        if taken < len(missing):
            text = (
                f"The limit of {self.server.max_cost_usd} USD lets {taken} of {len(missing)} "
                "requests go; raise --max-cost-usd for the others."
            )
            if not taken and not under_way:
                raise WriterStopped(text)
            batches.told.append(text)

    def _next(self, exhibit: Exhibit) -> list[Request | None]:
        """For each temperature the request whose response is wanted; None where none is."""
        self._told.pop(exhibit.item_name, None)
        return [self._wanted(exhibit, temperature) for temperature in TEMPERATURES]

    def _wanted(self, exhibit: Exhibit, temperature: float) -> Request | None:
        reason = ""
        for attempt in range(1 + REPEATS):
            asked = request(self.name, exhibit, temperature, PAIRS_EACH, JSON, attempt, reason)
            response = self._known(exhibit, temperature, PAIRS_EACH, attempt, reason)
            try:
                if response is None:
                    self._check_refusal(asked)
                    return asked
                self._accepted(exhibit, temperature, PAIRS_EACH, response)
                self._proven = True
                return None
            except Unacceptable as flaw:
                reason = str(flaw)
                if response is not None:
                    self._useless.append(f"{reason}: {words_of(response)!r}")
        return None

    def _asked(
        self, exhibit: Exhibit, temperature: float, n: int, attempt: int, reason: str
    ) -> dict[str, Any]:
        """Nothing is asked one by one: what has no usable response by now is reported."""
        self._check_refusal(request(self.name, exhibit, temperature, n, JSON, attempt, reason))
        raise self._unusable(exhibit, temperature, reason)

    def _check_refusal(self, asked: Request) -> None:
        """Raise Unacceptable where an earlier batch had this very request refused."""
        if self._ledger and (reason := self._ledger.refusals.get(asked.key)):
            raise Unacceptable(reason)
