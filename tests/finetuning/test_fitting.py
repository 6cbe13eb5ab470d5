"""Memory is foreseen, rows at a time are found by trying, and a run too large says what fits."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from interrupting import At, interrupting
from safetensors.torch import load_file
from tiny import save_tiny_docent
from tiny_dialogs import sample, write_dataset, write_profile
from tiny_family import SIDE, save_tiny_relative
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModelForImageTextToText

from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json
from musequest.core.home import root
from musequest.core.settings import Profile, load_approach, load_profile
from musequest.core.tables import read_table
from musequest.finetuning import fitting as fitting_module
from musequest.finetuning import strategies
from musequest.finetuning.activations import RowShape, drop_in_bytes, empty_model
from musequest.finetuning.anatomy import module_of
from musequest.finetuning.checkpoints import RunFolder
from musequest.finetuning.collator import DocentCollator
from musequest.finetuning.fitting import busy_rows, fit, what_fits
from musequest.finetuning.forecast import forecast
from musequest.finetuning.gpus import USABLE, Gpu, available_bytes, find_gpu
from musequest.finetuning.memory import memory_of, optimizer_bytes
from musequest.finetuning.models import TUNINGS, load_model, load_processor
from musequest.finetuning.needs import needs_of
from musequest.finetuning.records import GIB, ROWS, STEPS
from musequest.finetuning.run_config import RunConfig
from musequest.finetuning.splitting import split
from musequest.finetuning.training import explained, train

RUN = Path("runs/tiny/lora")
REAL = root().parent / "shared" / "idefics2_processor"
NO_DROPOUT = replace(
    load_approach("lora"), lora={**load_approach("lora").lora, "lora_dropout": 0.0}
)


@pytest.fixture
def profile(tmp_path, home, tiny_docent):
    write_dataset(home, "tiny")
    return write_profile(tmp_path, tiny_docent, estimate=True)


def kept_bytes(model, batch):
    """What autograd really saves in a forward pass, photos and all."""
    kept, own = {}, {p.untyped_storage()._cdata for p in model.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(**batch).loss
    assert loss.requires_grad
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_the_estimate_of_activations_is_what_autograd_keeps(profile, tuning):
    approach = replace(load_approach("lora"), tuning=tuning)
    collator = DocentCollator(load_processor(profile))
    encoded = collator.encode(sample(2))
    row = RowShape.of(encoded, 24)
    assert row == RowShape(
        len(encoded["input_ids"]), 1, encoded["pixel_values"][0, 0, 0].numel() // 576
    )
    memory = memory_of(RunConfig(profile, approach, {}), row)
    model = TUNINGS[tuning](load_model(profile, device="cpu"), approach).train()
    drop_in_bytes(model)
    batch = collator([encoded])
    foreseen = memory.activations.of_row(row, False) - row.tokens * memory.activations.logits
    assert foreseen == pytest.approx(kept_bytes(model, batch), rel=0.1)
    assert memory.activations.of_row(row, True) < memory.activations.of_row(row, False)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert memory.weights == sum(p.nbytes for p in model.parameters())
    assert memory.gradients == sum(p.nbytes for p in trained)
    assert memory.optimizer == 2 * memory.gradients


def test_dropout_in_bytes_draws_and_learns_the_same():
    def dropped(in_bytes):
        layer = torch.nn.Sequential(torch.nn.Dropout(0.1))
        if in_bytes:
            drop_in_bytes(layer)
        torch.manual_seed(0)
        values = torch.linspace(-1, 1, 4096, requires_grad=True)
        made = layer(values)
        made.square().sum().backward()
        assert layer.eval()(values) is values
        return made, values.grad, torch.get_rng_state()

    for ours, plain in zip(dropped(True), dropped(False), strict=True):
        assert torch.equal(ours, plain)


def test_layers_of_two_kinds_are_counted_each(tmp_path, home):
    """Three in four are of linear attention, which keeps more than the other."""
    folder = save_tiny_relative("qwen3_5", tmp_path / "qwen3_5")
    config = AutoConfig.from_pretrained(folder)
    config.text_config.num_hidden_layers = 4
    config.text_config.layer_types = ["linear_attention"] * 3 + ["full_attention"]
    AutoModelForImageTextToText.from_config(config).save_pretrained(folder)
    profile, approach = write_profile(tmp_path, folder, image_size=SIDE), load_approach("full")
    counted = memory_of(RunConfig(profile, approach, {}), RowShape(512, 1, 16)).activations
    model = TUNINGS["full"](load_model(profile, device="cpu"), approach).train()
    width = config.text_config.hidden_size
    given = {"inputs_embeds": torch.randn(1, 512, width), "labels": torch.ones(1, 512).long()}
    foreseen = 512 * (counted.layers * counted.layer + counted.rest)
    assert foreseen == pytest.approx(kept_bytes(model, given), rel=0.1)
    assert counted.recomputed(1) > counted.layer


def test_quantised_weights_are_counted_as_bitsandbytes_keeps_them(profile):
    wide = {"load_in_4bit": True, "bnb_4bit_use_double_quant": True}
    approach = replace(load_approach("lora"), quantization=wide)
    model = load_model(profile, quantization=wide)
    memory = memory_of(RunConfig(profile, approach, {}), RowShape(8, 1, 4))
    real = sum(p.nbytes for p in model.parameters())
    added = memory.gradients  # the adapter, which the real one has not got yet
    assert memory.weights - added == pytest.approx(real, rel=0.02)


def test_optimizers_differ_in_their_states():
    weights = [torch.nn.Parameter(torch.zeros(100, dtype=torch.bfloat16))]
    found = [optimizer_bytes(weights, name) for name in ("adamw_torch", "adamw_8bit", "sgd")]
    assert found == [400, 204, 0]
    # Paged ones lie in main memory, and are saved to disk all the same.
    found = [optimizer_bytes(weights, f"paged_adamw_{bits}bit") for bits in (8, 32)]
    assert found == [204, 800]


def test_paged_states_take_disk_and_no_memory_of_the_device(profile):
    approach, paged = load_approach("full"), {"optim": "paged_adamw_32bit"}
    config = RunConfig(profile, approach, paged)
    memory = memory_of(config, RowShape(40, 1, 36))
    assert memory.optimizer == 0
    model = empty_model(profile, approach)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert memory.written.state == 8 * trained


def test_without_a_gpu_a_paged_optimizer_in_8_bits_trains_unpaged(home, tmp_path, monkeypatch):
    """With a rank of 64: matrices of less than 4096 numbers keep their states in 32 bits."""
    write_dataset(home, "tiny")
    docent = save_tiny_docent(tmp_path / "docent", width=64)
    profile = write_profile(tmp_path, docent, estimate=True, lora={"r": 64})
    monkeypatch.setattr(RunFolder, "drop_optimizer", lambda folder: None)
    chosen = {"optim": "paged_adamw_8bit", "max_steps": "4", "eval_steps": "1"}
    chosen["learning_rate"] = "0.001"
    with pytest.warns(UserWarning, match="Paged optimizers are not supported on CPU"):
        record = train(profile, "qlora", chosen, progress=False)
    assert (record["status"], record["steps"]) == ("done", 4)
    losses = read_table("metrics", home / "runs/tiny/qlora/metrics.parquet").eval_loss
    assert losses.iloc[-1] < losses.iloc[0]
    states = torch.load(home / "runs/tiny/qlora/state/checkpoint-4/optimizer.pt")["state"]
    assert torch.uint8 in {leaf.dtype for leaf in tree_leaves(states) if hasattr(leaf, "dtype")}


def test_a_step_is_as_large_as_the_higher_of_its_two_peaks(profile):
    """Activations are gone when the optimizer works; gradients come as they go."""
    row, approach = RowShape(2, 1, 4), load_approach("full")
    fused, foreach = (
        memory_of(RunConfig(profile, approach, {"optim": name}), row)
        for name in ("adamw_torch_fused", "adamw_torch")
    )
    assert foreach.scratch == foreach.gradients and fused.scratch == 0
    a_row = foreach.activations.of_row(row, False)
    many = 1 + (foreach.gradients + foreach.scratch) // a_row
    states = foreach.weights + foreach.optimizer
    assert foreach.total(1, False) == foreach.fixed == states + 2 * foreach.gradients
    assert foreach.total(many, False) == states + many * a_row > foreach.fixed
    assert foreach.total(many - 1, False) == foreach.fixed
    parts = {"optim": "adamw_torch", "gradient_accumulation_steps": 2}
    accumulating = memory_of(RunConfig(profile, approach, parts), row)
    assert accumulating.total(many, False) == foreach.total(many, False) + foreach.gradients


def test_what_is_sharded_under_mixed_precision_is_counted_in_float32(profile):
    """By the weights, gradients and states that Accelerate then keeps, and by what is saved."""
    half, mixed = replace(profile, dtype="bfloat16"), {"bf16": True}
    full, sharded = (load_approach(name) for name in ("full", "full_fsdp"))
    row = RowShape(40, 1, 36)
    one, many = (memory_of(RunConfig(half, each, mixed), row) for each in (full, sharded))
    assert many.gradients == 2 * one.gradients and many.optimizer == 2 * one.optimizer
    assert many.weights - one.weights == one.gradients
    assert memory_of(RunConfig(half, sharded, {}), row).fixed == one.fixed
    written = many.written
    assert (written.weights, written.state) == (many.weights, many.optimizer)
    assert written.merged == one.weights
    # While shards are merged: last state, best shards, all in one file, and the model.
    assert written.peak > 3 * many.weights + many.optimizer + one.weights


@pytest.mark.skipif(not REAL.is_dir(), reason="the real configuration is not here")
@pytest.mark.parametrize("name", ["full", "full_mp", "full_fsdp"])
def test_full_fine_tuning_of_8b_ends_within_four_times_its_weights(name):
    real = Profile("x", str(REAL), "none", image_size=800, dtype="bfloat16")
    model = empty_model(real, load_approach(name))
    weights = sum(p.nbytes for p in model.parameters())
    config = RunConfig(real, load_approach(name), {"bf16": True})
    assert memory_of(config, RowShape(40, 1, 36)).written.end < 4 * weights


class Small:
    """A device that holds `rows` rows at a time, `recomputed` if activations are recomputed."""

    def __init__(self, rows, recomputed=None):
        self.rows, self.recomputed, self.tried = rows, recomputed or rows, []

    def __call__(self, module, inputs, options):
        packed = options.get("attention_mask")  # says how many rows are behind each other
        rows = len(options["input_ids"]) if packed is None else packed.shape[2]
        recomputes = any(getattr(m, "gradient_checkpointing", False) for m in module.modules())
        self.tried.append((rows, recomputes))
        if rows > (self.recomputed if recomputes else self.rows):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")


def on_device(monkeypatch, small):
    """Every model loaded for training lies on the small device."""

    def load(*arguments, **options):
        model = load_model(*arguments, **options)
        model.register_forward_pre_hook(small, with_kwargs=True)
        return model

    monkeypatch.setattr(strategies, "load_model", load)


def fitting(profile, small, settings):
    model = TUNINGS["lora"](load_model(profile, device="cpu"), NO_DROPOUT)
    model.get_base_model().register_forward_pre_hook(small, with_kwargs=True)
    config = RunConfig(profile, NO_DROPOUT, {"auto_find_batch_size": True, **settings})
    state, mode = torch.get_rng_state(), model.training
    found = fit(config, model)
    assert torch.equal(state, torch.get_rng_state()) and model.training is mode
    assert all(p.grad is None for p in model.parameters())
    assert not any(getattr(m, "gradient_checkpointing", False) for m in model.modules())
    return found


def test_rows_at_a_time_are_halved_until_a_step_passes(profile):
    small = Small(rows=3)
    found = fitting(profile, small, {"per_device_train_batch_size": 8})
    assert small.tried == [(8, False), (4, False), (2, False)]
    assert (found["per_device_train_batch_size"], found["gradient_accumulation_steps"]) == (2, 4)
    assert found["activation_checkpointing"] is False and found["bf16"] is False


def test_rows_at_a_time_divide_those_of_a_step(profile):
    """So that a step learns from 14 rows, not from three times 5."""
    found = fitting(profile, small := Small(rows=3), {"per_device_train_batch_size": 14})
    assert [rows for rows, _ in small.tried] == [14, 7, 2]
    assert (found["per_device_train_batch_size"], found["gradient_accumulation_steps"]) == (2, 7)


def test_activations_are_recomputed_where_not_one_row_fits_without(profile):
    found = fitting(profile, Small(rows=0, recomputed=2), {"per_device_train_batch_size": 4})
    assert (found["per_device_train_batch_size"], found["activation_checkpointing"]) == (2, True)


def test_a_device_too_small_for_one_row_is_one_sentence(profile):
    with pytest.raises(MuseQuestError, match="Not even one row fits.*preflight"):
        fitting(profile, Small(rows=0), {"per_device_train_batch_size": 2})
    parted = replace(NO_DROPOUT, parallel={"strategy": "fsdp"})
    with pytest.raises(MuseQuestError, match="give per_device_train_batch_size instead"):
        fit(RunConfig(profile, parted, {"auto_find_batch_size": True}), None)


def test_a_processor_takes_no_more_rows_at_a_time_than_keep_it_busy(profile, home, monkeypatch):
    """The step is the same; nothing is parted where gradients would take what activations leave."""
    profile = replace(profile, lora={"lora_dropout": 0.0})
    asked = {"per_device_train_batch_size": "4", "max_steps": "3", "eval_steps": "3"}
    config = RunConfig.resolve(profile, load_approach("lora"), asked)
    memory = memory_of(config, config.row)
    a_row, weights = memory.activations.of_row(config.row, False), []
    for busy, found in (
        (5 * a_row, {}),
        (3 * a_row, {ROWS: 2, STEPS: 2}),
        (1, {ROWS: 1, STEPS: 4}),
    ):
        monkeypatch.setattr(fitting_module, "BUSY", busy)
        record = train(profile, overrides=asked, fresh=True, progress=False)
        assert {name: record["fitted"].get(name) for name in found} == found
        assert (ROWS in record["fitted"]) is bool(found)
        assert record["global_batch"]["rows_a_step"] == 4
        weights.append(load_file(home / RUN / "adapter" / "adapter_model.safetensors"))
    for name, values in weights[0].items():
        for parted in weights[1:]:
            torch.testing.assert_close(parted[name], values, rtol=1e-3, atol=1e-5)
    heavy = replace(memory, gradients=4 * a_row)
    monkeypatch.setattr(fitting_module, "memory_of", lambda config, row: heavy)
    assert busy_rows(config) == {}


def test_recomputing_is_chosen_by_memory(profile, monkeypatch):
    model = TUNINGS["lora"](load_model(profile, device="cpu"), NO_DROPOUT)
    config, chosen = RunConfig(profile, NO_DROPOUT, {}), []
    for available in (available_bytes("cpu"), 1000):
        monkeypatch.setattr(fitting_module, "available_bytes", lambda device, it=available: it)
        found = fit(config, model)
        chosen.append(found["activation_checkpointing"])
    assert chosen == [False, True]
    for name, whole in (("lora_ddp", model), ("full_fsdp", None)):
        found = fit(RunConfig(profile, load_approach(name), {}), whole)
        assert found["activation_checkpointing"] is True, name
    own = {**load_approach("full_fsdp").parallel, "activation_checkpointing": False}
    told = replace(load_approach("full_fsdp"), parallel=own)
    assert "activation_checkpointing" not in fit(RunConfig(profile, told, {}), None)
    given = fit(config.fitted({"activation_checkpointing": False}), model)
    assert "activation_checkpointing" not in given


def test_no_more_layers_are_recomputed_than_a_gpu_needs():
    """Of the published run on a card of 80 GB: every n-th layer, and time and memory between."""
    [need] = needs_of(load_profile("idefics2-8b"), runs=["lora"])
    gpu = find_gpu("A100 80GB")
    chosen = need.setting(gpu, 1)
    assert chosen.rows == 14 and 0 < chosen.recompute < 1
    held = [need.bytes(14, share, 1) for share in (True, chosen.recompute, False)]
    assert held[0] < held[1] <= gpu.usable_bytes < held[2]
    less = need.config.shares[need.config.shares.index(chosen.recompute) - 1]
    assert need.bytes(14, less, 1) > gpu.usable_bytes
    minutes = [
        forecast(need, replace(chosen, recompute=share)).minutes
        for share in (False, chosen.recompute, True)
    ]
    assert minutes == sorted(minutes) and minutes[0] < minutes[1] < minutes[2]


def test_every_second_layer_is_recomputed_and_the_weights_are_the_same(profile, home, monkeypatch):
    weights, recomputed = [], []

    def note(model):
        layers = module_of(model, "layers")
        recomputed.append([layer.gradient_checkpointing for layer in layers])

    interrupting(monkeypatch, At(1, note))
    for share in (False, 1 / 2):
        monkeypatch.setattr(fitting_module, "_recomputed", lambda *given, it=share: it)
        overrides = {"max_steps": "2", "eval_steps": "2"}
        record = train(profile, overrides=overrides, fresh=True, progress=False)
        weights.append(load_file(home / RUN / "adapter" / "adapter_model.safetensors"))
    assert record["fitted"]["activation_checkpointing_kwargs"]["every_n_layers"] == 2
    assert not any(recomputed[0]) and 0 < sum(recomputed[1]) < len(recomputed[1])
    assert all(torch.allclose(values, weights[1][name]) for name, values in weights[0].items())


@pytest.mark.parametrize("strategy", ["sequential", "1f1b"])
def test_a_split_model_recomputes_where_no_split_fits_without(profile, monkeypatch, strategy):
    approach = load_approach("full_mp")
    approach = replace(approach, parallel={**approach.parallel, "strategy": strategy})
    config = RunConfig(profile, approach, {"per_device_train_batch_size": 2})
    fullest = max(split(config, 2 if strategy == "sequential" else 1).bytes())
    for available, recomputes in ((fullest, False), (fullest - 1, True)):
        monkeypatch.setattr(fitting_module, "available_bytes", lambda device, it=available: it)
        assert fit(config, None)["activation_checkpointing"] is recomputes
    told = config.fitted({"activation_checkpointing": False})
    assert "activation_checkpointing" not in fit(told, None)


def test_the_processes_of_a_machine_share_its_memory(monkeypatch):
    memory = SimpleNamespace(available=3000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert available_bytes("cpu") == int(3000 * USABLE)
    for name, value in (("LOCAL_RANK", "1"), ("WORLD_SIZE", "6"), ("LOCAL_WORLD_SIZE", "3")):
        monkeypatch.setenv(name, value)
    assert available_bytes("cpu") == int(1000 * USABLE)


def test_a_fitted_run_learns_the_same_and_remembers_what_fits(profile, home, monkeypatch):
    """Four rows a step, at once, and by one on a device that holds no more."""
    profile = replace(profile, lora={"lora_dropout": 0.0})
    asked = {
        **{"per_device_train_batch_size": "4", "auto_find_batch_size": "true"},
        **{"max_steps": "3", "eval_steps": "3"},
    }
    train(profile, overrides=asked, progress=False)
    whole = load_file(home / RUN / "adapter" / "adapter_model.safetensors")
    small = Small(rows=1)
    small_profile = replace(profile, training={**profile.training, "per_device_eval_batch_size": 1})
    on_device(monkeypatch, small)
    record = train(small_profile, overrides=asked, fresh=True, progress=False)
    assert record["fitted"]["per_device_train_batch_size"] == 1
    assert record["fitted"]["gradient_accumulation_steps"] == 4
    assert record["training"]["per_device_train_batch_size"] == 4
    parted = load_file(home / RUN / "adapter" / "adapter_model.safetensors")
    for name, values in whole.items():
        torch.testing.assert_close(parted[name], values, rtol=1e-3, atol=1e-5)
    assert [rows for rows, _ in small.tried[:3]] == [4, 2, 1]
    # What it remembers is not tried again.
    (home / RUN / "best").mkdir()
    (home / RUN / "adapter").rename(home / RUN / "best" / "checkpoint-3")
    (home / RUN / "run.json").write_text(
        (home / RUN / "run.json").read_text().replace('"done"', '"interrupted"')
    )
    small.tried.clear()
    train(small_profile, overrides=asked, progress=False)
    assert {rows for rows, _ in small.tried} <= {1}


def test_recomputed_activations_give_the_same_weights(profile, home):
    weights = []
    for recompute in ("false", "true"):
        overrides = {"max_steps": "2", "eval_steps": "2", "gradient_checkpointing": recompute}
        train(profile, overrides=overrides, fresh=True, progress=False)
        weights.append(load_file(home / RUN / "adapter" / "adapter_model.safetensors"))
    assert all(torch.allclose(values, weights[1][name]) for name, values in weights[0].items())


def test_a_run_out_of_memory_says_what_would_fit(profile, home, monkeypatch):
    on_device(monkeypatch, Small(rows=0))
    sentence = "Out of memory on .*2 rows at a time without activation_checkpointing.*would fit"
    with pytest.raises(MuseQuestError, match=sentence):
        train(profile, progress=False)
    record = read_json(home / RUN / "run.json")
    assert record["status"] == "failed"
    assert "per_device_train_batch_size=2 with gradient_accumulation_steps=1" in record["reason"]
    assert "there was no state to keep yet" in record["reason"]


def test_what_would_fit_keeps_the_rows_of_a_step(profile):
    memory = memory_of(RunConfig(profile, load_approach("full"), {}), RowShape(40, 1, 36))
    asked = "per_device_train_batch_size={} with gradient_accumulation_steps={} and "
    asked += "activation_checkpointing={} would fit"
    for fitting, rows in ((6, 2), (13, 7), (20, 14)):
        parted = what_fits(memory.total, memory.total(fitting, False), 14, False)
        assert parted == asked.format(rows, 14 // rows, "false")
        alone = what_fits(memory.total, memory.total(fitting, False), 14, True)
        assert alone == f"{parted}, or let auto_find_batch_size=true find them"
    assert asked.format(1, 7, "true") in what_fits(memory.total, memory.total(1, True), 7, True)
    assert "not one row would fit" in what_fits(memory.total, memory.fixed, 14, True)


def test_out_of_memory_a_split_model_is_told_what_its_fullest_device_takes(
    profile, home, monkeypatch
):
    approach = load_approach("full_mp")
    approach = replace(approach, parallel={**approach.parallel, "strategy": "sequential"})
    settings = {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 2}
    config = RunConfig(profile, approach, settings)
    fullest = max(split(config, 2).bytes())
    loaded = memory_of(config, RowShape(40, 1, 36)).weights // 2
    monkeypatch.setattr(fitting_module, "available_bytes", lambda device: fullest - loaded)
    folder = RunFolder(home / "runs/tiny/full_mp")
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")
    told = str(explained(error, config, folder))
    assert "3 rows at a time without activation_checkpointing" in told
    assert "=3 with gradient_accumulation_steps=2 and activation_checkpointing=false" in told
    assert "auto_find_batch_size" not in told


def test_the_most_rows_that_fit_are_those_whose_step_is_no_larger(profile):
    for need in needs_of(profile):
        for rows in (1, 5):
            whole = need.bytes(rows, True, need.devices[0])
            enough, less = (Gpu("x", size / GIB / USABLE, True) for size in (whole + 1, whole - 1))
            assert need.fitting(enough, True, need.devices[0]) >= rows, need.name
            assert need.fitting(less, True, need.devices[0]) < rows, need.name
        assert need.fitting(Gpu("none", 0.0, True), True, need.devices[0]) == 0
    memory = memory_of(RunConfig(profile, load_approach("lora"), {}), RowShape(40, 1, 36))
    assert memory.total(1, False, shares=2) < memory.total(1, False)
