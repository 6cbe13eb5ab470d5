"""The commands: each does its stage, and a mistake is one sentence and exit code 1."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_dialogs import write_dataset

from musequest.__main__ import main
from musequest.core.command_line import show
from musequest.core.home import root


def test_the_commands_of_stage_one_walk_from_folder_to_dataset(
    museum: Path, home: Path, capsys: pytest.CaptureFixture
):
    assert main(["collect", "folder", str(museum), "--collection", "t"]) == 0
    assert "5 exhibits with 16 photos" in capsys.readouterr().out
    assert main(["augment", "--collection", "t", "--processes", "1", "--seed", "3"]) == 0
    assert "75 photos, of which 59 are augmented" in capsys.readouterr().out
    assert main(["synthesize", "--collection", "t", "--writer", "offline"]) == 0
    assert "75 dialogs about 5 exhibits" in capsys.readouterr().out
    assert main(["dataset", "--collection", "t"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"]["train"] == 63 and told["audit"]["lineage_leaks"] == []
    assert (home / "data/t/dataset/README.md").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("collect folder nowhere --collection t", "exhibits.csv does not exist"),
        ("collect folder nowhere --collection ../t", "cannot name a collection"),
        ("collect folder nowhere --collection Grünau", "use the letters a to z, digits"),
        ("augment --collection t", "exhibits.parquet does not exist; run"),
        ("synthesize --collection t", "exhibits.parquet does not exist; run"),
        ("synthesize --collection t --model gpt-4o", "--model is for the hosted writer"),
        ("synthesize --collection t --writer hosted --model m", "price of the model 'm' is not"),
        ("dataset --collection t", "exhibits.parquet does not exist; run"),
        ("train --profile pockt", "There is no profile 'pockt'"),
        ("train --profile pocket --approach lorra", "There is no approach 'lorra'"),
        ("train --profile pocket --set learning_rat=1", "nearest known is 'learning_rate'"),
        ("train --profile pocket --set learning_rate", "has not the form NAME=VALUE"),
        ("infer --profile pocket --set max_new_token=9", "nearest known is 'max_new_tokens'"),
        ("infer --profile pocket --set seed=1 --set seed=2", "'seed' is given twice"),
        ("score base --out x", "has not the form NAME=VALUE"),
        ("report --profile nowhere.yaml", "nowhere.yaml does not exist"),
    ],
)
def test_a_mistake_is_one_sentence(
    home: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments.split()) == 1
    told = capsys.readouterr()
    assert sentence in told.err and len(told.err.strip().splitlines()) == 1 and told.out == ""


def test_settings_reach_profile_and_training(home: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    write_dataset(home, "pocket")
    calls = []

    def train(profile, approach, overrides, *, processes, fresh):
        calls.append((profile.image_size, approach, overrides, fresh))
        return {}

    monkeypatch.setattr("musequest.finetuning.training.train", train)
    typed = ["--set", "image_size=64", "seed=4", "--set", "learning_rate=1e-3"]
    assert main(["train", "--profile", "pocket", "--approach", "lora", *typed]) == 0
    assert main(["train", "--profile", "pocket", "--fresh", *typed]) == 0
    learning = {"seed": "4", "learning_rate": "1e-3"}
    assert calls == [(64, "lora", learning, False), (64, "lora", learning, True)]


def test_a_record_is_printed_in_the_letters_of_its_texts(capsys):
    show({"title": "Krüge"})
    assert capsys.readouterr().out == '{\n  "title": "Krüge"\n}\n'


def test_an_interruption_exits_with_130(home: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("musequest.creation.augmentation.augment", stop)
    assert main(["augment", "--collection", "t"]) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_a_python_without_the_packages_is_told_the_remedy(tmp_path: Path):
    shutil.copytree(root() / "musequest", tmp_path / "musequest")
    command = [sys.executable, "-S", "-m", "musequest"]  # without site-packages
    options = {"cwd": tmp_path, "env": {}, "capture_output": True, "text": True}
    typed = ["collect", "folder", "museum", "--collection", "t"]
    done = subprocess.run([*command, *typed], **options)
    (told,) = done.stderr.splitlines()
    assert done.returncode == 1 and not done.stdout
    assert told.startswith("The package 'pandas' is not installed for ")
    assert "source .venv/bin/activate" in told
    (tmp_path / ".env").write_text("HF_TOKEN=x\n")
    done = subprocess.run([*command, *typed], **options)
    unread, again = done.stderr.splitlines()
    assert unread.endswith(".env is not read, for python-dotenv is not installed.")
    assert again == told


@pytest.mark.parametrize("name", ["musequest.absent", "json.absent", None])
def test_a_module_that_is_absent_by_a_fault_is_not_hidden(name, home: Path, monkeypatch):
    def fail(*arguments, **options):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("musequest.creation.augmentation.augment", fail)
    with pytest.raises(ModuleNotFoundError):
        main(["augment", "--collection", "t"])


@pytest.mark.parametrize(
    "arguments",
    [[], ["collect"], ["augment"], ["fly"], ["augment", "--collection", "t", "--processes", "0"]],
)
def test_a_wrong_command_is_answered_with_its_usage(arguments: list[str], capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2 and "usage: python -m musequest" in capsys.readouterr().err


@pytest.mark.parametrize(
    "typed", ["collect folder m --collection t --langauge de", "clean --profile t --collection t"]
)
def test_a_mistyped_flag_is_answered_with_the_usage_of_its_command(typed: str, capsys):
    with pytest.raises(SystemExit) as left:
        main(typed.split())
    told, command = capsys.readouterr().err, typed.partition(" --")[0].removesuffix(" m")
    assert left.value.code == 2 and f"musequest {command}: error: unrecognized" in told
    assert f"usage: python -m musequest {command} [-h] --" in told


LIBRARIES = {"torch", "transformers", "datasets", "sklearn", "matplotlib", "openai"}
LIBRARIES |= {"albumentations", "peft", "accelerate", "sentence_transformers", "nbclient"}
MISTAKES = (
    "preflight --help",
    "clean --profile tiny",
    "collect folder nowhere --collection t",
    "collect artic --catalogue nowhere.csv --collection t",
    "augment --collection t",
    "synthesize --collection t",
    "dataset --collection t",
    "push --collection t --repository o/n",
    "train --profile pockt",
    "train --profile pocket --approach lorra",
    "train --profile pocket --set learning_rate=-1",
    "train --profile pocket --approach qlora",
    "train --profile pocket --approach full_fsdp",
    "infer --profile pocket --approach lorra",
    "infer --profile pocket --approach rag",
    "ask --profile pocket --photo nowhere.jpg",
    "ask --profile pocket --photo nowhere.jpg --approach lorra",
    "merge --profile pocket",
    "publish --profile pocket --repo o/n",
    "preflight --profile pockt",
    "preflight --profile pocket --gpu A1000",
    "doctor --profile pockt",
    "score a=nowhere.parquet --out scores",
    "report --profile pocket",
    "demo --profile pockt",
    "six --profile pockt",
    "readme --keep-six pockt",
)
# Each mistake in a fork of an interpreter that has imported what many commands need, none of it
# heavy; its words on stderr, its exit code and all that it has imported go into files.
TYPED = """
import json, os, sys
import babel, filelock, httpx, huggingface_hub, imagehash, pandas, pillow_heif, psutil
import pyarrow.parquet, pydantic, safetensors, sentencex, yaml
import musequest.__main__ as m
for number, typed in enumerate(json.load(sys.stdin)):
    if os.fork():
        os.wait()
        continue
    os.dup2(os.open(f"{number}.err", os.O_WRONLY | os.O_CREAT), 2)
    try:
        code = m.main(typed.split())
    except SystemExit as left:
        code = left.code
    with open(f"{number}.json", "w") as file:
        json.dump([code, list(sys.modules)], file)
    sys.stderr.flush()
    os._exit(0)
"""


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mistakes")
    told = {**os.environ, "MUSEQUEST_HOME": str(folder), "PYTHONPATH": str(root())}
    options = {"cwd": folder, "env": told, "stdout": subprocess.DEVNULL, "check": True}
    subprocess.run([sys.executable, "-c", TYPED], input=json.dumps(MISTAKES).encode(), **options)
    return folder


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_is_told_before_a_heavy_library_is_imported(mistaken: Path, typed: str):
    number = MISTAKES.index(typed)
    code, modules = json.loads((mistaken / f"{number}.json").read_text())
    said = (mistaken / f"{number}.err").read_text()
    helped = typed.startswith("clean") or typed.endswith("--help")
    assert code == (0 if helped else 1), said
    assert len(said.splitlines()) == (0 if helped else 1)
    assert not LIBRARIES & set(modules)
