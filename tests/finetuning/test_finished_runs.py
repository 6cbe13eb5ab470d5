"""Adapters in 16 or 32 bits and beside 4 bits, merged into a model that answers as they did."""

import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from tiny import save_tiny_docent
from tiny_dialogs import sample, write_dataset, write_profile
from transformers import AutoModelForImageTextToText, AutoProcessor

from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json
from musequest.core.settings import load_approach
from musequest.finetuning import checkpoints, publishing
from musequest.finetuning.anatomy import trainable_table
from musequest.finetuning.collator import DocentCollator
from musequest.finetuning.models import (
    add_adapter,
    load_model,
    load_processor,
    load_tuned,
)
from musequest.finetuning.publishing import merge
from musequest.finetuning.training import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A LoRA and a QLoRA run of three steps on a docent wide enough for 4 bits."""
    home = tmp_path_factory.mktemp("merging")
    patch = pytest.MonkeyPatch()
    patch.setenv("MUSEQUEST_HOME", str(home))
    write_dataset(home, "tiny")
    (home / "docent").mkdir()
    profile = write_profile(home, save_tiny_docent(home / "docent", width=64))
    steps = {"max_steps": "3", "eval_steps": "3"}
    records = {name: train(profile, name, steps, progress=False) for name in ("lora", "qlora")}
    yield home, profile, records
    patch.undo()


@pytest.fixture
def runs(trained, monkeypatch):
    monkeypatch.setenv("MUSEQUEST_HOME", str(trained[0]))
    return trained


def logits(model, profile):
    batch = DocentCollator(load_processor(profile))([sample(0), sample(1)])
    with torch.no_grad():
        return model(**batch).logits[batch["labels"] != -100]


@pytest.mark.parametrize("name", ["lora", "qlora"])
def test_the_merged_model_answers_as_the_adapter_did(runs, name):
    home, profile, _ = runs
    agreement = merge(profile, name)
    assert agreement["equal_answers"] == agreement["rows"] == 3
    folder = home / "runs/tiny" / name / "merged"
    merged = AutoModelForImageTextToText.from_pretrained(folder).eval()
    tuned, base = load_tuned(profile, name).cpu(), load_model(profile, device="cpu")
    torch.testing.assert_close(
        logits(merged, profile), logits(tuned, profile), atol=1e-4, rtol=1e-4
    )
    assert not torch.allclose(logits(merged, profile), logits(base, profile), atol=1e-2)


@pytest.mark.parametrize("name", ["lora", "qlora"])
def test_the_merged_folder_is_an_ordinary_model_with_its_processor(runs, name):
    home, profile, _ = runs
    merge(profile, name)
    folder = home / "runs/tiny" / name / "merged"
    written = load_file(folder / "model.safetensors")
    assert written.keys() == load_file(home / "docent/model.safetensors").keys()
    assert {values.dtype for values in written.values()} == {torch.float32}
    assert "quantization_config" not in read_json(folder / "config.json")
    assert type(AutoProcessor.from_pretrained(folder)).__name__ == "Idefics2Processor"
    assert not (home / "runs/tiny" / name / "unfinished").exists()


def test_what_is_merged_is_not_merged_again(runs):
    home, profile, _ = runs
    first = merge(profile, "lora")
    weights = home / "runs/tiny/lora/merged/model.safetensors"
    before = weights.stat().st_mtime_ns
    assert merge(profile, "lora") == first
    assert weights.stat().st_mtime_ns == before


def test_a_merged_model_that_answers_otherwise_is_not_kept(runs, monkeypatch, tmp_path):
    home, profile, _ = runs
    shutil.copytree(home / "runs", tmp_path / "runs")
    shutil.copytree(home / "data", tmp_path / "data")
    shutil.rmtree(tmp_path / "runs/tiny/lora/merged", ignore_errors=True)
    monkeypatch.setenv("MUSEQUEST_HOME", str(tmp_path))
    monkeypatch.setattr(publishing, "merged_model", lambda profile, *_: load_model(profile))
    with pytest.raises(MuseQuestError, match="does not answer as it did.*adapter is untouched"):
        merge(profile, "lora")
    assert not (tmp_path / "runs/tiny/lora/merged").exists()
    assert (tmp_path / "runs/tiny/lora/adapter").is_dir()


@pytest.mark.parametrize("name", ["lora", "qlora"])
def test_where_the_gpu_is_full_the_processor_merges(runs, monkeypatch, caplog, name):
    home, profile, _ = runs
    shutil.rmtree(home / "runs/tiny" / name / "merged", ignore_errors=True)
    full = [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")]
    tried = []

    def load(*arguments, device, **options):
        tried.append(device)
        if device != "cpu":
            raise full[0]
        return load_tuned(*arguments, device=device, **options)

    monkeypatch.setattr(checkpoints, "default_device", lambda: "cuda:0")
    monkeypatch.setattr(publishing, "load_tuned", load)
    agreement = merge(profile, name)
    assert agreement["equal_answers"] == agreement["rows"]
    assert tried == ["cuda:0", "cpu", "cpu"]
    (line,) = (record.getMessage() for record in caplog.records if record.name == "musequest")
    assert "cuda:0 has too little memory to merge; the processor does it" in line
    shutil.rmtree(home / "runs/tiny" / name / "merged")
    full[0] = RuntimeError("a cable broke")
    with pytest.raises(RuntimeError, match="a cable broke"):
        merge(profile, name)


def test_a_run_without_adapter_or_end_cannot_be_merged(runs, monkeypatch):
    profile = runs[1]
    with pytest.raises(MuseQuestError, match="not started"):
        merge(profile, "full")
    monkeypatch.setattr(publishing, "finished_record", lambda folder: {"tuning": "full"})
    with pytest.raises(MuseQuestError, match="'full' trains the model itself"):
        merge(profile, "full")


def test_qlora_rounds_projections_and_nothing_else(runs):
    profile = runs[1]
    approach = load_approach("qlora")
    model = add_adapter(load_model(profile, quantization=approach.quantization), approach)
    rounded = {n for n, m in model.named_modules() if type(m).__name__ == "Linear4bit"}
    assert rounded and all("text_model" in n or "connector" in n for n in rounded)
    kept = {n: p for n, p in model.named_parameters() if p.dtype != torch.uint8}
    assert {values.dtype for values in kept.values()} == {torch.float32}
    assert all("lora_" in name for name, p in model.named_parameters() if p.requires_grad)
    assert model.config._attn_implementation == "sdpa"


def test_rounded_weights_are_counted_as_the_weights_they_are(runs):
    _, profile, records = runs
    plain, rounded = (records[name] for name in ("lora", "qlora"))
    for key in ("total_parameters", "trainable_parameters"):
        assert plain[key] == rounded[key]
    approach = load_approach("qlora")
    model = load_model(profile, quantization=approach.quantization)
    assert "uint8" in trainable_table(model).set_index("part").loc["text_model", "dtype"]
    assert model.get_memory_footprint() < load_model(profile).get_memory_footprint() / 1.5


def test_the_vision_model_keeps_its_dtype_beside_float32_norms(runs):
    """As on a GPU, where weights come in bfloat16."""
    profile, approach = runs[1], load_approach("qlora")
    model = load_model(replace(profile, dtype="bfloat16"), quantization=approach.quantization)
    parts = {n: p.dtype for n, p in add_adapter(model, approach).named_parameters()}
    assert {d for n, d in parts.items() if "vision_model" in n} == {torch.bfloat16}
    assert {d for n, d in parts.items() if "norm" in n and "vision" not in n} == {torch.float32}


def test_gradients_pass_through_rounded_layers_also_after_a_validation(runs):
    """The first adapter of the text model learns the same before and after an evaluation."""
    profile, approach = runs[1], load_approach("qlora")
    model = add_adapter(
        load_model(profile, device="cpu", quantization=approach.quantization), approach
    )
    batch = DocentCollator(load_processor(profile))([sample(0), sample(1)])
    first = next(p for n, p in model.named_parameters() if "connector" in n and "lora_B" in n)

    def gradient():
        model.zero_grad()
        torch.manual_seed(0)
        model.train()(**batch).loss.backward()
        return first.grad.clone()

    before = gradient()
    with torch.no_grad():
        model.eval()(**batch)
    assert before.abs().max() > 0
    torch.testing.assert_close(gradient(), before)
