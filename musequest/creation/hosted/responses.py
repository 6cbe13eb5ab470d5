"""Responses: what the ledger keeps of them, and what a model said in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...credentials import hidden
from .prices import Price
from .prompts import MAX_TOKENS, Unacceptable, pairs_in_json


def record_of(
    body: Any, settings: Mapping[str, Any], price: Price, worst_usd: float
) -> dict[str, Any]:
    """Return what the ledger keeps of a response to `Request.settings`, whatever its body is.

    A server that does not say how many tokens it counted is taken to have counted the most. A key
    that it repeats is taken out.
    """
    body = hidden(_dict(body))
    choices = body.get("choices")
    choice = _dict(choices[0]) if isinstance(choices, list) and choices else {}
    message, usage = _dict(choice.get("message")), _dict(body.get("usage"))
    counts: list[Any] = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
    reported = all(isinstance(count, int) and count >= 0 for count in counts)
    prompt, completion = counts if reported else (0, 0)
    created: Any = body.get("created")
    return {
        "id": str(body.get("id") or ""),
        **settings,
        "served_model": str(body.get("model") or ""),
        "created": int(created) if _is_moment(created) else None,
        "content": message.get("content"),
        "refusal": message.get("refusal"),
        "finish_reason": choice.get("finish_reason") if message else "no choices",
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "usage_reported": reported,
        "cost_usd": price.cost_usd(prompt, completion) if reported else worst_usd,
    }


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


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
    if response["refusal"]:
        raise Unacceptable("the model refused")
    ends = {
        "length": f"the reply did not end within {MAX_TOKENS} tokens; write shorter answers",
        "content_filter": "the reply was held back by a content filter",
        "no choices": "the reply was empty",
    }
    if flaw := ends.get(str(response["finish_reason"])):
        raise Unacceptable(flaw)
    if not isinstance(response["content"], str) or not response["content"].strip():
        raise Unacceptable("the reply was empty")
    if any("\ud800" <= sign <= "\udfff" for sign in response["content"]):
        raise Unacceptable("the reply holds half a character")
    return response["content"]
