"""Rows behind each other learn what rows beside each other learn, and nothing is padding."""

import pytest
import torch
import torch.nn.functional as F
from tiny_dialogs import sample, write_profile
from tiny_family import FAMILIES, SIDE, TILE, save_tiny_relative

from musequest.core.settings import load_approach
from musequest.finetuning.collator import IGNORED, DocentCollator
from musequest.finetuning.models import TUNINGS, load_model, load_processor
from musequest.finetuning.packing import Packing
from musequest.finetuning.trainer import predicting

# The others are told more of their tokens, see some in both directions, or count places otherwise.
PACKED = ("idefics2", "idefics3", "smolvlm", "smolvlm2", "llava_onevision", "internvl")
ROWS = 6


@pytest.fixture(params=["idefics2", *FAMILIES])
def kind(request):
    return request.param


@pytest.fixture
def profile(kind, tmp_path, tiny_docent, home):
    source = tiny_docent if kind == "idefics2" else save_tiny_relative(kind, tmp_path / kind)
    side = {"idefics2": 144, "gemma3": TILE}.get(kind, SIDE)
    own = {"image_size": side, "image_splitting": kind in ("llava_onevision", "internvl")}
    return write_profile(tmp_path, source, vision_store_gib=0.0, **own)


def collated(profile, apart=False):
    collator = DocentCollator(load_processor(profile))
    collator.apart = apart
    return collator([sample(index) for index in range(ROWS)])


def learned(model, batches, tokens):
    """The summed loss of the batches over `tokens`, and the gradient of all that is trained."""
    model.zero_grad()
    losses = [model(**each, num_items_in_batch=tokens).loss for each in batches]
    torch.stack(losses).sum().backward()
    trained = [p.grad.flatten() for p in model.parameters() if p.requires_grad]
    return sum(loss.item() for loss in losses), torch.cat(trained)


def test_packed_rows_learn_the_same(kind, profile):
    """In one row, and in two as the micro-batches of a pipeline."""
    model = TUNINGS["full"](load_model(profile, device="cpu"), load_approach("full")).train()
    batch, apart = collated(profile), collated(profile, apart=True)
    beside = batch | predicting(batch["labels"])
    lengths = [len(row[: 1 + int((row != IGNORED).nonzero()[-1])]) for row in batch["labels"]]
    tokens = int((batch["labels"] != IGNORED).sum())
    loss, gradient = learned(model, [beside], tokens)
    pack = Packing(model, load_processor(profile).tokenizer.pad_token_id)
    assert pack.on is (kind in PACKED)
    assert learned(model, [beside], tokens)[0] == pytest.approx(loss, rel=1e-6)
    if not pack.on:
        assert pack(beside).keys() == beside.keys()
        return
    behind, parted = pack(beside), pack(apart, parts=2)
    assert behind["input_ids"].shape == (1, sum(lengths)) and len(set(lengths)) > 1
    longer = parted["input_ids"].shape[1]
    assert len(parted["input_ids"]) == 2 and 2 * longer < sum(lengths) + max(lengths)
    halves = [
        {
            name: held[part] if isinstance(held, list) else held[part : part + 1]
            for name, held in parted.items()
        }
        for part in range(2)
    ]
    for packed in ([behind], halves):
        again, other = learned(model, packed, tokens)
        assert again == pytest.approx(loss, abs=1e-5)
        assert F.cosine_similarity(gradient, other, dim=0) > 0.99999


def test_what_cannot_be_packed_stays_as_it_is(tmp_path, tiny_docent, home):
    profile = write_profile(tmp_path, tiny_docent)
    pack, batch = Packing(load_model(profile, device="cpu"), 0), collated(profile)
    assert pack(batch).keys() > batch.keys()
    kinds = batch | {"token_type_ids": torch.ones_like(batch["labels"])}
    assert pack(kinds).keys() == kinds.keys()
    pack.most = batch["labels"].shape[1] // 2  # a window of attention
    assert pack(batch).keys() == batch.keys()
    pack.most, pack.on = None, False
    assert pack(batch).keys() == batch.keys()


def test_a_row_of_which_nothing_is_learned_is_computed_whole(tmp_path, tiny_docent, home):
    profile = write_profile(tmp_path, tiny_docent)
    pack, batch = Packing(load_model(profile, device="cpu"), 0), collated(profile)
    batch["labels"][1] = IGNORED
    tokens = pack(batch)["position_ids"]
    assert (tokens == 0).sum() == ROWS and tokens.max() == batch["labels"].shape[1] - 1
