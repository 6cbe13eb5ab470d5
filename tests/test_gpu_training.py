"""The benchmark for GPUs runs its whole path on a processor, at the pocket docent's shape."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from musequest import approach_figures
from musequest.files import read_json, write_json
from musequest.finetuning.collator import DocentCollator
from musequest.finetuning.memory import GIB, memory_of
from musequest.finetuning.models import load_processor
from musequest.finetuning.row_shape import shape_of
from musequest.finetuning.trainer import chosen_settings
from musequest.home import root
from musequest.settings import load_approach

sys.path.append(str(root() / "benchmarks"))
import gpu_training


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


def test_what_a_gpu_held_is_what_was_to_be_expected(tmp_path):
    """The estimate by which rows and GPUs are chosen, held against the tensors of real steps."""
    if not gpu_training.RECORD.exists():
        pytest.skip("no GPU has been measured yet")
    kept = read_json(gpu_training.RECORD)
    gpu_training.make_config(gpu_training.SHAPE, tmp_path)
    own = gpu_training.profile_of(tmp_path, kept["photo_px"])
    profile = replace(own, dtype="bfloat16", training=own.training | {"bf16": True})
    collator = DocentCollator(load_processor(profile))
    rows = gpu_training.Dialogs(profile, kept["photo_px"], kept["longest_text_tokens"])
    row = shape_of(collator.encode(rows[0]), 14)
    for run in kept["runs"]:
        approach = load_approach(run["approach"])
        needed = memory_of(profile, approach, chosen_settings(profile, approach), row)
        expected = needed.total(run["rows_a_step"], run["recomputed"]) / GIB
        assert 0.93 * run["held_gib"] < expected < 1.25 * run["held_gib"], run
