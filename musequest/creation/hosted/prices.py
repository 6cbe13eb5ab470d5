"""What a model costs: one dated table, `prices.yaml`, which a user's own overrides; and a run.

Before its first call, the prompt tokens of OpenAI's models are counted with the models' own
vocabulary, which `bpe-openai` brings along; for other models a token is taken to be 3 bytes, while
English text has about 4. How long an answer usually is, a request knows. Both are replaced by the
means of the ledger once it holds responses of the same model to such requests. The most a single
call can cost takes every byte for a token, which no tokenizer exceeds.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...errors import MuseQuestError
from ...home import home
from ...keys import check_keys, read_yaml
from .prompts import Request

BATCH_SHARE = 0.5  # https://platform.openai.com/docs/guides/batch
TABLE = Path(__file__).with_name("prices.yaml")
BYTES_PER_TOKEN = 3
FRAMING_TOKENS = 100  # what a server may add of its own to a prompt
NEWER = re.compile(r"(ft:)?(gpt-4o|gpt-4\.|gpt-5|o\d)")  # all share the vocabulary o200k_base


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


@dataclass(frozen=True)
class Estimate:
    """What is still to be asked, and what it will cost."""

    model: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    usd: float
    most_usd: float  # if every answer were as long as is allowed, without repeats
    basis: str  # what the tokens were counted with
    price: Price

    def __str__(self) -> str:
        """Return it as one sentence for the screen."""
        return (
            f"{self.calls} calls of {self.model}: about {self.prompt_tokens:,} prompt and "
            f"{self.completion_tokens:,} completion tokens ({self.basis}), about {self.usd:.4f} "
            f"USD at the prices of {self.price.as_of}, at most {self.most_usd:.4f} without repeats."
        )


def estimate(
    requests: Iterable[Request], model: str, price: Price, history: Iterable[dict[str, Any]] = ()
) -> Estimate:
    """Estimate requests of one model and kind, looked at one by one.

    `history` are earlier responses to requests of that kind, as the ledger gives them.
    """
    past = [each for each in history if each["model"] == model and each["usage_reported"]]
    calls = prompt = usual = most = 0
    for request in requests:
        calls += 1
        if not past:
            prompt += count_tokens(request.sent, model) + request.photo_tokens
        usual, most = usual + request.usual_tokens, most + request.max_tokens
    if past:
        prompt = round(calls * sum(each["prompt_tokens"] for each in past) / len(past))
        usual = round(calls * sum(each["completion_tokens"] for each in past) / len(past))
        basis = f"the means of {len(past)} earlier responses"
    else:
        counted = (
            "the model's own vocabulary" if _encoding(model) else f"{BYTES_PER_TOKEN} bytes a token"
        )
        basis = f"by {counted} and {usual // max(1, calls):,} tokens an answer"
    return Estimate(
        model=model,
        calls=calls,
        prompt_tokens=prompt,
        completion_tokens=usual,
        usd=price.cost_usd(prompt, usual),
        most_usd=price.cost_usd(prompt, most),
        basis=basis,
        price=price,
    )


def count_tokens(text: str, model: str) -> int:
    """Return the tokens of a text: exact for OpenAI's models, else rather too many than few."""
    if encoding := _encoding(model):
        return len(encoding.encode(text, disallowed_special=()))
    return math.ceil(len(text.encode("utf-8")) / BYTES_PER_TOKEN)


def most_usd(request: Request, price: Price) -> float:
    """Return the most one call can cost."""
    text_tokens = len(request.sent.encode("utf-8")) + FRAMING_TOKENS
    return price.cost_usd(text_tokens + request.photo_tokens, request.max_tokens)


@lru_cache(maxsize=8)
def _encoding(model: str) -> Any:
    """The tokenizer of a model of OpenAI, None for any other."""
    # Imported here, since its vocabularies take half a second and 140 MiB.
    with warnings.catch_warnings():
        # It reads them by a function that Python 3.11 and 3.12 call deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        import bpe_openai

    if NEWER.match(model):
        return bpe_openai.get_encoding("o200k_base")
    try:
        return bpe_openai.encoding_for_model(model)
    except bpe_openai.errors.TokenizerError:
        return None
