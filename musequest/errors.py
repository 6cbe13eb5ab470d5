"""The one exception MuseQuest raises on purpose, and the rule for leaving bad exhibits out."""

from __future__ import annotations

import logging

from .credentials import hidden_text

LOGGER = logging.getLogger("musequest")

BAD_SHARE_LIMIT = 0.1


class MuseQuestError(Exception):
    """One sentence for the person at the screen: what was wrong, where, and what to do.

    It often holds a server's own words, which may repeat a key; here that is taken out.
    """

    def __init__(self, sentence: object = "") -> None:
        super().__init__(hidden_text(str(sentence)))


class _WithoutKeys(logging.Filter):
    """Takes keys out of what is logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = hidden_text(record.getMessage()), None
        return True


LOGGER.addFilter(_WithoutKeys())


def leave_out(problems: list[str], total: int, source: object) -> None:
    """Report every problem (one sentence a bad exhibit) and let the run go on without them.

    `total` counts the exhibits looked at, the bad ones included. A single bad exhibit never stops
    a run that has others; more than 10 % of them, or none left, raises MuseQuestError.
    """
    for problem in problems:
        LOGGER.warning("Left out: %s", problem)
    if len(problems) >= total or len(problems) > max(1.0, BAD_SHARE_LIMIT * total):
        first = f" The first: {problems[0]}" if problems else ""
        raise MuseQuestError(
            f"{source}: {len(problems)} of {total} exhibits cannot be used, which is too many to "
            f"leave out (the limit is 10 %); mend them and run again.{first}"
        )
