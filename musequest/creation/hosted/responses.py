"""Responses: what the ledger keeps of them, and what a model said in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...credentials import hidden
from .faults import told_error
from .prices import Price
from .prompts import MAX_TOKENS, Unacceptable, pairs_in_json
from .replies import spoken

LONGEST_QUOTED = 200  # characters of a reply that are shown
MOST_TOKENS = 2**53  # above, a count is no longer whole


def record_of(
    body: Any, settings: Mapping[str, Any], price: Price, worst_usd: float
) -> dict[str, Any]:
    """Return what the ledger keeps of a response to `Request.settings`, whatever its body is.

    A server that does not say how many tokens it counted, or says what cannot be, is taken to have
    counted the most. A key that it repeats is taken out.
    """
    body = hidden(_dict(body))
    choices = body.get("choices")
    choice = _dict(choices[0]) if isinstance(choices, list) and choices else {}
    message, usage = _dict(choice.get("message")), _dict(body.get("usage"))
    prompt, completion = (_count(usage.get(f"{kind}_tokens")) for kind in ("prompt", "completion"))
    # Nobody writes a text of no tokens.
    reported = None not in (prompt, completion) and bool(completion or not message.get("content"))
    created: Any = body.get("created")
    told = told_error(body)
    return {
        "id": _words(body.get("id")),
        **settings,
        "served_model": _words(body.get("model")),
        "created": int(created) if _is_moment(created) else None,
        "content": message.get("content"),
        "refusal": message.get("refusal"),
        "finish_reason": choice.get("finish_reason") if message else "no choices",
        "prompt_tokens": prompt if reported else 0,
        "completion_tokens": completion if reported else 0,
        "usage_reported": reported,
        "cost_usd": price.cost_usd(prompt or 0, completion or 0) if reported else worst_usd,
        **({"error": _words(told.get("message") or told)} if told else {}),
    }


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _words(value: Any) -> str:
    """A text that any file can hold; empty for nothing."""
    return str(value or "").encode("utf-8", "replace").decode()


def _count(value: Any) -> int | None:
    """A number of tokens, which some servers write as 12.0; None where it cannot be one."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if number and 0 <= value < MOST_TOKENS and value == int(value) else None


def _is_moment(value: Any) -> bool:
    """Whether it can be seconds since 1970."""
    return isinstance(value, int | float) and 0 <= value < 2**32


def keeps_schema(response: dict[str, Any]) -> bool | None:
    """Whether a response is JSON of the form that was asked; None where it says nothing whole."""
    try:
        content = text_of(response)
    except Unacceptable:
        return None
    try:
        pairs_in_json(content)
    except Unacceptable:
        return False
    return True


def text_of(response: dict[str, Any]) -> str:
    """Return what the model wrote; raises Unacceptable where it did not finish or refused."""
    if error := response.get("error"):
        raise Unacceptable(f"the server told of an error ({error})")
    if response["refusal"]:
        raise Unacceptable("the model refused")
    ends = {
        "length": f"the reply did not end within {MAX_TOKENS} tokens; write shorter answers",
        "content_filter": "the reply was held back by a content filter",
        "no choices": "the reply was empty",
    }
    if flaw := ends.get(str(response["finish_reason"])):
        raise Unacceptable(flaw)
    said = spoken(response["content"])
    if not said.strip():
        raise Unacceptable("the reply was empty")
    if any("\ud800" <= sign <= "\udfff" for sign in said):
        raise Unacceptable("the reply holds half a character")
    return said


def words_of(response: dict[str, Any]) -> str:
    """Return how a response begins, in its server's own words, on one line."""
    said = response.get("error") or response["refusal"] or response["content"]
    return _words(" ".join(str(said or response["finish_reason"]).split())[:LONGEST_QUOTED])
