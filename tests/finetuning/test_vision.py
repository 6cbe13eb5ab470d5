"""The frozen tower looks at each photo once, without a mask, and what it keeps is never wrong."""

import errno
from dataclasses import replace

import pytest
import torch
from forked import in_processes
from safetensors.torch import load_file, save_file
from tiny_dialogs import sample, write_dataset, write_profile
from tiny_family import TILE, save_tiny_relative
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from musequest.core.home import collection_dir
from musequest.core.settings import load_approach
from musequest.finetuning import vision_store
from musequest.finetuning.anatomy import module_of
from musequest.finetuning.collator import DocentCollator
from musequest.finetuning.distributed import barrier, rank
from musequest.finetuning.models import TUNINGS, load_model, load_processor
from musequest.finetuning.training import train
from musequest.finetuning.vision import FrozenTower, store_of
from musequest.finetuning.vision_store import digests, sums, unkept


@pytest.fixture
def profile(tmp_path, home, tiny_docent):
    write_dataset(home, "tiny")
    return write_profile(tmp_path, tiny_docent)


def batch_of(profile, count=8):
    """Photos of four sizes, each padded to the largest."""
    return DocentCollator(load_processor(profile))([sample(index) for index in range(count)])


def loss(model, batch):
    """The loss, and how many photos the tower was shown for it."""
    tower = module_of(model, "vision_model").forward
    assert isinstance(tower, FrozenTower)
    shown, forward = [], type(tower.module).forward

    def counting(pixel_values, *given, **options):
        shown.append(len(pixel_values))
        return forward(tower.module, pixel_values, *given, **options)

    tower.forward = counting
    with torch.no_grad():
        return float(model(**batch).loss), sum(shown)


def files(profile):
    return sorted((collection_dir(profile.collection) / "vision").glob("*/*.safetensors"))


@pytest.fixture
def always(monkeypatch):
    """Reading pays, however small the tower of a test is."""
    monkeypatch.setattr(vision_store, "WORTH", float("inf"))


def test_photos_of_many_sizes_are_seen_as_with_padding_and_mask(profile):
    model, batch = (
        load_model(replace(profile, vision_store_gib=0.0), device="cpu"),
        batch_of(profile),
    )
    tower = module_of(model, "vision_model")
    seen = model.model.get_image_features(batch["pixel_values"], batch["pixel_attention_mask"])
    library = type(tower).forward
    patch, mask = tower.config.patch_size, batch["pixel_attention_mask"][:, 0]
    mask = mask.unfold(1, patch, patch).unfold(2, patch, patch).all(-1).all(-1)
    with torch.no_grad():
        expected = library(tower, batch["pixel_values"][:, 0], mask).last_hidden_state
    real = mask.flatten(1)
    assert len({tuple(row.sum(0).tolist()) for row in mask}) > 1 and not real.all()
    torch.testing.assert_close(seen.last_hidden_state[real], expected[real], atol=1e-5, rtol=1e-5)
    assert not seen.last_hidden_state[~real].any()


@pytest.mark.parametrize("kind", ["idefics2", "idefics3"])
def test_attention_is_given_no_mask_in_the_tower(kind, tmp_path, home, profile, monkeypatch):
    if kind != "idefics2":
        relative = save_tiny_relative(kind, tmp_path / kind)
        profile = write_profile(tmp_path, relative, image_size=2 * TILE, image_splitting=True)
    model, given = load_model(profile, device="cpu"), []
    attend = torch.nn.functional.scaled_dot_product_attention

    def noting(*tensors, **options):
        given.append(options["attn_mask"])
        return attend(*tensors, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noting)
    batch = batch_of(profile)
    tower, masked = module_of(model, "vision_model"), batch["pixel_attention_mask"].flatten(0, 1)
    patch = tower.config.patch_size
    mask = masked.unfold(1, patch, patch).unfold(2, patch, patch).all(-1).all(-1)
    real = mask.flatten(1).any(1)
    tower(batch["pixel_values"].flatten(0, 1)[real], patch_attention_mask=mask[real])
    assert given and all(mask is None for mask in given)


@pytest.mark.parametrize("kind", ["idefics2", "smolvlm"])
def test_a_second_model_reads_what_the_first_saw(kind, tmp_path, home, profile, always):
    if kind != "idefics2":
        relative = save_tiny_relative(kind, tmp_path / kind)
        profile = write_profile(tmp_path, relative, image_size=2 * TILE, image_splitting=True)
    batch = batch_of(profile)
    without, every = loss(load_model(replace(profile, vision_store_gib=0.0), device="cpu"), batch)
    first, seen = loss(load_model(profile, device="cpu"), batch)
    assert first == pytest.approx(without, abs=1e-5)
    assert 0 < seen <= every and len(files(profile)) == seen
    assert loss(load_model(profile, device="cpu"), batch) == (first, 0)


@pytest.mark.parametrize(
    "kind", ["qwen3_vl", "qwen3_5", "qwen2_5_vl", "llava_onevision", "internvl"]
)
def test_what_lies_before_the_connector_is_kept_wherever_that_stands(kind, tmp_path, home, always):
    """Within the vision model, behind several of its layers, or behind another than the last."""
    relative = save_tiny_relative(kind, tmp_path / kind)
    profile = write_profile(tmp_path, relative, image_size=2 * TILE, image_splitting=True)
    batch, learned, figures = batch_of(profile), [], []
    for most in (0.0, 1.0, 1.0):
        model = load_model(replace(profile, vision_store_gib=most), device="cpu")
        model = TUNINGS["full"](model, load_approach("full")).train()
        if len(learned) == 2:  # the last recomputes activations, too
            model.activation_checkpointing_enable({"use_reentrant": False})
        loss = model(**batch).loss
        loss.backward()
        own = [p.grad.flatten() for p in model.parameters() if p.requires_grad]
        learned.append((loss.item(), torch.cat(own)))
        figures.append(store_of(model).figures() if most else None)
        with unkept(), torch.inference_mode():  # as visitors' photos are looked at
            assert torch.isfinite(model(**batch_of(profile, 9)).loss)
    (plain, gradients), (first, _), (again, read) = learned
    assert first == pytest.approx(plain, abs=1e-5) and again == first
    torch.testing.assert_close(read, gradients, atol=1e-5, rtol=1e-4)
    assert figures[1]["photos_computed"] == figures[2]["photos"] > 0
    assert figures[2]["photos_computed"] == 0 < figures[2]["photos_read"]


@pytest.mark.parametrize("damage", ["torn", "other bytes", "other shape", "empty"])
def test_a_damaged_file_is_computed_and_written_anew(profile, always, damage):
    batch = batch_of(profile)
    expected, seen = loss(load_model(profile, device="cpu"), batch)
    whole = [path.read_bytes() for path in files(profile)]
    path = files(profile)[0]
    if damage == "other shape":
        save_file({"patches": load_file(path)["patches"][:1]}, path, {"digest": "0" * 32})
    else:
        damaged = {"torn": whole[0][:-9], "empty": b"", "other bytes": whole[0][:-4] + b"torn"}
        path.write_bytes(damaged[damage])
    assert loss(load_model(profile, device="cpu"), batch) == (expected, 1)
    assert [path.read_bytes() for path in files(profile)] == whole


@pytest.mark.parametrize("other", ["weights", "pixels", "dtype"])
def test_what_another_tower_or_photo_left_is_not_read(profile, always, other):
    batch = batch_of(profile, 1)
    loss(load_model(profile, device="cpu"), batch)
    dtype = "bfloat16" if other == "dtype" else None
    model = load_model(replace(profile, dtype=dtype), device="cpu")
    if other == "weights":
        module_of(model, "vision_model").post_layernorm.bias.data[0] += 1e-3
    if other == "pixels":
        batch["pixel_values"][0, 0, 0, 0, 0] += 1e-3
    assert loss(model, batch)[1] == 1
    assert len(files(profile)) == 2


def test_tuned_models_read_what_the_base_model_saw(profile, always):
    batch = batch_of(profile)
    loss(load_model(profile, device="cpu"), batch)
    for tuning in ("lora", "full"):
        model = TUNINGS[tuning](load_model(profile, device="cpu"), load_approach(tuning)).train()
        assert loss(model, batch)[1] == 0


def test_a_tower_with_an_adapter_is_not_kept(profile, always):
    approach = load_approach("lora")
    approach = replace(approach, lora={**approach.lora, "target_modules": "all-linear"})
    model = TUNINGS["lora"](load_model(profile, device="cpu"), approach).requires_grad_(False)
    assert loss(model, batch_of(profile))[1]
    assert not files(profile)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_where_nothing_can_be_written_photos_are_computed(profile, monkeypatch, caplog, error):
    def refusing(*given):
        raise OSError(error, "refused")

    batch = batch_of(profile)
    expected, seen = loss(load_model(replace(profile, vision_store_gib=0.0), device="cpu"), batch)
    monkeypatch.setattr(vision_store, "save_file", refusing)
    model = load_model(profile, device="cpu")
    for _ in range(2):
        assert loss(model, batch)[0] == pytest.approx(expected, abs=1e-5)
    assert len(caplog.records) == 1 and "cannot be written" in caplog.text
    assert not any((collection_dir("tiny") / "vision").glob("*/*"))


def test_the_store_ends_at_its_bound_and_lets_go_of_other_towers_first(profile, always, caplog):
    batch = batch_of(profile)
    loss(load_model(replace(profile, dtype="bfloat16"), device="cpu"), batch)
    other = files(profile)
    size = sum(path.stat().st_size for path in other)
    model = load_model(replace(profile, vision_store_gib=size / 2**30), device="cpu")
    loss(model, batch)
    assert not {*other} & {*files(profile)}
    assert 0 < sum(path.stat().st_size for path in files(profile)) <= 1.2 * size
    assert store_of(model).figures()["stopped"] == "is full" and "is full, so" in caplog.text


def test_a_tower_as_quick_as_the_disk_is_not_kept(profile, monkeypatch, caplog):
    monkeypatch.setattr(vision_store, "WORTH", 0.0)
    model = load_model(profile, device="cpu")
    for first in range(0, 24, 8):
        rows = [sample(index) for index in range(first, first + 8)]
        for row in rows:
            row["image"].putpixel((0, 0), (first, 0, 0))
        loss(model, DocentCollator(load_processor(profile))(rows))
    figures = store_of(model).figures()
    assert figures["pays"] is False and figures["stopped"] == "does not pay"
    assert caplog.text.count("about as fast as its photos are read back") == 1
    assert figures["photos"] < figures["photos_computed"]


def test_a_visitors_photo_is_not_kept(profile, always):
    with unkept():
        loss(load_model(profile, device="cpu"), batch_of(profile))
    assert not files(profile)


@pytest.mark.parametrize("digests", [digests, sums])
def test_digests_tell_tensors_apart_by_any_number_and_its_place(digests):
    numbers = torch.arange(12.0).view(3, 4)
    changed = numbers.clone()
    changed[2, 3] = 12
    tensors = [numbers, changed, numbers.flip(0), numbers.bfloat16(), changed.bfloat16()]
    assert len({*digests(tensors)}) == 5
    assert digests([numbers]) == digests([numbers.clone()])


@pytest.mark.parametrize("approach", ["lora", "full"])
def test_a_run_learns_the_same_with_and_without(profile, home, monkeypatch, always, approach):
    records = []
    for most in (0.0, 1.0, 1.0):
        changed = replace(profile, vision_store_gib=most)
        records.append(train(changed, approach, {"max_steps": "4"}, progress=False, fresh=True))
    losses = [record["best_eval_loss"] for record in records]
    assert losses[1] == losses[2] == pytest.approx(losses[0], abs=1e-5)
    assert "vision_store" in records[1] and records[0]["vision_store"] is None
    assert records[1]["vision_store"]["photos_computed"] > 0
    assert records[2]["vision_store"]["photos_computed"] == 0


# What each of two processes is shown in turn: what both have seen, then one has, then neither.
SHOWN = ([[0, 1], [0, 1]], [[0, 1], [2, 3, 4, 5]], [[6], [7, 8, 9, 10]])


def seen_in_shards(profile):
    """Losses, and photos shown to the tower, in a process with a share of every weight."""
    barrier()
    model, collator = load_model(profile, device="cpu"), DocentCollator(load_processor(profile))
    mesh = init_device_mesh("cpu", (2,))
    for module in (*module_of(model, "vision_model").encoder.layers, model):
        fully_shard(module, mesh=mesh)
    own = [[sample(index) for index in rows[rank()]] for rows in SHOWN]
    return [loss(model, collator(rows)) for rows in own]


def test_processes_with_shares_of_the_tower_wait_for_each_other(profile, always):
    collator, plain = (
        DocentCollator(load_processor(profile)),
        replace(profile, vision_store_gib=0.0),
    )
    whole = load_model(plain, device="cpu")
    for number, answers in enumerate(in_processes(seen_in_shards, profile)):
        own = [[sample(index) for index in rows[number]] for rows in SHOWN]
        with torch.no_grad():
            expected = [float(whole(**collator(rows)).loss) for rows in own]
        assert [value for value, _ in answers] == pytest.approx(expected, abs=1e-5)
