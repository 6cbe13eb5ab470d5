"""Idefics3 and SmolVLM take the road of the pocket docent: collator, tuning, training, answers."""

import json
import re
from dataclasses import replace

import pytest
import torch
from PIL import Image
from tiny_dialogs import sample, write_dataset, write_profile
from tiny_family import KINDS, TILE, TOKENS_A_TILE, save_tiny_relative

from musequest.creation.dataset import load_split
from musequest.finetuning.collator import IGNORED, DocentCollator
from musequest.finetuning.generation import generate
from musequest.finetuning.merging import merge
from musequest.finetuning.model_info import trainable_table
from musequest.finetuning.models import (
    PROJECTIONS,
    TUNINGS,
    load_model,
    load_processor,
    load_tuned,
)
from musequest.finetuning.trainer import reference_loss
from musequest.finetuning.training import train
from musequest.settings import load_approach


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def relative(kind, tmp_path_factory):
    return save_tiny_relative(kind, tmp_path_factory.mktemp(kind))


@pytest.fixture(params=[False, True], ids=["whole", "split"])
def profile(request, tmp_path, relative):
    return write_profile(tmp_path, relative, image_size=2 * TILE, image_splitting=request.param)


@pytest.fixture
def split_profile(tmp_path, relative):
    return write_profile(tmp_path, relative, image_size=2 * TILE, image_splitting=True)


def answer_of(row):
    return json.loads(row["dialog"])["messages"][1]["content"][0]["text"]


def test_labels_decode_to_exactly_the_answer_and_its_end(profile):
    collator = DocentCollator(load_processor(profile))
    rows = [sample(index) for index in range(6)]
    batch = collator(rows)
    for row, labels in zip(rows, batch["labels"], strict=True):
        text = collator.processor.tokenizer.decode(labels[labels != IGNORED])
        assert text.strip() == answer_of(row) + "<end_of_utterance>"


def test_each_text_begins_once(profile):
    collator = DocentCollator(load_processor(profile))
    begin = collator.processor.tokenizer.bos_token_id
    for learn in (True, False):
        collator.learn = learn
        for row in (sample(0), sample(1)):
            tokens = collator.encode(row)["input_ids"].tolist()
            assert tokens[0] == begin and tokens.count(begin) == 1


def test_every_tile_has_its_image_tokens_and_none_is_learned(profile):
    collator = DocentCollator(load_processor(profile))
    rows = [sample(index) for index in range(4)]
    batch = collator(rows)
    stand = batch["input_ids"] == collator.processor.tokenizer.convert_tokens_to_ids("<image>")
    shown = batch["pixel_attention_mask"].flatten(2).any(dim=2).sum(dim=1)
    assert stand.sum(dim=1).tolist() == (shown * TOKENS_A_TILE).tolist()
    assert (batch["labels"][stand] == IGNORED).all()
    assert (shown > 1).all() if profile.image_splitting else (shown == 1).all()


def test_a_batch_of_mixed_photos_masks_its_padding(split_profile):
    """Each row's loss is the same alone and in a batch whose other rows have more tiles."""
    collator = DocentCollator(load_processor(split_profile))
    model = load_model(split_profile, device="cpu")
    wide = {**sample(4), "image": Image.new("RGB", (200, 40), "teal")}
    rows = [sample(0), wide, sample(1)]
    assert len({collator.encode(row)["pixel_values"].shape[0] for row in rows}) > 1
    batch = collator(rows)
    labels = batch.pop("labels")
    with torch.no_grad():
        together = model(**batch).logits
    for number, row in enumerate(rows):
        alone = collator([row])
        with torch.no_grad():
            logits = model(**{k: v for k, v in alone.items() if k != "labels"}).logits
        learned = labels[number] != IGNORED
        expected = logits[0][alone["labels"][0] != IGNORED]
        torch.testing.assert_close(together[number][learned], expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("approach_name", ["lora", "full"])
def test_projections_of_text_model_and_connector_are_learned(split_profile, approach_name):
    model = TUNINGS[load_approach(approach_name).tuning](
        load_model(split_profile, device="cpu"), load_approach(approach_name)
    )
    table = trainable_table(model).set_index("part")
    assert table.loc["vision_model", "trainable"] == table.loc["lm_head", "trainable"] == 0
    assert table.loc["connector", "trainable"] > 0 and table.loc["text_model", "trainable"] > 0
    names = {
        re.sub(r"^base_model\.model\.|\.lora_.*$|\.weight$", "", name)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    assert "model.connector.modality_projection.proj" in names
    assert all(re.fullmatch(PROJECTIONS, name) for name in names)


def test_it_trains_answers_and_merges_like_the_docent(split_profile, home):
    write_dataset(home, "tiny")
    overrides = {"max_steps": "3", "eval_steps": "3"}
    record = train(split_profile, "lora", overrides, progress=False)
    rows = list(load_split("tiny", "validation"))
    tuned = load_tuned(split_profile, "lora").cpu()
    collator = DocentCollator(load_processor(split_profile))
    loss = reference_loss(tuned, collator, rows)
    assert loss == pytest.approx(record["best_eval_loss"], rel=1e-5)
    assert loss < reference_loss(load_model(split_profile, device="cpu"), collator, rows)
    assert merge(split_profile, "lora")["equal_answers"] == 3


def test_batched_answers_equal_single_ones(profile):
    """In pairs of photos of different shape, and one by one."""
    model, processor = load_model(profile, device="cpu"), load_processor(profile)
    rows = [sample(index) for index in range(4)]
    answers = [
        [
            row["answer"]
            for row in generate(
                model,
                processor,
                rows,
                replace(profile, generation_batch_size=size),
                progress=False,
            )
        ]
        for size in (1, 4)
    ]
    assert answers[0] == answers[1]
