"""A loss or gradient that is no number stops the run, names its rows, and reaches no weights."""

from pathlib import Path

import pytest
import torch
from interrupting import interrupting
from safetensors.torch import load_file
from tiny_dialogs import write_dataset, write_profile
from transformers import TrainerCallback

from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json
from musequest.finetuning.collator import IGNORED, DocentCollator, EncodedDialogs
from musequest.finetuning.models import load_processor
from musequest.finetuning.trainer import DocentTrainer, broken, rows_learning
from musequest.finetuning.training import train

RUN = Path("runs/tiny/lora")


@pytest.fixture
def profile(tmp_path, home, tiny_docent):
    write_dataset(home, "tiny")
    return write_profile(tmp_path, tiny_docent)


def dataset(profile, split="train"):
    from musequest.creation.split import load_split

    return EncodedDialogs(load_split("tiny", split), DocentCollator(load_processor(profile)))


def test_rows_are_found_again_by_what_they_learn(profile):
    rows = dataset(profile)
    batch = rows.collator([rows[7], rows[2]])["labels"]
    assert rows_learning([batch], rows) == ["train-02", "train-07"]
    for index in range(len(rows)):
        labels = rows[index]["labels"]
        learned = rows.collator.learned_ids(rows.rows[index])
        assert labels[labels != IGNORED].tolist() == learned


def test_many_rows_are_not_all_named(profile):
    rows = dataset(profile)
    every = [rows.collator([rows[index]])["labels"] for index in range(10)]
    told = str(broken("training loss", float("nan"), 3, rows_learning(every, rows)))
    assert "nan at step 3 with the rows train-00, " in told and "train-07, ...;" in told
    assert "train-08" not in told


class BreakGradient(TrainerCallback):
    """From step 6 on, the gradient of one adapter weight is no number, while the loss is one."""

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        if state.global_step == 5:
            weight = next(p for p in model.parameters() if p.requires_grad)
            weight.register_hook(lambda gradient: gradient * torch.nan)


def test_a_gradient_that_is_no_number_never_reaches_the_weights(profile, home, monkeypatch):
    seen = []
    step = DocentTrainer.training_step

    def watched(self, model, inputs, *arguments, **options):
        seen.append(inputs["labels"])
        return step(self, model, inputs, *arguments, **options)

    monkeypatch.setattr(DocentTrainer, "training_step", watched)
    interrupting(monkeypatch, BreakGradient())
    with pytest.raises(MuseQuestError) as told:
        train(profile, progress=False)
    names = rows_learning(seen[-1:], dataset(profile))
    assert len(seen) == 6 and len(names) == 2
    assert f"gradient norm became nan at step 6 with the rows {', '.join(names)};" in str(
        told.value
    )
    assert read_json(home / RUN / "run.json")["reason"] == str(told.value)
    states = load_file(home / RUN / "state" / "checkpoint-4" / "adapter_model.safetensors")
    assert all(torch.isfinite(values).all() for values in states.values())


def test_a_validation_loss_that_is_no_number_names_its_rows(profile, home, monkeypatch):
    class Break(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **kwargs):
            if state.global_step == 4:
                next(p for p in model.parameters() if p.requires_grad).data.fill_(torch.nan)

    interrupting(monkeypatch, Break())
    sentence = "validation loss became nan at step 4 with the rows validation-00, validation-01;"
    with pytest.raises(MuseQuestError, match=sentence):
        train(profile, progress=False)
    assert not (home / RUN / "state").exists()
