"""What a system is: it is shown photos and questions, and answers."""

from __future__ import annotations

import functools
import gc
import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from ..predictions import Journal
from ..settings import Profile

Rows = Sequence[Mapping[str, Any]]  # of the dataset; `image` is a photo, or None to show none


class System(ABC):
    """Answers rows of one profile's dataset; subclasses of this package's modules are known."""

    name: str  # its folder under runs/<profile>/
    local: ClassVar[bool] = True  # whether it costs nothing to ask it about other photos too

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.journal: Journal | None = None  # where answers are written down as they come
        self.problems: list[str] = []  # one sentence an answer that is not as it should be

    @abstractmethod
    def asked(self, split: str) -> dict[str, Any]:
        """What decides the answers, in values that JSON knows; the same again is not asked again.

        It holds at least profile, system, split and dataset_fingerprint.
        """

    @abstractmethod
    def answer(self, rows: Rows, *, progress: bool = True) -> list[dict[str, Any]]:
        """One row of predictions.parquet for each of `rows`, in their order.

        A row without an answer may lack; `problems` says why. MuseQuestError where the system
        cannot answer at all.
        """

    def cost(self) -> dict[str, float]:
        """What the answers took besides `seconds`, each with its unit in its name."""
        return {}


def free_memory() -> None:
    """Give back what a model took that nothing refers to any more, its GPU's memory too."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@functools.cache
def known_systems() -> dict[str, type[System]]:
    """The systems that have a file of their own here, by name."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")
    waiting, found = [System], {}
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if "name" in vars(kind):
            found[kind.name] = kind
    return found
