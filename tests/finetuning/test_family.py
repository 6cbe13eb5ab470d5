"""Models of many families take the docent's road: collator, tuning, answers, merging."""

import gc
import itertools
import json
import os
import re
import shutil
from dataclasses import replace

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from forked import in_processes
from interrupting import At, interrupting, sent
from PIL import Image
from tiny_dialogs import dialog, sample, write_dataset, write_profile
from tiny_family import FAMILIES, SIDE, TILE, save_tiny_relative
from transformers import AutoModelForImageTextToText, Idefics2ForConditionalGeneration

from musequest.core.errors import MuseQuestError
from musequest.core.settings import load_approach
from musequest.creation.split import load_split
from musequest.finetuning import training
from musequest.finetuning.anatomy import anatomy_of, trainable_table
from musequest.finetuning.checkpoints import reference_loss
from musequest.finetuning.collator import IGNORED, DocentCollator
from musequest.finetuning.doctor import examine
from musequest.finetuning.generation import Docent, generate
from musequest.finetuning.memory import memory_of
from musequest.finetuning.models import (
    TUNINGS,
    WEIGHT_FILES,
    load_model,
    load_processor,
    load_tuned,
)
from musequest.finetuning.preflight import preflight
from musequest.finetuning.publishing import merge, publish
from musequest.finetuning.run_config import RunConfig
from musequest.finetuning.trainer import predicting
from musequest.finetuning.training import train
from musequest.systems.photo_index import BANDS, photo_features

# Those that know one size of photos, and no tiles beside it.
ONE_SIZE = ("gemma3",)


pytestmark = pytest.mark.usefixtures("home")  # nothing is kept in the folder of whoever tests


@pytest.fixture(scope="module", params=FAMILIES)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def relative(kind, tmp_path_factory):
    return save_tiny_relative(kind, tmp_path_factory.mktemp(kind))


def size_of(kind, splitting):
    return TILE if kind in ONE_SIZE or (kind == "internvl" and not splitting) else SIDE


@pytest.fixture(params=[False, True], ids=["whole", "split"])
def profile(request, kind, tmp_path, relative):
    splitting = request.param or kind == "llava_onevision"  # which always sees tiles
    side = size_of(kind, splitting)
    return write_profile(tmp_path, relative, image_size=side, image_splitting=splitting)


@pytest.fixture
def split_profile(tmp_path, kind, relative):
    return write_profile(tmp_path, relative, image_size=size_of(kind, True), image_splitting=True)


def answer_of(row):
    return json.loads(row["dialog"])["messages"][1]["content"][0]["text"]


def rows_of_many_sizes():
    wide = {**sample(4), "image": Image.new("RGB", (200, 40), "teal")}
    return [sample(0), wide, *(sample(index) for index in range(1, 5))]


def test_labels_decode_to_exactly_the_answer_and_its_end(kind, profile):
    collator = DocentCollator(load_processor(profile))
    begin = collator.processor.tokenizer.bos_token_id
    rows = rows_of_many_sizes()
    batch = collator(rows)
    for row, labels in zip(rows, batch["labels"], strict=True):
        text = collator.processor.tokenizer.decode(labels[labels != IGNORED])
        assert text.strip() == answer_of(row) + FAMILIES[kind].end
        assert collator.learned_ids(row) == labels[labels != IGNORED].tolist()
        tokens = collator.encode(row)["input_ids"].tolist()
        assert begin is None or (tokens[0] == begin and tokens.count(begin) == 1)


def test_of_several_turns_all_answers_are_learned(kind, split_profile):
    collator = DocentCollator(load_processor(split_profile))
    turns = json.loads(dialog("What is this?", "It is a jug."))["messages"]
    turns += json.loads(dialog("How old is it?", "It is old."))["messages"]
    turns[2]["content"] = turns[2]["content"][1:]
    row = {**sample(0), "dialog": json.dumps({"messages": turns})}
    labels = collator.encode(row)["labels"]
    ends = (labels != IGNORED).int().diff(prepend=torch.tensor([0])).eq(1).sum()
    text = collator.processor.tokenizer.decode(labels[labels != IGNORED])
    end = FAMILIES[kind].end
    assert ends == 2 and re.sub(r"\s*(<|It)", r"\1", text) == f"It is a jug.{end}It is old.{end}"


@pytest.mark.parametrize("kind", ["qwen3_5"], indirect=True)
def test_values_for_the_template_are_written_into_it(split_profile, tmp_path):
    """So whoever reads the saved processor writes a dialog as it was learned."""
    thinking = replace(split_profile, anatomy={"template": {"enable_thinking": True}})
    for profile, opened in ((split_profile, "<think>\n\n</think>\n\n"), (thinking, "<think>\n")):
        load_processor(profile).save_pretrained(tmp_path / "saved")
        template = (tmp_path / "saved/chat_template.jinja").read_text()
        processor = load_processor(split_profile)
        prompt = processor.tokenizer.apply_chat_template(
            json.loads(sample(0)["dialog"])["messages"][:1],
            chat_template=template,
            add_generation_prompt=True,
            tokenize=False,
        )
        assert prompt.startswith("<|im_start|>user") and prompt.endswith(f"assistant\n{opened}")


def with_photos(first, later):
    """A row whose dialog shows the first photos with its first question, the later with its next.

    Its photos are of several sizes.
    """
    turns = json.loads(dialog("What are these?", "It is a jug, and a bowl."))["messages"]
    turns += json.loads(dialog("And this?", "It is a vase."))["messages"]
    for turn, count in ((0, first), (2, later)):
        turns[turn]["content"][:1] = [{"type": "image"}] * count
    photos = [sample(number)["image"] for number in range(first + later)]
    shown = {"image": photos[0], "further_images": photos[1:]}
    return {**sample(0), **shown, "dialog": json.dumps({"messages": turns})}


@pytest.mark.parametrize(("first", "later"), [(2, 1), (0, 2)])
def test_of_several_photos_each_is_seen_and_all_answers_are_learned(
    kind, split_profile, first, later
):
    collator, end = DocentCollator(load_processor(split_profile)), FAMILIES[kind].end
    row, rows = with_photos(first, later), rows_of_many_sizes()[:1]
    labels = collator.encode(row)["labels"]
    text = collator.processor.tokenizer.decode(labels[labels != IGNORED])
    expected = f"It is a jug, and a bowl.{end}It is a vase.{end}"
    assert re.sub(r"\s*(<|It)", r"\1", text) == expected
    asked = DocentCollator(collator.processor, learn=False).encode(row)["input_ids"]
    assert labels[len(asked) :].ne(IGNORED).any() and labels[len(asked) - 1] == IGNORED
    model, batch = load_model(split_profile, device="cpu"), collator([row, *rows])
    further = [*row["further_images"][:-1], Image.new("RGB", (9, 9))]
    alone, blind = collator([row]), {**row, "further_images": further}
    learned = batch["labels"][0] != IGNORED
    with torch.no_grad():
        logits, other = model(**alone).logits[0], model(**collator([blind])).logits[0]
        together = model(**batch).logits[0][learned]
    expected = logits[alone["labels"][0] != IGNORED]
    torch.testing.assert_close(together, expected, atol=1e-4, rtol=1e-3)
    assert not torch.equal(logits[-1], other[-1])  # the last photo as well counts
    with pytest.raises(MuseQuestError, match=rf"shows {first + later} photos, and the row has 1;"):
        collator.encode({**row, "further_images": None})


@pytest.mark.parametrize("kind", ["llava_onevision"], indirect=True)
def test_photos_that_change_those_before_them_are_one_sentence(split_profile):
    """One photo is shown in tiles, and each of several is not: it depends on what comes later."""
    with pytest.raises(MuseQuestError, match="tokens cannot be told apart"):
        DocentCollator(load_processor(split_profile)).encode(with_photos(1, 1))


def test_a_batch_of_mixed_photos_is_what_its_rows_are(split_profile):
    """Each row's logits are the same alone and in a batch whose other rows have more tiles."""
    collator = DocentCollator(load_processor(split_profile))
    model = load_model(split_profile, device="cpu")
    rows = rows_of_many_sizes()[:4]
    batch = collator(rows)
    with torch.no_grad():
        together = model(**batch).logits
    for number, row in enumerate(rows):
        alone = collator([row])
        with torch.no_grad():
            logits = model(**alone).logits
        learned = batch["labels"][number] != IGNORED
        expected = logits[0][alone["labels"][0] != IGNORED]
        torch.testing.assert_close(together[number][learned], expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("approach_name", ["lora", "full"])
def test_everything_that_is_trained_learns_in_a_step(kind, split_profile, approach_name):
    approach = load_approach(approach_name)
    model = TUNINGS[approach.tuning](load_model(split_profile, device="cpu"), approach)
    anatomy = anatomy_of(model)
    table = trainable_table(model).set_index("part")
    assert table.drop("all").trainable.sum() == table.loc["all", "trainable"]
    assert table.drop("all").parameters.sum() == table.loc["all", "parameters"]
    assert table.loc["vision_model", "trainable"] == table.loc["lm_head", "trainable"] == 0
    assert table.loc["text_model", "trainable"] > 0
    # An adapter stands beside modules, and one family has its matrix outside of any.
    bare = kind == "gemma3" and approach_name == "lora"
    assert (table.loc["connector", "trainable"] > 0) != bare
    names = {
        re.sub(r"^base_model\.model\.|\.lora_.*$|\.weight$", "", name)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    assert all(re.fullmatch(anatomy.projections, name) for name in names)
    batch = DocentCollator(load_processor(split_profile))(rows_of_many_sizes()[:2])
    model.train()(**batch, **predicting(batch["labels"])).loss.backward()
    silent = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not silent
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


def test_it_trains_answers_and_merges_like_the_docent(split_profile, home):
    write_dataset(home, "tiny")
    overrides = {"max_steps": "3", "eval_steps": "3", "gradient_accumulation_steps": "2"}
    overrides["per_device_train_batch_size"] = "1"
    record = train(split_profile, "lora", overrides, progress=False)
    rows = list(load_split("tiny", "validation"))
    tuned = load_tuned(split_profile, "lora").cpu()
    collator = DocentCollator(load_processor(split_profile))
    loss = reference_loss(tuned, collator, rows)
    assert Docent(split_profile, "lora").sees_as_base  # though its connector learned
    assert loss == pytest.approx(record["best_eval_loss"], rel=1e-5)
    assert loss < reference_loss(load_model(split_profile, device="cpu"), collator, rows)
    agreement = merge(split_profile, "lora")
    assert agreement["equal_answers"] == 3 and agreement["relative_difference"] < 1e-5
    card = (publish(split_profile, "lora", "o/n") / "README.md").read_text()
    takes_videos = hasattr(collator.processor, "video_settings")
    assert ("torchvision" in card) == takes_videos == ('backend="pil"' not in card)


@pytest.mark.parametrize("kind", ["qwen3_vl", "gemma3"], indirect=True)
def test_a_step_of_several_batches_learns_what_one_batch_does(split_profile, home):
    write_dataset(home, "tiny")
    losses = []
    for rows, batches in ((2, 1), (1, 2)):
        overrides = {"max_steps": "2", "eval_steps": "2"}
        overrides |= {"per_device_train_batch_size": str(rows)}
        overrides |= {"gradient_accumulation_steps": str(batches)}
        record = train(split_profile, "full", overrides, progress=False, fresh=True)
        losses.append(record["best_eval_loss"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "approach_name"),
    [*zip(FAMILIES, itertools.cycle(("lora", "full")))],
    indirect=["kind"],
)
def test_a_run_that_was_interrupted_ends_bit_by_bit_the_same(
    split_profile, home, tmp_path, monkeypatch, approach_name
):
    """The interrupted one reads photos that the other saw; adapters drop inputs at random."""
    write_dataset(home, "tiny")
    every = {"max_steps": "4", "eval_steps": "1"}
    whole = train(split_profile, approach_name, every, progress=False)
    run = home / "runs/tiny" / approach_name
    weights = {path.name: path.read_bytes() for path in run.glob("*/*.safetensors")}
    with monkeypatch.context() as patch:
        interrupting(patch, At(3, sent()))
        with pytest.raises(MuseQuestError, match="interrupted .* at step 3 of 4"):
            train(split_profile, approach_name, every, progress=False, fresh=True)
    assert train(split_profile, approach_name, every, progress=False)["status"] == "done"
    assert weights == {path.name: path.read_bytes() for path in run.glob("*/*.safetensors")}
    assert whole["vision_store"]["photos_computed"] > 0


THREE = {"max_steps": "3", "eval_steps": "3"}
# Approaches of several processes, the one that each is to equal, and rows a process.
TOGETHER = {"lora_ddp": ("lora", "1"), "full_mp": ("full", "2"), "full_fsdp": ("full", "1")}


def _together(profile, home):
    """The validation losses of approaches in several processes; run in each of them."""
    os.environ["MUSEQUEST_HOME"] = str(home)
    return {
        name: train(profile, name, THREE | {"per_device_train_batch_size": rows}, progress=False)[
            "best_eval_loss"
        ]
        for name, (_, rows) in TOGETHER.items()
    }


# InternVL gives the image tokens back as well, a view, which nobody changes.
@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module .* returned a view:UserWarning")
# LLaVA-OneVision has a weight of its own in its connector, which Accelerate looks for as a module.
@pytest.mark.filterwarnings("ignore:The following device_map keys do not match any:UserWarning")
def test_several_devices_learn_what_one_does(split_profile, home, monkeypatch):
    """Processes with a row each, shards, stages at work at once, and one after another."""
    write_dataset(home, "tiny")
    profile = replace(split_profile, lora={"lora_dropout": 0.0})
    # Row by row too, for Adam makes much of what sums of other rows round otherwise.
    row_by_row = {"per_device_train_batch_size": "1", "gradient_accumulation_steps": "2"}
    alone = {
        name: train(profile, name, THREE | row_by_row, progress=False)["best_eval_loss"]
        for name in ("lora", "full")
    }
    expected = {name: alone[like] for name, (like, _) in TOGETHER.items()}
    assert in_processes(_together, profile, home)[0] == pytest.approx(expected, abs=1e-4)
    approach = load_approach("full_mp")
    sequential = replace(approach, parallel={"strategy": "sequential"})
    monkeypatch.setattr(training, "load_approach", lambda name: sequential)
    parted = train(profile, "full_mp", THREE, progress=False, fresh=True)
    assert len(parted["plan"]) == 2
    assert parted["best_eval_loss"] == pytest.approx(alone["full"], abs=1e-4)


def test_in_four_bits_it_learns_and_sees_as_before(split_profile):
    approach = load_approach("qlora")
    base = load_model(split_profile, quantization=approach.quantization, device="cpu")
    model = TUNINGS["lora"](base, approach)
    anatomy = anatomy_of(model)
    small = {
        name.removesuffix(".base_layer")
        for name, module in base.named_modules()
        if isinstance(module, Linear4bit)
    }
    assert small and all(re.fullmatch(anatomy.projections, name) for name in small)
    assert not any(name.startswith(anatomy.vision_model) for name in small)
    batch = DocentCollator(load_processor(split_profile))([sample(0), sample(1)])
    model.train()(**batch).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("kind", ["qwen3_vl", "internvl"], indirect=True)
def test_parts_have_their_own_learning_rates(split_profile, home, monkeypatch):
    write_dataset(home, "tiny")
    projections = anatomy_of(load_model(split_profile)).projections
    eyes = rf"{projections}|.*\b(visual|vision_tower)\..*proj.*"
    profile = replace(
        split_profile,
        anatomy={"projections": eyes},
        learning_rates={"vision_model": 1e-5, "connector": 2e-5},
    )
    kept = []
    monkeypatch.setattr(training, "build_trainer", _noting(kept))
    record = train(profile, "full", {**THREE, "lr_scheduler_type": "constant"}, progress=False)
    rates = {group["lr"] for group in kept[0].optimizer.param_groups}
    assert rates == {1e-5, 2e-5, 0.01}
    learned = sum(len(group["params"]) for group in kept[0].optimizer.param_groups)
    assert learned == sum(p.requires_grad for p in kept[0].model.parameters())
    assert record["learning_rates"] == profile.learning_rates
    useless = replace(split_profile, learning_rates={"lm_head": 1e-5})
    with pytest.raises(MuseQuestError, match="names lm_head, of which nothing is trained"):
        train(useless, "full", THREE, progress=False, fresh=True)


def _noting(kept):
    build = training.build_trainer

    def noting(*given, **options):
        kept.append(build(*given, **options))
        return kept[-1]

    return noting


def test_batched_answers_equal_single_ones(profile):
    """Photos of different shape, all together and one by one."""
    model, processor = load_model(profile, device="cpu"), load_processor(profile)
    rows = rows_of_many_sizes()[:4]
    answers = []
    for size in (1, 4):
        chosen = replace(profile, generation_batch_size=size)
        said = generate(model, processor, rows, chosen, progress=False)
        answers.append([row["answer"] for row in said])
    assert answers[0] == answers[1]


def test_photos_have_features_by_which_they_are_found(split_profile):
    model, processor = load_model(split_profile, device="cpu"), load_processor(split_profile)
    photos = [Image.new("RGB", (60, 40), colour) for colour in ("red", "red", "blue")]
    features = photo_features(model, processor, photos)
    assert features.shape[:2] == (3, BANDS) and features.ndim == 3
    assert (features[0] == features[1]).all() and not (features[0] == features[2]).all()


@pytest.mark.parametrize("approach_name", ["lora", "qlora", "full", "full_fsdp"])
def test_memory_is_counted_for_every_approach(split_profile, approach_name, home):
    config = RunConfig.resolve(split_profile, load_approach(approach_name))
    memory = memory_of(config, config.row)
    model = TUNINGS[config.approach.tuning](load_model(split_profile), config.approach)
    weights = sum(p.nbytes for p in model.parameters())
    trained = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    assert memory.gradients == trained > 0 and memory.optimizer == 2 * trained
    assert memory.weights == weights or approach_name == "qlora" and memory.weights < weights
    assert memory.activations.layer > 0 and memory.activations.of_row(config.row, False) > 0


@pytest.mark.parametrize("here", [True, False], ids=["weights", "no_weights"])
def test_the_doctor_walks_the_whole_road(kind, relative, tmp_path, here):
    folder = tmp_path / kind
    folder.mkdir()
    for file in relative.iterdir():
        if here or file.name not in WEIGHT_FILES:
            (folder / file.name).write_bytes(file.read_bytes())
    profile = write_profile(tmp_path, folder, image_size=size_of(kind, True), image_splitting=True)
    said = list(examine(profile))
    tokens, parts, lora, answer, back, full = said
    assert FAMILIES[kind].end in tokens and "[" in tokens
    assert anatomy_of(load_model(profile) if here else _empty(profile)).layers in parts
    assert parts.startswith("The base model" if here else "A random model")
    assert lora.startswith("Tuning 'lora' trains") and full.startswith("Tuning 'full' trains")
    assert answer.startswith("It answers") and "differs by" in back


def test_the_doctor_needs_room_for_one_model(tmp_path, home, tiny_docent):
    profile = write_profile(tmp_path, tiny_docent)

    def models():
        gc.collect()
        return sum(type(each) is Idefics2ForConditionalGeneration for each in gc.get_objects())

    before = models()
    assert all(models() <= before + 1 for _ in examine(profile))


def _empty(profile):
    from musequest.finetuning.models import of_shape

    return of_shape(profile)


def test_merged_weights_load_in_plain_transformers(kind, split_profile, home):
    model = TUNINGS["lora"](load_model(split_profile, device="cpu"), load_approach("lora"))
    model.merge_and_unload().save_pretrained(home / "merged")
    load_processor(split_profile).save_pretrained(home / "merged")
    plain = AutoModelForImageTextToText.from_pretrained(home / "merged").eval()
    assert type(plain) is FAMILIES[kind].model
    processor = load_processor(replace(split_profile, base_model=str(home / "merged")))
    batch = DocentCollator(processor)([sample(0)])
    with torch.no_grad():
        expected = load_model(split_profile, device="cpu")(**batch).logits
        torch.testing.assert_close(plain(**batch).logits, expected)


def _rewritten(file, change):
    """Change a JSON file, or a text, in place."""
    if file.suffix == ".json":
        held = json.loads(file.read_text())
        change(held)
        file.write_text(json.dumps(held))
    else:
        file.write_text(change(file.read_text()))


LLAMA = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 440}
STRANGE = {"model_type": "strange", "auto_map": {"AutoConfig": "strange.Config"}}
# What is wrong with a base model: its file, the change, and what is said of it.
SPOILED = {
    "no_vision": ("config.json", lambda held: (held.clear(), held.update(LLAMA)), "kind llama"),
    "no_place": (
        "chat_template.jinja",
        lambda text: text.replace("<|image_pad|>", "").replace(
            "<|vision_start|><|vision_end|>", ""
        ),
        "writes no place for a photo",
    ),
    "no_end": (
        "chat_template.jinja",
        lambda text: text.replace("<|im_end|>", ""),
        "no special token",
    ),
    "own_code": ("config.json", lambda held: held.update(STRANGE), "program code of its own"),
    "package": (
        "processor_config.json",
        lambda held: held["image_processor"].update(image_processor_type="Llama4ImageProcessor"),
        "needs a package that is not here: `pip install torchvision`",
    ),
}


@pytest.mark.parametrize("kind", ["qwen3_vl"], indirect=True)
@pytest.mark.parametrize("wrong", SPOILED)
def test_a_base_model_that_cannot_be_taken_is_one_sentence(relative, tmp_path, monkeypatch, wrong):
    """Nobody is asked whether to run the model's own code, and none of it is run."""
    name, change, said = SPOILED[wrong]
    folder, ran, asked = tmp_path / "spoiled", tmp_path / "ran", []
    shutil.copytree(relative, folder)
    (folder / "strange.py").write_text(f"open({str(ran)!r}, 'w')")
    _rewritten(folder / name, change)
    monkeypatch.setattr("builtins.input", asked.append)
    profile = write_profile(tmp_path, folder, image_size=SIDE)
    for look in (examine, preflight):
        with pytest.raises(MuseQuestError, match=said):
            list(look(profile))
    assert not asked and not ran.exists()


# A connector beside the vision model, and one within it.
@pytest.mark.parametrize("kind", ["idefics3", "qwen3_vl"], indirect=True)
def test_a_part_that_a_profile_names_wrongly_is_one_sentence(split_profile):
    for key, name in (("vision_model", "model.eyes"), ("decoder", "model"), ("head", "mouth")):
        wrong = replace(split_profile, anatomy={key: name})
        with pytest.raises(MuseQuestError, match=f"has no module '{name}'; set anatomy.{key} in"):
            load_model(wrong)
    wrong = replace(split_profile, anatomy={"connector": ["model.bridge"]})
    with pytest.raises(MuseQuestError, match="has no module 'model.bridge'; set anatomy.connector"):
        load_model(wrong)
    wrong = replace(split_profile, anatomy={"closing_token": "<stop>"})
    with pytest.raises(MuseQuestError, match=r"not with <stop>; correct anatomy.closing_token"):
        load_processor(wrong)
    nothing = load_model(replace(split_profile, anatomy={"projections": "nothing"}))
    with pytest.raises(MuseQuestError, match="nothing to learn.*set anatomy.projections"):
        TUNINGS["full"](nothing, load_approach("full"))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("gemma3", "set image_size: 32 in"),
        ("internvl", "set image_size to a multiple of 32 in"),
        ("llava_onevision", "set image_size: 64 and image_splitting: true in"),
    ],
    indirect=["kind"],
)
def test_a_size_that_a_model_does_not_know_is_one_sentence(kind, said, relative, tmp_path):
    wrong = write_profile(tmp_path, relative, image_size=48, image_splitting=True)
    with pytest.raises(MuseQuestError, match=f"image_size is 48; {said} the profile"):
        load_processor(wrong)


def _in_shards(profile, home):
    os.environ["MUSEQUEST_HOME"] = str(home)
    overrides = THREE | {"per_device_train_batch_size": "1"}
    return train(profile, "full_fsdp", overrides, progress=False)


@pytest.mark.parametrize("kind", ["qwen3_vl", "qwen2_5_vl"], indirect=True)
def test_shards_read_the_photos_that_one_device_saw(split_profile, home, monkeypatch):
    """Theirs are read, or computed by all processes together, and the outcome is the same."""
    monkeypatch.setattr("musequest.finetuning.vision_store.WORTH", float("inf"))
    write_dataset(home, "tiny")
    row_by_row = {"per_device_train_batch_size": "1", "gradient_accumulation_steps": "2"}
    alone = train(split_profile, "full", THREE | row_by_row, progress=False)
    kept = sorted((home / "data/tiny/vision").glob("*/*"))
    for photo in kept[::3]:
        photo.unlink()
    record = in_processes(_in_shards, split_profile, home)[0]
    assert record["best_eval_loss"] == pytest.approx(alone["best_eval_loss"], abs=1e-4)
    assert record["vision_store"]["photos_read"] > 0
    assert sorted((home / "data/tiny/vision").glob("*/*")) == kept
