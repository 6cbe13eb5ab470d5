"""Loading by profile, and what an approach makes trainable."""

import json
import platform
import re
from dataclasses import replace

import psutil
import pytest
import torch
from tiny import CHAT_TEMPLATE, save_tiny_docent
from tiny_dialogs import sample, write_profile
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    LlamaConfig,
)

from musequest.core.errors import MuseQuestError
from musequest.core.home import root
from musequest.core.settings import TAKING, check_adapter, load_approach
from musequest.finetuning import processors
from musequest.finetuning.anatomy import anatomy_of, trainable_table
from musequest.finetuning.collator import DocentCollator
from musequest.finetuning.models import (
    TUNINGS,
    add_adapter,
    base_fingerprint,
    free_projections,
    give_back,
    load_model,
    load_processor,
    load_tuned,
)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc keeps it")
def test_memory_that_nobody_uses_goes_back_to_the_system():
    """What lies below the last of many small pieces stays with the process until then."""
    process = psutil.Process()
    pieces = [bytearray(60_000) for _ in range(2_000)]
    last = pieces.pop()
    held = process.memory_info().rss
    pieces.clear()
    give_back()
    assert process.memory_info().rss < held - 80_000_000 and last


@pytest.fixture
def profile(tmp_path, tiny_docent):
    return write_profile(tmp_path, tiny_docent)


def with_lora(**changes):
    own = load_approach("lora")
    return replace(own, lora={**own.lora, **changes})


def trainable_names(model):
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def test_the_processor_pads_left_and_takes_the_profiles_size(profile):
    processor = load_processor(replace(profile, image_size=96, image_splitting=True))
    assert processor.tokenizer.padding_side == "left"
    assert processor.tokenizer.pad_token == "<pad>"
    assert dict(processor.image_processor.size) == {"shortest_edge": 72, "longest_edge": 96}
    batch = DocentCollator(processor)([sample(3)])
    assert batch["pixel_values"].shape[1] == 5
    assert max(batch["pixel_values"].shape[-2:]) <= 96


def test_a_tokenizer_without_padding_token_gets_one_without_growing(profile, tmp_path, tiny_docent):
    copy = tmp_path / "docent"
    copy.mkdir()
    for file in tiny_docent.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    tokenizer = AutoTokenizer.from_pretrained(copy)
    length = len(tokenizer)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(copy)
    loaded = load_processor(replace(profile, base_model=str(copy))).tokenizer
    assert loaded.pad_token == "<unk>"
    assert len(loaded) == length


def test_an_adapter_learns_projections_of_text_model_and_connector_only(profile):
    approach = load_approach("lora")
    model = add_adapter(load_model(profile), approach)
    names = trainable_names(model)
    assert names and all("lora_" in name for name in names)
    wanted = {
        name
        for name, module in load_model(profile).named_modules()
        if isinstance(module, torch.nn.Linear) and re.search(r"\b(text_model|connector)\b", name)
    }
    got = {name.removeprefix("base_model.model.").split(".lora_")[0] for name in names}
    assert got == wanted
    assert any("connector" in name for name in got) and any("text_model" in name for name in got)
    assert not any("vision_model" in name for name in got)
    config = model.peft_config["default"]
    assert (config.r, config.lora_alpha, config.use_rslora) == (8, 64, True)


def test_a_fresh_adapter_changes_nothing(profile):
    batch = DocentCollator(load_processor(profile))([sample(0)])
    base = load_model(profile, device="cpu")
    with torch.no_grad():
        before = base(**batch).logits
        torch.testing.assert_close(add_adapter(base, load_approach("lora"))(**batch).logits, before)


def test_full_tuning_frees_the_same_projections(profile):
    model = TUNINGS["full"](load_model(profile), load_approach("lora"))
    names = [name.removesuffix(".weight") for name in trainable_names(model)]
    projections = anatomy_of(model).projections
    assert names and all(re.fullmatch(projections, name) for name in names)


def test_the_vision_model_stays_in_eval_mode_while_the_rest_trains(profile):
    model = add_adapter(load_model(profile, device="cpu"), load_approach("lora")).train()
    batch = DocentCollator(load_processor(profile))([sample(0)])
    model(**batch).loss.backward()
    modes = {name: m.training for name, m in model.named_modules() if "vision_model" in name}
    assert modes and not any(modes.values())
    assert model.training
    frozen = [p.grad for name, p in model.named_parameters() if "lora_" not in name]
    assert all(gradient is None for gradient in frozen)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_vision_model_that_is_named_learns_with_the_rest(profile, checkpointing):
    named = with_lora(target_modules="all-linear")
    model = add_adapter(load_model(profile, device="cpu"), named).train()
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    model(**DocentCollator(load_processor(profile))([sample(0)])).loss.backward()
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert sum("vision_model" in name for name in learning) == 12
    assert all(p.grad is not None for p in learning.values())
    assert all(m.training for name, m in model.named_modules() if "vision_model" in name)
    base = [p.grad for name, p in model.named_parameters() if "lora_" not in name]
    assert all(gradient is None for gradient in base)


@pytest.mark.parametrize(
    "start",
    ["pissa_niter_4", "loftq", "eva", "corda", "lora_ga", "mica", "new", 1],
)
def test_an_adapter_that_would_not_come_back_as_it_was_learned_is_refused(profile, start):
    with pytest.raises(MuseQuestError, match=f"init_lora_weights: {start}.*use true, false"):
        add_adapter(load_model(profile), with_lora(init_lora_weights=start))


@pytest.mark.parametrize("start", TAKING)
def test_from_weights_in_four_bits_no_adapter_takes_its_beginning(start):
    qlora = load_approach("qlora")
    check_adapter(
        replace(qlora, lora={**qlora.lora, "init_lora_weights": start}, quantization=None)
    )
    with pytest.raises(MuseQuestError, match=f"init_lora_weights: {start}.*use true, false"):
        check_adapter(replace(qlora, lora={**qlora.lora, "init_lora_weights": start}))


def test_an_adapter_that_fits_nowhere_is_one_sentence(profile):
    for wrong in ({"target_modules": ["query"]}, {"r": 0}):
        with pytest.raises(MuseQuestError, match="peft cannot put the adapter of 'lora' on"):
            add_adapter(load_model(profile), with_lora(**wrong))


def test_full_tuning_of_nothing_is_one_sentence(profile):
    nothing = load_model(replace(profile, anatomy={"projections": "model.none"}))
    with pytest.raises(MuseQuestError, match="nothing to learn in a Idefics2.*'model.none'; set"):
        free_projections(nothing, load_approach("full"))


def test_a_model_that_sees_nothing_is_one_sentence(profile, tmp_path):
    shape = LlamaConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=8
    )
    AutoModelForCausalLM.from_config(shape).save_pretrained(tmp_path / "blind")
    blind = replace(profile, base_model=str(tmp_path / "blind"))
    with pytest.raises(MuseQuestError, match="blind' is of the kind llama.*image-text-to-text"):
        load_model(blind)


def test_a_model_with_code_of_its_own_is_refused_with_the_reason(profile, tmp_path):
    folder = tmp_path / "own_code"
    folder.mkdir()
    classes = {"AutoConfig": "own.Config", "AutoModelForImageTextToText": "own.Model"}
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": classes}))
    (folder / "own.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(MuseQuestError, match="program code of its own, which is never run here"):
        load_model(replace(profile, base_model=str(folder)))


def _with_template(tmp_path, docent, template):
    folder = tmp_path / "templated"
    folder.mkdir()
    for file in docent.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "chat_template.jinja").write_text(template)
    return str(folder)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for m in messages %}{{ m['role'] }}<end_of_utterance>{% endfor %}", "no place for a"),
        (CHAT_TEMPLATE.replace("<end_of_utterance>", ""), "holds no special token.*closing_token"),
        ("{% for message in %}", "cannot write a dialog about a photo .Expected an expression"),
        ("{{ raise_exception('No photos.') }}", "cannot write a dialog about a photo .No photos"),
    ],
    ids=["no photo", "no end", "torn", "refusing"],
)
def test_a_template_that_does_not_do_is_one_sentence(
    profile, tmp_path, tiny_docent, template, said
):
    changed = _with_template(tmp_path, tiny_docent, template)
    with pytest.raises(MuseQuestError, match=said):
        load_processor(replace(profile, base_model=changed))


def test_a_processor_that_needs_a_missing_package_names_it(profile, monkeypatch):
    def missing(*given, **options):
        raise ImportError("Package `rarely` is required. Install it with `pip install rarely`.")

    monkeypatch.setattr(processors, "_read", missing)
    with pytest.raises(MuseQuestError, match=r"cannot be loaded \(Package `rarely` is required"):
        load_processor(profile)


def test_the_table_of_trainable_parameters_adds_up(profile):
    model = add_adapter(load_model(profile), load_approach("lora"))
    table = trainable_table(model).set_index("part")
    everything = list(model.parameters())
    assert table.loc["all", "parameters"] == sum(p.numel() for p in everything)
    assert table.drop("all").parameters.sum() == table.loc["all", "parameters"]
    assert table.drop("all").trainable.sum() == table.loc["all", "trainable"] > 0
    assert table.loc["vision_model", "trainable"] == table.loc["lm_head", "trainable"] == 0
    assert table.loc["text_model", "dtype"] == "float32"


def test_weights_come_in_the_profiles_dtype(profile):
    assert load_model(replace(profile, dtype="bfloat16")).dtype == torch.bfloat16


def test_beside_4_bits_it_is_computed_in_the_dtype_in_which_the_base_was_saved(tmp_path):
    for dtype in ("float32", "bfloat16"):
        folder = tmp_path / dtype
        folder.mkdir()
        source = save_tiny_docent(folder, width=64)
        AutoModelForImageTextToText.from_pretrained(source, dtype=dtype).save_pretrained(source)
        as_saved = write_profile(tmp_path, source, dtype="auto")
        quantization = load_approach("qlora").quantization
        model = add_adapter(load_model(as_saved, quantization=quantization), load_approach("qlora"))
        batch = DocentCollator(load_processor(as_saved))([sample(0)])
        model(**batch).loss.backward()
        computed = {m.compute_dtype for m in model.modules() if hasattr(m, "compute_dtype")}
        assert computed == {getattr(torch, dtype)}


def test_a_base_model_that_is_nowhere_is_one_sentence(profile):
    absent = replace(profile, base_model="nobody/no-such-model")
    for load in (load_processor, load_model, base_fingerprint):
        with pytest.raises(MuseQuestError, match="nobody/no-such-model.*check the key base_model"):
            load(absent)


@pytest.mark.parametrize("damaged", ["model.safetensors", "config.json"])
def test_a_damaged_base_model_is_one_sentence(profile, tmp_path, tiny_docent, damaged):
    copy = tmp_path / "docent"
    copy.mkdir()
    for file in tiny_docent.iterdir():
        content = file.read_bytes()
        (copy / file.name).write_bytes(content[:-100] if file.name == damaged else content)
    with pytest.raises(MuseQuestError, match="cannot be loaded"):
        load_model(replace(profile, base_model=str(copy)))


def test_the_fingerprint_follows_the_weights(profile, tmp_path, tiny_docent):
    copy = tmp_path / "docent"
    copy.mkdir()
    for file in tiny_docent.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    twin = replace(profile, base_model=str(copy))
    assert base_fingerprint(twin) == base_fingerprint(profile)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert base_fingerprint(twin) != base_fingerprint(profile)


def test_an_unfinished_run_has_no_tuned_model(profile, home):
    with pytest.raises(MuseQuestError, match="not started.*musequest train"):
        load_tuned(profile, "lora")


def projections_of_idefics2() -> set[str]:
    """The module of every projection in text model and connector of Idefics2-8B."""
    mlp = ("gate_proj", "up_proj", "down_proj")
    inside = [
        *(f"self_attn.{name}_proj" for name in "qkvo"),
        *(f"mlp.{name}" for name in mlp),
    ]
    text = {f"model.text_model.layers.{i}.{name}" for i in range(32) for name in inside}
    resampler = "model.connector.perceiver_resampler.layers"
    connector = {f"{resampler}.{i}.{name}" for i in range(3) for name in inside}
    return text | connector | {f"model.connector.modality_projection.{name}" for name in mlp}


@pytest.fixture(scope="module")
def shape():
    return AutoConfig.from_pretrained(root() / "benchmarks/shapes/idefics2_8b")


def test_of_idefics2_8b_full_tuning_selects_the_projections_and_nothing_else(shape):
    with torch.device("meta"):
        model = free_projections(AutoModelForImageTextToText.from_config(shape), None)
    chosen = trainable_names(model)
    assert len(chosen) == 248
    assert set(chosen) == {f"{name}.weight" for name in projections_of_idefics2()}
    whole = trainable_table(model).set_index("part").loc["all"]
    assert (whole.trainable, whole.parameters) == (7_722_237_952, 8_402_776_304)


@pytest.mark.parametrize("approach", ["lora", "qlora", "lora_ddp"])
def test_of_idefics2_8b_an_adapter_is_put_on_the_same_projections(shape, approach):
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(shape)
        model = add_adapter(model, load_approach(approach))
    assert set(trainable_names(model)) == {
        f"base_model.model.{name}.lora_{matrix}.default.weight"
        for name in projections_of_idefics2()
        for matrix in "AB"
    }
    table = trainable_table(model).set_index("part")
    assert table.loc["all"].trainable == 23_326_720
    assert round(table.loc["all"].trainable_percent, 2) == 0.28
    assert table.loc["vision_model", "trainable"] == 0
