"""Verdicts: which replies could be used, and when too many in a row could not."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..writers import WriterStopped

FEW = 5  # replies, none of which could be used, end a run that has used none before
MANY = 20  # end any other: five exhibits whose replies could not be used, nor their repeats


@dataclass
class Verdicts:
    """Of the replies of one model, as they come; those of earlier runs do not count."""

    url: str
    proven: bool = False  # whether a reply of this model was ever used
    useless: set[str] = field(default_factory=set)  # requests since the last reply that was used

    def used(self) -> None:
        """A reply could be used."""
        self.proven = True
        self.useless.clear()

    def refuse(self, key: str, reason: str, words: str, again: bool) -> WriterStopped | None:
        """The reply to a request could not be used; returns what ends the run, once it must.

        Where others could be, one more (`again`) of an exhibit that failed before is no sign.
        """
        if again and self.proven:
            return None
        self.useless.add(key)
        count = len(self.useless)
        if count < (MANY if self.proven else FEW):
            return None
        return WriterStopped(
            f"{self.url} gave {count} replies in a row that could not be used, the last because "
            f"{reason}: {words!r}; what was paid is recorded, check --model and --base-url."
        )
