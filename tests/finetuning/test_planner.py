"""The split of a model over devices: counted in bytes, exact, and as good as the published ones."""

import itertools
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tiny_dialogs import sample, write_dataset, write_profile
from tiny_family import FAMILIES, SIDE, TILE, save_tiny_relative
from transformers import AutoConfig, AutoModelForImageTextToText

from musequest.core.errors import MuseQuestError
from musequest.core.home import root
from musequest.core.settings import load_approach, load_profile
from musequest.finetuning.activations import RowShape, empty_model
from musequest.finetuning.anatomy import anatomy_of, module_of
from musequest.finetuning.collator import DocentCollator
from musequest.finetuning.memory import memory_of
from musequest.finetuning.models import free_projections, load_model, load_processor
from musequest.finetuning.needs import needs_of
from musequest.finetuning.packing import fill_rows
from musequest.finetuning.pipeline import Elsewhere, Pipeline, Stage, load_stage
from musequest.finetuning.records import GIB
from musequest.finetuning.run_config import RunConfig
from musequest.finetuning.splitting import (
    Part,
    check_fits,
    fullest_by_devices,
    main,
    micro_batches_of,
    parts_of,
    plan,
    preview,
    split,
)

sys.path.insert(0, str(root() / "benchmarks"))

import device_maps

ROW, ROWS = RowShape(tokens=20, photos=1, patches=36), 2


@pytest.fixture(scope="module")
def idefics2():
    return device_maps.empty_idefics2()


@pytest.fixture(scope="module")
def compared(idefics2):
    """The published splits beside the planned ones, counted once."""
    return device_maps.compared(idefics2)


@pytest.fixture
def profile(tmp_path, home, tiny_docent):
    write_dataset(home, "tiny")
    return write_profile(tmp_path, tiny_docent)


def test_the_recorded_shape_is_the_real_configuration():
    real = root().parent / "shared" / "idefics2_processor"
    if not (real / "config.json").exists():
        pytest.skip("the configuration of Idefics2-8B is not here")
    shape = json.loads((root() / "benchmarks/shapes/idefics2_8b/config.json").read_text())
    theirs = AutoConfig.from_pretrained(real)
    for part in ("text_config", "vision_config", "perceiver_config"):
        for key, value in shape[part].items():
            if key != "model_type":
                assert getattr(getattr(theirs, part), key, value) == value, (part, key)


def test_the_parts_hold_every_parameter_once(idefics2):
    chain = anatomy_of(idefics2).chain(idefics2)
    names = [f"{part}.{name}" for _, part, m in chain for name, _ in m.named_parameters()]
    assert sorted(names) == sorted(name for name, _ in idefics2.named_parameters())
    parts = parts_of(idefics2, ROW, ROWS)
    assert sum(part.weights for part in parts) == 2 * 8_402_776_304
    trained = sum(p.numel() for p in idefics2.parameters() if p.requires_grad)
    assert sum(part.gradients for part in parts) == 2 * trained
    assert sum(part.optimizer for part in parts) == 4 * trained


def test_it_balances_at_least_as_well_as_the_published_maps(compared):
    assert {row["devices"] for row in compared} == {2, 4}
    for row in compared:
        assert row["planned_fullest_gib"] <= row["published_fullest_gib"]
        assert row["planned_fullest_gib"] * GIB < row["vram_gb_each"] * 10**9
        assert row["planned_1f1b_fullest_gib"] <= row["planned_fullest_gib"]
    assert any(row["planned_layers"] == [13, 19] for row in compared)
    assert any(row["planned_layers"] == [5, 9, 9, 9] for row in compared)


def test_the_recorded_comparison_is_what_the_planner_says(compared):
    assert json.loads(device_maps.RECORD.read_text())["splits"] == compared


def chain_of(sizes, activations):
    """Made-up parts: first and last around decoder layers."""
    names = ["first", *(f"text.layers.{number}" for number in range(len(sizes) - 2)), "last"]
    return [
        Part(name, size, 0, 0, kept)
        for name, size, kept in zip(names, sizes, activations, strict=True)
    ]


@pytest.mark.parametrize("micro_batches", [None, 4])
@pytest.mark.parametrize("devices", [1, 2, 3, 4])
def test_no_split_is_better(devices, micro_batches):
    parts = chain_of([40, 7, 9, 3, 30, 5, 11, 2, 25], [10, 4, 60, 4, 4, 12, 4, 30, 9])
    chosen = plan(parts, devices, micro_batches)
    assert [part for stage in chosen.stages for part in stage] == parts
    best = min(
        max(device_maps.plan_of_map(parts, where, micro_batches).bytes())
        for cuts in itertools.combinations(range(2, len(parts) - 1), devices - 1)
        for where in [{p.name: sum(n >= c for c in cuts) for n, p in enumerate(parts)}]
    )
    assert max(chosen.bytes()) == best


def test_a_pipeline_holds_fewer_activations_the_later_the_device():
    parts = chain_of([0] * 6, [0, 8, 8, 8, 8, 0])
    assert plan(parts, 4).bytes() == [8, 8, 8, 8]
    assert plan(parts, 4, micro_batches=8).bytes() == [4, 3, 2, 1]


def test_more_devices_than_layers_is_one_sentence():
    with pytest.raises(MuseQuestError, match="2 decoder layers .* over 3 devices; use 1 to 2"):
        plan(chain_of([1] * 4, [1] * 4), 3)


def test_a_device_too_small_is_one_sentence_that_says_what_fits():
    parts = chain_of([10, 100, 100, 100, 100, 10], [0, 100, 100, 100, 100, 0])
    chosen = plan(parts, 2)
    check_fits(chosen, 410, parts, rows=4)
    gib = [part.__class__(part.name, *(GIB * n for n in values(part))) for part in parts]
    for memory, rest in (
        (400, "per_device_train_batch_size=2 with 2 times the gradient_accumulation_steps would"),
        (250, "4 such devices would do"),
        (50, "no number of such devices"),
    ):
        with pytest.raises(MuseQuestError, match=f"Device 0 would hold 410.0 GiB .*{rest}"):
            check_fits(plan(gib, 2), memory * GIB, gib, rows=1 if memory == 250 else 4)


@pytest.mark.parametrize(
    ("rows", "part", "share"), [(6, 3, 4 / 8), (12, 6, 8 / 12), (12, 4, 4 / 12)]
)
def test_the_part_of_a_batch_that_fits_divides_it_and_fills_its_micro_batches(rows, part, share):
    """Of four equal micro-batches: 6 rows pass as 8, 3 as 4; 8 of 12 would change the step."""
    parts = chain_of([GIB] * 6, [0, *[80 * GIB] * 4, 0])
    smaller = [replace(each, activations=int(each.activations * share)) for each in parts]
    memory = max(plan(smaller, 2, 4).bytes())
    with pytest.raises(MuseQuestError, match=f"batch_size={part} with {rows // part} times"):
        check_fits(plan(parts, 2, 4), memory, parts, rows)


def test_of_a_gpu_a_reserve_is_left(profile, monkeypatch):
    config = RunConfig(profile, load_approach("full_mp"), {"per_device_train_batch_size": 4})
    fullest = max(split(config, 2).bytes())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    for spare, fits in ((1.1, True), (1.05, False)):
        gpu = SimpleNamespace(total_memory=int(fullest * spare))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device, gpu=gpu: gpu)
        if fits:
            assert max(split(config, 2).bytes()) == fullest
        else:
            with pytest.raises(MuseQuestError, match="Device . would hold"):
                split(config, 2)


@pytest.mark.parametrize("optimizer", ["sgd", "paged_adamw_8bit"])
def test_a_split_counts_the_states_of_the_optimizer_that_is_chosen(profile, optimizer):
    approach = load_approach("full_mp")
    adam, other = (
        split(RunConfig.resolve(profile, approach, {"optim": name}), 2).table()
        for name in ("adamw_torch", optimizer)
    )
    assert (adam.optimizer_gib > 0).all() and (other.optimizer_gib == 0).all()
    assert other.total_gib.max() < adam.total_gib.max()
    needs = [
        needs_of(replace(profile, training={"optim": name}), runs=["full_mp"])[0]
        for name in ("adamw_torch", optimizer)
    ]
    assert needs[1].bytes(2, False, 2) < needs[0].bytes(2, False, 2)


def values(part):
    return part.weights, part.gradients, part.optimizer, part.activations


def test_counted_activations_are_those_that_autograd_keeps(tiny_docent):
    """Counted without computing on an empty model, they are what a real decoder layer keeps."""
    model = AutoModelForImageTextToText.from_pretrained(tiny_docent)
    free_projections(model, load_approach("full"))
    empty = AutoModelForImageTextToText.from_config(model.config).to("meta")
    free_projections(empty, load_approach("full"))
    counted = {part.name: part.activations for part in parts_of(empty, ROW, ROWS)}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage, storage.nbytes())
        return tensor

    hidden = torch.randn(ROWS, ROW.tokens, 32, requires_grad=True)
    text = model.model.text_model
    turns = text.rotary_emb(hidden, torch.arange(ROW.tokens)[None])
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = text.layers[0](hidden, position_embeddings=turns)
    real = sum(size for _, size in kept.values())
    assert out.shape == hidden.shape
    assert counted["model.text_model.layers.0"] == pytest.approx(real, rel=0.15)
    assert counted["model.vision_model"] == counted["model.text_model.embed_tokens"] == 0
    assert counted["model.connector"] > 0 and counted["lm_head"] > 0


def test_checkpointing_keeps_the_inputs_of_layers_alone(idefics2):
    parts = parts_of(idefics2, RowShape(400, 1, 100), 8, checkpointing=True)
    kept = {part.name: part.activations for part in parts}
    assert kept["model.text_model.layers.3"] == 8 * 400 * 4096 * 2


@pytest.mark.parametrize("micro_batches", [None, 4])
def test_the_layer_that_is_computed_again_is_held_too(idefics2, micro_batches):
    """Of the whole batch, or in a pipeline of one micro-batch; on a device one at a time."""
    row = RowShape(tokens=400, photos=1, patches=100)
    whole, again = (parts_of(idefics2, row, 8, checkpointing) for checkpointing in (False, True))
    layer = next(part.activations for part in whole if ".layers." in part.name)
    fullest = plan(again, 2, micro_batches)
    for stage, held, total in zip(fullest.stages, fullest.held, fullest.bytes(), strict=True):
        kept = sum(part.fixed for part in stage)
        kept += held * sum(part.activations for part in stage)
        assert total == pytest.approx(kept + layer / (micro_batches or 1))


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_one_device_holds_what_is_foreseen_for_a_whole_model(profile, tuning, checkpointing):
    """Layers on one device are a model on one device: there is one count of activations."""
    approach, row = load_approach(tuning), RowShape(tokens=40, photos=1, patches=36)
    memory = memory_of(RunConfig(profile, approach, {}), row)
    model = empty_model(profile, approach)
    model = model.get_base_model() if tuning == "lora" else model
    [parts] = plan(parts_of(model, row, 2, checkpointing), 1).table().to_dict("records")
    foreseen = 2 * memory.activations.of_row(row, checkpointing) / GIB
    assert parts["activations_gib"] == pytest.approx(foreseen)


def stages_of(profile, parts=None):
    """Both stages of a tiny model, and a batch that is told them: photos of two sizes."""
    config = RunConfig(profile, load_approach("full_mp"), {})
    chosen = plan(parts or parts_of(empty_model(profile, config.approach), ROW, ROWS), 2, 2)
    stages = [load_stage(config, chosen, number, "cpu") for number in (0, 1)]
    collator = DocentCollator(load_processor(profile))
    collator.apart = True
    for stage in stages:
        stage.batch = collator([sample(0), sample(1)])
    return stages, stages[0].batch["input_ids"], torch.arange(2)


@pytest.mark.parametrize("kind", ["idefics2", *FAMILIES])
def test_stages_compute_what_the_whole_model_computes(kind, tmp_path, home, tiny_docent):
    """Each holds its own parts alone, read from the file; the last one's logits are the model's."""
    source = tiny_docent if kind == "idefics2" else save_tiny_relative(kind, tmp_path / kind)
    size = {"gemma3": TILE, "idefics2": 144}.get(kind, SIDE)
    options = {"image_size": size, "image_splitting": kind != "idefics2"}
    profile = write_profile(tmp_path, source, vision_store_gib=0.0, **options)
    stages, ids, rows = stages_of(profile)
    model = load_model(profile, device="cpu")
    batch = DocentCollator(load_processor(profile))([sample(0), sample(1)])
    with torch.no_grad():
        logits = stages[1].head(stages[1](stages[0](ids, rows), rows))
        whole = model(**batch).logits
    torch.testing.assert_close(logits, whole)
    for stage in stages:
        stage.check_passed()
    counts = [stage.parameter_counts() for stage in stages]
    assert sum(total for _, total in counts) == sum(p.numel() for p in model.parameters())
    assert all(0 < trained < total for trained, total in counts)
    assert any(isinstance(module, Elsewhere) for module in stages[0].modules())
    decoder = module_of(stages[1].model, "decoder")
    assert not any("layers.0." in name for name, _ in decoder.named_parameters())
    for stage in stages:
        stage.autocast = torch.bfloat16
    with torch.no_grad():
        hidden = stages[0](ids, rows)
        mixed = stages[1].head(stages[1](hidden, rows))
        with torch.autocast("cpu", torch.bfloat16):
            whole_mixed = model(**batch).logits
    assert hidden.dtype == mixed.dtype == torch.float32
    assert torch.equal(mixed, whole_mixed.float()) and not torch.equal(mixed, whole)


def test_layers_that_are_given_features_of_photos_lie_with_the_first():
    """The three first layers of Qwen3-VL are: no device begins with the second or third."""
    profile, approach = load_profile("qwen3-vl-4b"), load_approach("full_mp")
    parts = parts_of(empty_model(profile, approach), RowShape(400, 1, 784), ROWS)
    first, second = plan(parts, 34).stages[:2]
    names = [part.name.rpartition(".")[2] for part in (*first, *second) if part.is_layer]
    assert names == ["0", "1", "2", "3"] and second[0].name.endswith(".3")
    with pytest.raises(MuseQuestError, match="has 36 decoder layers and cannot.*use 1 to 34"):
        plan(parts, 35)


def test_a_model_that_changes_what_passes_between_stages_is_one_sentence(tmp_path, home):
    """As where features of photos are added behind a layer of a later stage."""
    source = save_tiny_relative("qwen3_vl", tmp_path / "qwen3_vl")
    config = AutoConfig.from_pretrained(source)
    config.vision_config.deepstack_visual_indexes = [0, 1]
    AutoModelForImageTextToText.from_config(config).save_pretrained(source)
    profile = write_profile(tmp_path, source, image_size=SIDE)
    parts = parts_of(empty_model(profile, load_approach("full_mp")), ROW, ROWS)
    with pytest.raises(MuseQuestError, match="use 1 to 1"):
        stages_of(profile, parts)
    stages, ids, rows = stages_of(profile, [replace(part, bound=False) for part in parts])
    with torch.no_grad():
        stages[0](ids, rows)
    with pytest.raises(MuseQuestError, match="changes what passes between layers.*sequential"):
        stages[0].check_passed()


def test_filled_rows_teach_nothing():
    batch = {"input_ids": torch.arange(6).reshape(3, 2), "labels": torch.ones(3, 2).long()}
    filled = fill_rows(batch, 4)
    assert filled["input_ids"].tolist() == [[0, 1], [2, 3], [4, 5], [4, 5]]
    assert filled["labels"].tolist() == [[1, 1]] * 3 + [[-100, -100]]
    assert fill_rows(batch, 3)["labels"] is batch["labels"]
    photos = [torch.zeros(1), torch.ones(2), None]  # a row's each
    assert fill_rows(batch | {"photos": photos}, 2)["photos"] == [*photos, None]


def test_fewer_pieces_than_stages_is_one_sentence(tiny_docent, tmp_path):
    profile, approach = write_profile(tmp_path, tiny_docent), load_approach("full_mp")
    chosen = plan(parts_of(empty_model(profile, approach), ROW, ROWS), 2)
    stage = Stage(load_model(profile, device="cpu"), chosen, 0)
    with pytest.raises(MuseQuestError, match="micro_batches is 1, fewer than the 2 stages"):
        Pipeline(stage, 1, torch.device("cpu"))


def test_pieces_are_as_many_as_stages_unless_given():
    approach = load_approach("full_mp")
    assert micro_batches_of(replace(approach, parallel={"strategy": "1f1b"}), 3) == 3
    assert micro_batches_of(approach, 2) == approach.parallel["micro_batches"]
    assert micro_batches_of(replace(approach, parallel={"strategy": "sequential"}), 3) is None


def test_a_look_at_the_split_beforehand(profile, tmp_path, capsys):
    assert main(["--profile", str(tmp_path / "tiny.yaml"), "--devices", "2"]) == 0
    shown = capsys.readouterr().out
    assert "activations_gib" in shown and "lm_head" in shown
    assert main(["--profile", str(tmp_path / "tiny.yaml"), "--devices", "3"]) == 1
    assert "use 1 to 2" in capsys.readouterr().err
    one, both = (preview(profile, devices, "sequential") for devices in (1, 2))
    assert sum(both.bytes()) == one.bytes()[0]
    fullest = fullest_by_devices(profile)
    assert fullest.devices.tolist() == [1, 2]
    assert fullest.sequential_gib.tolist() == [max(p.bytes()) / GIB for p in (one, both)]
    assert (fullest["1f1b_gib"] <= fullest.sequential_gib).all()
