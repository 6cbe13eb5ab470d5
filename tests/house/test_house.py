"""The house itself: what a fresh clone needs to stand, and what the tests stand on."""

import ast
import re
import subprocess
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from PIL import Image

from musequest.core.home import root

ROOT = root()


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pinned() -> dict[str, Version]:
    return {
        normal(wanted.name): Version(str(wanted.specifier).removeprefix("=="))
        for wanted in requirements("constraints.txt")
    }


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements-dev.txt", "requirements-serve.txt"]
)
def test_every_requirement_has_a_tested_version_within_its_bounds(name: str):
    for wanted in requirements(name):
        assert pinned()[normal(wanted.name)] in wanted.specifier, wanted


def test_every_tested_version_takes_the_oldest_python():
    """Debian 12 has Python 3.11.2: what needs a later 3.11 cannot be set up there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = project["requires-python"].removeprefix(">=") + ".0"
    tested = [each for each in distributions() if normal(each.metadata["Name"]) in pinned()]
    assert len(tested) > 100
    for each in tested:
        wanted = SpecifierSet(each.metadata["Requires-Python"] or "")
        assert oldest in wanted, f"{each.metadata['Name']} {each.version} wants Python {wanted}"


def test_constraints_carry_no_local_build():
    assert all(version.local is None for version in pinned().values())


def test_package_takes_its_dependencies_from_requirements():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "dependencies" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["dependencies"]["file"] == ["requirements.txt"]


def test_make_lists_its_targets():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    targets = ("help", "setup", "demo", "six", "test", "lint", "notebooks", "clean")
    assert all(f"make {target} " in shown.stdout for target in targets)


def test_licence_is_the_whole_legal_text():
    text = (ROOT / "LICENSE").read_text()
    assert text.startswith("Creative Commons Legal Code\n\nCC0 1.0 Universal")
    assert text.rstrip().endswith("this CC0 or use of the Work.")


READ_ONCE = re.compile(
    "(all_)?(inner|text)_(content|text)s?|count|get_attribute|inner_html|input_value|title|"
    "is_(checked|disabled|editable|enabled|hidden|visible)"
)


def test_what_a_page_shows_is_waited_for():
    """A page follows a click in its own time: `expect` waits for it, a value read once does not."""
    held = re.compile("(not_)?to_[a-z_]+")
    for file in ROOT.glob("tests/**/test_*.py"):
        if "playwright.sync_api import" not in (text := file.read_text()):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Assert) or is_call(node, held):
                read = [each for each in ast.walk(node) if is_call(each, READ_ONCE)]
                assert not read, f"{file}:{node.lineno} reads a page once"


def is_call(node: ast.AST, name: re.Pattern[str]) -> bool:
    """Whether a node calls a method of such a name."""
    called = node.func if isinstance(node, ast.Call) else None
    return isinstance(called, ast.Attribute) and bool(name.fullmatch(called.attr))


def test_tiny_docent_takes_the_road_of_the_real_one(tiny_docent: Path):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(tiny_docent)
    model = AutoModelForImageTextToText.from_pretrained(tiny_docent)
    assert type(model).__name__ == "Idefics2ForConditionalGeneration"
    assert type(processor).__name__ == "Idefics2Processor"
    content = [{"type": "image"}, {"type": "text", "text": "What is this?"}]
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    assert prompt == "User:<image>What is this?<end_of_utterance>\nAssistant:"
    inputs = processor(text=[prompt], images=[[Image.new("RGB", (144, 96))]], return_tensors="pt")
    with torch.no_grad():
        answer = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert answer.shape[1] > inputs["input_ids"].shape[1]
