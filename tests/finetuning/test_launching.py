"""Several processes train as one would: same steps, same weights, one record, one voice a rank."""

import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import launched
import numpy as np
import pytest
import torch
from forked import free_port, in_child, in_processes, print_to
from safetensors.torch import load_file
from tiny_dialogs import write_dataset, write_profile
from torch.distributed.distributed_c10d import _get_default_group

from musequest.__main__ import main
from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json
from musequest.core.home import root
from musequest.core.settings import load_approach
from musequest.core.tables import read_table
from musequest.finetuning import distributed
from musequest.finetuning.checkpoints import RunFolder
from musequest.finetuning.training import train

FIVE_STEPS = {
    **{"num_train_epochs": 2, "eval_steps": 1, "seed": 1, "learning_rate": 0.01},
    "activation_checkpointing": False,
}


@pytest.fixture(scope="module", autouse=True)
def ranks_are_forks(forks):
    """The processes that torchrun starts here are forks, unless a test takes this back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHON_EXEC", forks.python)
        yield


def write_run(folder, docent, rows_a_process, **training):
    """A home and profile whose every step, of three an epoch, is logged and validated.

    Without dropout nothing is left to chance in a step.
    """
    write_dataset(folder, "tiny")
    batch = {"per_device_train_batch_size": rows_a_process, "per_device_eval_batch_size": 2}
    training = {**FIVE_STEPS, **batch, **training}
    return write_profile(folder, docent, training=training, lora={"lora_dropout": 0.0})


def environment(home):
    paths = [str(root()), str(Path(launched.__file__).parent)]
    return {
        **os.environ,
        "MUSEQUEST_HOME": str(home),
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
    }


@dataclass
class Printed:
    """What the processes of a run printed, all of them together."""

    stdout: str
    stderr: str


def in_two(home, *arguments) -> Printed:
    """`launched.main` in two processes."""
    told = Path(tempfile.mkdtemp(dir=home))
    in_processes(launched_in, home, told, *arguments)
    return Printed(*((told / name).read_text() for name in ("out", "err")))


def launched_in(home, told, *arguments):
    os.environ["MUSEQUEST_HOME"] = str(home)
    print_to(told)
    launched.main(str(home / "tiny.yaml"), *arguments)


def patience():
    distributed.barrier()
    return _get_default_group()._get_backend(torch.device("cpu")).options._timeout


def test_processes_wait_two_hours_for_one_another():
    """Longer than the library: one of them may write a large checkpoint meanwhile."""
    assert in_processes(patience) == [timedelta(hours=2)] * 2


@pytest.fixture(scope="module")
def single(tmp_path_factory, tiny_docent):
    """One process, four rows a step: 3 steps an epoch, the last of each with 2 rows."""
    home = tmp_path_factory.mktemp("single")
    patch = pytest.MonkeyPatch()
    patch.setenv("MUSEQUEST_HOME", str(home))
    train(write_run(home, tiny_docent, 4), "lora", progress=False)
    patch.undo()
    return home / "runs/tiny/lora"


@pytest.fixture(scope="module")
def double(tmp_path_factory, tiny_docent):
    """Two processes of two rows each; the second is stopped in step 3, then both go on.

    That two rows fit is found out by trying, once.
    """
    home = tmp_path_factory.mktemp("double")
    write_run(home, tiny_docent, 2, auto_find_batch_size=True)
    stopped = in_two(home, "lora_ddp", "3")
    between = read_json(home / "runs/tiny/lora_ddp/run.json")
    went_on = in_two(home, "lora_ddp")
    return home / "runs/tiny/lora_ddp", stopped, between, went_on


def metrics(folder):
    return read_table("metrics", folder / "metrics.parquet")


def test_two_processes_take_the_steps_of_one(single, double):
    one, two = metrics(single), metrics(double[0])
    assert one.step.tolist() == two.step.tolist() == [1, 2, 3, 4, 5, 6]
    for loss in ("train_loss", "eval_loss"):
        np.testing.assert_allclose(two[loss], one[loss], rtol=1e-4)


def test_two_processes_end_at_the_weights_of_one(single, double):
    """Also though they were stopped and went on.

    Adam divides a gradient by its size, so where it is nearly zero its rounding shows: at most a
    tenth of one step of 0.01, and on the average far less.
    """
    name = "adapter/adapter_model.safetensors"
    one, two = load_file(single / name), load_file(double[0] / name)
    assert one.keys() == two.keys()
    for key, values in one.items():
        apart = (two[key] - values).abs()
        assert apart.max() < 1e-3 and apart.mean() < 1e-4, key


def test_a_signal_to_one_process_stops_all_with_one_state(double):
    _, stopped, between, _ = double
    assert between["status"] == "interrupted" and "at step 3 of 6" in between["reason"]
    assert "the state is saved" in stopped.stdout


def test_what_fits_is_tried_once_and_known_to_all_processes_that_go_on(double):
    _, stopped, between, went_on = double
    assert between["fitted"]["per_device_train_batch_size"] == 2
    assert read_json(double[0] / "run.json")["fitted"] == between["fitted"]
    assert "2 rows fit at a time" in stopped.stderr
    assert "rows fit at a time" not in went_on.stderr + went_on.stdout


def test_the_record_tells_what_each_process_read(double):
    record = read_json(double[0] / "run.json")
    assert record["status"] == "done" and record["world_size"] == 2
    assert record["global_batch"] == {
        "rows_a_step": 4,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "processes": 2,
    }
    ranks = record["rows_by_rank"]
    assert [each["rank"] for each in ranks] == [0, 1]
    assert sum(each["rows"] for each in ranks) == 10 and not any(e["shared"] for e in ranks)
    first = [name for each in ranks for name in each["first_batch"]]
    assert len(set(first)) == len(first) == 4


def test_lines_say_which_process_printed_them(double):
    shown = double[3].stderr
    assert "[rank 0] training:" in shown
    assert all(line.startswith("[rank ") for line in shown.splitlines() if "step/s" in line)


def test_a_loss_that_breaks_in_one_process_names_the_rows_of_that_one(tmp_path, tiny_docent):
    write_run(tmp_path, tiny_docent, 2)
    stopped = in_two(tmp_path, "lora_ddp", "1", "blind")
    record = read_json(tmp_path / "runs/tiny/lora_ddp/run.json")
    names = ", ".join(sorted(record["rows_by_rank"][1]["first_batch"]))
    assert f"training loss became nan at step 1 with the rows {names};" in record["reason"]
    assert stopped.stdout.count(record["reason"]) == 2


def test_the_process_that_failed_gives_the_reason_not_the_one_it_left(tmp_path, tiny_docent):
    """Under torchrun, started by hand, which ends the others."""
    write_run(tmp_path, tiny_docent, 2)
    command = [distributed.python(), "-m", "torch.distributed.run", "--standalone"]
    asked = [launched.__file__, str(tmp_path / "tiny.yaml"), "lora_ddp", "3", "fail"]
    options = {"env": environment(tmp_path), "capture_output": True, "timeout": 300}
    done = subprocess.run([*command, "--nproc-per-node=2", *asked], **options)
    assert done.returncode != 0
    record = read_json(tmp_path / "runs/tiny/lora_ddp/run.json")
    assert (record["status"], record["reason"]) == ("failed", "RuntimeError: a cable broke")
    went_on = in_two(tmp_path, "lora_ddp")
    record = read_json(tmp_path / "runs/tiny/lora_ddp/run.json")
    assert (record["status"], record["reason"]) == ("done", None), went_on.stdout


def commanded(home, told, *typed):
    """The command in a process of its own, up to the processes that it starts."""

    def command():
        os.environ["MUSEQUEST_HOME"] = str(home)
        os.environ["PYTHONPATH"] = str(root())
        print_to(told)
        return main(["train", "--profile", str(home / "tiny.yaml"), *typed])

    return command


@pytest.mark.parametrize("fresh", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_our_own_launch_passes_on_output_and_errors(tmp_path, tiny_docent, monkeypatch, fresh):
    """`train --processes 2` whose loss breaks; good ones are those of the notebooks."""
    if fresh:
        monkeypatch.delenv("PYTHON_EXEC")
    write_run(tmp_path, tiny_docent, 2)
    typed = ["--approach", "lora_ddp", "--processes", "2", "--set", "learning_rate=1e30"]
    assert in_child(commanded(tmp_path, tmp_path, *typed)) == 1
    told = (tmp_path / "err").read_text()
    last = told.strip().splitlines()[-1]
    assert "[rank 0] training:" in told
    assert "loss became" in last and not last.startswith("[rank")
    record = read_json(tmp_path / "runs/tiny/lora_ddp/run.json")
    assert record["status"] == "failed" and record["reason"] == last


def test_a_process_that_is_killed_is_said_in_a_sentence(tmp_path, tiny_docent, forks, monkeypatch):
    """By the launcher, since the process itself cannot; the others do not wait for it."""
    monkeypatch.setenv("MUSEQUEST_HOME", str(tmp_path))
    profile = write_run(tmp_path, tiny_docent, 2)
    python = tmp_path / "python"  # torchrun has no rank
    cases = f'"") exec {forks.python} "$@";; 0) kill -9 $$;; *) exec sleep 60;;'
    python.write_text(f'#!/bin/sh\ncase "$RANK" in {cases} esac\n')
    python.chmod(0o755)
    monkeypatch.setenv("PYTHON_EXEC", str(python))
    with pytest.raises(MuseQuestError, match="ended without a word.*most likely.*memory") as said:
        train(profile, "lora_ddp", processes=2)
    record = read_json(tmp_path / "runs/tiny/lora_ddp/run.json")
    assert (record["status"], record["reason"]) == ("failed", str(said.value))


def test_killing_who_started_them_makes_the_processes_save_and_end(tmp_path, tiny_docent):
    write_run(tmp_path, tiny_docent, 2)
    typed = ["--approach", "lora_ddp", "--set", "num_train_epochs=1000", "eval_steps=5"]
    folder = tmp_path / "runs/tiny/lora_ddp"
    process = multiprocessing.get_context("fork").Process(
        target=commanded(tmp_path, tmp_path, *typed)
    )
    process.start()
    while not RunFolder(folder).last_state():
        assert process.is_alive(), (tmp_path / "err").read_text()
        time.sleep(0.1)
    process.kill()
    process.join()
    deadline = time.monotonic() + 240
    while "at step" not in (record := read_json(folder / "run.json"))["reason"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert record["status"] == "interrupted" and "SIGTERM at step" in record["reason"]
    step = int(record["reason"].split("at step ")[1].split()[0])
    assert RunFolder(folder).last_state().name == f"checkpoint-{step}"


def test_accelerates_launcher_runs_the_same(tmp_path, tiny_docent, forks):
    """As the readme has it, but in three processes: two would be started without it as well."""
    write_run(tmp_path, tiny_docent, 1)
    readme = root() / "2_model_finetuning/2.3_lora_finetuning_with_ddp"
    text = (readme / "lora_finetuning_with_ddp_readme.md").read_text()
    (documented,) = re.findall("^    accelerate (launch .* lora_ddp)$", text, re.MULTILINE)
    line = documented.replace("--num_processes 2", "--num_processes 3")
    line = line.replace("--profile idefics2-8b", f"--profile {tmp_path}/tiny.yaml")
    script = Path(sys.executable).with_name("accelerate")
    command = [forks.python, str(script), *line.split()]
    options = {"env": environment(tmp_path), "capture_output": True, "text": True}
    done = subprocess.run([*command, "--set", "max_steps=1"], **options)
    assert done.returncode == 0, done.stderr[-3000:]
    record = read_json(tmp_path / "runs/tiny/lora_ddp/run.json")
    assert (record["status"], record["world_size"], record["steps"]) == ("done", 3, 1)


@pytest.mark.parametrize("fresh", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_notebook_launcher_runs_the_same(tmp_path, tiny_docent, forks, fresh):
    """As a cell of the notebook; in a `fresh` interpreter each process imports everything anew."""
    write_run(tmp_path, tiny_docent, 2)
    cell = tmp_path / "cell.py"
    cell.write_text(
        "import os, sys; from accelerate import notebook_launcher\n"
        "from musequest.finetuning import train_rank\n"
        "asked = (sys.argv[1], 'lora_ddp', {'max_steps': 1})\n"
        "if bnb := sys.modules.pop('bitsandbytes', None):  # with which it starts no process\n"
        "    os.register_at_fork(before=lambda: sys.modules.update(bitsandbytes=bnb))\n"
        f"notebook_launcher(train_rank, asked, num_processes=2, use_port='{free_port()}')"
    )
    command = [sys.executable if fresh else forks.python, str(cell), str(tmp_path / "tiny.yaml")]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    record = read_json(tmp_path / "runs/tiny/lora_ddp/run.json")
    assert (record["status"], record["world_size"], record["steps"]) == ("done", 2, 1)


def test_what_the_notebook_launches_is_imported_with_nothing_heavy():
    """It refuses processes that have started a GPU, and torch alone takes seconds."""
    code = (
        "import sys; from musequest.finetuning import train_rank\n"
        "heavy = {'torch', 'transformers', 'peft', 'bitsandbytes'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=root(), check=True)


@pytest.mark.parametrize(
    ("approach", "processes", "gpus", "sentence"),
    [
        ("lora", 2, 0, "'lora' trains in one process, not in 2"),
        ("lora_ddp", 1, 0, "'lora_ddp' needs two processes or more.*choose 'lora'"),
        ("lora_ddp", None, 1, r"needs two processes or more, and here is one \(1 GPU\)"),
        (
            "lora_ddp",
            3,
            2,
            "3 processes need 3 GPUs, and there are not more than 2 GPUs here; use --processes 2",
        ),
    ],
)
def test_a_number_of_processes_that_cannot_be_is_one_sentence(
    monkeypatch, approach, processes, gpus, sentence
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(MuseQuestError, match=sentence):
        distributed.processes_for(load_approach(approach), processes)


@pytest.mark.parametrize(("gpus", "expected"), [(0, 2), (2, 2), (4, 4)])
def test_there_is_a_process_a_gpu_and_two_without(monkeypatch, gpus, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert distributed.processes_for(load_approach("lora_ddp")) == expected
    assert distributed.processes_for(load_approach("lora")) == 1


def test_another_number_of_processes_is_another_run(double, monkeypatch):
    monkeypatch.setenv("MUSEQUEST_HOME", str(double[0].parents[2]))
    with pytest.raises(MuseQuestError, match="world_size was 2 and is 3"):
        train(double[0].parents[2] / "tiny.yaml", "lora_ddp", processes=3, progress=False)
