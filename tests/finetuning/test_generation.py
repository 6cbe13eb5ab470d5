"""Answers are the same alone and in a batch, end where they should, and are not made twice."""

import gc
import logging
import os
import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from peft import PeftModel
from tiny_dialogs import COLOURS, sample, write_dataset, write_profile
from transformers import PreTrainedModel

from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json
from musequest.core.home import run_dir
from musequest.core.predictions import answers_of
from musequest.core.settings import load_approach
from musequest.core.tables import read_table
from musequest.creation.split import exhibit_rows
from musequest.finetuning import generation
from musequest.finetuning.anatomy import module_of
from musequest.finetuning.collator import DocentCollator
from musequest.finetuning.generation import (
    Docent,
    find_problems,
    generate,
    generation_config,
    infer,
)
from musequest.finetuning.models import add_adapter, load_model, load_processor, load_tuned
from musequest.finetuning.training import train


@pytest.fixture
def profile(tmp_path, home, tiny_docent):
    write_dataset(home, "tiny")
    return write_profile(tmp_path, tiny_docent)


def lively_model(profile):
    """The tiny docent with an adapter big enough that photo and question matter."""
    torch.manual_seed(3)
    model = add_adapter(load_model(profile, device="cpu"), load_approach("lora"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


def answers(predictions):
    return [(row["answer"], row["new_tokens"]) for row in predictions]


def test_the_model_of_a_system_goes_before_the_next_one_comes(profile):
    """On a GPU that holds one of them, not two; a frozen vision model would stay."""
    docent = Docent(profile)
    held = weakref.ref(module_of(docent.model, "vision_model"))
    del docent
    gc.disable()  # or it may be gone by chance
    try:
        assert isinstance(Docent(profile).model, PreTrainedModel)
        assert held() is None
    finally:
        gc.enable()


def test_batched_answers_equal_answers_one_by_one(profile):
    model, processor = lively_model(profile), load_processor(profile)
    rows = [sample(index, "test") for index in range(7)]
    together = replace(profile, generation_batch_size=4)
    alone = replace(profile, generation_batch_size=1)
    batched = generate(model, processor, rows, together, progress=False)
    single = generate(model, processor, rows, alone, progress=False)
    assert answers(batched) == answers(single)
    assert len({row["answer"] for row in batched}) > 1
    assert [row["data_id"] for row in batched] == [row["data_id"] for row in rows]


def test_words_are_told_as_they_are_made_and_change_no_answer(profile):
    model, processor = lively_model(profile), load_processor(profile)
    rows = [sample(index, "test") for index in range(5)]
    in_twos = replace(profile, generation_batch_size=2)
    told: dict[int, list[str]] = {}

    def hear(place: int, text: str) -> None:
        told.setdefault(place, []).append(text)

    silent = generate(model, processor, rows, in_twos, progress=False)
    heard = generate(model, processor, rows, in_twos, progress=False, on_words=hear)
    assert answers(heard) == answers(silent) and set(told) == set(range(5))
    for place, row in enumerate(heard):
        assert told[place][-1] == row["answer"].rstrip(generation.HALF_A_SIGN)
        assert len(told[place]) > 1 and len(set(told[place])) == len(told[place])
        assert not any(text.endswith(generation.HALF_A_SIGN) for text in told[place])


def test_who_hears_the_words_can_end_the_batch(profile):
    model, processor, told = lively_model(profile), load_processor(profile), []

    def leave(place: int, text: str) -> None:
        told.append(text)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        generate(model, processor, [sample(0)], profile, progress=False, on_words=leave)
    assert len(told) == 1


def test_answers_are_the_greedy_ones(profile):
    """Token by token, without a cache, by the highest logit that is allowed."""
    model, processor = lively_model(profile), load_processor(profile)
    config = generation_config(processor, 5)
    batch = DocentCollator(processor, learn=False)([sample(0)])
    tokens = batch["input_ids"]
    for _ in range(5):
        inputs = {**batch, "input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        with torch.no_grad():
            logits = model(**inputs, use_cache=False).logits[0, -1]
        logits[config.suppress_tokens] = -torch.inf
        tokens = torch.cat([tokens, logits.argmax().view(1, 1)], dim=1)
        if int(tokens[0, -1]) in config.eos_token_id:
            break
    expected = tokens[0, batch["input_ids"].shape[1] :]
    five = replace(profile, max_new_tokens=5)
    (row,) = generate(model, processor, [sample(0)], five, progress=False)
    text = processor.tokenizer.decode(expected, skip_special_tokens=True)
    assert row["answer"] == text.strip()
    assert row["new_tokens"] == len(expected)


class Scripted(PreTrainedModel):
    """Stands in for a model: generates what it is told to, padded as transformers pads."""

    device = torch.device("cpu")

    def __init__(self, continuations, pad):
        torch.nn.Module.__init__(self)
        self.continuations, self.pad = continuations, pad

    def generate(self, input_ids, generation_config, **inputs):
        longest = max(map(len, self.continuations))
        new = [tokens + [self.pad] * (longest - len(tokens)) for tokens in self.continuations]
        return torch.cat([input_ids, torch.tensor(new)], dim=1)


def test_answers_end_at_their_end_token_and_problems_are_told(profile):
    processor = load_processor(profile)
    tokenizer = processor.tokenizer
    end = tokenizer.convert_tokens_to_ids("<end_of_utterance>")
    words = tokenizer(" This is a vase", add_special_tokens=False)["input_ids"]
    said = [[*words, end], [end], words + words[:1]]
    model = Scripted(said, tokenizer.pad_token_id)
    rows = [sample(index, "test") for index in range(3)]
    three = replace(profile, generation_batch_size=3)
    predictions = generate(model, processor, rows, three, progress=False)
    assert [row["answer"] for row in predictions][:2] == ["This is a vase", ""]
    assert [row["new_tokens"] for row in predictions] == [len(words) + 1, 1, len(words) + 1]
    assert [row["ended"] for row in predictions] == [True, True, False]
    empty, endless = find_problems(predictions)
    assert "test-01 is empty" in empty
    assert f"test-02 does not end within {len(words) + 1} tokens" in endless


def test_only_end_tokens_of_all_special_ones_can_be_said(profile):
    tokenizer = load_processor(profile).tokenizer
    config = generation_config(load_processor(profile), 9)
    names = set(tokenizer.convert_ids_to_tokens(config.suppress_tokens))
    assert {"<image>", "<fake_token_around_image>", "<s>", "<pad>"} <= names
    ends = set(tokenizer.convert_ids_to_tokens(config.eos_token_id))
    assert ends == {"</s>", "<end_of_utterance>"}
    assert not config.do_sample and config.max_new_tokens == 9


def test_infer_writes_predictions_of_the_base_model_once(profile, home, caplog):
    caplog.set_level(logging.WARNING, "musequest")
    frame = infer(profile, "base", progress=False)
    folder = home / "runs" / "tiny" / "base"
    assert frame.equals(read_table("predictions", folder / "predictions.parquet"))
    assert frame.data_id.tolist() == ["test-00", "test-01", "test-02"]
    assert frame.item_name.tolist() == [name.replace(" ", "-") for name in COLOURS]
    assert frame.question[1] == "What is this?" and frame.ground_truth[0].startswith("This is the")
    assert (frame.new_tokens >= 1).all() and (frame.new_tokens <= 12).all()
    assert (frame.seconds > 0).all()
    record = read_json(folder / "infer.json")
    assert (record["split"], record["batch_size"], record["system"]) == ("test", 2, "base")
    assert len(caplog.messages) == len(record["problems"])
    written = (folder / "predictions.parquet").stat().st_mtime_ns
    assert infer(profile, "base", progress=False).equals(frame)
    assert (folder / "predictions.parquet").stat().st_mtime_ns == written


def told_words(profile, on_words):
    """What `infer` does with the base model, whose words are told as they come."""
    docent = Docent(profile)
    docent.on_words, rows = on_words, lambda: exhibit_rows("tiny", "test")
    folder, asked = run_dir("tiny", "base"), docent.asked("test")
    return answers_of(docent, folder, asked, rows, progress=False)


def stopped_in_the_second_batch(profile):
    def stop(place, text):
        if place == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        told_words(profile, stop)


@pytest.mark.parametrize("cut", [0, 5])
def test_infer_goes_on_where_it_was_stopped(profile, home, cut):
    expected = infer(profile, "base", progress=False)
    folder = home / "runs/tiny/base"
    (folder / "infer.json").unlink()
    stopped_in_the_second_batch(profile)
    noted = folder / ".answers.jsonl"
    os.truncate(noted, noted.stat().st_size - cut)
    answered = set()
    again = told_words(profile, lambda place, text: answered.add(place))
    assert answered == ({0, 1, 2} if cut else {2})
    assert again.answer.tolist() == expected.answer.tolist() and not noted.exists()
    (folder / "infer.json").unlink()
    stopped_in_the_second_batch(replace(profile, max_new_tokens=3))
    assert infer(profile, "base", progress=False).answer.tolist() == expected.answer.tolist()


@pytest.mark.parametrize("change", ["data", "setting", "split"])
def test_infer_answers_again_when_something_changed(profile, home, change):
    before = infer(profile, "base", progress=False)
    split = "test"
    if change == "data":
        write_dataset(home, "tiny", year_shift=1)
    elif change == "setting":
        profile = replace(profile, max_new_tokens=3)
    else:
        split = "validation"
    after = infer(profile, "base", split, progress=False)
    assert not after.equals(before)


def test_infer_uses_the_tuned_weights_and_follows_a_new_run(profile, home):
    base = infer(profile, "base", progress=False)
    train(profile, overrides={"num_train_epochs": "4"}, progress=False)
    tuned = infer(profile, "lora", progress=False)
    assert tuned.answer.tolist() != base.answer.tolist()
    assert (home / "runs" / "tiny" / "lora" / "predictions.parquet").exists()
    train(profile, overrides={"max_steps": "1"}, fresh=True, progress=False)
    assert infer(profile, "lora", progress=False).answer.tolist() != tuned.answer.tolist()


def test_a_run_on_another_dataset_is_refused(profile, home):
    train(profile, overrides={"max_steps": "1"}, progress=False)
    write_dataset(home, "tiny", year_shift=1)
    with pytest.raises(MuseQuestError, match="trained on another dataset.*fresh=True"):
        infer(profile, "lora", progress=False)


@pytest.mark.parametrize(
    ("system", "message"),
    [("lora", "not started, so it has no tuned weights"), ("lara", "no approach 'lara'")],
)
def test_a_system_without_weights_is_one_sentence(profile, system, message):
    with pytest.raises(MuseQuestError, match=message):
        infer(profile, system, progress=False)


def test_a_run_of_another_base_model_is_refused(profile, home, tmp_path, tiny_docent):
    train(profile, overrides={"max_steps": "1"}, progress=False)
    other = tmp_path / "other"
    other.mkdir()
    for file in tiny_docent.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    weights = other / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + bytes(4))
    with pytest.raises(MuseQuestError, match="made from another base model"):
        infer(replace(profile, base_model=str(other)), "lora", progress=False)


def test_as_many_as_fit_are_answered_together_where_the_profile_leaves_it_open(
    profile, home, monkeypatch
):
    """In batches of about one size; the same answers, and infer.json says how many."""
    expected = infer(profile, "base", progress=False)
    record = read_json(home / "runs/tiny/base/infer.json")
    (home / "runs/tiny/base/infer.json").unlink()
    monkeypatch.setattr(generation, "MOST_ROWS", 2)
    open_profile = replace(profile, generation_batch_size=None)
    found = infer(open_profile, "base", progress=False)
    assert found.seconds.nunique() == 2  # of a row, its share of the batch's
    assert found.answer.tolist() == expected.answer.tolist()
    again = read_json(home / "runs/tiny/base/infer.json")
    assert again["batch_size"] == 2 and again.keys() == record.keys()


def test_answers_made_with_other_rows_together_are_read(profile, home):
    kept, path = infer(profile, "base", progress=False), home / "runs/tiny/base/predictions.parquet"
    written = path.stat().st_mtime_ns
    for size in (1, None):
        assert infer(replace(profile, generation_batch_size=size), "base").equals(kept)
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize(("rows", "most", "together"), [(74, 64, 37), (64, 64, 64), (7, 3, 3)])
def test_batches_are_of_about_one_size(profile, monkeypatch, rows, most, together):
    model, processor = load_model(profile, device="cpu"), load_processor(profile)
    monkeypatch.setattr(generation, "MOST_ROWS", most)
    asked = [sample(0)] * rows
    collator, config = DocentCollator(processor, learn=False), generation_config(processor, 5)
    assert generation.rows_together(model, collator, asked, config) == together
    prompt = collator(asked[:1])["input_ids"].shape[1]
    # Two layers with one head of 16 numbers each, keys and values of four bytes.
    a_row = 2 * 2 * 16 * 4 * (2 * prompt + 5)
    memory = SimpleNamespace(available=4 * a_row)
    monkeypatch.setattr(generation.psutil, "virtual_memory", lambda: memory)
    assert generation.rows_together(model, collator, asked, config) == 2


def test_rows_that_do_not_fit_are_answered_in_halves(profile, monkeypatch):
    model, processor = lively_model(profile), load_processor(profile)
    rows, answer, tried = [sample(index, "test") for index in range(7)], generation._answer, []

    def small(model, collator, batch, *more):
        tried.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return answer(model, collator, batch, *more)

    expected = generate(model, processor, rows, profile, progress=False)
    monkeypatch.setattr(generation, "_answer", small)
    together = replace(profile, generation_batch_size=None)
    assert answers(generate(model, processor, rows, together, progress=False)) == answers(expected)
    assert tried == [7, 3, 1, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_adapter_is_merged_only_where_nothing_of_it_is_lost(profile, dtype):
    profile = replace(profile, dtype=dtype)
    train(profile, overrides={"num_train_epochs": "4"}, progress=False)
    model = Docent(profile, "lora").model
    assert isinstance(model, PeftModel) == (dtype == "bfloat16")
    rows, processor = [sample(index, "test") for index in range(3)], load_processor(profile)
    beside = generate(load_tuned(profile, "lora"), processor, rows, profile, progress=False)
    assert answers(generate(model, processor, rows, profile, progress=False)) == answers(beside)
