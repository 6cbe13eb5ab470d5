"""Minutes and memory of measured runs, each foreseen from the others, as the record says."""

import statistics
import sys

import pytest

from musequest.core.files import read_json
from musequest.core.home import root
from musequest.finetuning.forecast import RECORD

sys.path.insert(0, str(root() / "benchmarks"))

import forecast as benchmark

PUBLISHED = 10  # tuned runs; those behind them are our own


@pytest.fixture(scope="module")
def measured():
    return [*benchmark.published_runs(), *benchmark.own_steps()]


@pytest.fixture(scope="module")
def left_out(measured):
    return benchmark.table(measured)


def test_each_run_is_foreseen_from_the_others(left_out):
    """It fits, memory is within 15 %, minutes within 30 % and in the median within 15 %."""
    assert len(left_out) == PUBLISHED + 8
    assert all(row["fits"] for row in left_out[:PUBLISHED])
    errors = [abs(row["minutes_error"]) for row in left_out if "minutes_error" in row]
    assert max(errors) < 0.3 and statistics.median(errors[:PUBLISHED]) < 0.15
    held = [abs(row["memory_error"]) for row in left_out if "memory_error" in row]
    assert max(held) < 0.15


def test_the_record_is_what_the_fit_finds(measured, left_out):
    kept = read_json(RECORD, dict)
    assert kept["left_out"] == left_out
    for name, value in benchmark.fit(measured).items():
        assert kept["constants"][name] == pytest.approx(value, rel=1e-3)
    for of in ("minutes", "memory"):
        worst = max(abs(row[f"{of}_error"]) for row in left_out if f"{of}_error" in row)
        assert kept["constants"][f"{of}_error"] == worst


def test_a_run_left_out_says_nothing_of_its_own_forecast(measured, left_out):
    """A run that took a hundred times as long changes its error, not what was foreseen of it."""
    slower = [benchmark.replace(measured[0], seconds=100 * measured[0].seconds), *measured[1:]]
    before, after = left_out[0], benchmark.table(slower)[0]
    assert before["minutes_foreseen"] == after["minutes_foreseen"]
    assert before["minutes_error"] != after["minutes_error"]
