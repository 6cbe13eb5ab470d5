"""The loss is learned on the answer alone, and no token of a dialog is lost."""

import json

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tiny_dialogs import dialog, sample, write_profile
from tiny_family import save_tiny_relative
from transformers import AutoProcessor

from musequest.core.errors import MuseQuestError
from musequest.core.home import root
from musequest.core.settings import load_approach
from musequest.finetuning.collator import (
    IGNORED,
    DocentCollator,
    EncodedDialogs,
    EpochOrder,
    FilledRows,
    coloured_tokens,
)
from musequest.finetuning.models import TUNINGS, load_model, load_processor
from musequest.finetuning.trainer import predicting, smooth_labels

REAL = root().parent / "shared" / "idefics2_processor"


@pytest.fixture(params=["tiny", "real"])
def processor(request, tiny_docent):
    if request.param == "tiny":
        return AutoProcessor.from_pretrained(tiny_docent, backend="pil")
    if not REAL.is_dir():
        pytest.skip("the real Idefics2 processor is not here")
    return AutoProcessor.from_pretrained(REAL, backend="pil")


@pytest.fixture
def tiny(tiny_docent):
    return AutoProcessor.from_pretrained(tiny_docent, backend="pil")


def answer_of(row):
    return json.loads(row["dialog"])["messages"][1]["content"][0]["text"]


def test_labels_decode_to_exactly_the_answer_and_its_end(processor):
    rows = [sample(index) for index in range(6)]
    batch = DocentCollator(processor)(rows)
    for row, labels in zip(rows, batch["labels"], strict=True):
        learned = labels[labels != IGNORED]
        text = processor.tokenizer.decode(learned)
        assert text.strip() == answer_of(row) + "<end_of_utterance>"


def test_labels_stand_where_their_tokens_stand(processor):
    batch = DocentCollator(processor)([sample(index) for index in range(6)])
    learned = batch["labels"] != IGNORED
    assert torch.equal(batch["labels"][learned], batch["input_ids"][learned])
    assert not learned[batch["input_ids"] == processor.tokenizer.pad_token_id].any()
    # Each answer is one run of tokens, and after it only the template's line end may follow.
    changes = learned.int().diff(dim=1).ne(0).sum(dim=1)
    assert changes.tolist() == [2] * 6


def test_every_image_token_is_there_and_none_is_learned(processor):
    rows = [sample(index) for index in range(4)]
    rows.append({**sample(0), "dialog": dialog("Why?", "word " * 300)})
    batch = DocentCollator(processor)(rows)
    image_token = processor.tokenizer.convert_tokens_to_ids("<image>")
    stand = batch["input_ids"] == image_token
    assert stand.sum(dim=1).tolist() == [processor.image_seq_len] * len(rows)
    assert (batch["labels"][stand] == IGNORED).all()


def test_padding_equals_what_the_processor_pads(processor):
    processor.tokenizer.padding_side = "right"
    rows = [sample(index) for index in range(4)]
    batch = DocentCollator(processor)(rows)
    texts = [
        processor.apply_chat_template(json.loads(row["dialog"])["messages"], tokenize=False)
        for row in rows
    ]
    photos = [[row["image"]] for row in rows]
    expected = processor(text=texts, images=photos, padding=True, return_tensors="pt")
    del expected["attention_mask"]  # nothing sees what follows it
    assert set(expected) == set(batch) - {"labels"}
    for name, values in expected.items():
        assert torch.equal(batch[name], values), name


def test_without_learning_the_prompt_ends_where_the_answer_begins(processor):
    row = sample(2)
    prompt = DocentCollator(processor, learn=False)([row])
    whole = DocentCollator(processor)([row])
    start = int((whole["labels"][0] != IGNORED).nonzero()[0])
    assert "labels" not in prompt
    assert torch.equal(prompt["input_ids"][0], whole["input_ids"][0, :start])


def test_coloured_tokens_mark_the_answer(processor):
    coloured = coloured_tokens(DocentCollator(processor), sample(0))
    learned = "".join(text for text, flag in coloured if flag)
    assert learned.strip() == answer_of(sample(0)) + "<end_of_utterance>"
    given = "".join(text for text, flag in coloured if not flag)
    assert "Who made it, and when?" in given and given.rstrip("\n").endswith("Assistant:")


def test_a_dialog_that_is_too_long_is_an_error_not_a_cut(tiny):
    length = len(DocentCollator(tiny).encode(sample(0))["input_ids"])
    DocentCollator(tiny, max_tokens=length).encode(sample(0))
    with pytest.raises(MuseQuestError, match=f"train-00 takes {length} tokens.*{length - 1}"):
        DocentCollator(tiny, max_tokens=length - 1).encode(sample(0))


def test_photos_come_in_the_order_of_the_dialog_and_no_answer_moves(processor):
    """Two with the first question and one with the next, beside a row that has one."""
    turns = [json.loads(sample(number)["dialog"])["messages"] for number in (0, 1)]
    turns[0][0]["content"][:0] = [{"type": "image"}]
    photos = [sample(number)["image"] for number in (0, 1, 2)]
    shown = {"image": photos[0], "further_images": photos[1:]}
    row = {**sample(0), **shown, "dialog": json.dumps({"messages": sum(turns, [])})}
    collator = DocentCollator(processor)
    batch = collator([row, sample(1)])
    labels = batch["labels"][0]
    text = processor.tokenizer.decode(labels[labels != IGNORED])
    end = "<end_of_utterance>"
    assert [each.strip() for each in text.split(end)] == [
        *(answer_of(sample(number)) for number in (0, 1)), "",
    ]  # fmt: skip
    for place, photo in enumerate(photos):
        alone = collator([{**sample(0), "image": photo}])["pixel_values"][0, 0]
        _, height, width = alone.shape
        assert torch.equal(batch["pixel_values"][0, place, :, :height, :width], alone)
    assert not batch["pixel_values"][1, 1:].any()
    with pytest.raises(MuseQuestError, match="train-00 shows 3 photos, and the row has 0;"):
        collator.encode({**row, "image": None, "further_images": None})


@pytest.mark.parametrize("token", ["<image>", "<end_of_utterance>", "<pad>"])
def test_a_special_token_in_a_text_is_an_error(tiny, token):
    row = {**sample(0), "dialog": dialog("What is this?", f"It is {token} a jug.")}
    with pytest.raises(MuseQuestError, match=f"train-00 contains .*{token}"):
        DocentCollator(tiny)([row])


@pytest.mark.parametrize("broken", ["", "[]", '{"messages": []}', None, dialog("What?", "  ")])
def test_a_dialog_of_another_form_is_an_error(tiny, broken):
    with pytest.raises(MuseQuestError, match="train-00 is not a question and an answer"):
        DocentCollator(tiny)([{**sample(0), "dialog": broken}])


def test_photos_of_any_mode_are_taken(tiny):
    for mode in ("L", "RGBA", "CMYK", "P"):
        row = {**sample(0), "image": Image.new(mode, (64, 48))}
        assert DocentCollator(tiny)([row])["pixel_values"].shape[2] == 3


def test_encoded_dialogs_encode_each_row_once_and_stop_keeping_when_full(tiny):
    collator = DocentCollator(tiny)
    rows = [sample(index) for index in range(4)]
    reads = []

    class Counted(list):
        def __getitem__(self, index):
            reads.append(index)
            return super().__getitem__(index)

    kept = EncodedDialogs(Counted(rows), collator)
    for _ in range(2):
        batch = collator([kept[index] for index in range(4)])
    assert reads == [0, 1, 2, 3]
    expected = collator(rows)
    assert all(torch.equal(batch[name], expected[name]) for name in expected)
    assert kept.learned_tokens() == int((expected["labels"] != IGNORED).sum())
    reads.clear()
    unkept = EncodedDialogs(Counted(rows), collator, cache_gib=0.0)
    assert torch.equal(unkept[1]["input_ids"], unkept[1]["input_ids"])
    assert reads == [1, 1]


def test_image_splitting_keeps_the_labels(tiny):
    tiny.image_processor.do_image_splitting = True
    batch = DocentCollator(tiny)([sample(0), sample(3)])
    image_token = tiny.tokenizer.convert_tokens_to_ids("<image>")
    assert batch["pixel_values"].shape[:2] == (2, 5)
    assert (batch["input_ids"] == image_token).sum(dim=1).tolist() == [5 * tiny.image_seq_len] * 2
    learned = batch["labels"][1][batch["labels"][1] != IGNORED]
    assert tiny.tokenizer.decode(learned).strip() == answer_of(sample(3)) + "<end_of_utterance>"


@pytest.mark.parametrize("kind", ["idefics2", "smolvlm"])
@pytest.mark.parametrize("factor", [0.0, 0.1])
@pytest.mark.parametrize("training", [False, True])
def test_only_tokens_with_a_label_are_computed_and_the_loss_is_the_same(
    kind, factor, training, tmp_path, tiny_docent, monkeypatch
):
    """As with padding on the left, a mask and the logits of all tokens; its gradients too."""
    source = tiny_docent if kind == "idefics2" else save_tiny_relative(kind, tmp_path / kind)
    profile = write_profile(tmp_path, source, vision_store_gib=0.0)
    collator = DocentCollator(load_processor(profile))
    rows = [collator.encode(sample(index)) for index in range(5)]
    assert len({len(row["input_ids"]) for row in rows}) > 1
    model = TUNINGS["full"](load_model(profile, device="cpu"), load_approach("full"))
    smooth_labels(model.train(training), factor)
    given, shapes = [], []
    attend = torch.nn.functional.scaled_dot_product_attention
    model.lm_head.register_forward_hook(lambda *held: shapes.append(held[2].shape))
    batch = collator(rows)
    tokens = int((batch["labels"] != IGNORED).sum())
    longest = batch["labels"].shape[1]
    masked = {
        **batch,
        "input_ids": torch.stack(
            [F.pad(row["input_ids"], (longest - len(row["input_ids"]), 0)) for row in rows]
        ),
        "labels": torch.stack(
            [F.pad(row["labels"], (longest - len(row["labels"]), 0), value=IGNORED) for row in rows]
        ),
        "attention_mask": torch.stack(
            [
                F.pad(torch.ones_like(row["labels"]), (longest - len(row["labels"]), 0))
                for row in rows
            ]
        ),
    }
    losses, gradients = [], []
    for each in (masked, batch | predicting(batch["labels"])):
        model.zero_grad()
        loss = model(**each, num_items_in_batch=tokens).loss
        loss.backward()
        losses.append(loss.item())
        learning = [p.grad.flatten() for p in model.parameters() if p.requires_grad]
        gradients.append(torch.cat(learning))
    assert shapes[1] == (tokens, model.config.get_text_config().vocab_size)
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    assert F.cosine_similarity(*gradients, dim=0) > 0.9999

    def noting(query, *tensors, **options):
        given.append((query.shape[2], options["attn_mask"], options["is_causal"]))
        return attend(query, *tensors, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noting)
    model(**batch | predicting(batch["labels"]))
    of_text = [(mask, causal) for length, mask, causal in given if length == longest]
    assert of_text and set(of_text) == {(None, True)}


def test_the_longest_rows_of_a_step_come_first_and_are_the_same_rows(tiny):
    rows = FilledRows(
        EncodedDialogs([sample(index) for index in range(10)], DocentCollator(tiny)), 8
    )
    drawn, sorted_by_step = (list(EpochOrder(rows, 3, together)) for together in (1, 8))
    assert sorted(drawn) == list(range(16)) and drawn[10:] == list(range(10, 16))
    for first in (0, 8):
        there = sorted_by_step[first : first + 8]
        assert sorted(there) == sorted(drawn[first : first + 8])
        lengths = [len(sample(index)["dialog"]) if index < 10 else 0 for index in there]
        assert lengths == sorted(lengths, reverse=True)
