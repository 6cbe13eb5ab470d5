"""The metrics, one column of scores.parquet each; every file of this folder holds some of them.

A metric is a function from a ScoringBatch (one system's answers beside their ground truths) to one
value an item, NaN where it has none, registered by `@metric(...)` with its range, direction,
formula and source. To add one, put a file with such a function into this folder: scores, summary,
tables, figures and report take it from METRICS.
"""

from __future__ import annotations

import importlib
import pkgutil

from .registry import METRICS, Metric, metric

# In this order they stand in every table; files that are added come behind.
FIRST = ("meaning", "identity", "truth", "wording", "refusal")

__all__ = ["METRICS", "Metric", "item_metrics", "metric", "outsider_metrics"]


def item_metrics() -> list[Metric]:
    """The metrics of answers about the collection's exhibits."""
    return [each for each in METRICS.values() if not each.of_outsiders]


def outsider_metrics() -> list[Metric]:
    """The metrics of answers about things that are not in the collection."""
    return [each for each in METRICS.values() if each.of_outsiders]


def _find() -> None:
    files = {module.name for module in pkgutil.iter_modules(__path__)} - {"registry"}
    for name in [*FIRST, *sorted(files - set(FIRST))]:
        importlib.import_module(f"{__name__}.{name}")


_find()
