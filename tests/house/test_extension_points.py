"""What CONTRIBUTING.md says about adding something is run as it stands there."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from tiny_dialogs import write_dataset, write_profile

from musequest import settings
from musequest.creation.museum_records import Entry
from musequest.creation.museums import NotFound
from musequest.evaluation import metrics
from musequest.files import read_json
from musequest.home import root
from musequest.systems import answer

PAGE = (root() / "CONTRIBUTING.md").read_text(encoding="utf-8")


def example(heading: str, language: str) -> str:
    """The code block of a page of CONTRIBUTING.md, without the indentation of its list."""
    page = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    block = re.search(rf"^( *)```{language}\n(.*?)^ *```", page[1], re.MULTILINE | re.DOTALL)
    return re.sub(f"^{block[1]}", "", block[2], flags=re.MULTILINE)


def made(heading: str) -> dict:
    names: dict = {}
    exec(compile(example(heading, "python"), heading, "exec"), names)
    return names


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """The approaches of this repository, and the one of the page beside them."""
    source = root() / "2_model_finetuning"
    for path in source.glob("2.*_*/config.yaml"):
        (tmp_path / path.relative_to(root())).parent.mkdir(parents=True)
        shutil.copy(path, tmp_path / path.relative_to(root()))
    added = tmp_path / "2_model_finetuning/2.7_lora_with_fsdp"
    added.mkdir()
    (added / "config.yaml").write_text(example("An approach", "yaml"))
    monkeypatch.setattr(settings, "root", lambda: tmp_path)


def test_an_approach_is_a_config(repository):
    approach = settings.load_approach("lora_fsdp")
    assert approach.tuning == "lora" and approach.parallel["strategy"] == "fsdp"
    assert "lora_fsdp" in settings.approach_names()


def test_a_museum_finds_one_exhibit_and_pages_through_many():
    class Client:
        def allow(self, address):
            self.allowed = address

    museum = made("A museum")["Lighthouse"](Client())
    found = museum.find(Entry(1, "lamp", link="", record="", title="The Great Lamp"))
    assert found.description.startswith("The Great Lamp burned") and found.photos
    assert [each.title for each in museum.search("lamp")] == ["The Great Lamp"]
    with pytest.raises(NotFound):
        museum.find(Entry(2, "bell", link="", record="", title="The Bell"))


def test_a_metric_is_a_function(monkeypatch):
    monkeypatch.setattr(metrics, "METRICS", dict(metrics.METRICS))
    compute = made("A metric")["answer_words"]
    own = metrics.METRICS["answer_words"]
    assert own.formula == "runs of characters between spaces" and own.best == ""
    batch = type("Batch", (), {"answers": ["It is a lamp.", ""]})
    assert np.array_equal(compute(batch), [4, 0])


def test_a_system_is_a_class(tmp_path, home, tiny_docent):
    write_dataset(home, "tiny")
    profile = write_profile(tmp_path, tiny_docent)
    table = answer(profile, made("A system")["Parrot"](profile))
    assert list(table.answer) == list(table.question) and len(table) == 3
    assert read_json(home / "runs/tiny/parrot/infer.json")["system"] == "parrot"


@pytest.mark.slow
def test_adapters_learn_under_fsdp(tmp_path, home, tiny_docent):
    """In a copy of the repository, as its owner would add the approach."""
    for name in ("musequest", "2_model_finetuning", "profiles"):
        shutil.copytree(root() / name, tmp_path / "copy" / name)
    folder = tmp_path / "copy/2_model_finetuning/2.7_lora_with_fsdp"
    folder.mkdir()
    (folder / "config.yaml").write_text(example("An approach", "yaml"))
    write_dataset(home, "tiny")
    write_profile(tmp_path, tiny_docent)
    for command in ("train", "infer"):
        options = ["--profile", str(tmp_path / "tiny.yaml"), "--approach", "lora_fsdp"]
        subprocess.run(
            [sys.executable, "-m", "musequest", command, *options],
            env=os.environ | {"MUSEQUEST_HOME": str(home), "PYTHONPATH": str(tmp_path / "copy")},
            cwd=tmp_path / "copy", check=True,
        )  # fmt: skip
    run = read_json(home / "runs/tiny/lora_fsdp/run.json")
    assert run["status"] == "done" and run["world_size"] == 2
    assert (home / "runs/tiny/lora_fsdp/predictions.parquet").is_file()


def test_the_rented_task_calls_what_there_is():
    task = yaml.safe_load((root() / "rent/lora.yaml").read_text())
    assert {*task} <= {"name", "resources", "workdir", "envs", "setup", "run", "num_nodes"}
    assert settings.load_profile(task["envs"]["PROFILE"]).name == "idefics2-8b"
    commands = re.findall(r"python -m musequest (\w+) --profile \$PROFILE", task["run"])
    assert commands == ["preflight", "demo"]


def test_the_rented_task_is_what_skypilot_reads():
    sky = pytest.importorskip("sky", reason="SkyPilot is not installed")
    task = sky.Task.from_yaml(str(root() / "rent/lora.yaml"))
    assert {*task.envs} == {"PROFILE", "HF_HOME", "MUSEQUEST_HOME"} and task.resources
