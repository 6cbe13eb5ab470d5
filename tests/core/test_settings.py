"""Profiles and approaches: every key is checked, every mistake is a sentence."""

import inspect
from pathlib import Path

import pytest
from accelerate import FullyShardedDataParallelPlugin
from peft import LoraConfig
from transformers import BitsAndBytesConfig

from musequest.core import settings
from musequest.core.errors import MuseQuestError
from musequest.core.keys import keys_in_source, keys_of
from musequest.core.settings import load_approach, load_profile, suited, training_settings
from musequest.creation.museums import MUSEUMS

NEEDED = "base_model: a\ncollection: c\nimage_size: 64\n"


@pytest.fixture
def write(tmp_path: Path):
    def write_profile(text: str) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_profile


@pytest.fixture
def approaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A repository of its own, to which approaches can be added."""
    monkeypatch.setattr(settings, "root", lambda: tmp_path)

    def add(folder: str, text: str) -> Path:
        path = tmp_path / "2_model_finetuning" / folder / "config.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
        return path

    return add


@pytest.mark.parametrize(
    "path", sorted((settings.root() / "profiles").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_profile_of_the_repository_loads(path: Path):
    profile = load_profile(path.stem)
    assert profile == load_profile(path)
    assert profile.name == path.stem
    assert profile.museum in MUSEUMS or profile.museum_folder.is_dir()


def test_every_key_of_the_pocket_profile_is_explained():
    lines = (settings.root() / "profiles/pocket.yaml").read_text().splitlines()
    explained = False
    for line in lines:
        if line.strip().startswith("#"):
            explained = True
        elif not line.strip():
            explained = False
        else:
            assert explained, f"{line!r} has no comment above it"


def test_a_profile_without_a_museum_says_so(write):
    with pytest.raises(MuseQuestError, match="'mine' names no museum"):
        load_profile(write(NEEDED)).museum_folder  # noqa: B018


def test_a_base_model_is_a_folder_here_or_a_name_on_the_hub(write):
    assert load_profile(write(NEEDED)).base_model_source == "a"
    here = load_profile(write(NEEDED.replace("base_model: a", "base_model: musequest")))
    assert Path(here.base_model_source).is_absolute()


def test_an_unknown_profile_is_answered_with_the_known_ones():
    known = "the nearest is 'pocket', and the known ones are: .*pocket"
    with pytest.raises(MuseQuestError, match=f"no profile 'pockt' in profiles/; {known}"):
        load_profile("pockt")
    with pytest.raises(MuseQuestError, match=r"nowhere\.yaml does not exist"):
        load_profile("nowhere.yaml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (NEEDED + "image_sise: 3\n", r"mine.yaml: unknown key 'image_sise'; .* 'image_size'"),
        (NEEDED + "training: {learning_rat: 1}\n", "unknown key 'learning_rat'; .*'learning_rate'"),
        (NEEDED + "training: 3\n", "'training' is 3; write a value of kind dict"),
        (NEEDED.replace("64", "large"), "'image_size' is 'large'; write a value of kind int"),
        (NEEDED.replace("64", "true"), "'image_size' is True; write a value of kind int"),
        (NEEDED.replace("64", "0"), "'image_size' is 0; write a number of 1 or more"),
        (NEEDED + "seed: -1\n", "'seed' is -1; write a number of 0 or more"),
        (NEEDED + "museum: 4\n", "'museum' is 4; write a value of kind str or NoneType"),
        ("collection: c\n", "lacks the key 'base_model'"),
        ("- a\n- b\n", "holds no 'key: value' lines"),
        ("a: [\n", "is not readable YAML"),
        ("", "lacks the key 'base_model'"),
    ],
)
def test_a_mistake_in_a_profile_is_a_sentence(write, text: str, sentence: str):
    with pytest.raises(MuseQuestError, match=sentence) as caught:
        load_profile(write(text))
    assert "\n" not in str(caught.value)


def test_numbers_without_a_point_are_numbers(write):
    profile = load_profile(write(NEEDED + "training: {learning_rate: 2e-4, report_to: 2e-4x}\n"))
    assert profile.training == {"learning_rate": 2e-4, "report_to": "2e-4x"}


def test_overrides_are_read_as_yaml_and_checked(write):
    path = write(NEEDED)
    profile = load_profile(path, {"image_size": "128", "image_splitting": "true"})
    assert (profile.image_size, profile.image_splitting) == (128, True)
    with pytest.raises(MuseQuestError, match="--set: unknown key 'image'"):
        load_profile(path, {"image": "1"})


def test_an_approach_overrides_the_profile_and_is_overridden_by_hand(write, approaches):
    approaches("2.1_a", "approach: a\ntuning: lora\ntraining: {num_train_epochs: 2, seed: 5}\n")
    profile = load_profile(write(NEEDED + "training: {num_train_epochs: 1, max_steps: 9}\n"))
    approach = load_approach("a")
    assert training_settings(profile, approach) == {
        "num_train_epochs": 2, "max_steps": 9, "seed": 5,
    }  # fmt: skip
    assert training_settings(profile, approach, {"seed": "7", "learning_rate": "1e-3"}) == {
        "num_train_epochs": 2, "max_steps": 9, "seed": 7, "learning_rate": 1e-3,
    }  # fmt: skip
    with pytest.raises(MuseQuestError, match="--set: unknown key 'sede'; .* 'seed'"):
        training_settings(profile, approach, {"sede": "7"})


def test_a_profile_may_say_more_for_one_approach(write, approaches):
    approaches("2.1_a", "approach: a\ntuning: lora\ntraining: {seed: 5, max_steps: 1}\n")
    approaches("2.2_b", "approach: b\ntuning: lora\n")
    both = "training: {seed: 1}\napproach_training: {a: {seed: 7}}\n"
    profile = load_profile(write(NEEDED + both))
    assert training_settings(profile, load_approach("a")) == {"seed": 7, "max_steps": 1}
    assert training_settings(profile, load_approach("b")) == {"seed": 1}
    assert training_settings(profile, load_approach("a"), {"seed": "9"})["seed"] == 9
    with pytest.raises(MuseQuestError, match="unknown key 'c'"):
        load_profile(write(NEEDED + "approach_training: {c: {seed: 7}}\n"))
    with pytest.raises(MuseQuestError, match="unknown key 'sede'"):
        load_profile(write(NEEDED + "approach_training: {a: {sede: 7}}\n"))


def test_a_profile_may_say_more_about_adapters(write, approaches):
    approaches("2.1_a", "approach: a\ntuning: lora\nlora: {r: 8, lora_dropout: 0.1}\n")
    approaches("2.4_b", "approach: b\ntuning: full\n")
    profile = load_profile(write(NEEDED + "lora: {lora_dropout: 0.0}\n"))
    assert suited(load_approach("a"), profile).lora == {"r": 8, "lora_dropout": 0.0}
    assert suited(load_approach("b"), profile).lora == {}
    with pytest.raises(MuseQuestError, match="unknown key 'rank'"):
        load_profile(write(NEEDED + "lora: {rank: 8}\n"))


def test_the_published_settings_stand_in_the_profile_of_idefics2():
    training = load_profile("idefics2-8b").training
    published = {"learning_rate": 1e-5, "weight_decay": 0.01, "max_grad_norm": 0.3}
    published |= {"warmup_steps": 0.03, "lr_scheduler_type": "cosine", "num_train_epochs": 3}
    published |= {"bf16": True, "gradient_accumulation_steps": 1, "eval_steps": 0.05}
    assert {key: training[key] for key in published} == published
    assert load_profile("idefics2-8b").max_new_tokens == 512


def test_an_approach_is_found_by_its_key(approaches):
    approaches("2.1_one", "approach: one\ntuning: lora\nlora: {r: 8}\n")
    path = approaches("2.4_two", "approach: two\ntuning: full\n")
    approach = load_approach("two")
    assert (approach.name, approach.folder, approach.tuning) == ("two", path.parent, "full")
    with pytest.raises(MuseQuestError, match="no approach 'three' .* one, two"):
        load_approach("three")


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("tuning: lora\nlora: {rank: 8}\n", "config.yaml: unknown key 'rank'"),
        ("tuning: lora\nlora: {lora_alfa: 8}\n", "unknown key 'lora_alfa'; .* 'lora_alpha'"),
        ("tuning: lora\nquantization: {load_in_4bits: true}\n", "nearest known is 'load_in_4bit'"),
        (
            "tuning: full\nparallel: {strategy: fsdp, sharding_strateg: 1}\n",
            "nearest .* 'sharding_strategy'",
        ),
        (
            "tuning: full\nparallel: {strategy: pipes}\n",
            "'strategy' is 'pipes'; write one of ddp, sequential, 1f1b, fsdp",
        ),
        (
            "tuning: full\nparallel: {strategy: 1f1b, micro_batch: 4}\n",
            "unknown key 'micro_batch'.*'micro_batches'",
        ),
        ("tuning: full\nparallel: {strategy: fsdp, reshard: 1}\n", "unknown key 'reshard'"),
        (
            "tuning: lora\nparallel: {strategy: ddp, micro_batches: 4}\n",
            "unknown key 'micro_batches'",
        ),
        ("tuning: full\ntraining: {epochs: 1}\n", "unknown key 'epochs'"),
        ("tuning: full\nlorra: {}\n", "unknown key 'lorra'; the nearest known is 'lora'"),
        ("tuning: some\n", "'tuning' is 'some'; write lora or full"),
        ("lora: {}\n", "lacks the key 'tuning'"),
    ],
)
def test_a_mistake_in_an_approach_is_a_sentence(approaches, lines: str, sentence: str):
    approaches("2.9_x", f"approach: x\n{lines}")
    with pytest.raises(MuseQuestError, match=sentence):
        load_approach("x")


def test_keys_read_from_a_library_s_source_are_those_of_its_class():
    lora = keys_in_source("peft.config", "PeftConfig", "PeftConfigMixin")
    lora |= keys_in_source("peft.tuners.lora.config", "LoraConfig")
    sharded = keys_in_source("accelerate.utils.dataclasses", "FullyShardedDataParallelPlugin")
    quantized = keys_in_source("transformers.utils.quantization_config", "BitsAndBytesConfig")
    assert lora == keys_of(LoraConfig) and sharded == keys_of(FullyShardedDataParallelPlugin)
    assert quantized == {*inspect.signature(BitsAndBytesConfig).parameters} - {"kwargs"}
    with pytest.raises(ModuleNotFoundError, match="No module named 'nowhere'"):
        keys_in_source("nowhere.config", "Config")


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("anatomy: {eyes: model.eyes}", "unknown key 'eyes'"),
        ("anatomy: {connector: model.connector}", "connector is 'model.connector'; write a list"),
        ("anatomy: {template: thinking}", "template is 'thinking'; write 'key: value' lines"),
        ("anatomy: {head: [lm_head]}", "head is .*; write a name"),
        ("learning_rates: {eyes: 1e-5}", "unknown key 'eyes'"),
        (
            "learning_rates: {connector: 0}",
            "learning_rates, connector: 'learning_rate' is 0; write",
        ),
    ],
)
def test_parts_of_a_base_model_are_checked(write, block, said):
    with pytest.raises(MuseQuestError, match=said):
        load_profile(write(f"{NEEDED}\n{block}\n"))
