"""run.json tells the truth at every moment of a run."""

import os
import shutil
import threading
from contextlib import contextmanager

import pytest
import torch

from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json
from musequest.finetuning.records import (
    RunRecord,
    disk_gib,
    finished_record,
    hardware,
    held_memory_gib,
    most_of,
    peak_memory_gib,
    versions,
)

ASKED = {
    "profile": "p",
    "training": {"learning_rate": 0.1, "bf16": True},
    "lora": {"r": 8},
    "tuning": "lora",
    "dataset_fingerprint": "d",
    "base_model_fingerprint": "b",
}


def begun(folder):
    record = RunRecord(folder, ASKED)
    record.begin()
    return record


def test_a_run_that_is_killed_is_on_record_as_interrupted(tmp_path):
    begun(tmp_path)
    record = read_json(tmp_path / "run.json")
    assert record["status"] == "interrupted" and "before it could say why" in record["reason"]
    assert record["training"] == ASKED["training"] and record["started_at"]


def test_each_end_is_written_with_its_reason_and_costs(tmp_path):
    begun(tmp_path).interrupt("Ctrl-C at step 3 of 9")
    assert read_json(tmp_path / "run.json")["reason"] == "Ctrl-C at step 3 of 9"
    begun(tmp_path).fail(ValueError("no such thing"))
    record = read_json(tmp_path / "run.json")
    assert (record["status"], record["reason"]) == ("failed", "ValueError: no such thing")
    begun(tmp_path).fail(MuseQuestError("A sentence."))
    assert read_json(tmp_path / "run.json")["reason"] == "A sentence."
    assert begun(tmp_path).finish(steps=9) == read_json(tmp_path / "run.json")
    record = finished_record(tmp_path)
    assert (record["status"], record["reason"], record["steps"]) == ("done", None, 9)
    assert record["peak_memory_gib"]["cpu"] > 0 and record["disk_gib"] >= 0


@pytest.mark.parametrize(
    ("asked", "difference"),
    [
        ({**ASKED, "profile": "q"}, "profile was p and is q"),
        ({**ASKED, "lora": {"r": 8, "lora_alpha": 4}}, "lora.lora_alpha was not set and is 4"),
        ({**ASKED, "training": {"learning_rate": 0.1}}, "training.bf16 was True and is not set"),
        ({**ASKED, "lora": {}}, "lora.r was 8 and is not set"),
    ],
)
def test_differences_are_named(tmp_path, asked, difference):
    begun(tmp_path).finish()
    with pytest.raises(MuseQuestError, match=difference.replace(".", r"\.") + ".*fresh=True"):
        RunRecord(tmp_path, asked).check_same(read_json(tmp_path / "run.json"))


def test_a_run_that_did_not_name_its_optimizer_had_the_librarys_and_can_have_it_again(tmp_path):
    begun(tmp_path).interrupt("killed")

    def asked(optimizer):
        chosen = {**ASKED["training"], "optim": optimizer}
        return RunRecord(tmp_path, {**ASKED, "training": chosen})

    earlier = asked("adamw_torch_fused").earlier()
    asked("adamw_torch_fused").check_same(earlier)
    with pytest.raises(MuseQuestError, match=r"training\.optim was adamw_torch_fused and is sgd"):
        asked("sgd").check_same(earlier)


def test_the_same_settings_are_the_same_after_a_round_through_json(tmp_path):
    asked = {**ASKED, "lora": {"r": 8, "target_modules": ("a", "b"), "bias": None}}
    record = RunRecord(tmp_path, asked)
    record.begin()
    RunRecord(tmp_path, asked).check_same(record.earlier())


def sharded(folder, **parallel):
    parallel = {"strategy": "fsdp", **parallel}
    return RunRecord(folder, {**ASKED, "parallel": parallel})


@pytest.mark.parametrize("there", [None, False, True])
@pytest.mark.parametrize("here", [None, False, True])
def test_recomputing_is_no_other_run_and_a_choice_of_it_holds_where_none_was_asked(
    tmp_path, there, here
):
    sharded(tmp_path, activation_checkpointing=there).begin(fitted={"bf16": True})
    record = sharded(tmp_path, activation_checkpointing=here)
    record.check_same(record.earlier())
    assert record.remembered() == ({"bf16": True} if here is there else {})
    with pytest.raises(MuseQuestError, match="parallel.reshard_after_forward was not set and is"):
        sharded(tmp_path, reshard_after_forward=False).check_same(record.earlier())


def test_no_record_is_no_finished_run(tmp_path):
    assert RunRecord(tmp_path, ASKED).earlier() is None
    with pytest.raises(MuseQuestError, match="not started.*musequest train"):
        finished_record(tmp_path)
    begun(tmp_path).interrupt("Ctrl-C")
    with pytest.raises(MuseQuestError, match="is interrupted"):
        finished_record(tmp_path)


def test_disk_counts_a_file_with_two_names_once(tmp_path):
    (tmp_path / "one").write_bytes(bytes(2**20))
    os.link(tmp_path / "one", tmp_path / "two")
    assert disk_gib(tmp_path) == pytest.approx(2**-10, rel=0.05)


@contextmanager
def checkpoints_coming_and_going(folder):
    """Another process writes checkpoints below the folder and removes them, all the time."""
    over = threading.Event()

    def churn():
        while not over.is_set():
            checkpoint = folder / "state/checkpoint-1"
            checkpoint.mkdir(parents=True)
            for number in range(20):
                (checkpoint / str(number)).touch()
            shutil.rmtree(folder / "state")

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_files_that_go_while_the_disk_is_counted_stop_nothing(tmp_path):
    (tmp_path / "kept").write_bytes(bytes(2**20))
    record = begun(tmp_path)
    with checkpoints_coming_and_going(tmp_path):
        for _ in range(300):
            record.fail(MuseQuestError("The true reason."))
    assert read_json(tmp_path / "run.json")["reason"] == "The true reason."
    assert disk_gib(tmp_path) == pytest.approx(2**-10, rel=0.05)


def test_peak_memory_never_falls(tmp_path):
    before = peak_memory_gib()["cpu"]
    block = torch.ones(2**26)  # a quarter of a GiB
    during = peak_memory_gib()["cpu"]
    del block
    assert before <= during <= peak_memory_gib()["cpu"]
    assert during > 0.25


def test_what_tensors_held_of_a_gpu_stands_beside_what_was_reserved(tmp_path, monkeypatch):
    assert held_memory_gib() == {} and "held_memory_gib" not in begun(tmp_path).finish()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "T4")
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda number: 2**31)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda number: 2 ** (30 - number))
    record = begun(tmp_path).finish()
    assert record["held_memory_gib"] == {"cuda:0": 1.0, "cuda:1": 0.5}
    assert record["peak_memory_gib"]["cuda:0"] == record["peak_memory_gib"]["cuda:1"] == 2.0


def test_of_several_processes_the_most_that_one_held_counts():
    processes = [{"cuda:0": 4.0, "cuda:1": 0.0}, {"cuda:0": 0.5, "cuda:1": 3.0}]
    assert most_of(processes) == {"cuda:0": 4.0, "cuda:1": 3.0} and most_of([{}, {}]) == {}


def test_machine_and_versions_are_named():
    assert hardware()["memory_gib"] > 0.5 and hardware()["threads"] >= 1
    assert {"python", "torch", "transformers", "peft"} <= set(versions())
