"""Full fine-tuning comes to the same in one process, in a pipeline and with sharded weights."""

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import in_child, in_processes
from interrupting import At, building_with, sent
from safetensors.torch import load_file
from sweeping import MOUNTS, Disk
from tiny_dialogs import write_dataset, write_profile
from tiny_family import save_tiny_relative
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForImageTextToText, TrainingArguments

from musequest.__main__ import main
from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json
from musequest.core.settings import Approach, load_approach
from musequest.core.tables import read_table
from musequest.core.training_arguments import ARGUMENTS
from musequest.finetuning import fitting, strategies, training
from musequest.finetuning.activations import RowShape
from musequest.finetuning.checkpoints import RunFolder
from musequest.finetuning.gpus import devices_here
from musequest.finetuning.memory import KEPT_RECORDS, memory_of
from musequest.finetuning.models import load_model, load_tuned
from musequest.finetuning.run_config import RunConfig
from musequest.finetuning.strategies import build_trainer, prepare, scale_learning_rate
from musequest.finetuning.training import train

# All that changes what is learned, none of it as it would be by itself.
SETTINGS = {
    "max_steps": "5",
    "gradient_accumulation_steps": "2",
    "learning_rate": "0.003",
    "lr_scheduler_type": "cosine_with_min_lr",
    "lr_scheduler_kwargs": "{min_lr: 1e-4}",
    "warmup_steps": "2",
    "optim": "adamw_torch",
    "weight_decay": "0.2",
    "adam_beta1": "0.8",
    "adam_beta2": "0.95",
    "adam_epsilon": "1e-6",
    "max_grad_norm": "0.01",
    "label_smoothing_factor": "0.1",
    "seed": "3",
    "data_seed": "5",
    "eval_steps": "1",
}
# Rows a step: 4 in each, given whole to the stages of a pipeline, half to each of two shares.
BATCH = {"full": "2", "full_mp": "2", "full_fsdp": "1"}
# Another optimizer, with an argument of its own, for as many steps, counted in epochs.
MOMENTUM = {"optim": "sgd", "optim_args": "momentum=0.5", "learning_rate": "0.1"}
MOMENTUM |= {"max_steps": "null", "num_train_epochs": "1.5", "eval_steps": "5"}
# Whether activations are recomputed is left to what fits; to reckon that takes half of a run.
FITTING = {"activation_checkpointing": "null"}
STOP_AT = 3


def run(profile, name: str, changes: dict[str, str] | None = None) -> dict:
    overrides = {**SETTINGS, "per_device_train_batch_size": BATCH[name], **(changes or {})}
    if "optim" in (changes or {}):
        overrides = {key: value for key, value in overrides.items() if not key.startswith("adam_")}
    return train(profile, name, overrides, progress=False)


def stop(model) -> None:
    """Send one of the processes a signal, as a scheduler might."""
    if os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGTERM)


def whole_and_interrupted(profile, home: Path) -> list[dict]:
    """Each parallel approach once in one go, once stopped and gone on; run in every process."""
    records = []
    build = training.build_trainer
    for name in ("full_mp", "full_fsdp"):
        os.environ["MUSEQUEST_HOME"] = str(home / "momentum")
        run(profile, name, MOMENTUM)
        os.environ["MUSEQUEST_HOME"] = str(home / "whole")
        with pytest.MonkeyPatch.context() as patch:
            if name == "full_mp" and os.environ["RANK"] == "1":
                patch.setattr(fitting, "available_bytes", lambda device: 0)
            records.append(run(profile, name, FITTING))
        os.environ["MUSEQUEST_HOME"] = str(home / "interrupted")
        training.build_trainer = building_with(At(STOP_AT, stop))
        with pytest.raises(MuseQuestError, match=f"at step {STOP_AT} of 5"):
            run(profile, name, FITTING)
        training.build_trainer = build
        training.load_approach = recomputing
        records.append(run(profile, name, FITTING))
        training.load_approach = load_approach
    return records


def recomputing(name: str) -> Approach:
    """The approach as it is, but that shards are computed again to save memory."""
    sharded = name == "full_fsdp"
    return approach_with(name, activation_checkpointing=True) if sharded else load_approach(name)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_docent):
    """All runs, made once: their home and profile."""
    home = tmp_path_factory.mktemp("parallel")
    for kind in ("whole", "interrupted", "momentum"):
        write_dataset(home / kind, "tiny")
    profile = write_profile(home, tiny_docent)
    patch = pytest.MonkeyPatch()
    patch.setenv("MUSEQUEST_HOME", str(home / "momentum"))
    run(profile, "full", MOMENTUM)
    patch.setenv("MUSEQUEST_HOME", str(home / "whole"))
    run(profile, "full")
    in_processes(whole_and_interrupted, profile, home)
    yield home, profile
    patch.undo()


def folder(home: Path, name: str, kind: str = "whole") -> Path:
    return home / kind / "runs" / "tiny" / name


def weights(home: Path, name: str, kind: str = "whole") -> dict[str, torch.Tensor]:
    model = AutoModelForImageTextToText.from_pretrained(folder(home, name, kind) / "model")
    return model.state_dict()


def losses(home: Path, name: str, kind: str = "whole") -> np.ndarray:
    metrics = read_table("metrics", folder(home, name, kind) / "metrics.parquet")
    assert metrics.step.tolist() == ([5] if kind == "momentum" else [1, 2, 3, 4, 5])
    return metrics[["train_loss", "eval_loss"]].to_numpy(float)


def test_all_that_changes_what_is_learned_is_set_here():
    learned = {key for key, rule in ARGUMENTS.items() if getattr(rule, "learned", False)}
    assert learned == {*SETTINGS, *MOMENTUM, "per_device_train_batch_size"} - {"eval_steps"}


# What the learning rate's schedule cannot be without is set otherwise, all else left out.
OTHERWISE = {
    "lr_scheduler_kwargs": "{min_lr: 1e-3}",
    "lr_scheduler_type": "cosine_warmup_with_min_lr",
}


@pytest.mark.parametrize(
    "key", sorted(SETTINGS.keys() - {"max_steps", "optim", "seed", "eval_steps"})
)
def test_each_of_these_settings_acts(runs, tmp_path, monkeypatch, key):
    home, profile = runs
    write_dataset(tmp_path / "otherwise", "tiny")
    monkeypatch.setenv("MUSEQUEST_HOME", str(tmp_path / "otherwise"))
    run(profile, "full", {key: OTHERWISE.get(key, "null"), "eval_steps": "5"})
    last = read_table("metrics", folder(tmp_path, "full", "otherwise") / "metrics.parquet")
    assert last.eval_loss.iloc[-1] != losses(home, "full")[-1, 1]


def often_and_seldom(profile, home: Path) -> None:
    """Adapters that drop inputs, with a validation at each step or at the last alone."""
    for every in ("1", "1000"):
        os.environ["MUSEQUEST_HOME"] = str(home / every)
        train(profile, "lora_ddp", {"eval_steps": every, "max_steps": "4"}, progress=False)


def test_how_often_is_validated_changes_nothing_in_several_processes(runs, tmp_path):
    for every in ("1", "1000"):
        write_dataset(tmp_path / every, "tiny")
    in_processes(often_and_seldom, runs[1], tmp_path)
    often, seldom = (
        load_file(
            folder(tmp_path, "lora_ddp", every) / "state/checkpoint-4/adapter_model.safetensors"
        )
        for every in ("1", "1000")
    )
    assert all(torch.equal(values, seldom[name]) for name, values in often.items())


@pytest.mark.parametrize("name", ["full_mp", "full_fsdp"])
def test_step_by_step_it_is_full_fine_tuning(runs, name):
    home, _ = runs
    np.testing.assert_allclose(losses(home, name), losses(home, "full"), rtol=1e-4)
    with_momentum = losses(home, name, "momentum")
    np.testing.assert_allclose(with_momentum, losses(home, "full", "momentum"), rtol=1e-4)
    one, many = weights(home, "full"), weights(home, name)
    assert one.keys() == many.keys()
    for key, tensor in one.items():
        torch.testing.assert_close(many[key], tensor, rtol=1e-3, atol=2e-5, msg=key)


def test_a_pipeline_recomputes_in_all_processes_if_one_has_too_little_memory(runs):
    """It then computes the same; and what was chosen is known to those that go on."""
    for kind, recomputes in (("whole", True), ("interrupted", False)):
        fitted = read_json(folder(runs[0], "full_mp", kind) / "run.json")["fitted"]
        assert fitted == {"bf16": False, "activation_checkpointing": recomputes}


@pytest.mark.parametrize("name", ["full_mp", "full_fsdp"])
def test_a_run_stopped_and_gone_on_with_ends_the_same(runs, name):
    """Also if one recomputes activations: the pipeline the whole run, the shards from then on."""
    assert_ends_as(runs, runs[0] / "interrupted", name)


def killed(profile, name, ranks, step, saving):
    """A run in which these ranks are killed; called in each process."""
    if int(os.environ["RANK"]) in ranks:
        training.build_trainer = building_with(At(step, sent(signal.SIGKILL), saving), first=True)
    run(profile, name)


@pytest.mark.parametrize("name", ["full_mp", "full_fsdp"])
def test_a_run_killed_twice_ends_the_same(runs, tmp_path, monkeypatch, name):
    """First one of its processes alone, in a step; then all of them, in saving.

    At last they are to be killed in step 2, which does not come again.
    """
    home, profile = runs
    write_dataset(tmp_path / "killed", "tiny")
    monkeypatch.setenv("MUSEQUEST_HOME", str(tmp_path / "killed"))
    gone_on = RunFolder(folder(tmp_path, name, "killed"))
    endings = (((1,), 3, False, "failed", 2), ((0, 1), 4, True, "interrupted", 3))
    for ranks, step, saving, status, kept in endings:
        with pytest.raises(RuntimeError, match=r"signal 9|closed by peer|reset by peer"):
            in_processes(killed, profile, name, ranks, step, saving)
        assert read_json(gone_on.folder / "run.json")["status"] == status
        assert gone_on.last_state().name == f"checkpoint-{kept}"
    in_processes(killed, profile, name, (0, 1), 2, False)
    assert_ends_as(runs, tmp_path / "killed", name)


def assert_ends_as(runs, ended, name):
    """The run under the home `ended` has the very losses and weights of the one without a stop."""
    home, kind = ended.parent, ended.name
    np.testing.assert_array_equal(losses(home, name, kind), losses(runs[0], name))
    whole, after = weights(runs[0], name), weights(home, name, kind)
    assert all(torch.equal(after[key], tensor) for key, tensor in whole.items())


def on_full_disk(profile, disk: Disk | None) -> None:
    """A sharded run whose disk the second process may fill in step 4; called in each process."""
    if disk and os.environ["RANK"] == "1":
        training.build_trainer = building_with(At(4, lambda model: disk.fill(50_000)), first=True)
    run(profile, "full_fsdp")


@pytest.mark.skipif(not MOUNTS, reason="no disk can be mounted here")
def test_a_full_disk_loses_nothing_of_a_sharded_run(runs, tmp_path):
    """Though the library's own exception, which names all processes, is none that is caught."""
    content, home, kept = (tmp_path / name for name in ("content", "home", "kept"))
    write_dataset(content, "tiny")
    home.mkdir()

    def fills() -> None:
        disk = Disk(home, content)
        os.environ["MUSEQUEST_HOME"] = str(home)
        with pytest.raises(RuntimeError) as said:
            in_processes(on_full_disk, runs[1], disk)
        (tmp_path / "said").write_text(str(said.value))
        shutil.copy(home / "runs/tiny/full_fsdp/run.json", tmp_path)
        disk.mend()
        in_processes(on_full_disk, runs[1], None)
        shutil.copytree(home / "runs", kept / "runs")

    assert in_child(fills) == 0
    record = read_json(tmp_path / "run.json")
    assert record["status"] == "failed"
    assert "became full" in record["reason"] and "checkpoint-3 is kept" in record["reason"]
    said = (tmp_path / "said").read_text().strip()
    assert said.endswith(f"MuseQuestError: {record['reason']}")
    assert_ends_as(runs, kept, "full_fsdp")


@pytest.mark.parametrize("name", ["full", "full_mp", "full_fsdp"])
def test_what_is_frozen_stays_bit_by_bit_and_the_projections_move(runs, name):
    home, profile = runs
    before = load_model(profile, device="cpu").state_dict()
    after = weights(home, name)
    for key, tensor in before.items():
        trained = "vision_model" not in key and key.endswith("_proj.weight")
        assert torch.equal(after[key], tensor) is not trained, key


def test_each_process_of_a_pipeline_holds_its_layers_alone(runs):
    home, _ = runs
    record = read_json(folder(home, "full_mp") / "run.json")
    held = [each["parameters"] for each in record["held_by_rank"]]
    assert sum(held) == record["total_parameters"] and max(held) < record["total_parameters"]
    files = sorted((folder(home, "full_mp") / "model").glob("*.safetensors"))
    names = [set(load_file(file)) for file in files]
    assert len(names) == 2 and not names[0] & names[1]
    assert [sum(t.numel() for t in load_file(file).values()) for file in files] == held
    assert any("layers.0." in name for name in names[0])
    assert all("layers.1." in name or "norm" in name or "lm_head" in name for name in names[1])


def test_each_process_of_fsdp_holds_half_of_everything(runs):
    home, _ = runs
    record = read_json(folder(home, "full_fsdp") / "run.json")
    for key, total in (("parameters", "total"), ("trainable_parameters", "trainable")):
        held = [each[key] for each in record["held_by_rank"]]
        assert sum(held) == record[f"{total}_parameters"]
        assert max(held) < 0.52 * record[f"{total}_parameters"]


def test_a_sharded_run_keeps_shards_to_go_on_and_one_ordinary_model(runs):
    home, profile = runs
    run_folder = folder(home, "full_fsdp")
    assert {file.name for file in (run_folder / "model").iterdir()} == {
        *("config.json", "generation_config.json", "model.safetensors")
    }
    assert len(list(run_folder.glob("state/checkpoint-5/pytorch_model_fsdp_0/*.distcp"))) == 2
    assert not (run_folder / "best").exists() and not (run_folder / "unfinished").exists()
    tuned = load_tuned(profile, "full_fsdp")
    assert next(tuned.parameters()).dtype == torch.float32


@pytest.mark.parametrize("name", ["full", "full_mp", "full_fsdp"])
def test_a_done_run_takes_at_most_four_times_the_weights(runs, name):
    """Without what does not grow with the model: records, curves, what each weight is called."""
    home, _ = runs
    done = folder(home, name)
    size = sum(tensor.nbytes for tensor in weights(home, name).values())
    files = {file.stat().st_ino: file for file in done.rglob("*") if file.is_file()}.values()
    held = sum(f.stat().st_size for f in files if f.suffix in (".safetensors", ".distcp", ".pt"))
    assert size < held < 4 * size
    assert not list(done.rglob("optimizer*"))


def in_half(profile):
    """A sharded step in mixed precision whose optimizer's states stay; called in each process.

    With GPUs Accelerate chooses this policy by itself where the settings say bf16.
    """
    RunFolder.drop_optimizer = lambda folder: None
    mixed = approach_with("full_fsdp", mixed_precision_policy="bf16")
    training.load_approach = lambda name: mixed
    half = replace(profile, training={**profile.training, "bf16": True})
    return run(half, "full_fsdp", {"max_steps": "1"})


def bytes_of_shards(shards, folder):
    """Those of all tensors in a checkpoint's shards, but for counters of steps."""
    dcp_to_torch_save(shards, folder / "whole.pt")
    leaves = tree_leaves(torch.load(folder / "whole.pt", weights_only=False))
    return sum(leaf.nbytes for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.dim())


def test_what_mixed_precision_keeps_in_float32_is_foreseen(runs, tmp_path, monkeypatch):
    _, profile = runs
    write_dataset(tmp_path, "tiny")
    monkeypatch.setenv("MUSEQUEST_HOME", str(tmp_path))
    half = replace(profile, dtype="bfloat16")
    in_processes(in_half, half)
    done = tmp_path / "runs/tiny/full_fsdp"
    approach = load_approach("full_fsdp")
    config = RunConfig(half, approach, {"bf16": True})
    written = memory_of(config, RowShape(40, 1, 36)).written
    state = done / "state" / "checkpoint-1"
    assert bytes_of_shards(state / "pytorch_model_fsdp_0", tmp_path) == written.weights
    assert bytes_of_shards(state / "optimizer_0", tmp_path) == written.state
    model = (done / "model" / "model.safetensors").stat().st_size
    assert model == pytest.approx(written.merged, rel=0.1)
    assert written.end - KEPT_RECORDS < 4 * written.merged


@pytest.mark.parametrize("name", ["full_mp", "full_fsdp"])
def test_the_record_tells_processes_and_global_batch(runs, name):
    home, _ = runs
    record = read_json(folder(home, name) / "run.json")
    assert record["world_size"] == 2 and record["global_batch"]["rows_a_step"] == 4
    full = read_json(folder(home, "full") / "run.json")
    for key in ("trainable_parameters", "total_parameters", "steps", "best_step"):
        assert record[key] == full[key], key
    if name == "full_mp":
        assert [row["device"] for row in record["plan"]] == [0, 1]


def two_steps(home: Path) -> None:
    """What each of two torchruns of one process starts, as the page on more machines has them."""
    os.environ["MUSEQUEST_HOME"] = str(home)
    chosen = SETTINGS | {"per_device_train_batch_size": BATCH["full_fsdp"], "max_steps": "2"}
    typed = ["train", "--profile", str(home / "tiny.yaml"), "--approach", "full_fsdp", "--set"]
    assert main([*typed, *(f"{key}={value}" for key, value in chosen.items())]) == 0


def test_two_machines_meet_on_loopback(runs, tmp_path):
    home, _ = runs
    write_dataset(tmp_path, "tiny")
    (tmp_path / "tiny.yaml").write_text((home / "tiny.yaml").read_text())
    in_processes(two_steps, tmp_path, machines=2)
    record = read_json(tmp_path / "runs/tiny/full_fsdp/run.json")
    assert (record["status"], record["world_size"]) == ("done", 2)
    assert record["held_by_rank"][0]["parameters"] < 0.52 * record["total_parameters"]
    metrics = read_table("metrics", tmp_path / "runs/tiny/full_fsdp/metrics.parquet")
    assert metrics.train_loss[0] == pytest.approx(losses(home, "full_fsdp")[0, 0], rel=1e-6)


def test_the_learning_rate_is_scaled_as_in_the_published_runs(tmp_path):
    for processes, batch, published in ((2, 14, 1.7e-5), (4, 10, 2e-5)):
        arguments = TrainingArguments(
            str(tmp_path), learning_rate=1e-5, per_device_train_batch_size=batch, use_cpu=True
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TrainingArguments, "world_size", processes)
            scale_learning_rate(arguments, approach_with("full_fsdp", square_root_scaling_from=10))
        assert arguments.learning_rate == pytest.approx(published, rel=0.02)
    before = arguments.learning_rate
    scale_learning_rate(arguments, load_approach("full_fsdp"))
    assert arguments.learning_rate == before


def test_a_merge_killed_before_its_end_is_made_again(runs, tmp_path, monkeypatch):
    home, _ = runs
    kept = tmp_path / "best" / "checkpoint-5"
    shutil.copytree(folder(home, "full_fsdp") / "state" / "checkpoint-5", kept)
    with monkeypatch.context() as patch:
        patch.setattr(
            strategies.shutil, "rmtree", lambda *_, **__: (_ for _ in ()).throw(SystemExit())
        )
        with pytest.raises(SystemExit):
            strategies.merge_shards(kept, "float32")
    strategies.merge_shards(kept, "bfloat16")
    merged = AutoModelForImageTextToText.from_pretrained(kept)
    assert merged.dtype == torch.bfloat16 and not (kept / strategies.SHARDS).exists()
    before = (kept / "model.safetensors").read_bytes()
    strategies.merge_shards(kept, "float32")
    assert (kept / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("alone", [True, False])
def test_only_if_asked_to_does_one_process_alone_read_the_weights(monkeypatch, alone):
    for name in ("ACCELERATE_USE_FSDP", "FSDP_CPU_RAM_EFFICIENT_LOADING"):
        monkeypatch.setenv(name, "False")
    prepare(approach_with("full_fsdp", cpu_ram_efficient_loading=alone))
    assert os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] == str(alone)


def test_one_gpu_cannot_be_split(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for count in (1, 3):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        if count == 1:
            with pytest.raises(MuseQuestError, match="two GPUs or more, and here is one.*'full'"):
                devices_here()
        else:
            assert devices_here() == [0, 1, 2]


def approach_with(name: str, **parallel) -> Approach:
    approach = load_approach(name)
    return replace(approach, parallel={**approach.parallel, **parallel})


def test_a_head_that_shares_the_embeddings_has_its_own_copy_on_its_device(tmp_path, monkeypatch):
    profile = write_profile(tmp_path, save_tiny_relative("smolvlm", tmp_path / "smolvlm"))
    sequential = approach_with("full_mp", strategy="sequential")
    trainers = []

    def build(*arguments, **options):
        trainers.append(build_trainer(*arguments, **options))
        if len(trainers) == 1:
            trainers[0].add_callback(At(STOP_AT, stop))
        return trainers[-1]

    monkeypatch.setenv("RANK", "1")
    for name in ("full", "full_mp"):
        write_dataset(tmp_path / name, "tiny")
    monkeypatch.setenv("MUSEQUEST_HOME", str(tmp_path / "full"))
    run(profile, "full")
    monkeypatch.setenv("MUSEQUEST_HOME", str(tmp_path / "full_mp"))
    monkeypatch.setattr(training, "load_approach", lambda name: sequential)
    monkeypatch.setattr(training, "build_trainer", build)
    with pytest.raises(MuseQuestError, match=f"at step {STOP_AT} of 5"):
        run(profile, "full_mp")
    run(profile, "full_mp")
    for trainer in trainers:
        head, embeddings = trainer.model.lm_head, trainer.model.get_input_embeddings()
        assert head.weight.data_ptr() != embeddings.weight.data_ptr()
        assert torch.equal(head.weight, embeddings.weight)
    folders = [tmp_path / name / "runs/tiny" / name / "model" for name in ("full", "full_mp")]
    one, split = (load_file(folder / "model.safetensors") for folder in folders)
    assert one.keys() == split.keys() and "lm_head.weight" not in one
    for key, tensor in split.items():
        torch.testing.assert_close(tensor, one[key], msg=key)
    model = AutoModelForImageTextToText.from_pretrained(folders[1])
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_one_device_after_another_is_full_fine_tuning_too(runs, tmp_path, monkeypatch):
    home, profile = runs
    write_dataset(tmp_path, "tiny")
    monkeypatch.setenv("MUSEQUEST_HOME", str(tmp_path))
    sequential = approach_with("full_mp", strategy="sequential")
    monkeypatch.setattr(training, "load_approach", lambda name: sequential)
    hooked = []

    def build(*arguments, **options):
        trainer = build_trainer(*arguments, **options)
        hooked.append(set(trainer.model.hf_device_map))
        return trainer

    monkeypatch.setattr(training, "build_trainer", build)
    record = run(profile, "full_mp")
    assert record["world_size"] == 1 and len(record["plan"]) == 2
    assert "lm_head" in hooked[0] and "model.text_model.layers.1" in hooked[0]
    path = tmp_path / "runs/tiny/full_mp"
    metrics = read_table("metrics", path / "metrics.parquet")
    found = metrics[["train_loss", "eval_loss"]].to_numpy(float)
    np.testing.assert_allclose(found, losses(home, "full"), rtol=1e-6)
    one = weights(home, "full")
    for key, tensor in load_file(path / "model" / "model.safetensors").items():
        torch.testing.assert_close(tensor, one[key], msg=key)
