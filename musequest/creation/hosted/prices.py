"""What a model costs: one dated table, `prices.yaml`, which a user's own overrides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ...errors import MuseQuestError
from ...home import home
from ...keys import check_keys, read_yaml

BATCH_SHARE = 0.5  # https://platform.openai.com/docs/guides/batch
TABLE = Path(__file__).with_name("prices.yaml")


@dataclass(frozen=True)
class Price:
    """Of one model, in USD per million tokens; no discount but that of batches is counted on."""

    input_usd: float
    output_usd: float
    as_of: date

    def cost_usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return what a response costs."""
        return (prompt_tokens * self.input_usd + completion_tokens * self.output_usd) / 1e6

    def in_batch(self) -> Price:
        """Return what the same model costs through the Batch API."""
        return Price(self.input_usd * BATCH_SHARE, self.output_usd * BATCH_SHARE, self.as_of)


def price_of(model: str) -> Price:
    """Return a model's price, from prices.yaml in the home folder or from the table here.

    A model in neither raises MuseQuestError, since nothing could be held against a limit.
    """
    own = home() / "prices.yaml"
    table = read_yaml(TABLE) | (read_yaml(own) if own.is_file() else {})
    if model not in table:
        raise MuseQuestError(
            f"The price of the model '{model}' is not known; write it to {own} as "
            f"`{model}: {{input: 0.15, output: 0.60, as_of: 2026-01-31}}`, in USD per million "
            "tokens (0 for a server of your own)."
        )
    return _price(model, table[model], own if own.is_file() else TABLE)


def _price(model: str, values: Any, source: Path) -> Price:
    if not isinstance(values, dict) or set(values) != {"input", "output", "as_of"}:
        if isinstance(values, dict):
            check_keys(values, {"input", "output", "as_of"}, f"{source}, '{model}'")
        raise MuseQuestError(f"{source}: '{model}' needs the keys input, output and as_of.")
    amounts = [values["input"], values["output"]]
    good = all(
        isinstance(amount, int | float)
        and not isinstance(amount, bool)
        and math.isfinite(amount)
        and amount >= 0
        for amount in amounts
    )
    if not good or not isinstance(values["as_of"], date):
        raise MuseQuestError(
            f"{source}: the price of '{model}' is {values!r}; write two amounts of 0 or more and a "
            "date such as 2026-01-31."
        )
    return Price(float(amounts[0]), float(amounts[1]), values["as_of"])
