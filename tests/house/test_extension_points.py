"""What CONTRIBUTING.md says about adding something is run as it stands there."""

import re

import numpy as np
import pytest
import yaml
from tiny_dialogs import write_dataset, write_profile

from musequest.core import settings
from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json
from musequest.core.home import root
from musequest.creation.museums import NotFound
from musequest.creation.museums.records import Entry
from musequest.evaluation import metrics
from musequest.finetuning import train
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


def test_an_approach_is_a_config(tmp_path, home, tiny_docent, monkeypatch):
    folder = tmp_path / "2_model_finetuning/2.7_dora_finetuning"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(example("An approach", "yaml"))
    monkeypatch.setattr(settings, "root", lambda: tmp_path)
    write_dataset(home, "tiny")
    run = train(write_profile(tmp_path, tiny_docent), "dora", {"max_steps": "2"}, progress=False)
    assert run["status"] == "done" and run["lora"]["use_dora"]


@pytest.mark.parametrize("strategy", ["fsdp", "1f1b", "sequential"])
def test_adapters_under_a_strategy_that_parts_the_model_are_refused(
    tmp_path, monkeypatch, strategy
):
    folder = tmp_path / "2_model_finetuning/2.7_dora_finetuning"
    folder.mkdir(parents=True)
    parallel = f"parallel:\n  strategy: {strategy}\n"
    (folder / "config.yaml").write_text(example("An approach", "yaml") + parallel)
    monkeypatch.setattr(settings, "root", lambda: tmp_path)
    with pytest.raises(MuseQuestError, match=f"adapters do not train under '{strategy}'"):
        settings.load_approach("dora")


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


def test_the_rented_task_calls_what_there_is():
    task = yaml.safe_load((root() / "rent/lora.yaml").read_text())
    assert {*task} <= {"name", "resources", "workdir", "envs", "setup", "run", "num_nodes"}
    assert settings.load_profile(task["envs"]["PROFILE"]).name == "idefics2-8b"
    commands = re.findall(r"python -m musequest (\w+) --profile \$PROFILE", task["run"])
    assert commands == ["preflight", "demo"]


def test_a_museum_goes_along_to_a_rented_machine_and_keys_stay():
    here, git = (
        {line for line in (root() / name).read_text().splitlines() if line and line[0] != "#"}
        for name in (".skyignore", ".gitignore")
    )
    assert git - here == {"/data/"} and here < git and ".env" in here


def test_the_rented_task_is_what_skypilot_reads():
    sky = pytest.importorskip("sky", reason="SkyPilot is not installed")
    task = sky.Task.from_yaml(str(root() / "rent/lora.yaml"))
    assert {*task.envs} == {"PROFILE"} and task.resources
