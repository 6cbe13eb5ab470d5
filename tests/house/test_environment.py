"""Keys from `.env` reach whoever asks the environment, and never override it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from musequest.core.home import ALLOCATOR, WAITING, read_env, root


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch):
    """Whatever a test puts into the environment is taken out again."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


def test_values_are_read_and_what_is_set_already_stays(tmp_path: Path):
    os.environ["OPENAI_BASE_URL"] = "http://set.example/v1"
    os.environ.pop("HF_TOKEN", None)
    os.environ["SMITHSONIAN_API_KEY"] = ""
    (tmp_path / ".env").write_text(
        "# a comment\nSMITHSONIAN_API_KEY=abc$1\nOPENAI_BASE_URL=http://file.example/v1\nHF_TOKEN=\n"
    )
    read_env(tmp_path / ".env")
    assert os.environ["SMITHSONIAN_API_KEY"] == "abc$1"
    assert os.environ["OPENAI_BASE_URL"] == "http://set.example/v1" and "HF_TOKEN" not in os.environ


def test_no_file_is_no_matter(tmp_path: Path):
    before = dict(os.environ)
    read_env(tmp_path / ".env")
    assert before == dict(os.environ)


def test_importing_the_package_reads_the_file_beside_it(tmp_path: Path):
    (tmp_path / "musequest/core").mkdir(parents=True)
    names = "home.py", "errors.py"
    for name in ("__init__.py", *(f"core/{name}" for name in ("__init__.py", *names))):
        shutil.copy(root() / "musequest" / name, tmp_path / "musequest" / name)
    (tmp_path / ".env").write_text("MUSEQUEST_TOLD=yes\n")
    code = "import musequest, os; print(os.environ['MUSEQUEST_TOLD'])"
    run = [sys.executable, "-c", code]
    shown = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "yes"


def waiting(**changes: str) -> dict[str, str | None]:
    """How threads wait in a process that imports the package, then torch."""
    names = (*WAITING, "KMP_BLOCKTIME", "OMP_NUM_THREADS")
    told = {name: value for name, value in os.environ.items() if name not in names} | changes
    code = (
        "import json, os, sys, musequest; assert 'torch' not in sys.modules; "
        f"print(json.dumps({{name: os.environ.get(name) for name in {names!r}}}))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=told, cwd=root(), capture_output=True, text=True, check=True)
    return {name: value for name, value in json.loads(done.stdout).items() if value is not None}


def test_waiting_threads_make_room_unless_the_user_says_otherwise():
    assert waiting() == WAITING
    for chosen in (
        {"OMP_WAIT_POLICY": "ACTIVE"},
        {"GOMP_SPINCOUNT": "infinity"},
        {"KMP_BLOCKTIME": "200"},
    ):
        assert waiting(**chosen) == chosen
    assert waiting(OMP_NUM_THREADS="1") == {"OMP_NUM_THREADS": "1", **WAITING}


def test_a_gpus_memory_grows_in_segments_unless_the_user_says_otherwise():
    code = f"import os, musequest; print([os.environ.get(name) for name in {ALLOCATOR!r}])"
    grows, own = "expandable_segments:True", "max_split_size_mb:64"
    for chosen, expected in (
        ({}, [grows, None]),
        ({ALLOCATOR[0]: own}, [own, None]),
        ({ALLOCATOR[1]: own}, [None, own]),
    ):
        told = {name: value for name, value in os.environ.items() if name not in ALLOCATOR}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=told | chosen,
            cwd=root(),
            capture_output=True,
            text=True,
        )
        assert done.stdout.strip() == str(expected)


@pytest.mark.parametrize("module", ["musequest.book.notebooks", "musequest.finetuning.distributed"])
def test_what_starts_processes_hands_on_how_threads_wait(module: str):
    """Kernels and ranks inherit it; so nothing loads torch before the package has said it."""
    code = f"import os, {module}; print(os.environ['OMP_WAIT_POLICY'])"
    told = {name: value for name, value in os.environ.items() if name not in WAITING}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=told, cwd=root(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == WAITING["OMP_WAIT_POLICY"]


def test_what_is_no_text_is_told_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / ".env").write_bytes(b"HF_TOKEN=\xff\xfe\n")
    before = dict(os.environ)
    read_env(tmp_path / ".env")
    assert before == dict(os.environ) and ".env is not read" in caplog.text


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the Makefile and the package, and an environment that sets nothing of it."""
    for name in ("MUSEQUEST_HOME", "PYTHONPATH", "OPENAI_API_KEY", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "a clone"
    (folder / "profiles").mkdir(parents=True)
    shutil.copy(root() / "Makefile", folder)
    shutil.copy(root() / "pyproject.toml", folder)
    shutil.copytree(root() / "musequest", folder / "musequest", ignore=_caches)
    return folder


_caches = shutil.ignore_patterns("__pycache__")


def make(folder: Path, *words: str) -> subprocess.CompletedProcess:
    typed = ["make", f"PYTHON={sys.executable}", *words]
    own = dict(os.environ)  # which is not that of the process: see `restored`
    return subprocess.run(typed, cwd=folder, env=own, capture_output=True, text=True)


HOSTILE = """\
HF_TOKEN=$(shell touch $(CURDIR)/pwned)
OPENAI_API_KEY=sk-ab$cd`touch pwned`
HF_HUB_OFFLINE=$(shell touch pwned; echo 0)
X:=$(shell touch pwned)
help: ; touch pwned
"""


def test_make_takes_no_line_of_the_file_for_a_command(clone: Path):
    (clone / ".env").write_text(HOSTILE)
    assert "make demo" in make(clone, "help").stdout
    for target in ("demo", "six", "test", "notebooks", "clean"):
        make(clone, "--dry-run", target, "VENV=.")
    assert not (clone / "pwned").exists()
    code = "import musequest, os; print(os.environ['OPENAI_API_KEY'], os.environ['HF_TOKEN'])"
    run = [sys.executable, "-c", code]
    shown = subprocess.run(
        run, cwd=clone, env=dict(os.environ), stdout=subprocess.PIPE, text=True, check=True
    )
    assert shown.stdout.strip() == "sk-ab$cd`touch pwned` $(shell touch $(CURDIR)/pwned)"


@pytest.mark.parametrize(("line", "told"), [("", "1"), ("HF_HUB_OFFLINE=0\n", "0")])
def test_make_keeps_off_the_network_unless_the_file_says_otherwise(clone, line: str, told: str):
    (clone / ".env").write_text(line)
    (clone / "bin").mkdir()
    code = "import musequest, os; print('told', os.environ['HF_HUB_OFFLINE'])"
    (clone / "bin/python").write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}"\n')
    (clone / "bin/python").chmod(0o755)
    for name in (
        "requirements.txt",
        "requirements-encoder.txt",
        "requirements-dev.txt",
        "requirements-notebooks.txt",
        "requirements-serve.txt",
        "constraints.txt",
        ".ready",
    ):
        (clone / name).touch()
    assert f"told {told}" in make(clone, "demo", "VENV=.").stdout


def test_make_clean_removes_where_the_file_says_and_nothing_else(clone: Path, tmp_path: Path):
    there = tmp_path / "a large disk"
    (clone / ".env").write_text(f"MUSEQUEST_HOME={there}\n")
    for folder in (clone, there):
        for name in ("data/pocket", "runs/pocket", "results/pocket", "data/other"):
            (folder / name).mkdir(parents=True)
    kept = tmp_path / "kept"
    kept.mkdir()
    (there / "runs/pocket").rmdir()
    (there / "runs/pocket").symlink_to(kept)
    for profile in ("..", ".", "", "../data", "a b", "$(touch pwned)"):
        assert make(clone, "clean", f"PROFILE={profile}").returncode != 0
    assert make(clone, "clean").returncode == 0
    assert sorted(path.name for path in there.rglob("*")) == ["data", "other", "results", "runs"]
    assert (clone / "data/pocket").is_dir() and kept.is_dir()
    assert make(clone, "clean").returncode == 0
