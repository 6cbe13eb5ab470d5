"""A run that is killed, or whose disk becomes full, at any step goes on to the same weights."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mounted import can_mount, on_small_disk
from safetensors.torch import load_file
from tiny_dialogs import write_dataset, write_profile

from musequest.files import read_json
from musequest.finetuning.training import train

RUN = Path("runs/tiny/lora")
TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, tiny_docent):
    """The adapter of a run that nothing disturbed."""
    home = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSEQUEST_HOME", str(home))
        write_dataset(home, "tiny")
        train(write_profile(home, tiny_docent), progress=False)
    return load_file(home / RUN / "adapter" / "adapter_model.safetensors")


def assert_same_end(home, uninterrupted):
    record = read_json(home / RUN / "run.json")
    assert (record["status"], record["steps"]) == ("done", 10)
    weights = load_file(home / RUN / "adapter" / "adapter_model.safetensors")
    assert all(torch.equal(values, weights[name]) for name, values in uninterrupted.items())
    assert not (home / RUN / "unfinished").exists() and not (home / RUN / "best").exists()


def run_dying(deed, profile_path, wrapper=()):
    command = [*wrapper, sys.executable, str(TESTS / "dying.py"), deed, str(profile_path)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


def test_a_killed_run_goes_on_to_the_same_weights(home, tmp_path, tiny_docent, uninterrupted):
    write_dataset(home, "tiny")
    write_profile(tmp_path, tiny_docent)
    ended = run_dying("kill", tmp_path / "tiny.yaml")
    assert ended.returncode == 0, ended.stderr
    assert "Training was interrupted (SIGTERM at step 6 of 10)" in ended.stdout
    assert "SIGTERM: saving a state to go on from" in ended.stderr
    assert_same_end(home, uninterrupted)


@pytest.mark.skipif(not can_mount(), reason="no disk can be mounted here")
def test_a_full_disk_loses_nothing(home, tmp_path, tiny_docent, uninterrupted):
    """On a real disk of 64 MiB, which becomes full before the first, second and last save."""
    write_dataset(home, "tiny")
    write_profile(tmp_path, tiny_docent)
    kept = tmp_path / "kept"
    ended = run_dying("fill", tmp_path / "tiny.yaml", on_small_disk(home, kept))
    assert ended.returncode == 0, ended.stderr + ended.stdout
    told = ended.stdout.strip().splitlines()
    assert len(told) == 3 and all("became full" in line for line in told)
    assert "there was no state to keep yet" in told[0]
    assert "the state of checkpoint-4 is kept" in told[1]
    assert "the state of checkpoint-8 is kept" in told[2]
    assert_same_end(kept, uninterrupted)
