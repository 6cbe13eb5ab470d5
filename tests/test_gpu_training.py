"""The benchmark for GPUs runs its whole path on a processor, at the pocket docent's shape."""

import json
import subprocess
import sys

import pytest

from musequest import approach_figures
from musequest.files import read_json, write_json
from musequest.home import root


@pytest.fixture(scope="module")
def record():
    command = [sys.executable, str(root() / "benchmarks/gpu_training.py"), "--rows", "2"]
    command += ["--shape", str(root() / "assets/pocket_docent"), "--photo-px", "56"]
    command += ["--text-tokens", "24", "--steps", "4", "--approaches", "lora", "qlora", "full"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_each_approach_is_timed_and_its_memory_counted(record):
    assert [run["approach"] for run in record["runs"]] == ["lora", "qlora", "full"]
    for run in record["runs"]:
        assert run["samples_per_second"] == pytest.approx(2 / run["seconds_a_step"], rel=0.01)
        assert run["peak_memory_gib"]["cpu"] > 0.1 and run["steps"] == 4
    assert record["weights"] == "random" and record["hardware"]["cpu_cores"] >= 1


def test_the_readme_shows_it(record, monkeypatch, tmp_path):
    (tmp_path / "benchmarks/records").mkdir(parents=True)
    monkeypatch.setattr(approach_figures, "root", lambda: tmp_path)
    assert "No GPU has been measured yet" in approach_figures.gpu_training()
    write_json(tmp_path / "benchmarks/records/gpu_training.json", record)
    assert read_json(tmp_path / "benchmarks/records/gpu_training.json") == record
    shown = approach_figures.gpu_training()
    assert "| lora | 2 | 4 | False |" in shown and "no GPU" in shown
