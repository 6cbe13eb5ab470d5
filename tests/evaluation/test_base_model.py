"""The published score: both texts as the base model reads them."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from musequest.core.errors import MuseQuestError
from musequest.core.settings import Profile
from musequest.evaluation import base_model
from musequest.evaluation.base_model import BaseModel, count_parameters
from musequest.finetuning.models import load_model, load_processor


@pytest.fixture
def profile(tiny_docent: Path) -> Profile:
    return Profile("tiny", base_model=str(tiny_docent), collection="none", image_size=96)


def test_the_distance_is_that_of_mean_pooled_last_hidden_states(profile, tmp_path):
    texts = "What is this?", "a vase"
    found = BaseModel(profile, tmp_path / "kept.json").distances([texts[0]], [texts[1]])
    model, tokenizer = load_model(profile), load_processor(profile).tokenizer
    means = []
    for text in texts:
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            output = model(input_ids=ids, output_hidden_states=True)
        means.append(output.hidden_states[-1][0].mean(dim=0))
    expected = 1 - torch.cosine_similarity(*means, dim=0).item()
    assert found[0] == pytest.approx(expected, abs=1e-5)


def test_equal_texts_are_0_and_empty_ones_have_no_value(profile, tmp_path):
    found = BaseModel(profile, tmp_path / "kept.json").distances(["a vase"] * 2, ["a vase", " "])
    assert found[0] == 0
    assert np.isnan(found[1])


def test_a_distance_does_not_depend_on_its_neighbours(profile, tmp_path):
    model = BaseModel(profile, tmp_path / "kept.json")
    many = model.distances(["a vase"] * 3, ["a", "what is this vase?" * 40, "this"])
    fresh = BaseModel(profile, tmp_path / "other.json").distances(["a vase"], ["this"])
    assert many[2] == fresh[0]


def test_distances_are_kept_for_the_same_base_model(profile, tmp_path):
    first = BaseModel(profile, tmp_path / "kept.json")
    expected = first.distances(["a vase"], ["this"])
    second = BaseModel(profile, tmp_path / "kept.json")
    assert second.distances(["a vase"], ["this"]) == expected
    assert second.loaded is None  # nothing is read again
    other = shutil.copytree(profile.base_model, tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    save_file({name: 2 * each for name, each in weights.items()}, other / "model.safetensors")
    changed = replace(profile, base_model=str(other))
    assert BaseModel(changed, tmp_path / "kept.json").kept == {}


def test_distances_of_another_dtype_are_not_taken_for_the_profiles_own(profile, tmp_path):
    short = BaseModel(replace(profile, dtype="bfloat16"), tmp_path / "kept.json")
    rough = short.distances(["a vase"], ["what is this?"])
    own = BaseModel(profile, tmp_path / "kept.json").distances(["a vase"], ["what is this?"])
    fresh = BaseModel(profile, tmp_path / "other.json").distances(["a vase"], ["what is this?"])
    assert own == fresh != rough


def test_a_base_model_too_large_for_the_processor_is_not_run(profile, tmp_path, monkeypatch):
    assert 1_000 < count_parameters(profile) < 1_000_000
    monkeypatch.setattr(base_model, "MOST_PARAMETERS_ON_CPU", 1_000)
    monkeypatch.setattr("musequest.finetuning.models.default_device", lambda: "cpu")
    with pytest.raises(MuseQuestError, match="billion parameters and needs a GPU"):
        BaseModel(profile, tmp_path / "kept.json")


def test_a_missing_base_model_is_one_sentence(profile, tmp_path):
    with pytest.raises(MuseQuestError, match="cannot be loaded"):
        BaseModel(replace(profile, base_model="nobody/nothing"), tmp_path / "kept.json")


def test_a_ground_truth_that_is_an_answer_too_is_read_once(profile, tmp_path, monkeypatch):
    model, read = BaseModel(profile, tmp_path / "kept.json"), []
    real = model._read
    monkeypatch.setattr(model, "_read", lambda text: read.append(text) or real(text))
    model.distances(["a vase", "a bowl"], ["a bowl", "a vase"])
    assert read == ["a vase", "a bowl", "a bowl"]


def test_what_was_read_before_memory_ran_out_or_it_was_interrupted_is_kept(profile, tmp_path):
    answers = ["this", "a bowl", "who made it"]
    for number, error in enumerate(
        (torch.OutOfMemoryError("CUDA out of memory."), KeyboardInterrupt)
    ):
        path = tmp_path / f"{number}.json"
        model = BaseModel(profile, path)
        model.loaded = load_model(profile), load_processor(profile).tokenizer
        tower = model.loaded[0].model.text_model
        seen = tower.register_forward_pre_hook(failing_at(3, error))
        with pytest.raises((MuseQuestError, KeyboardInterrupt)) as caught:
            model.distances(["a vase"] * 3, answers)
        seen.remove()
        if error is not KeyboardInterrupt:
            assert "could not read the answers (CUDA out of memory); free" in str(caught.value)
        again = BaseModel(profile, path)
        assert len(again.kept) == 1
        assert len(again.distances(["a vase"] * 3, answers)) == len(again.kept) == 3


def failing_at(call: int, error: BaseException):
    """A hook that lets a module work until it is called so often."""
    calls = iter(range(1, call + 1))

    def hook(module, inputs):
        if next(calls) == call:
            raise error

    return hook
