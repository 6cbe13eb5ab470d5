"""The benchmark for GPUs runs its whole path on a processor, at the pocket docent's shape."""

import json
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from musequest.book import comparison_tables
from musequest.files import read_json, write_json
from musequest.finetuning.activations import RowShape
from musequest.finetuning.collator import DocentCollator
from musequest.finetuning.memory import memory_of
from musequest.finetuning.models import load_processor
from musequest.finetuning.records import GIB
from musequest.finetuning.run_config import RunConfig
from musequest.home import root
from musequest.settings import load_approach

sys.path.append(str(root() / "benchmarks"))
import gpu_training
import made_up


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
    monkeypatch.setattr(comparison_tables, "root", lambda: tmp_path)
    assert "No GPU has been measured yet" in comparison_tables.gpu_training()
    write_json(tmp_path / "benchmarks/records/gpu_training.json", record)
    assert read_json(tmp_path / "benchmarks/records/gpu_training.json") == record
    shown = comparison_tables.gpu_training()
    assert "| lora | 2 | 4 | False |" in shown and "no GPU" in shown


@pytest.mark.parametrize(("fixed", "hidden", "a_row"), [(16, 0, 4.5), (59, 14, 0.4), (59, 14, 1)])
def test_the_most_rows_are_foretold_although_an_optimizer_hides_the_first(fixed, hidden, a_row):
    """`fixed` GiB of weights; a step's rows and what the optimizer takes beside never meet."""
    tried = []

    def run(rows):
        tried.append(rows)
        held = fixed + max(hidden, a_row * rows)
        return {"held_gib": held} if held < 139 else None

    most = gpu_training.most_rows(run, 140)
    assert most == pytest.approx((0.95 * 140 - fixed) / a_row, rel=0.08)
    assert len(tried) < 8


def test_rows_that_do_not_fit_at_all_are_where_it_begins_to_try_fewer():
    assert gpu_training.most_rows(lambda rows: None, 80) == gpu_training.FEW
    few = {"held_gib": 60.0}
    assert gpu_training.most_rows(lambda rows: few if rows < 32 else None, 80) == 32


def test_every_step_is_a_full_one(record, tmp_path):
    made_up.make_config(root() / "assets/pocket_docent", tmp_path)
    dialogs = made_up.Dialogs(gpu_training.profile_of(tmp_path, 56), 56, 24)
    for rows in (3, 10, 64, 96, 130):
        given = dialogs.full_steps(rows)
        assert len(given) % rows == 0 and min(64 - rows, rows) < len(given) < 64 + rows


def test_what_was_measured_before_it_broke_off_is_kept(monkeypatch):
    """A process that dies has handed over each measurement that it made."""
    code = "import json,os; print(json.dumps({'rows_a_step': 2}), flush=True); os._exit(9)"
    monkeypatch.setattr(gpu_training.subprocess, "Popen", partial(_in_its_place, code))
    chosen = Namespace(steps=1, seconds=1, photo_px=8, text_tokens=8, rows=0)
    found = list(gpu_training.in_own_process(Path("base"), "lora", chosen))
    assert found == [{"rows_a_step": 2}, {"approach": "lora", "reason": "ended with code 9"}]


def _in_its_place(code, command, popen=subprocess.Popen, **options):
    return popen([sys.executable, "-c", code], **options)


def test_what_a_gpu_held_is_what_was_to_be_expected(tmp_path):
    """The estimate by which rows and GPUs are chosen, held against the tensors of real steps."""
    if not gpu_training.RECORD.exists():
        pytest.skip("no GPU has been measured yet")
    kept = read_json(gpu_training.RECORD)
    made_up.make_config(gpu_training.SHAPE, tmp_path)
    own = gpu_training.profile_of(tmp_path, kept["photo_px"])
    profile = replace(own, dtype="bfloat16", training=own.training | {"bf16": True})
    collator = DocentCollator(load_processor(profile))
    rows = made_up.Dialogs(profile, kept["photo_px"], kept["longest_text_tokens"])
    row = RowShape.of(collator.encode(rows[0]), 14)
    for run in kept["runs"]:
        needed = memory_of(RunConfig.resolve(profile, load_approach(run["approach"])), row)
        expected = needed.total(run["rows_a_step"], run["recomputed"]) / GIB
        assert 0.95 * run["held_gib"] < expected < 1.08 * run["held_gib"], run
