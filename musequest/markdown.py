"""What the figures of all readmes are made of: tables in markdown, and machines in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd


def markdown(frame: pd.DataFrame) -> str:
    """A table in markdown."""
    lines = [list(map(str, frame.columns)), ["---"] * frame.shape[1]]
    lines += [list(map(str, row)) for row in frame.itertuples(index=False)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def machine(hardware: Mapping[str, Any]) -> str:
    """A machine in words, of `hardware` as records hold it."""
    gpus = ", ".join(hardware["gpus"]) or "no GPU"
    return f"{hardware['cpu_cores']} CPU cores, {hardware['memory_gib']:.0f} GiB of memory, {gpus}"
