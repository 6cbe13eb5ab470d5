"""A block of a readme: a text in markdown that a function makes of a record in benchmarks/records/.

    @block(RECORDS / "setup.json", "Set-up has not been measured yet.\n")
    def setup_sizes(record): ...

It stands between `<!-- figures: setup_sizes -->` and `<!-- end -->`, where `readme_tables` puts it.
The other modules hold such functions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from musequest.core.files import read_json
from musequest.core.home import root

Record = dict[str, Any]

RECORDS = Path("benchmarks/records")
BLOCKS: dict[str, Callable[[], str]] = {}


def block(record: Path, absent: str = "") -> Callable[[Callable[[Any], str]], Callable[[], str]]:
    """Register a function under its own name, as what the readmes can show.

    It is given the content of `record`, a JSON or CSV file of the repository; without that file
    the readmes show the sentence `absent`.
    """

    def register(write: Callable[[Any], str]) -> Callable[[], str]:
        @functools.wraps(write)
        def shown() -> str:
            path = root() / record
            if absent and not path.exists():
                return absent
            return write(read_csv(path) if path.suffix == ".csv" else read_json(path, Record))

        BLOCKS[write.__name__] = shown
        return shown

    return register


def read_csv(path: Path) -> pd.DataFrame:
    """A table of texts, as they stand in the file."""
    return pd.read_csv(path, dtype=str).fillna("")


def markdown(frame: pd.DataFrame) -> str:
    """A table in markdown."""
    lines = [list(map(str, frame.columns)), ["---"] * frame.shape[1]]
    lines += [list(map(str, row)) for row in frame.itertuples(index=False)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def spaced(frame: pd.DataFrame) -> pd.DataFrame:
    """The same table with words as heads of its columns."""
    return frame.rename(columns=lambda name: name.replace("_", " "))


def machine(hardware: Record) -> str:
    """A machine in words, of `hardware` as records hold it."""
    gpus = ", ".join(hardware["gpus"]) or "no GPU"
    return f"{hardware['cpu_cores']} CPU cores, {hardware['memory_gib']:.0f} GiB of memory, {gpus}"


def measured(record: Record) -> str:
    """When a record was made, and on which machine."""
    return f"Measured on {record['date']} ({machine(record['hardware'])})"


def read_record(path: Path) -> Record | None:
    """A record of the repository; None where none is kept yet."""
    return read_json(root() / path, Record) if (root() / path).exists() else None


def where(record: Record) -> str:
    """When and where a record was made, in short."""
    return f"{record['date']}, {machine(record['hardware'])}"
