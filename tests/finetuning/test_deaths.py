"""A run that is killed, or whose disk becomes full, at any step goes on to the same weights."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from forked import in_child, print_to
from interrupting import At, building_with, sent
from safetensors.torch import load_file
from sweeping import MOUNTS, Disk
from tiny_dialogs import write_dataset, write_profile

from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json
from musequest.finetuning import training
from musequest.finetuning.training import train

RUN = Path("runs/tiny/lora")


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


def trained_until(deed, profile, told, **overrides):
    """Train in a process of its own; returns its exit status, negative for a signal."""

    def trains():
        os.setpgid(0, 0)
        print_to(told)
        torch.set_num_threads(1)  # threads do not outlive a fork
        training.build_trainer = building_with(deed, first=True)
        try:
            train(profile, "lora", overrides, progress=False)
        except MuseQuestError as error:
            print(error)
            return 1
        return 0

    return in_child(trains)


def terminated(model):
    """From outside, as `timeout` does it: the processes that read rows are told as well."""
    order = ["kill", "-TERM", "--", f"-{os.getpgid(0)}"]
    subprocess.run(order, check=True, start_new_session=True)


# With a single core torch finds two reading processes too many.
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_killed_run_goes_on_to_the_same_weights(home, tmp_path, tiny_docent, uninterrupted):
    write_dataset(home, "tiny")
    profile = write_profile(tmp_path, tiny_docent)
    killed = sent(signal.SIGKILL)
    for deed, readers, status in (
        (At(3, killed), "0", -signal.SIGKILL),
        (At(4, killed, saving=True), "0", -signal.SIGKILL),
        (At(6, terminated), "2", 1),  # and two processes beside the one that trains
        (At(8, killed), "0", -signal.SIGKILL),
        (None, "0", 0),
    ):
        ended = trained_until(deed, profile, tmp_path, dataloader_num_workers=readers)
        assert ended == status, (tmp_path / "err").read_text()
    assert "Training was interrupted (SIGTERM at step 6 of 10)" in (tmp_path / "out").read_text()
    assert "SIGTERM: saving a state to go on from" in (tmp_path / "err").read_text()
    assert_same_end(home, uninterrupted)


@pytest.mark.skipif(not MOUNTS, reason="no disk can be mounted here")
def test_a_full_disk_loses_nothing(home, tmp_path, tiny_docent, uninterrupted):
    """It becomes full before the first, second and last save."""
    content, kept = tmp_path / "content", tmp_path / "kept"
    write_dataset(content, "tiny")
    profile = write_profile(tmp_path, tiny_docent)

    def fills():
        disk = Disk(home, content)
        for step in (2, 6, 10):  # less is left than a checkpoint takes
            full = At(step, lambda model: disk.fill(50_000))
            assert trained_until(full, profile, tmp_path) == 1
            disk.mend()
        assert trained_until(None, profile, tmp_path) == 0
        shutil.copytree(home / "runs", kept / "runs")

    assert in_child(fills) == 0, (tmp_path / "err").read_text()
    told = (tmp_path / "out").read_text().splitlines()
    assert len(told) == 3 and all("became full" in line for line in told)
    assert "there was no state to keep yet" in told[0]
    assert "the state of checkpoint-4 is kept" in told[1]
    assert "the state of checkpoint-8 is kept" in told[2]
    assert_same_end(kept, uninterrupted)
