"""Every path, link, command and figure that a readme names exists, parses and agrees."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.tables import readme_tables
from benchmarks.tables.blocks import read_csv
from musequest.__main__ import _parser as build_parser
from musequest.core.home import root

READMES = readme_tables.readmes()
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
LABELS = {"lora_ddp": "2.3 LoRA with DDP", "full_fsdp": "2.6 Full with FSDP"}
MADE_BY_A_RUN = ("data/", "runs/", "results/")


def named(path: Path) -> str:
    return str(path.relative_to(root()))


def code(text: str) -> list[str]:
    """Indented lines and inline code, each without what stands around it."""
    indented = re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    return indented + re.findall(r"`([^`\n]+)`", text)


def anchors(text: str) -> set[str]:
    """The anchors that a reader of markdown can jump to."""
    headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("readme", READMES, ids=named)
def test_every_relative_link_leads_somewhere(readme: Path):
    for target in LINK.findall(readme.read_text()):
        if target.startswith(("https://", "http://", "mailto:", "../../actions/")):
            continue  # the last is a badge, which lies beside the repository where it is hosted
        path, _, anchor = target.partition("#")
        there = (readme.parent / path).resolve() if path else readme
        assert there.exists(), f"{named(readme)}: {target}"
        if anchor:
            assert anchor in anchors(there.read_text()), f"{named(readme)}: {target}"


@pytest.mark.parametrize("readme", READMES, ids=named)
def test_every_path_in_code_exists(readme: Path):
    pattern = re.compile(r"^(?:assets|musequest|benchmarks|tests|[123]_\w+)/[\w./-]*$")
    for piece in code(readme.read_text()):
        for word in piece.split():
            if pattern.match(word):
                assert (root() / word).exists(), f"{named(readme)}: {word}"


@pytest.mark.parametrize("readme", READMES, ids=named)
def test_every_make_target_exists(readme: Path):
    for piece in code(readme.read_text()):
        if piece.startswith("make "):
            words = shlex.split(piece, comments=True)[1:]
            asked = subprocess.run(
                ["make", "--dry-run", f"PYTHON={sys.executable}", *words],
                cwd=root(),
                capture_output=True,
                text=True,
            )
            assert asked.returncode == 0, f"{named(readme)}: {piece}: {asked.stderr}"


@pytest.mark.parametrize("readme", READMES, ids=named)
def test_every_command_parses(readme: Path):
    for piece in code(readme.read_text()):
        found = re.match(r"(?:\S*/)?python -m (musequest[\w.]*)(.*)", piece)
        if not found:
            continue
        module, arguments = found[1], shlex.split(found[2], comments=True)
        assert importlib.util.find_spec(module), f"{named(readme)}: {piece}"
        if module == "musequest" and len(arguments) > 1:
            build_parser().parse_args(arguments)
        elif module == "musequest" and arguments:
            assert f" {arguments[0]} " in build_parser().format_help(), piece


@pytest.mark.parametrize("readme", READMES, ids=named)
def test_figures_agree_with_their_records(readme: Path):
    text = readme.read_text()
    assert readme_tables.filled(text) == text, "run `musequest readme`"


def test_every_recorded_figure_is_shown_somewhere():
    text = "".join(readme.read_text() for readme in READMES)
    asked = {name for _, name, _ in readme_tables.MARKED.findall(text)}
    assert asked == set(readme_tables.BLOCKS)


def test_the_map_of_the_approaches_tells_the_published_factors():
    runs = read_csv(root() / readme_tables.RECORDS / "published_runs.csv")
    minutes = pd.to_numeric(runs.groupby("approach").training_minutes.first())
    text = (root() / "2_model_finetuning/model_finetuning_readme.md").read_text()
    for approach, before in (("lora_ddp", "lora"), ("full_fsdp", "full")):
        row = next(line for line in text.splitlines() if line.startswith(f"| [{LABELS[approach]}"))
        assert f" {minutes[before] / minutes[approach]:.1f} times as fast" in row


def test_published_figures_in_prose_stand_in_the_record():
    record = (root() / readme_tables.RECORDS / "published_runs.csv").read_text()
    prose = (root() / "README.md").read_text() + (
        root() / "3_model_evaluation/3.1_finetuned_vs_openai/finetuned_vs_openai_readme.md"
    ).read_text()
    for number in re.findall(r"(?:untuned|GPT-4o|LoRA|full fine-tuning)\s+(0\.\d{3})", prose):
        assert f",{number}," in record, number
