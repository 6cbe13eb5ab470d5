"""Holds an answer's numbers against its ground truth and what else its exhibit's texts state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .numbers import Number, NumberSet, find_numbers, known_numbers

Mark = tuple[int, int, str]  # first character, one past the last, "recalled" | "known" | "invented"


@dataclass(frozen=True)
class FactCheck:
    """What an answer does with facts of one kind; each counts once, as the text writes it."""

    recalled: tuple[str, ...]  # of the ground truth, and in the answer
    missing: tuple[str, ...]  # of the ground truth, not in the answer
    invented: tuple[str, ...]  # in the answer, neither in the ground truth nor in the sources
    stated: int  # different facts in the answer
    marks: tuple[Mark, ...]  # where the answer's facts stand, and what each is

    @property
    def recall(self) -> float | None:
        """Recalled / in the ground truth, 0 to 1 (best); None if the ground truth has none."""
        total = len(self.recalled) + len(self.missing)
        return len(self.recalled) / total if total else None

    @property
    def invented_rate(self) -> float | None:
        """Invented / stated, 0 (best) to 1; None if the answer states none."""
        return len(self.invented) / self.stated if self.stated else None


def check_numbers(answer: str, ground_truth: str, sources: str = "") -> FactCheck:
    """Hold the numbers of `answer` against the ground truth and what else its exhibit states."""
    said, truth = find_numbers(answer), find_numbers(ground_truth)
    in_answer, in_truth, in_sources = map(known_numbers, (answer, ground_truth, sources))
    stated, wanted = _different(answer, said), _different(ground_truth, truth)
    return FactCheck(
        recalled=tuple(text for number, text in wanted if in_answer.states(number)),
        missing=tuple(text for number, text in wanted if not in_answer.states(number)),
        invented=tuple(t for n, t in stated if _kind(n, in_truth, in_sources) == "invented"),
        stated=len(stated),
        marks=tuple((n.start, n.end, _kind(n, in_truth, in_sources)) for n in said),
    )


def _kind(number: Number, truth: NumberSet, sources: NumberSet) -> str:
    if truth.states(number):
        return "recalled"
    return "known" if truth.supports(number) or sources.supports(number) else "invented"


def _different(text: str, numbers: Iterable[Number]) -> list[tuple[Number, str]]:
    """Each number once, in order, with its first wording; "47 cm" and "47" are one number."""
    kept: list[tuple[Number, str]] = []
    seen = NumberSet(())
    for number in sorted(numbers, key=lambda n: not n.dimension):
        if not seen.states(number):
            kept.append((number, text[number.start : number.end]))
            seen.add(number)
    return sorted(kept, key=lambda pair: pair[0].start)
