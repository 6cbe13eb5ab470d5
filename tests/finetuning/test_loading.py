"""Batches are read ahead for a GPU, by as many processes as cores and shared memory allow."""

import os
import shutil
from types import SimpleNamespace

import pytest
import torch
from tiny_dialogs import sample, write_profile
from tiny_family import FAMILIES, SIDE, TILE, save_tiny_relative

from musequest.core.settings import load_approach
from musequest.finetuning import strategies
from musequest.finetuning.anatomy import module_of
from musequest.finetuning.collator import DocentCollator
from musequest.finetuning.models import load_processor
from musequest.finetuning.run_config import RunConfig
from musequest.finetuning.strategies import WORKERS, loader_settings, whole_model

ROW = {"pixel_values": torch.empty(1, 3, 800, 800), "input_ids": torch.empty(400, dtype=torch.long)}
GPU = torch.device("cuda")  # named, not used


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """16 cores, and so many GiB of shared memory as are asked for."""

    def having(shared_gib, processes=1):
        monkeypatch.setattr(strategies, "SHARED_MEMORY", tmp_path)
        free = SimpleNamespace(free=int(shared_gib * 2**30))
        monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)), raising=False)
        for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
            monkeypatch.setenv(name, str(processes))
        monkeypatch.setenv("LOCAL_RANK", "0")

    return having


@pytest.mark.parametrize(
    ("shared_gib", "processes", "rows", "workers"),
    [
        (64, 1, 14, 4),  # as many as pay
        (64, 8, 14, 1),  # two cores a process, one of which it trains with
        (64, 16, 14, None),  # no core to spare
        (0.0625, 1, 14, None),  # the 64 MiB of a container that nobody gave more
        (1, 1, 14, 2),  # 512 MiB for batches of 98 MiB, two ahead
        (1, 2, 14, 1),
        (64, 1, 2000, 1),
    ],
)
def test_what_is_read_ahead_fits_the_machine(machine, shared_gib, processes, rows, workers):
    machine(shared_gib, processes)
    found = loader_settings({"per_device_train_batch_size": rows}, ROW, GPU)
    assert found.get(WORKERS) == workers
    assert bool(found) is (workers is not None)


def test_nothing_is_read_ahead_on_a_processor_or_where_it_is_chosen(machine):
    machine(64)
    assert loader_settings({}, ROW, torch.device("cpu")) == {}
    assert loader_settings({WORKERS: 0}, ROW, GPU) == {}


@pytest.mark.parametrize("kind", ["idefics2", *FAMILIES])
@pytest.mark.parametrize("approach", ["lora", "full"])
def test_recomputing_sends_no_gradient_through_the_photo(tmp_path, tiny_docent, kind, approach):
    """For which the library asks all the same; the vision model is frozen, and the dearest part."""
    folder = tiny_docent if kind == "idefics2" else save_tiny_relative(kind, tmp_path / kind)
    side = TILE if kind == "gemma3" else SIDE  # which knows one size
    profile = write_profile(tmp_path, folder, image_size=side, image_splitting=True)
    model = whole_model(RunConfig.resolve(profile, load_approach(approach))).train()
    seen = []
    tower = module_of(model, "vision_model")
    tower.register_forward_hook(lambda *call: seen.append(call[2].last_hidden_state))
    batch = DocentCollator(load_processor(profile))([sample(0), sample(1)])
    before = model(**batch).loss
    model.activation_checkpointing_enable({"use_reentrant": False})
    loss = model(**batch).loss
    assert [states.requires_grad for states in seen] == [False, False]
    torch.testing.assert_close(loss, before)
    loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
