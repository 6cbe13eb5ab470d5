"""The benchmark of scoring runs, and stage 3's readme shows what it measured."""

import json
import os
import subprocess

import pytest

from benchmarks.tables import benchmark_tables, blocks
from musequest.core.files import write_json
from musequest.core.home import root


@pytest.fixture(scope="module")
def figures(forks):
    command = [forks.python, str(root() / "benchmarks/scoring.py"), "--answers", "8"]
    options = {"cwd": root(), "env": os.environ | {"PYTHON_EXEC": forks.python}}
    done = subprocess.run(command, capture_output=True, text=True, check=True, **options)
    return json.loads(done.stdout)


def test_scoring_is_held_against_loops_that_take_one_answer_at_a_time(figures):
    few, many = figures["scored"]
    assert (few["answers"], many["answers"]) == (8, 16) and few["controls"] == 6
    assert min(few["seconds"], few["peak_memory_mib"]) > 0
    loops = figures["one_by_one"]
    assert set(loops) == set(figures["times_faster"]) == set(benchmark_tables.WAYS)
    spent = {way: loops[way]["processor_seconds"] for way in loops}
    assert spent["encoding"] <= spent["all_metrics"]
    assert spent["all_metrics"] < spent["all_metrics_with_every_reference"]
    assert all(each["seconds"] > 0 for each in loops.values())


def test_the_readme_shows_it(figures, monkeypatch, tmp_path):
    monkeypatch.setattr(blocks, "root", lambda: tmp_path)
    assert "Not measured yet" in benchmark_tables.scoring_speed()
    (tmp_path / "benchmarks/records").mkdir(parents=True)
    write_json(tmp_path / benchmark_tables.SCORING, figures)
    shown = benchmark_tables.scoring_speed()
    assert "8 answers of about 150 words about 65 exhibits" in shown
    assert all(f"| {way} |" in shown for way in benchmark_tables.WAYS.values())
