"""Every key of TrainingArguments has its place; a wrong value is a sentence before all else."""

import dataclasses

import pytest
import torch
from tiny_dialogs import write_dataset, write_profile
from transformers import TrainingArguments

from musequest.core.errors import MuseQuestError
from musequest.core.keys import Number
from musequest.core.settings import load_approach, load_profile, training_settings, typed_training
from musequest.core.training_arguments import ARGUMENTS, FIXED, OPTIMIZERS, SCHEDULES, Allowed
from musequest.finetuning.optimizer import as_arguments
from musequest.finetuning.training import train

FIELDS = {each.name: each for each in dataclasses.fields(TrainingArguments)}
ALLOWED = {key: rule for key, rule in ARGUMENTS.items() if isinstance(rule, Allowed)}
CLOSED = sorted(ARGUMENTS.keys() - ALLOWED.keys())


@pytest.fixture(scope="module")
def profile(tmp_path_factory, tiny_docent):
    home = tmp_path_factory.mktemp("settings")
    patch = pytest.MonkeyPatch()
    patch.setenv("MUSEQUEST_HOME", str(home))
    write_dataset(home, "tiny")
    yield write_profile(home, tiny_docent)
    assert not (home / "runs").exists()  # nothing was begun
    patch.undo()


def refused(profile, overrides, approach="lora") -> str:
    """The sentence with which a run is refused."""
    with pytest.raises(MuseQuestError) as caught:
        train(profile, approach, overrides, progress=False)
    sentence = str(caught.value)
    assert "\n" not in sentence and sentence.endswith(".") and len(sentence) < 500
    return sentence


def test_every_field_of_the_installed_version_has_its_group():
    assert ARGUMENTS.keys() == FIELDS.keys()


def test_the_library_has_its_own_values_among_the_allowed_ones():
    for key, rule in ALLOWED.items():
        default = FIELDS[key].default
        assert default is None or rule.values.holds(default), key


def test_the_library_takes_every_name_that_may_be_chosen(tmp_path):
    for key, names in {"lr_scheduler_type": SCHEDULES, "optim": OPTIMIZERS}.items():
        for name in names:
            TrainingArguments(str(tmp_path), use_cpu=True, **as_arguments({key: name}))


def test_what_is_fixed_is_what_the_library_takes(tmp_path):
    taken = TrainingArguments(str(tmp_path), use_cpu=True, **FIXED)
    for key, value in FIXED.items():
        assert getattr(taken, key) == value, key


@pytest.mark.parametrize("key", CLOSED)
def test_a_key_that_cannot_be_chosen_says_why(profile, key):
    sentence = refused(profile, {key: "a-secret"})
    assert f"'{key}' cannot be chosen: " in sentence and "a-secret" not in sentence


def test_a_key_that_the_table_lacks_is_refused(profile, monkeypatch):
    monkeypatch.delitem(ARGUMENTS, "learning_rate")
    with pytest.raises(MuseQuestError, match="unknown key 'learning_rate'; the nearest known is"):
        typed_training({"learning_rate": "1"})


def wrong_values():
    """Of each key that may be chosen: no value at all, and those just outside."""
    for key, rule in ALLOWED.items():
        if key in ("report_to", "trackio_space_id", "optim_args"):  # any text; read elsewhere
            yield key, "[1]"
            continue
        yield from ((key, text) for text in ("abc", "nan", ".nan", "[1]", "'", "9" * 5000))
        if isinstance(rule.values, Number):
            values = rule.values
            yield from ((key, text) for text in ("true", "inf", "1e999", "1:30", "-2"))
            yield key, str(values.least if values.above else values.least - 1)
            yield key, str(values.most * 10 + 1)
            if values.whole or values.share:
                yield key, "2.5"


@pytest.mark.parametrize(("key", "text"), list(wrong_values()))
def test_a_value_outside_its_range_is_one_sentence(key, text):
    with pytest.raises(MuseQuestError) as caught:
        typed_training({key: text})
    sentence = str(caught.value)
    assert "\n" not in sentence and len(sentence) < 500
    assert f"'{key}' is" in sentence


@pytest.mark.parametrize(
    ("key", "text"),
    [
        *(("gradient_accumulation_steps", "0"), ("per_device_train_batch_size", "0")),
        *(("per_device_train_batch_size", "-1"), ("per_device_eval_batch_size", "0")),
        *(("dataloader_num_workers", "-1"), ("seed", "-1"), ("seed", "abc")),
        *(("seed", "99999999999"), ("learning_rate", "nan"), ("learning_rate", "-0.01")),
        *(("optim", "galore_adamw"), ("optim", "lomo"), ("use_liger_kernel", "true")),
        *(("deepspeed", "ds.json"), ("fsdp", "full_shard"), ("label_names", "[labels]")),
        *(("max_steps", "0"), ("num_train_epochs", "0"), ("weight_decay", "-1")),
        *(("eval_steps", "-3"), ("eval_steps", "0"), ("eval_delay", "1000")),
        *(("push_to_hub", "true"), ("save_only_model", "true"), ("label_smoothing_factor", "1")),
        *(("dataloader_drop_last", "true"), ("train_sampling_strategy", "group_by_length")),
        *(("lr_scheduler_type", "reduce_lr_on_plateau"), ("lr_scheduler_type", "greedy")),
        *(("activation_checkpointing_kwargs", "{use_reentrant: true}"), ("optim", "adamw_anyp")),
    ],
)
@pytest.mark.parametrize("approach", ["lora", "full_mp"])
def test_what_would_train_something_else_is_refused_first(profile, approach, key, text):
    assert f"'{key}'" in refused(profile, {key: text}, approach)


@pytest.mark.parametrize(
    ("approach", "overrides", "key"),
    [
        ("lora", {"dataloader_prefetch_factor": "2"}, "dataloader_prefetch_factor"),
        ("lora", {"dataloader_persistent_workers": "true"}, "dataloader_persistent_workers"),
        ("lora", {"optim": "sgd", "adam_beta1": "0.8"}, "adam_beta1"),
        ("lora", {"optim": "lion_8bit", "adam_epsilon": "1e-6"}, "adam_epsilon"),
        ("lora", {"optim_args": "momentum=0.9"}, "optim_args"),
        ("lora", {"optim": "sgd", "optim_args": "nesterow=true"}, "optim_args"),
        ("lora", {"optim": "sgd", "optim_args": "momentum=2"}, "optim_args"),
        ("lora", {"optim": "sgd", "optim_args": "momentum"}, "optim_args"),
        ("lora", {"lr_scheduler_kwargs": "{num_cicles: 2}"}, "lr_scheduler_kwargs"),
        (
            "lora",
            {"lr_scheduler_type": "polynomial", "learning_rate": "1e-8"},
            "lr_scheduler_kwargs",
        ),
        ("lora", {"lr_scheduler_type": "warmup_stable_decay"}, "lr_scheduler_kwargs"),
        ("lora", {"fp16": "true", "bf16": "true"}, "fp16"),
        ("lora", {"ddp_bucket_cap_mb": "5"}, "ddp_bucket_cap_mb"),
        ("lora", {"trackio_space_id": "a/b"}, "trackio_space_id"),
        ("full_fsdp", {"optim": "paged_adamw_8bit"}, "optim"),
        ("full_fsdp", {"optim": "adafactor"}, "optim"),
    ],
)
def test_settings_that_do_not_go_together_are_one_sentence(profile, approach, overrides, key):
    assert f"'{key}'" in refused(profile, overrides, approach)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU computes in these")
@pytest.mark.parametrize("key", ["fp16", "tf32"])
def test_numbers_that_a_processor_does_not_compute_in_are_refused(profile, key):
    assert f"'{key}' needs a GPU" in refused(profile, {key: "true"})


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        *(("seed", "4294967295", 2**32 - 1), ("seed", "010", 10), ("max_steps", "-1", -1)),
        *(("learning_rate", "2e-4", 2e-4), ("num_train_epochs", "2", 2), ("bf16", "True", True)),
        *(("eval_steps", ".05", 0.05), ("report_to", "none", "none"), ("data_seed", "null", None)),
        *(("report_to", "[wandb, none]", ["wandb", "none"]), ("weight_decay", "0", 0)),
        ("lr_scheduler_kwargs", "{min_lr: 1e-6}", {"min_lr": 1e-6}),
    ],
)
def test_a_typed_value_is_read_as_its_key_wants_it(key, text, value):
    read = typed_training({key: text})[key]
    assert read == value and type(read) is type(value)


def test_a_wrong_value_in_a_file_names_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    needed = "base_model: a\ncollection: c\nimage_size: 64\n"
    for block in ("training: {seed: -1}", "approach_training: {lora: {seed: -1}}"):
        path.write_text(f"{needed}{block}\n")
        with pytest.raises(MuseQuestError, match=r"mine.yaml: 'seed' is -1; write a whole number"):
            load_profile(path)


def test_a_key_left_open_or_by_its_older_name_counts_in_its_turn(profile):
    changed = dataclasses.replace(profile, training={"gradient_checkpointing": True, "seed": 4})
    lora = load_approach("lora")
    assert training_settings(changed, lora)["activation_checkpointing"] is True
    typed = {"activation_checkpointing": "false", "seed": "null"}
    assert training_settings(changed, lora, typed) == {"activation_checkpointing": False}
