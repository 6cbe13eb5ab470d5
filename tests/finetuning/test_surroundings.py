"""What surrounds a finished run: its curves, its model info, its disk, its folder for the Hub."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import torch
import yaml
from forked import in_child, print_to
from hub_server import HubServer
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_dialogs import sample, write_dataset, write_profile
from transformers import AutoModelForImageTextToText, AutoProcessor

from musequest.__main__ import main
from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json, write_json
from musequest.core.home import root
from musequest.core.settings import load_approach
from musequest.core.tables import read_table, write_table
from musequest.creation.split import load_split
from musequest.finetuning import checkpoints, training
from musequest.finetuning.callbacks import tracker_settings
from musequest.finetuning.checkpoints import RunFolder, check_disk, is_full
from musequest.finetuning.collator import DocentCollator
from musequest.finetuning.memory import memory_of
from musequest.finetuning.models import (
    add_adapter,
    free_projections,
    load_model,
    load_processor,
    load_tuned,
)
from musequest.finetuning.publishing import merge, publish, scores_of
from musequest.finetuning.run_config import RunConfig
from musequest.finetuning.training import train
from musequest.systems import ask

RUN = Path("runs/tiny/lora")
TWO_STEPS = {"max_steps": "2", "eval_steps": "2"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_docent):
    home = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSEQUEST_HOME", str(home))
        write_dataset(home, "tiny")
        profile = write_profile(home, tiny_docent)
        train(profile, progress=False)
    return home, profile


@pytest.fixture
def run(finished, monkeypatch):
    monkeypatch.setenv("MUSEQUEST_HOME", str(finished[0]))
    return finished[0] / RUN


@pytest.fixture
def profile(tmp_path, home, tiny_docent):
    write_dataset(home, "tiny")
    return write_profile(tmp_path, tiny_docent)


def test_tensorboard_has_the_curves_of_metrics(run):
    (folder,) = {path.parent for path in run.rglob("events.out.tfevents*")}
    assert folder == run / "tensorboard"
    curves = EventAccumulator(str(folder)).Reload()
    metrics = read_table("metrics", run / "metrics.parquet")
    shown = {event.step: event.value for event in curves.Scalars("eval/loss")}
    assert shown == pytest.approx(dict(zip(metrics.step, metrics.eval_loss, strict=True)), rel=1e-5)


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"report_to": "tensorbord"}, "no tracker 'tensorbord'.*tensorboard, wandb, trackio, none"),
        ({"report_to": "wandb"}, "'wandb'.*(not installed; run `pip install wandb`|WANDB_API_KEY)"),
    ],
)
def test_a_tracker_that_cannot_start_is_one_sentence(monkeypatch, chosen, sentence):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with pytest.raises(MuseQuestError, match=sentence):
        tracker_settings(chosen, "a run")


@pytest.mark.parametrize(
    ("chosen", "key"),
    [
        ({"report_to": "wandb"}, "WANDB_API_KEY"),
        ({"report_to": ["tensorboard", "trackio"], "trackio_space_id": "a/b"}, "HF_TOKEN"),
    ],
)
def test_a_missing_key_is_named_and_a_given_one_suffices(monkeypatch, chosen, key):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("musequest.finetuning.callbacks.find_spec", lambda name: object())
    with pytest.raises(MuseQuestError, match=key):
        tracker_settings(chosen, "a run")
    monkeypatch.setenv(key, "x")
    others = [name for name in chosen["report_to"] if name == "trackio"] or ["wandb"]
    settings = tracker_settings(chosen, "a run")
    assert (settings["report_to"], settings["run_name"]) == (others, "a run")


def report(profile, tracker, **changes):
    """Two short runs in a process of their own, the first of which fails."""
    code = (
        "import sys\nfrom musequest.finetuning.training import train\n"
        "chosen = {'max_steps': '2', 'eval_steps': '1', 'report_to': sys.argv[2]}\n"
        "for rate in ('1e30', '0.01'):\n"
        "    try: train(sys.argv[1], overrides={**chosen, 'learning_rate': rate}, progress=False)\n"
        "    except Exception as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, str(profile), tracker]
    environment = {**os.environ, "PYTHONPATH": str(root()), "OMP_NUM_THREADS": "1", **changes}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "loss became" in done.stdout, done.stderr
    assert "Traceback" not in done.stderr


def test_each_run_has_its_own_page_in_weights_and_biases(profile, home, tmp_path):
    """Without a network, and also if a run of the same process failed before."""
    pytest.importorskip("wandb")
    report(tmp_path / "tiny.yaml", "wandb", WANDB_MODE="offline")
    pages = sorted((home / RUN).glob("wandb/offline-run-*/*.wandb"), key=os.path.getmtime)
    written = [page.read_bytes() for page in pages]
    assert len(written) == 2 and all(b"tiny-lora" in page for page in written)
    assert b"train/loss" in written[1] and b"eval/loss" in written[1]


def test_trackio_keeps_the_curves_of_metrics(profile, home, tmp_path):
    pytest.importorskip("trackio")
    report(tmp_path / "tiny.yaml", "trackio", TRACKIO_DIR=str(tmp_path / "trackio"))
    with sqlite3.connect(tmp_path / "trackio" / "musequest.db") as curves:
        rows = [json.loads(row) for (row,) in curves.execute("SELECT metrics FROM metrics")]
    shown = [row["eval/loss"] for row in rows if "eval/loss" in row]
    assert shown[-2:] == read_table("metrics", home / RUN / "metrics.parquet").eval_loss.tolist()


def test_another_tracker_or_parting_of_rows_is_no_other_run(profile, home):
    train(profile, overrides={**TWO_STEPS, "report_to": "none"}, progress=False)
    assert not (home / RUN / "tensorboard").exists()
    finished_at = read_json(home / RUN / "run.json")["finished_at"]
    parted = {"per_device_train_batch_size": "1", "gradient_accumulation_steps": "2"}
    assert train(profile, overrides=TWO_STEPS | parted)["finished_at"] == finished_at
    with pytest.raises(MuseQuestError, match="training.rows_a_step was 2 and is 1"):
        train(profile, overrides=TWO_STEPS | {"per_device_train_batch_size": "1"})


def test_model_info_lists_every_parameter(run, finished):
    text = (run / "model_info.md").read_text()
    model = add_adapter(load_model(finished[1], device="cpu"), load_approach("lora"))
    device = load_model(finished[1]).device
    for name, parameter in model.named_parameters():
        shape = " x ".join(map(str, parameter.shape))
        trained = "yes" if parameter.requires_grad else ""
        line = f"| {name} | {shape} | {parameter.numel()} | float32 | {device} | {trained} |"
        assert line in text
    assert "Idefics2ForConditionalGeneration(" in text and "padded on the left" in text
    assert "`<end_of_utterance>`" in text


def test_the_disk_of_a_run_is_foreseen(run, finished):
    config = RunConfig(finished[1], load_approach("lora"), {})
    weights = memory_of(config, config.row).written.weights
    written = run / "state" / "checkpoint-10"
    tensors = load_file(written / "adapter_model.safetensors").values()
    assert weights == sum(tensor.nbytes for tensor in tensors)
    record = read_json(run / "run.json")
    assert record["disk_gib"] <= record["disk_needed_gib"] < record["disk_gib"] + 0.05


def test_the_optimizers_states_are_foreseen_and_go_when_the_run_is_done(profile, home, monkeypatch):
    seen = []
    drop = RunFolder.drop_optimizer

    def look_and_drop(folder):
        held = torch.load(folder.last_state() / "optimizer.pt", weights_only=True)["state"]
        seen.extend(each for entry in held.values() for each in entry.values() if each.dim())
        drop(folder)

    monkeypatch.setattr(RunFolder, "drop_optimizer", look_and_drop)
    record = train(profile, overrides=TWO_STEPS, progress=False)
    config = RunConfig(profile, load_approach("lora"), {})
    foreseen = memory_of(config, config.row).written.state
    assert foreseen == sum(each.nbytes for each in seen) > 0
    assert not list((home / RUN).rglob("optimizer*"))
    assert train(profile, overrides=TWO_STEPS, progress=False) == record


def test_a_disk_too_small_is_said_before_the_first_step(profile, home, monkeypatch):
    monkeypatch.setattr(checkpoints, "free_gib", lambda folder: 0.001)
    with pytest.raises(MuseQuestError, match=r"0.00 GiB free, and this run writes up to 0.0\d GiB"):
        train(profile, progress=False)
    record = read_json(home / RUN / "run.json")
    assert record["status"] == "failed" and not (home / RUN / "state").exists()
    model = load_model(profile, device="cpu")
    config = RunConfig(profile, load_approach("full"), {})
    written = memory_of(config, config.row).written
    learned = sum(p.nbytes for p in free_projections(model, config.approach).parameters())
    assert written.weights == learned and 0 < written.state < 2 * learned
    needed = written.peak / 2**30
    monkeypatch.setattr(checkpoints, "free_gib", lambda folder: needed)
    assert check_disk(RunFolder(home / RUN), written) == pytest.approx(needed, abs=1e-3)


def test_a_full_disk_is_known_by_any_library():
    assert is_full(OSError(28, "No space left on device"))
    inner = RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
    outer = ValueError("it went wrong")
    outer.__cause__ = inner
    assert is_full(outer) and not is_full(OSError(2, "No such file"))
    assert is_full(
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 7 vs 5")
    )


def test_the_dry_run_makes_a_folder_that_loads(run, finished, tmp_path):
    profile = finished[1]
    before = (run / "adapter" / "adapter_model.safetensors").read_bytes()
    folder = publish(profile, "lora", "museum/docent-lora", license_name="cc0-1.0")
    names = {path.name for path in folder.iterdir()}
    assert {"README.md", "run.json", "metrics.parquet", "model_info.md"} <= names
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json"} <= names
    base = AutoModelForImageTextToText.from_pretrained(profile.base_model_source)
    with warnings.catch_warnings():  # peft asks transformers by an old name
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
        published = PeftModel.from_pretrained(base, folder).eval()
    batch = DocentCollator(AutoProcessor.from_pretrained(folder, backend="pil"))([sample(0)])
    with torch.no_grad():
        expected = load_tuned(profile, "lora").cpu()(**batch).loss
        assert published(**batch).loss == pytest.approx(float(expected), rel=1e-5)
    assert (run / "adapter" / "adapter_model.safetensors").read_bytes() == before
    assert {path.name for path in (run / "adapter").iterdir()} == {
        *("adapter_model.safetensors", "adapter_config.json")
    }


def card_of(folder):
    _, head, body = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(head), body


def test_the_card_tells_record_and_scores(run, finished, monkeypatch):
    home, profile = finished
    record = read_json(run / "run.json")
    head, body = card_of(publish(profile, "lora", "museum/docent-lora", license_name="cc0-1.0"))
    assert head["library_name"] == "peft" and head["license"] == "cc0-1.0"
    assert "base_model" not in head  # a local folder is nothing on the Hub
    assert f"{record['best_eval_loss']:.4f}" in body and "have not been scored yet" in body
    row = dict.fromkeys(("data_id", "item_name", "image_name", "question"), "x")
    row |= {"ground_truth": "a", "answer": "b", "new_tokens": 1, "seconds": 0.1}
    write_table("predictions", run / "predictions.parquet", [row])
    value = {"mean": 0.25, "ci_low": 0.1, "ci_high": 0.4, "n": 9}
    results = home / "results" / "tiny"
    write_json(
        results / "summary.json",
        {"all": {"base": {"rouge_l": {"mean": 1.0, "ci_low": None}}, "lora": {"rouge_l": value}}},
    )
    write_json(results / "scoring.json", {"systems": {"lora": {"sha256": "of other answers"}}})
    assert scores_of(profile, "lora") is None
    digest = hashlib.sha256((run / "predictions.parquet").read_bytes()).hexdigest()
    scored = {"systems": {"lora": {"sha256": digest}}}
    write_json(results / "scoring.json", scored)
    head, body = card_of(publish(profile, "lora", "museum/docent-lora"))
    assert "| rouge_l | 1.000 (too few exhibits) | 0.250 [0.100, 0.400] |" in body
    (measured,) = head["model-index"][0]["results"][0]["metrics"]
    assert (measured["type"], measured["value"]) == ("rouge_l", 0.25)
    # What it makes of other things stands there only if the answers lie there that were scored.
    rate = {"false_recognition_rate": {"mean": 0.75, "ci_low": 0.5, "ci_high": 1.0, "n": 12}}
    write_json(
        results / "summary.json", {"all": {"lora": {"rouge_l": value}}, "outsiders": {"lora": rate}}
    )
    write_table("predictions", home / "runs/tiny/lora__outsiders/predictions.parquet", [row])
    write_json(
        results / "scoring.json", {**scored, "outsiders": {"lora__outsiders": {"sha256": "x"}}}
    )
    assert "false_recognition_rate" not in card_of(publish(profile, "lora", "museum/docent"))[1]
    write_json(
        results / "scoring.json", {**scored, "outsiders": {"lora__outsiders": {"sha256": digest}}}
    )
    _, body = card_of(publish(profile, "lora", "museum/docent"))
    assert "| false_recognition_rate | 0.750 [0.500, 1.000] |" in body
    assert "the share of answers that call such a thing by an exhibit's name, 0 is best" in body


def run_card(folder: Path, repo: str, cwd: Path) -> str:
    """What the card's own code prints about photo.jpg, run as a stranger would."""
    _, body = card_of(folder)
    code = body.split("```python\n")[1].split("```")[0]
    shutil.rmtree(cwd / repo, ignore_errors=True)
    shutil.copytree(folder, cwd / repo)
    told = Path(tempfile.mkdtemp(dir=cwd))

    def stranger() -> None:
        os.chdir(cwd)
        print_to(told)
        torch.set_num_threads(1)  # threads do not outlive a fork
        warnings.simplefilter("ignore")
        exec(code, {"__name__": "__main__"})

    assert in_child(stranger) == 0, (told / "err").read_text()
    return (told / "out").read_text()


def test_the_cards_code_answers_about_a_photo_as_the_docent_does(home, tmp_path):
    write_dataset(home, "tiny")
    changes = {"image_size": 128, "max_new_tokens": 40}
    profile = write_profile(tmp_path, Path("assets/pocket_docent"), **changes)
    train(profile, overrides={"max_steps": "3"}, progress=False)
    (tmp_path / "assets").symlink_to(root() / "assets")
    with Image.open(root() / "assets/pocket_museum/photos/fog_bell/00.jpg") as photo:
        turned = photo.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    turned.save(tmp_path / "photo.jpg", exif=exif)
    (expected,) = ask(profile, tmp_path / "photo.jpg", "What is this?")
    assert expected
    folder = publish(profile, "lora", "museum/docent")
    assert "Run it in MuseQuest's folder" in card_of(folder)[1]
    assert run_card(folder, "museum/docent", tmp_path) == f"{expected}\n"
    merge(profile, "lora", rows=1)
    folder = publish(profile, "lora", "museum/docent", merged=True)
    assert "Run it in MuseQuest's folder" not in card_of(folder)[1]
    assert run_card(folder, "museum/docent", tmp_path) == f"{expected}\n"


def test_a_merged_model_is_published_with_its_processor(run, finished):
    model = load_tuned(finished[1], "lora").cpu().merge_and_unload()
    model.save_pretrained(run / "merged")
    load_processor(finished[1]).save_pretrained(run / "merged")
    template = run / "merged" / "chat_template.jinja"
    before, written = template.read_bytes(), template.stat().st_mtime_ns
    folder = publish(finished[1], "lora", "museum/docent", merged=True)
    head, body = card_of(folder)
    assert head["library_name"] == "transformers" and "PeftModel" not in body
    # Not the whole os.stat: a hard link and a reader change it, and neither changes the file.
    assert (template.read_bytes(), template.stat().st_mtime_ns) == (before, written)
    weights = load_file(folder / "model.safetensors")
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items() if k in weights)


def test_only_what_weights_consist_of_is_published(run, finished, tmp_path, monkeypatch, capsys):
    strays = {".env", "optimizer.pt", "checkpoint-2/adapter_model.safetensors", "link.safetensors"}
    (run / "adapter/checkpoint-2").mkdir()
    for name in strays:
        (run / "adapter" / name).write_text("a secret")
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    try:
        with HubServer() as hub:
            hub.kind = "model"
            hub.shown = lambda: shown.append(capsys.readouterr().out)
            shown: list[str] = []
            monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
            folder = publish(finished[1], "lora", "museum/docent", upload=True)
            sent = set(hub.repositories["museum/docent"]["files"])
        assert sent == {path.name for path in folder.iterdir()} and not sent & strays
        assert {"adapter_config.json", "adapter_model.safetensors", "README.md", "run.json"} <= sent
        assert all(f"bytes  {name}" in shown[0] for name in sent)
        weights = (run / "adapter/adapter_model.safetensors").rename(tmp_path / "kept")
        (run / "adapter/adapter_model.safetensors").symlink_to(weights)
        with pytest.raises(MuseQuestError, match="adapter_model.safetensors is a link"):
            publish(finished[1], "lora", "museum/docent")
        weights.replace(run / "adapter/adapter_model.safetensors")
    finally:
        shutil.rmtree(run / "adapter/checkpoint-2")
        for name in (".env", "optimizer.pt", "link.safetensors"):
            (run / "adapter" / name).unlink()


@pytest.mark.parametrize("name", ["docent", "a/b/c", "museum/two words", "museum/"])
def test_a_name_the_hub_refuses_is_one_sentence(run, finished, name):
    with pytest.raises(MuseQuestError, match="write it as owner/name"):
        publish(finished[1], "lora", name)


def test_what_cannot_be_published_is_one_sentence(profile, home, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(MuseQuestError, match="needs HF_TOKEN"):
        publish(profile, "lora", "museum/docent", upload=True)
    typed = ["publish", "--profile", str(tmp_path / "tiny.yaml"), "--repo", "museum/docent"]
    assert main(typed) == 1 and "not started" in capsys.readouterr().err
    train(profile, overrides=TWO_STEPS, progress=False)
    with pytest.raises(MuseQuestError, match="no merged/ to publish; merge the adapter"):
        publish(profile, "lora", "museum/docent", merged=True)
    assert main(typed) == 0
    shown = capsys.readouterr().out
    assert "README.md" in shown and "would be uploaded (add --upload) to museum/docent" in shown


def test_a_state_of_another_run_is_refused(profile, home, monkeypatch):
    """Its folder was copied here, or its dataset was changed beside it."""
    train(profile, overrides=TWO_STEPS, progress=False)
    asked = home / RUN / "state" / "checkpoint-2" / "asked.json"
    own = read_json(asked)
    write_json(asked, {**own, "dataset_fingerprint": "another"})
    with pytest.raises(MuseQuestError, match="dataset_fingerprint was another.*fresh=True"):
        train(profile, overrides=TWO_STEPS, progress=False)
    write_json(asked, own)
    (home / RUN / "run.json").unlink()
    asked.unlink()
    with pytest.raises(MuseQuestError, match="without the run.json.*fresh=True"):
        train(profile, overrides=TWO_STEPS, progress=False)
    assert (home / RUN / "adapter").is_dir() and asked.parent.is_dir()


def test_a_base_model_that_cannot_be_had_leaves_a_record_only_if_a_run_began(profile, home):
    absent = replace(profile, base_model="nobody/no-such-model")
    with pytest.raises(MuseQuestError, match="not in the cache.*HF_HUB_OFFLINE"):
        train(absent, progress=False)
    assert not (home / RUN).exists()


def test_a_split_is_read_without_a_bar(profile, capfd):
    load_split("tiny", "train")
    assert "Generating" not in capfd.readouterr().err


def test_the_trainer_notes_what_fits_before_it_trains(profile, home, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "write_model_info", stop)
    with pytest.raises(KeyboardInterrupt):
        train(profile, overrides={"activation_checkpointing": "null"}, progress=False)
    record = read_json(home / RUN / "run.json")
    assert record["fitted"] == {"bf16": False, "activation_checkpointing": False} or (
        torch.cuda.is_available()
    )
    assert record["status"] == "interrupted" and record["disk_needed_gib"] > 0


def test_a_merge_asks_for_room_before_it_writes(run, finished, monkeypatch):
    monkeypatch.setattr(checkpoints, "free_gib", lambda folder: 0.0)
    with pytest.raises(MuseQuestError, match="0.00 GiB free, and the merged model takes 0.00 GiB"):
        merge(finished[1], "lora", rows=1)
    assert not (run / "unfinished/merged").exists()
