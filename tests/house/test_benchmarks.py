"""The benchmarks run their whole path on a processor, in a tiny form, and the readmes show them."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tiny_dialogs import write_dataset, write_exhibits, write_profile

from benchmarks.tables import benchmark_tables, blocks
from musequest.core.files import read_json, write_json
from musequest.core.home import root
from musequest.core.settings import load_approach
from musequest.finetuning.activations import RowShape
from musequest.finetuning.collator import DocentCollator
from musequest.finetuning.gpus import find_gpu
from musequest.finetuning.memory import memory_of
from musequest.finetuning.models import load_processor
from musequest.finetuning.records import GIB
from musequest.finetuning.run_config import RunConfig
from musequest.finetuning.training import train

sys.path.append(str(root() / "benchmarks"))
import made_up
import setup
import training as bench
import ways

POCKET = root() / "assets/pocket_docent"
SMALL = ["--photo-px", "56", "--text-tokens", "24"]


@pytest.fixture(scope="module")
def figures_of(forks):
    """What a script prints; its process, and those that it starts, are forks."""

    def run(script, *arguments):
        command = [forks.python, str(root() / f"benchmarks/{script}.py"), *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | {"PYTHON_EXEC": forks.python}
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """What the readmes show of a record, and that without one they say so."""
    monkeypatch.setattr(blocks, "root", lambda: tmp_path)
    (tmp_path / "benchmarks/records").mkdir(parents=True)

    def show(table, name, record):
        assert "measured yet" in table()
        write_json(tmp_path / f"benchmarks/records/{name}.json", record)
        assert read_json(tmp_path / f"benchmarks/records/{name}.json") == record
        return table()

    return show


# To compile wants a compiler, which a machine may lack.
TIMED = [name for name, way in ways.WAYS.items() if not way.compiled]


@pytest.fixture(scope="module")
def record(figures_of):
    """The path of a GPU: each way to train in turn, one approach a process."""
    sizes = [*SMALL, "--folder", POCKET, "--rows", 2, "--steps", 2, "--rounds", 1]
    return figures_of("training", "8b", *sizes, "--approaches", "qlora", "--ways", *TIMED)


def test_each_way_to_train_is_timed(record):
    assert [run["way"] for run in record["runs"]] == TIMED
    for run in record["runs"]:
        assert run["samples_per_second"] == pytest.approx(2 / run["seconds_a_step"], rel=0.01)
        assert run["seconds_until_even"] > 0 and run["steps"] == 2
        recomputing = run["way"] in ("published", "with all activations recomputed")
        assert run["recomputed"] == recomputing
    assert record["weights"] == "random" and record["hardware"]["cpu_cores"] >= 1
    ours, published = (run["seconds_a_step"] for run in record["runs"][:2])
    times = record["times_ours"]["seconds_a_step"]["qlora"]["published"]
    assert times == pytest.approx(published / ours, rel=0.01)
    assert record["gflop"]["vision"] > 0 and record["gflop"]["text"] > 0


def test_the_readme_shows_the_gpu(record, shown):
    table = shown(benchmark_tables.gpu_training, "gpu_training", record)
    assert "| qlora | 2 | 2 | False |" in table and "no GPU" in table
    assert "| without the vision store |" in table


def test_whole_runs_by_both_recipes_are_held_against_each_other(shown, figures_of):
    sizes = [*SMALL, "--folder", POCKET, "--rows", 2, "--steps", 1, "--rounds", 1]
    sizes += ["--train-rows", 4, "--approaches", "full", "--ways", "ours", "published"]
    record = figures_of("training", "scaled", *sizes)
    published, ours = record["whole_runs"]
    assert (published["recipe"], ours["recipe"]) == ("published", "ours")
    assert published["steps"] == ours["steps"] == 6  # three epochs of two steps
    # The same weights learn from the same rows, in another order.
    assert published["best_eval_loss"] == pytest.approx(ours["best_eval_loss"], rel=0.02)
    assert published["disk_gib"] > 3 * ours["disk_gib"]  # six checkpoints, each with its optimizer
    assert "| full |" in shown(benchmark_tables.training_recipes, "training", record)


def test_schedules_of_model_parallelism_are_timed(shown, figures_of):
    sizes = ["--shape", POCKET, *SMALL, "--batches", 4, "--steps", 2, "--rounds", 1]
    record = figures_of("pipeline", *sizes)
    sequential, both = (run["seconds_a_step"] for run in record["runs"])
    [schedule] = record["schedules"]
    assert schedule["times_sequential"] == pytest.approx(sequential / both, rel=0.01)
    text = shown(benchmark_tables.pipeline_schedules, "pipeline", record)
    assert "a step of 4 rows in 2 micro-batches" in text and "at best 1.33" in text


def test_ways_to_answer_are_timed_and_their_answers_compared(
    shown, figures_of, tmp_path, home, tiny_docent
):
    write_dataset(home, "tiny")
    profile = write_profile(tmp_path, tiny_docent)
    train(profile, overrides={"max_steps": "1"}, progress=False)
    record = figures_of("generation", "--profile", tmp_path / "tiny.yaml", "--rounds", 1)
    assert {each["same_answers"] for each in record["ways"].values()} == {3}
    assert all(each["times_as_long"] > 0 for each in record["ways"].values())
    table = shown(benchmark_tables.generation_ways, "generation", record)
    assert "| 1.0 | 3 of 3 |" in table


def test_other_kernels_and_threads_learn_the_same_seeds(
    home, tmp_path, tiny_docent, shown, figures_of
):
    write_dataset(home, "tiny")
    profile = write_profile(tmp_path, tiny_docent)
    ways = ["--profile", tmp_path / f"{profile.name}.yaml", "--ways", "avx2_one_thread"]
    record = figures_of("processors", tmp_path / "kept", *ways)
    found = record["ways"]["avx2_one_thread"]
    assert found["threads"] == 1 and [*found["seeds"]] == ["1"]
    assert 0 <= found["seeds"]["1"]["embedding_distance"] <= 1
    again = figures_of("processors", tmp_path / "kept", *ways)
    assert again["ways"] == record["ways"]  # with the minutes of the training that was kept
    assert "| avx2 one thread |" in shown(benchmark_tables.processors, "processors", record)


def test_copies_are_counted_by_the_second(shown, figures_of):
    record = figures_of("augmentation", "--exhibits", 2, "--photo-px", 48, "--rounds", 1)
    assert {run["copies"] for run in record["runs"]} == {28}
    assert "copies a second" in shown(benchmark_tables.augmentation_speed, "augmentation", record)


def test_a_setup_is_told_with_what_pip_downloaded(shown):
    printed = """Collecting torch
      Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (899.7 MB)
    Downloading six-1.17.0-py2.py3-none-any.whl (11 kB)
    Using cached idle-1.0.whl (5 MB)
    """
    assert setup.downloaded(printed) == pytest.approx(0.899711)
    told = {"python": "3.11.7", "torch": "2.13.0", "seconds": 60.5}
    record = {
        "setups": [told | {"download_gb": 3.2, "disk_gib": 6.4}],
        "date": "2026-01-02",
        "hardware": {"cpu_cores": 2, "memory_gib": 23.5, "gpus": []},
    }
    table = shown(benchmark_tables.setup_sizes, "setup", record)
    assert "| python | torch | set-up, s | download, GB | disk, GiB |" in table
    assert "| 3.11.7 | 2.13.0 | 60.5 | 3.2 | 6.4 |" in table


@pytest.mark.slow
def test_growing_museums_and_longer_runs_are_timed(shown, figures_of):
    record = figures_of("scale", "--exhibits", 4, "--factors", 1, 2, "--epochs", 1, 2)
    small, large = record["stage_1"]
    assert (small["exhibits"], large["exhibits"]) == (4, 8)
    assert large["disk_gib"] >= small["disk_gib"] and min(small["commands"]["augment"].values()) > 0
    assert "| 8 |" in shown(benchmark_tables.scale, "scale", record)


def test_a_steps_share_of_the_gpus_peak_is_by_what_its_rows_need(tmp_path, home, monkeypatch):
    made_up.make_base_model(POCKET, tmp_path)
    sizes = {"photo_px": 56, "text_tokens": 24, "rows": 2, "dialogs": 2, "steps": 1, "seconds": 1}
    found = ways.Bench(Namespace(base=str(tmp_path), one="lora", **sizes))
    assert found.mfu(2, 1.0) is None  # no GPU is here
    monkeypatch.setattr(ways, "gpu_here", lambda: find_gpu("H200"))
    assert 0 < found.mfu(200, 1.0) == pytest.approx(2 * found.mfu(200, 2.0), rel=0.01)


def test_what_is_on_record_of_other_approaches_stays_where_all_else_is_the_same(
    tmp_path, monkeypatch
):
    figures = {"shape": "8b", "photo_px": 800, "longest_text_tokens": 9, "hardware": {"gpus": "a"}}
    figures |= {"versions": {"torch": "2"}, "runs": [{"approach": "lora"}, {"approach": "full"}]}
    monkeypatch.setitem(bench.RECORDS, "8b", tmp_path / "record.json")
    chosen = Namespace(shape="8b", approaches=["full", "qlora"])
    assert bench.others(figures, chosen) == []
    write_json(tmp_path / "record.json", figures)
    assert bench.others(figures, chosen) == [{"approach": "lora"}]
    assert bench.others({**figures, "hardware": {"gpus": "b"}}, chosen) == []


@pytest.mark.parametrize(("fixed", "hidden", "a_row"), [(16, 0, 4.5), (59, 14, 0.4), (59, 14, 1)])
def test_the_most_rows_are_foretold_although_an_optimizer_hides_the_first(fixed, hidden, a_row):
    """`fixed` GiB of weights; a step's rows and what the optimizer takes beside never meet."""
    tried = []

    def run(rows):
        tried.append(rows)
        held = fixed + max(hidden, a_row * rows)
        return {"held_gib": held} if held < 139 else None

    most = ways.most_rows(run, 140)
    assert most == pytest.approx((0.95 * 140 - fixed) / a_row, rel=0.08)
    assert len(tried) < 8


def test_rows_that_do_not_fit_at_all_are_where_it_begins_to_try_fewer():
    assert ways.most_rows(lambda rows: None, 80) == ways.FEW
    few = {"held_gib": 60.0}
    assert ways.most_rows(lambda rows: few if rows < 32 else None, 80) == 32


def test_every_step_is_a_full_one(tmp_path):
    made_up.make_config(POCKET, tmp_path)
    chosen = Namespace(photo_px=56, rows=0)
    dialogs = made_up.Dialogs(ways.profile_of(tmp_path, chosen), 56, 24)
    for rows in (3, 10, 64, 96, 130):
        given = dialogs.full_steps(rows)
        assert len(given) % rows == 0 and min(64 - rows, rows) < len(given) < 64 + rows


def test_what_was_measured_before_it_broke_off_is_kept(monkeypatch):
    """A process that dies has handed over each measurement that it made."""
    code = "import json,os; print(json.dumps({'rows_a_step': 2}), flush=True); os._exit(9)"
    monkeypatch.setattr(bench.subprocess, "Popen", partial(_in_its_place, code))
    sizes = {"steps": 1, "seconds": 1, "photo_px": 8, "text_tokens": 8, "rows": 0}
    chosen = Namespace(**sizes, rounds=1, dialogs=1, shape="8b")
    found = list(bench.in_own_process("steps", Path("base"), "lora", ["ours"], chosen))
    assert found == [{"rows_a_step": 2}, {"approach": "lora", "reason": "ended with code 9"}]


def _in_its_place(code, command, popen=subprocess.Popen, **options):
    return popen([sys.executable, "-c", code], **options)


def test_what_a_gpu_held_is_what_was_to_be_expected(tmp_path):
    """The estimate by which rows and GPUs are chosen, held against the tensors of real steps."""
    if not bench.RECORDS["8b"].exists():
        pytest.skip("no GPU has been measured yet")
    kept = read_json(bench.RECORDS["8b"])
    made_up.make_config(ways.SHAPES / "idefics2_8b", tmp_path)
    own = ways.profile_of(tmp_path, Namespace(photo_px=kept["photo_px"], rows=0))
    profile = replace(own, dtype="bfloat16", training=own.training | {"bf16": True})
    collator = DocentCollator(load_processor(profile))
    rows = made_up.Dialogs(profile, kept["photo_px"], kept["longest_text_tokens"])
    row = RowShape.of(collator.encode(rows[0]), 14)
    measured = [run for run in kept["runs"] if run.get("way", "ours") == "ours"]
    needed = {
        name: memory_of(RunConfig.resolve(profile, load_approach(name)), row)
        for name in {run["approach"] for run in measured}
    }
    for run in measured:
        total = needed[run["approach"]].total(run["rows_a_step"], run["recomputed"])
        expected = total / GIB
        assert 0.95 * run["held_gib"] < expected < 1.08 * run["held_gib"], run


def test_what_the_catalogue_bears_out_is_counted_and_planted_facts_are_found(
    shown, figures_of, tmp_path, home, tiny_docent
):
    write_dataset(home, "tiny")
    texts = {"red-jug": "Ida made the red jug in 1700.", "blue-bowl": "It was kept dry."}
    write_exhibits(home, texts | {"green-vase": "The green vase was made in 1702."})
    write_profile(tmp_path, tiny_docent)
    typed = ["--profile", tmp_path / "tiny.yaml", "--approach", "retrieval"]
    record = figures_of("sources", *typed)
    assert record["questions"] == 3 and record["planted"]["true"] == 0
    assert 0 < record["without_source"] < record["sentences"]
    assert record["citations"] == record["sentences"] - record["without_source"]
    strict, said = record["shown"]["strict"], record["shown"]["as said"]
    assert strict["words"] < said["words"] and strict["invented_number_rate"] == 0
    table = shown(benchmark_tables.sources, "sources", record)
    assert "| words |" in table and f"{record['sentences']} sentences" in table
