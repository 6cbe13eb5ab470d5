"""A run trains, stops, goes on and ends as it should, and leaves only what it should."""

import os
import shutil
import signal
import subprocess
import sys
import weakref
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch
from interrupting import At, interrupting, sent
from safetensors.torch import load_file, save_file
from tiny_dialogs import ROWS, write_dataset, write_profile
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_pt_utils import LabelSmoother

from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json
from musequest.core.settings import STARTS, TAKING, load_approach
from musequest.core.tables import read_table, write_table
from musequest.creation.split import load_split
from musequest.finetuning import models, training
from musequest.finetuning.anatomy import module_of
from musequest.finetuning.checkpoints import RunFolder
from musequest.finetuning.collator import IGNORED, DocentCollator, EncodedDialogs, FilledRows
from musequest.finetuning.generation import infer
from musequest.finetuning.models import (
    base_fingerprint,
    load_model,
    load_processor,
    load_tuned,
)
from musequest.finetuning.publishing import publish
from musequest.finetuning.records import RunRecord, finished_record
from musequest.finetuning.run_config import RunConfig
from musequest.finetuning.strategies import build_trainer
from musequest.finetuning.trainer import smooth_labels
from musequest.finetuning.training import train

RUN = Path("runs/tiny/lora")


@pytest.fixture
def profile(tmp_path, home, tiny_docent):
    write_dataset(home, "tiny")
    return write_profile(tmp_path, tiny_docent)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_docent):
    """One whole run, made once: its home, profile and record. Tests only read it."""
    home = tmp_path_factory.mktemp("finished")
    patch = pytest.MonkeyPatch()
    patch.setenv("MUSEQUEST_HOME", str(home))
    write_dataset(home, "tiny")
    profile = write_profile(home, tiny_docent)
    record = train(profile, progress=False)
    yield home, profile, record
    patch.undo()


@pytest.fixture
def in_finished(finished, monkeypatch):
    monkeypatch.setenv("MUSEQUEST_HOME", str(finished[0]))
    return finished


@pytest.fixture
def copied(finished, tmp_path, monkeypatch):
    """The finished run in a home of its own, to be damaged."""
    shutil.copytree(finished[0], tmp_path / "copied")
    monkeypatch.setenv("MUSEQUEST_HOME", str(tmp_path / "copied"))
    return tmp_path / "copied", finished[1]


def weights_of(home):
    return load_file(home / RUN / "adapter" / "adapter_model.safetensors")


def files_under(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def lasting_files(folder):
    """All but TensorBoard's, of which every process writes one of its own."""
    return {name for name in files_under(folder) if not name.startswith("tensorboard/")}


def begun(home):
    """A record that has begun, as `train` makes one."""
    record = RunRecord(home / RUN, {"training": {}})
    record.begin()
    return record


def test_of_a_run_on_another_disk_all_is_discarded(tmp_path):
    """Its folder is a link to where there is more room."""
    elsewhere = tmp_path / "scratch"
    (elsewhere / "state/checkpoint-3").mkdir(parents=True)
    (elsewhere / "run.json").write_text("{}")
    (tmp_path / "lora").symlink_to(elsewhere)
    folder = RunFolder(tmp_path / "lora")
    folder.discard()
    assert folder.last_state() is None and not any(elsewhere.iterdir())
    RunFolder(tmp_path / "never made").discard()


def test_a_finished_run_leaves_best_weights_last_state_record_and_metrics(in_finished):
    home, _, record = in_finished
    files = files_under(home / RUN)
    assert {"run.json", "metrics.parquet"} <= files
    adapter = {name for name in files if name.startswith("adapter/")}
    assert adapter == {"adapter/adapter_model.safetensors", "adapter/adapter_config.json"}
    assert {path.name for path in (home / RUN / "state").iterdir()} == {"checkpoint-10"}
    assert {path.split("/")[0] for path in files} == {
        *("run.json", "metrics.parquet", "model_info.md", "adapter", "state", "tensorboard")
    }
    assert record == read_json(home / RUN / "run.json")


def test_the_record_says_what_where_and_how_it_ended(in_finished):
    _, profile, record = in_finished
    assert record["status"] == "done" and record["reason"] is None
    assert (record["approach"], record["profile"], record["steps"]) == ("lora", "tiny", 10)
    assert (record["epochs"], record["world_size"], record["seed"]) == (2.0, 1, 1)
    assert record["base_model"] == profile.base_model
    assert record["base_model_fingerprint"] == base_fingerprint(profile)
    assert record["training"]["learning_rate"] == 0.01 and record["lora"]["r"] == 8
    assert 0 < record["trainable_parameters"] < record["total_parameters"]
    assert record["minutes"] > 0 and record["samples_per_second"] > 0
    assert record["peak_memory_gib"]["cpu"] > 0.1 and 0 < record["disk_gib"] < 0.1
    assert record["versions"]["torch"] == torch.__version__
    assert record["hardware"]["cpu_cores"] == os.cpu_count()


def test_metrics_hold_both_losses_at_every_validation(in_finished):
    home, _, record = in_finished
    metrics = read_table("metrics", home / RUN / "metrics.parquet")
    assert metrics.step.tolist() == [4, 8, 10]
    assert np.isfinite(metrics.to_numpy(float)).all()
    assert metrics.seconds.is_monotonic_increasing
    best = metrics.loc[metrics.eval_loss.idxmin()]
    assert (record["best_step"], record["best_eval_loss"]) == (best.step, best.eval_loss)
    assert metrics.train_loss.iloc[-1] < metrics.train_loss.iloc[0]


def validation_loss(profile, model):
    """The mean loss over all answer tokens of the validation rows, one row at a time."""
    collator = DocentCollator(load_processor(profile))
    total, count = 0.0, 0
    for row in load_split(profile.collection, "validation"):
        batch = collator([row])
        tokens = int((batch["labels"] != IGNORED).sum())
        with torch.no_grad():
            total += float(model(**batch).loss) * tokens
        count += tokens
    return total / count


def test_the_saved_adapter_has_the_recorded_validation_loss(in_finished):
    _, profile, record = in_finished
    tuned = load_tuned(profile, "lora").cpu()
    assert validation_loss(profile, tuned) == pytest.approx(record["best_eval_loss"], rel=1e-5)
    assert validation_loss(profile, load_model(profile, device="cpu")) > record["best_eval_loss"]


def last_state(home):
    return load_file(home / RUN / "state" / "checkpoint-10" / "adapter_model.safetensors")


@pytest.mark.parametrize("workers", [0, 1])
def test_how_often_is_validated_changes_nothing_that_is_learned(profile, home, finished, workers):
    """The adapter drops a tenth of its inputs, by random numbers that validation has to leave."""
    overrides = {"eval_steps": "1000", "dataloader_num_workers": str(workers)}
    seldom = train(profile, overrides=overrides, progress=False)
    often = read_table("metrics", finished[0] / RUN / "metrics.parquet")
    assert seldom["best_step"] == 10 and seldom["best_eval_loss"] == often.eval_loss.iloc[-1]
    expected = last_state(finished[0])
    assert all(torch.equal(values, expected[name]) for name, values in last_state(home).items())


def test_smoothed_labels_are_those_of_the_next_token(profile, home, finished):
    record = train(profile, overrides={"label_smoothing_factor": "0.2"}, progress=False)
    tuned = load_tuned(profile, "lora").cpu()
    assert validation_loss(profile, tuned) == pytest.approx(record["best_eval_loss"], rel=1e-5)
    assert abs(record["best_eval_loss"] - finished[2]["best_eval_loss"]) > 1e-4
    collator = DocentCollator(load_processor(profile))
    batch = collator(list(load_split(profile.collection, "validation")))
    tokens = int((batch["labels"] != IGNORED).sum())
    plain = tuned(**batch, num_items_in_batch=tokens)
    smooth_labels(tuned, 0.2)
    assert tuned.eval()(**batch, num_items_in_batch=tokens).loss == plain.loss
    with torch.no_grad():  # of a PEFT model only its training flag differs: no dropout
        tuned.get_base_model().training = True
        smoothed = tuned(**batch, num_items_in_batch=tokens).loss
    shifted = LabelSmoother(0.2)(plain, batch["labels"], shift_labels=True)
    torch.testing.assert_close(smoothed, shifted)


def test_a_run_without_best_weights_is_not_done(home):
    with pytest.raises(MuseQuestError, match=r"no weights of its best step \(None\).*--fresh"):
        RunFolder(home / RUN).finish(None, "adapter")


def test_filled_rows_have_an_end(profile):
    collator = DocentCollator(load_processor(profile))
    rows = FilledRows(EncodedDialogs(load_split(profile.collection, "train"), collator), 4)
    assert len(list(rows)) == len(rows) == 12
    assert [bool((row["labels"] != IGNORED).any()) for row in rows] == [True] * 10 + [False] * 2


def test_the_adapter_file_holds_adapter_tensors_and_names_its_base(in_finished):
    home, profile, _ = in_finished
    assert all("lora_" in name for name in weights_of(home))
    config = read_json(home / RUN / "adapter" / "adapter_config.json")
    assert config["base_model_name_or_path"] == profile.base_model


def test_training_leaves_the_base_model_as_it_was(in_finished):
    _, profile, _ = in_finished
    tuned = load_tuned(profile, "lora").cpu().unload().state_dict()
    base = load_model(profile, device="cpu").state_dict()
    assert all(torch.equal(values, tuned[name]) for name, values in base.items())


def test_a_finished_run_returns_at_once(in_finished):
    home, profile, record = in_finished
    written = {path: path.stat().st_mtime_ns for path in (home / RUN).rglob("*")}
    assert train(profile, progress=False) == record
    assert written == {path: path.stat().st_mtime_ns for path in (home / RUN).rglob("*")}


@pytest.mark.parametrize(
    ("step", "number"), [(3, signal.SIGINT), (5, signal.SIGTERM), (8, signal.SIGINT)]
)
def test_an_interrupted_run_goes_on_to_the_same_weights(
    profile, home, finished, monkeypatch, step, number
):
    with monkeypatch.context() as patch:
        interrupting(patch, At(step, sent(number)))
        with pytest.raises(MuseQuestError, match=f"interrupted .* at step {step} of 10"):
            train(profile, progress=False)
    record = read_json(home / RUN / "run.json")
    assert record["status"] == "interrupted" and f"at step {step} of 10" in record["reason"]
    assert not (home / RUN / "adapter").exists()
    record = train(profile, progress=False)
    whole_home, _, whole = finished
    assert (record["status"], record["best_step"]) == ("done", whole["best_step"])
    assert record["best_eval_loss"] == whole["best_eval_loss"]
    expected = weights_of(whole_home)
    assert all(torch.equal(values, expected[name]) for name, values in weights_of(home).items())
    last = [
        load_file(folder / RUN / "state" / "checkpoint-10" / "adapter_model.safetensors")
        for folder in (home, whole_home)
    ]
    assert all(torch.equal(values, last[1][name]) for name, values in last[0].items())
    metrics = read_table("metrics", home / RUN / "metrics.parquet")
    assert {4, 8, 10} <= set(metrics.step) and metrics.seconds.is_monotonic_increasing


def test_signal_handlers_are_given_back(profile):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    train(profile, overrides={"max_steps": "1"}, progress=False)
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.parametrize("place", ["before the best", "before the state", "after the state"])
def test_a_process_killed_while_saving_loses_nothing(profile, home, finished, monkeypatch, place):
    """The second save dies at each of its moves in turn; the next call ends at the same weights."""
    from musequest.finetuning import checkpoints

    move_into_place, moves = checkpoints.move_into_place, []

    def dying(source, target):
        moves.append(target)
        # Each of the first two saves moves best weights, then the state.
        if len(moves) == {"before the best": 3, "before the state": 4}.get(place):
            raise SystemExit
        move_into_place(source, target)
        if len(moves) == 4:
            raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "move_into_place", dying)
        with pytest.raises(SystemExit):
            train(profile, progress=False)
    record = read_json(home / RUN / "run.json")
    assert record["status"] == "interrupted" and "before it could say" in record["reason"]
    assert train(profile, progress=False)["status"] == "done"
    expected = weights_of(finished[0])
    assert all(torch.equal(values, expected[name]) for name, values in weights_of(home).items())
    assert lasting_files(home / RUN) == lasting_files(finished[0] / RUN)


@pytest.mark.parametrize("steps", [10, 3])  # at the end of an epoch, and within one
def test_a_process_killed_just_before_done_is_done_by_the_next_call(
    profile, home, monkeypatch, steps
):
    chosen = {"max_steps": str(steps)}
    with monkeypatch.context() as patch:
        patch.setattr(RunRecord, "finish", lambda *_, **__: (_ for _ in ()).throw(SystemExit()))
        with pytest.raises(SystemExit):
            train(profile, overrides=chosen, progress=False)
    learned = weights_of(home)
    record = train(profile, overrides=chosen, progress=False)
    assert record["status"] == "done" and record["steps"] == steps
    assert all(torch.equal(values, learned[name]) for name, values in weights_of(home).items())
    assert (home / RUN / "adapter").is_dir() and not (home / RUN / "best").exists()


def test_deleted_weights_are_trained_again(profile, home):
    import shutil

    one_step = {"max_steps": "1"}
    train(profile, overrides=one_step, progress=False)
    shutil.rmtree(home / RUN / "adapter")
    assert train(profile, overrides=one_step, progress=False)["status"] == "done"
    assert (home / RUN / "adapter").is_dir()


def changed_setting(profile, home):
    return profile, {"learning_rate": "0.5"}, "training.learning_rate was 0.01 and is 0.5"


def changed_data(profile, home):
    write_dataset(home, "tiny", year_shift=1)
    return profile, {}, "dataset_fingerprint was"


def changed_photos(profile, home):
    return replace(profile, image_size=72), {}, "image_size was 144 and is 72"


@pytest.mark.parametrize("change", [changed_setting, changed_data, changed_photos])
def test_another_setting_or_dataset_is_refused_and_nothing_is_lost(copied, change):
    home, profile = copied
    before = {path: (home / RUN / path).read_bytes() for path in files_under(home / RUN)}
    other, overrides, difference = change(profile, home)
    with pytest.raises(MuseQuestError, match=f"{difference}.*fresh=True"):
        train(other, overrides=overrides, progress=False)
    assert before == {path: (home / RUN / path).read_bytes() for path in files_under(home / RUN)}
    overrides = {"max_steps": "1", **overrides}
    record = train(other, overrides=overrides, fresh=True, progress=False)
    assert record["status"] == "done"


def test_a_run_that_fails_says_why(profile, monkeypatch, home):
    class Full(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            raise OSError(28, "No space left on device")

    interrupting(monkeypatch, Full())
    with pytest.raises(MuseQuestError, match="became full.*no state to keep yet.*make room"):
        train(profile, progress=False)
    record = read_json(home / RUN / "run.json")
    assert record["status"] == "failed" and "became full" in record["reason"]


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_state(profile, home, monkeypatch):
    class Poison(TrainerCallback):
        def on_step_begin(self, args, state, control, model=None, **kwargs):
            if state.global_step == 5:
                next(p for p in model.parameters() if p.requires_grad).data.fill_(torch.nan)

    interrupting(monkeypatch, Poison())
    with pytest.raises(
        MuseQuestError, match="training loss became nan at step 6 with the rows train-"
    ):
        train(profile, progress=False)
    record = read_json(home / RUN / "run.json")
    assert record["status"] == "failed" and "nan at step 6" in record["reason"]
    states = load_file(home / RUN / "state" / "checkpoint-4" / "adapter_model.safetensors")
    assert all(torch.isfinite(values).all() for values in states.values())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("learning_rat", "1", "unknown key 'learning_rat'.*'learning_rate'"),
        ("save_total_limit", "3", "'save_total_limit' cannot be chosen"),
        ("lr_scheduler_type", "zigzag", "'lr_scheduler_type' is 'zigzag'; write one of linear"),
    ],
)
def test_a_wrong_setting_is_one_sentence(profile, home, key, value, message):
    with pytest.raises(MuseQuestError, match=message):
        train(profile, overrides={key: value}, progress=False)


@pytest.mark.parametrize(
    ("approach", "dtype", "override", "message"),
    [
        ("full", "float16", {}, "'full' learns the weights themselves.*float32.*such as lora"),
        ("full_fsdp", "float16", {"fp16": "true"}, "'full_fsdp' learns the weights themselves"),
        ("full_mp", "float32", {"fp16": "true"}, "'full_mp' cannot scale.*bf16=true.*full_fsdp"),
    ],
)
def test_float16_where_it_cannot_be_learned_is_one_sentence(
    profile, home, approach, dtype, override, message
):
    with pytest.raises(MuseQuestError, match=message):
        train(replace(profile, dtype=dtype), approach, override, progress=False)
    assert not (home / "runs").exists()


def test_a_split_without_rows_is_one_sentence(profile, home, monkeypatch):
    monkeypatch.setitem(ROWS, "validation", 0)
    write_dataset(home, "tiny")
    with pytest.raises(MuseQuestError, match="validation-00000.*holds no rows"):
        train(profile, progress=False)


def test_the_progress_bar_shows_steps_and_losses(profile, capsys):
    train(profile, overrides={"max_steps": "4", "eval_steps": "2"})
    shown = capsys.readouterr().err
    assert "training: 100%" in shown and "4/4" in shown
    assert "train_loss=" in shown and "eval_loss=" in shown


def test_full_tuning_keeps_a_whole_model(profile):
    record = train(profile, "full", {"learning_rate": "0.001"}, progress=False)
    tuned = load_tuned(profile, "full").cpu()
    assert validation_loss(profile, tuned) == pytest.approx(record["best_eval_loss"], rel=1e-5)


# With each way to begin that leaves the base model as it is, something else of an adapter.
ALSO = (
    {},
    {"target_modules": "all-linear", "use_dora": True},
    {"modules_to_save": ["lm_head"]},
    {"bias": "all", "use_rslora": False},
)
WAYS = dict(zip(STARTS, ALSO, strict=True))


@pytest.mark.parametrize(
    "lora",
    [
        *({"init_lora_weights": start} | also for start, also in WAYS.items()),
        *({"init_lora_weights": start} for start in TAKING),
    ],
    ids=str,
)
def test_what_is_kept_of_any_adapter_is_what_was_learned(profile, lora):
    profile = replace(profile, lora=lora)
    record = train(profile, overrides={"max_steps": "4"}, progress=False)
    tuned = load_tuned(profile, "lora").cpu()
    assert validation_loss(profile, tuned) == pytest.approx(record["best_eval_loss"], abs=1e-4)
    assert record["read_back_eval_loss"] == pytest.approx(record["best_eval_loss"], abs=1e-4)


@pytest.mark.parametrize(("dtype", "approach"), [("bfloat16", "lora"), ("bfloat16", "full")])
def test_what_is_kept_in_bfloat16_is_what_was_learned(profile, dtype, approach):
    """In the dtype that is computed in, rows in the same batches."""
    record = train(replace(profile, dtype=dtype), approach, {"max_steps": "4"}, progress=False)
    assert record["read_back_eval_loss"] == pytest.approx(record["best_eval_loss"], rel=2e-3)


def test_weights_that_are_not_those_learned_are_not_done(profile, home, monkeypatch):
    finish = RunFolder.finish

    def damaged(folder, best_step, name):
        finish(folder, best_step, name)
        file = folder.folder / name / "adapter_model.safetensors"
        weights = load_file(file)
        next(value for key, value in weights.items() if "lora_B" in key).mul_(-3)
        save_file(weights, file)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "finish", damaged)
        with pytest.raises(MuseQuestError, match="not those that were learned.*was recorded"):
            train(profile, overrides={"max_steps": "4"}, progress=False)
    record = read_json(home / RUN / "run.json")
    assert record["status"] == "failed" and "not those that were learned" in record["reason"]
    with pytest.raises(MuseQuestError, match="not those that were learned"):
        train(profile, overrides={"max_steps": "4"}, progress=False)
    again = train(profile, overrides={"max_steps": "4"}, progress=False, fresh=True)
    assert again["status"] == "done"


def test_best_weights_that_are_gone_are_one_sentence(profile, home):
    with pytest.raises(MuseQuestError, match="best weights of the run in .* are gone.*fresh=True"):
        training.check_kept(RunConfig(profile, load_approach("lora"), {}), home / RUN, 1.0)


def test_the_trained_model_is_let_go_of_before_it_is_read_back(profile, monkeypatch):
    class Watch(TrainerCallback):
        def on_train_begin(self, args, state, control, model=None, **kwargs):
            self.model = weakref.ref(model)

    def check(*arguments):
        checked.append(watch.model())
        return check_kept(*arguments)

    checked, check_kept, watch = [], training.check_kept, Watch()
    interrupting(monkeypatch, watch)
    monkeypatch.setattr(training, "check_kept", check)
    train(profile, overrides={"max_steps": "1"}, progress=False)
    assert checked == [None]


def test_an_adapter_that_cannot_be_kept_is_refused_before_an_earlier_run_is_discarded(copied):
    home, profile = copied
    pissa = replace(profile, lora={"init_lora_weights": "pissa_niter_4"})
    with pytest.raises(MuseQuestError, match="begin with init_lora_weights: pissa_niter_4"):
        train(pissa, overrides={"max_steps": "1"}, progress=False, fresh=True)
    assert read_json(home / RUN / "run.json")["status"] == "done"


def test_what_gets_no_gradient_stops_the_first_step_by_name(profile, home, monkeypatch):
    class Free(TrainerCallback):
        def on_train_begin(self, args, state, control, model=None, **kwargs):
            for name, parameter in model.named_parameters():
                if "post_layernorm" in name:
                    parameter.requires_grad_(True)
            for module in [module_of(model, "vision_model")]:
                module.forward = torch.no_grad()(module.forward)

    interrupting(monkeypatch, Free())
    with pytest.raises(
        MuseQuestError, match="2 of the trainable parameters got no gradient in step 1.*layernorm"
    ):
        train(profile, progress=False)
    assert read_json(home / RUN / "run.json")["status"] == "failed"
    assert not (home / RUN / "state").exists()


def test_settings_reach_the_trainer(profile, home):
    config = RunConfig.resolve(profile, load_approach("lora"))
    trainer = build_trainer(config, RunFolder(home / RUN), begun(home), progress=False)
    assert trainer.args.learning_rate == 0.01 and trainer.args.per_device_train_batch_size == 2
    assert config.settings["eval_steps"] == trainer.args.save_steps == trainer.args.logging_steps


def test_a_damaged_record_without_state_or_weights_is_nothing_to_lose(profile, home):
    (home / RUN).mkdir(parents=True)
    (home / RUN / "run.json").write_text("{")
    with pytest.raises(MuseQuestError, match="run.json is not a readable JSON.*train. again"):
        finished_record(home / RUN)
    assert train(profile, overrides={"max_steps": "1"}, progress=False)["status"] == "done"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, tiny_docent):
    """A run that was stopped in step 6, made once: its home and profile. Tests copy it."""
    home = tmp_path_factory.mktemp("stopped")
    write_dataset(home, "tiny")
    profile = write_profile(home, tiny_docent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSEQUEST_HOME", str(home))
        interrupting(patch, At(6, sent()))
        with pytest.raises(MuseQuestError, match="interrupted"):
            train(profile, progress=False)
    return home, profile


@pytest.fixture
def interrupted(stopped, tmp_path, monkeypatch):
    """The stopped run in a home of its own, to be damaged and gone on with."""
    shutil.copytree(stopped[0], tmp_path / "interrupted")
    monkeypatch.setenv("MUSEQUEST_HOME", str(tmp_path / "interrupted"))
    return tmp_path / "interrupted", stopped[1]


@pytest.mark.parametrize("content", ["", "[]", '{"stage": "done"}', None])
def test_a_run_without_its_record_goes_on_from_its_state(interrupted, finished, caplog, content):
    home, profile = interrupted
    record = home / RUN / "run.json"
    record.unlink() if content is None else record.write_text(content)
    assert train(profile, progress=False)["best_eval_loss"] == finished[2]["best_eval_loss"]
    assert "has lost its run.json and goes on from its state" in caplog.text
    weights, others = weights_of(home), weights_of(finished[0])
    assert all(torch.equal(weights[key], tensor) for key, tensor in others.items())


def flip(path, place=-100):
    """Flip two bits of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 3
    path.write_bytes(content)


def test_a_done_run_that_lost_its_record_gets_it_back(copied, finished):
    home, profile = copied
    (home / RUN / "run.json").write_text("[]")
    weights = weights_of(home)
    record = train(profile, progress=False)
    assert record["status"] == "done"
    for key in ("steps", "best_step", "best_eval_loss", "weights_sha256"):
        assert record[key] == finished[2][key]
    assert all(torch.equal(weights[key], tensor) for key, tensor in weights_of(home).items())


@pytest.mark.parametrize("damage", [flip, lambda path: os.truncate(path, 1000), Path.unlink])
def test_weights_that_a_run_did_not_write_are_not_used(copied, damage):
    home, profile = copied
    infer(profile, "lora", progress=False)
    damage(home / RUN / "adapter/adapter_model.safetensors")
    for use in (
        lambda: infer(profile, "lora", progress=False),
        lambda: load_tuned(profile, "lora"),
        lambda: train(profile, progress=False),
        lambda: publish(profile, "lora", "museum/docent"),
    ):
        with pytest.raises(MuseQuestError, match="adapter_model.safetensors is .*; bring it back"):
            use()


def test_answers_that_infer_did_not_write_are_asked_again(copied, caplog):
    home, profile = copied
    path = home / RUN / "predictions.parquet"
    answers = infer(profile, "lora", progress=False)
    write_table("predictions", path, answers.assign(answer="another"))
    assert infer(profile, "lora", progress=False).answer.tolist() == answers.answer.tolist()
    assert "is not what infer.json vouches for" in caplog.text


def test_a_state_that_was_changed_is_not_gone_on_from(interrupted):
    home, profile = interrupted
    (state,) = (home / RUN / "state").iterdir()
    flip(state / "optimizer.pt")
    before = read_json(home / RUN / "run.json")
    with pytest.raises(MuseQuestError, match="optimizer.pt is not the file that was written"):
        train(profile, progress=False)
    assert read_json(home / RUN / "run.json") == before


def test_a_state_that_does_not_say_what_it_was_asked_goes_on_by_the_record(interrupted, finished):
    home, profile = interrupted
    (state,) = (home / RUN / "state").iterdir()
    (state / "asked.json").write_text("[]")
    assert train(profile, progress=False)["best_eval_loss"] == finished[2]["best_eval_loss"]


def test_another_file_of_the_base_model_is_refused(copied, tiny_docent, tmp_path, monkeypatch):
    """Also one that does not count for the fingerprint, as of a folder beyond 1 GiB."""
    home, profile = copied
    own = replace(profile, base_model=str(shutil.copytree(tiny_docent, tmp_path / "docent")))
    monkeypatch.setattr(models, "HASHED_BYTES", 0)
    train(own, overrides={"max_steps": "1"}, fresh=True, progress=False)
    tokenizer = tmp_path / "docent/tokenizer.json"
    tokenizer.write_text(tokenizer.read_text()[::-1])
    with pytest.raises(MuseQuestError, match="tokenizer.json is not the file.*made from another"):
        load_tuned(own, "lora")


def test_a_run_is_held_by_one_process(profile, home):
    code = (
        "import sys; from pathlib import Path; from musequest.core.files import hold\n"
        "with hold(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    folder = home / RUN
    command = [sys.executable, "-c", code, str(folder)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"held\n"
    with other, pytest.raises(MuseQuestError, match="lora is in use by another process"):
        try:
            train(profile, overrides={"max_steps": "1"}, progress=False)
        finally:
            other.kill()
    assert not folder.exists()
    assert train(profile, overrides={"max_steps": "1"}, progress=False)["status"] == "done"


def test_one_process_trains_on_one_gpu_of_several(profile, home, finished, monkeypatch):
    set_up = TrainingArguments._setup_devices.func

    def among_three_gpus(arguments):
        device = set_up(arguments)
        arguments._n_gpu = 3
        return device

    several = cached_property(among_three_gpus)
    several.__set_name__(TrainingArguments, "_setup_devices")
    monkeypatch.setattr(TrainingArguments, "_setup_devices", several)
    record = train(profile, progress=False)
    expected = finished[2]
    assert record["global_batch"] == expected["global_batch"]
    assert record["best_eval_loss"] == expected["best_eval_loss"]
    weights, alone = weights_of(home), weights_of(finished[0])
    assert all(torch.equal(weights[key], tensor) for key, tensor in alone.items())
