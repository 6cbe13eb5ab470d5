"""The scores that lie in a folder already, so that no answer is scored twice.

scoring.json tells under `kept` what the rows of each system in scores.parquet and facts.parquet
were computed from, as one digest: its answers, the items with their ground truths, the exhibits'
texts, the encoder, the base model, and the code and libraries that score. Rows of another digest
are computed anew, and all are where a file is not the one that was written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.files import file_digest, read_remade
from ..core.tables import read_table
from ..systems.registry import OUTSIDERS
from ..text.encoder import SHA256
from .answers import Answers, Given
from .base_model import BaseModel

FILES = {"scores": "scores.parquet", "facts": "facts.parquet"}
LIBRARIES = ("numpy", "rapidfuzz", "sentence-transformers", "tokenizers", "torch", "transformers")
Rows = tuple[pd.DataFrame, pd.DataFrame]  # of scores.parquet and of facts.parquet


class KeptScores:
    """What is kept in a folder; nothing without one, or where its files are others."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path()
        told = read_remade(folder / "scoring.json").get("kept") if folder else None
        whole = told and told["files"] == digests_of_files(self.folder)
        self.digests: dict[str, str] = told["systems"] if told and whole else {}

    @cached_property
    def tables(self) -> Rows:
        """All rows of the folder."""
        scores, facts = (read_table(kind, self.folder / name) for kind, name in FILES.items())
        return scores, facts

    def rows(self, name: str, digest: str) -> Rows | None:
        """A system's rows, or with `__outsiders` those about outside things; None if not kept."""
        if self.digests.get(name) != digest:
            return None
        scores, facts = self.tables
        model, outside = name.removesuffix(f"__{OUTSIDERS}"), name.endswith(f"__{OUTSIDERS}")
        own = scores[(scores.model == model) & ((scores.track == OUTSIDERS) == outside)]
        return own, facts[facts.model == name]


def digests_of_files(folder: Path) -> dict[str, str | None]:
    """The SHA-256 of both tables, by their names."""
    return {name: file_digest(folder / name) for name in FILES.values()}


def digests_of_systems(
    answers: Answers, given: Mapping[str, Given], base: BaseModel | None
) -> dict[str, str]:
    """Name -> SHA-256 of all that a system's scores depend on; outsiders as `lora__outsiders`."""
    read_by = [SHA256, base and [base.fingerprint, base.profile.dtype]]
    shared = _digest(_code(), answers.items.to_dict("list"), answers.exhibits_sha256, read_by)
    own = {
        name: _digest(
            shared, each.answers,
            *(np.ravel(of).tolist() for of in (each.places, each.seconds, each.confidence)),
        )
        for name, each in given.items()
    }  # fmt: skip
    outside = {
        f"{name}__{OUTSIDERS}": _digest(shared, table.to_dict("list"))
        for name, table in answers.outsiders.items()
    }
    return own | outside


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


@cache
def _code() -> str:
    """Of the packages whose code decides a score, and the libraries they ask."""
    package = Path(__file__).parents[1]
    sources = [*package.glob("evaluation/*.py"), *package.glob("text/*.py")]
    return _digest(
        {str(path.relative_to(package)): file_digest(path) for path in sorted(sources)},
        {name: version(name) for name in LIBRARIES},
    )
