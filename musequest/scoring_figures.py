"""The figures of how fast answers are scored, from the record of benchmarks/scoring.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from .files import read_json
from .home import root
from .markdown import machine, markdown

RECORD = Path("benchmarks/records/scoring.json")
WAYS = {
    "encoding": "encoding answer and ground truth alone, one by one",
    "encoding_with_every_reference": "the same, and every exhibit's reference for each answer",
    "all_metrics": "all metrics for one answer at a time, the references encoded once",
    "all_metrics_with_every_reference": "the same, the references encoded for each answer",
}
BELOW_ONE = (
    "Below 1 the loop is faster, for it does less: none of them has controls, intervals or "
    "differences, and one that only encodes has no published score, no numbers, names or ROUGE."
)


def scoring_speed() -> str:
    """Seconds and memory of scoring, beside loops that take one answer at a time."""
    if not (root() / RECORD).exists():
        return "Not measured yet; the command above does so.\n"
    record = read_json(root() / RECORD, dict[str, Any])
    few, many = record["scored"]
    told = (
        f"{few['answers']:,} answers of about {record['words_an_answer']} words about "
        f"{record['exhibits']} exhibits, with all metrics, {few['controls']:,} answers of controls "
        f"beside them, intervals and differences: **{few['seconds']:.0f} s** "
        f"({machine(record['hardware'])}). {many['answers']:,} answers take "
        f"{many['seconds']:.0f} s. The most memory held is {few['peak_memory_mib']:,} MiB for the "
        f"smaller number and {many['peak_memory_mib']:,} MiB for the larger "
        f"({record['memory_growth_mib']:+,} MiB)."
    )
    return f"{told}\n\n{markdown(_ways(record))}\n{BELOW_ONE}\n"


def _ways(record: dict[str, Any]) -> pd.DataFrame:
    """A row a way of scoring the same answers in a loop."""
    return pd.DataFrame(
        {
            "a loop over the same answers": WAYS[way],
            "seconds": f"{spent['seconds']:,.0f}",
            "times as many": f"{times['seconds']:.1f}",
            "processor seconds": f"{spent['processor_seconds']:,.0f}",
            "times as many of these": f"{times['processor_seconds']:.1f}",
        }
        for (way, spent), times in zip(
            record["one_by_one"].items(), record["times_faster"].values(), strict=True
        )
    )


BLOCKS: dict[str, Callable[[], str]] = {"scoring_speed": scoring_speed}
