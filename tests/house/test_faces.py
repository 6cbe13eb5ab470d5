"""The public face: what notebooks and programs import, from where, and how quickly."""

import ast
import importlib
import importlib.util
import inspect
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from musequest.__main__ import main
from musequest.core import Moved
from musequest.core.home import root

FACES = (
    "musequest",
    "musequest.creation",
    "musequest.finetuning",
    "musequest.evaluation",
    "musequest.systems",
    "musequest.serving",
)
NOTEBOOKS = sorted(root().glob("[0-9]_*/*/*.ipynb"))


@pytest.mark.parametrize("face", FACES)
def test_every_public_name_is_there_and_hidden_by_no_module(face: str):
    package = importlib.import_module(face)
    assert package.__all__ and set(package.__all__) <= set(dir(package))
    modules = {path.stem for path in Path(package.__file__).parent.iterdir()}
    for name in package.__all__:
        assert name not in modules, f"'from {face} import {name}' would give the module"
        there = getattr(package, name)
        assert callable(there) or inspect.ismodule(there)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing


def imports(notebook: Path) -> set[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    found = {n.module for n in ast.walk(ast.parse(code)) if isinstance(n, ast.ImportFrom)}
    return {name for name in found if name and name.partition(".")[0] == "musequest"}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_imports_from_three_faces_at_most(notebook: Path):
    assert imports(notebook) <= set(FACES) and len(imports(notebook)) <= 3


def test_help_is_there_at_once_and_loads_no_library_of_models():
    code = (
        "import sys, musequest.__main__ as m\n"
        "try:\n    m.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'datasets', 'pandas', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=root(), check=True, capture_output=True)
    command = [sys.executable, "-m", "musequest", "--help"]
    seconds = []
    for _ in range(5):
        before = processor_seconds()
        subprocess.run(command, cwd=root(), check=True, capture_output=True)
        seconds.append(processor_seconds() - before)
    assert min(seconds) < 0.6  # 0.3 on a machine that does nothing else


def processor_seconds() -> float:
    """What the processes that ended took, however long they waited for others."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_an_old_path_says_where_its_names_are_now():
    with pytest.raises(ModuleNotFoundError, match="import its names from 'musequest.creation'"):
        importlib.import_module("musequest.creation.audit")
    with pytest.raises(ModuleNotFoundError, match="No module named 'musequest.nowhere'"):
        importlib.import_module("musequest.nowhere")


@pytest.mark.parametrize(
    ("old", "command"),
    [("notebooks", "demo"), ("readme_figures", "readme"), ("clean", "clean")],
)
def test_a_module_that_was_run_says_which_command_it_is_now(old: str, command: str):
    typed = [sys.executable, "-m", f"musequest.{old}"]
    done = subprocess.run(typed, cwd=root(), capture_output=True, text=True)
    assert done.returncode == 1
    assert f"'musequest.{old}' is no longer a module; the command is 'musequest {command}'" in (
        done.stderr
    )


def test_clean_needs_no_package(tmp_path: Path):
    told = {**os.environ, "MUSEQUEST_HOME": str(tmp_path)}
    (tmp_path / "runs/tiny/lora").mkdir(parents=True)
    typed = [sys.executable, "-S", "-m", "musequest", "clean", "--profile", "tiny"]
    done = subprocess.run(typed, cwd=root(), env=told, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Removed {tmp_path / 'runs/tiny'}.\n"
    assert not (tmp_path / "runs/tiny").exists()


def test_clean_takes_a_file_as_all_commands_do_and_says_where_there_is_nothing(home: Path, capsys):
    (home / "results/tiny").mkdir(parents=True)
    for told in (f"Removed {home / 'results/tiny'}.\n", f"Nothing of 'tiny' lies under {home}.\n"):
        assert main(["clean", "--profile", "somewhere/tiny.yaml"]) == 0
        assert capsys.readouterr().out == told


def test_every_new_home_of_a_moved_module_is_there():
    (moved,) = [finder for finder in sys.meta_path if isinstance(finder, Moved)]
    for old, new in moved.homes.items():
        if " " not in new:
            assert importlib.util.find_spec(new), f"{old} -> {new}"
