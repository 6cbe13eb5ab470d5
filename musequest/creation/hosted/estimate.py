"""What a run will cost, before its first call.

The prompt tokens of OpenAI's models are counted with the models' own vocabulary, which `bpe-openai`
brings along; for other models a token is taken to be 3 bytes, while English text has about 4. An
answer is taken to have 1,500 of its 3,000 tokens: five pairs of 200 words. Both are replaced by the
means of the ledger once it holds responses of the same model. The most a single call can cost takes
every byte for a token, which no tokenizer exceeds.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .prices import Price
from .prompts import MAX_TOKENS, Request

BYTES_PER_TOKEN = 3
USUAL_TOKENS = 1500  # of an answer
FRAMING_TOKENS = 100  # what a server may add of its own to a prompt
NEWER = re.compile(r"(ft:)?(gpt-4o|gpt-4\.|gpt-5|o\d)")  # all share the vocabulary o200k_base


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


def estimate(requests: list[Request], model: str, price: Price, history: Any = ()) -> Estimate:
    """Estimate requests of one model; `history` are earlier responses, as the ledger gives them."""
    past = [each for each in history if each["model"] == model and each["usage_reported"]]
    if past:
        prompt = round(len(requests) * sum(each["prompt_tokens"] for each in past) / len(past))
        answer = sum(each["completion_tokens"] for each in past) / len(past)
        basis = f"the means of {len(past)} earlier responses"
    else:
        prompt = sum(count_tokens(request.sent, model) for request in requests)
        answer = USUAL_TOKENS
        counted = (
            "the model's own vocabulary" if _encoding(model) else f"{BYTES_PER_TOKEN} bytes a token"
        )
        basis = f"by {counted} and {USUAL_TOKENS:,} tokens an answer"
    completion = round(len(requests) * answer)
    most_completion = len(requests) * MAX_TOKENS
    return Estimate(
        model=model,
        calls=len(requests),
        prompt_tokens=prompt,
        completion_tokens=completion,
        usd=price.cost_usd(prompt, completion),
        most_usd=price.cost_usd(prompt, most_completion),
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
    prompt_tokens = len(request.sent.encode("utf-8")) + FRAMING_TOKENS
    return price.cost_usd(prompt_tokens, MAX_TOKENS)


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
