"""Keys from `.env` reach whoever asks the environment, and never override it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from musequest.environment import read_env
from musequest.home import root


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
    (tmp_path / "musequest").mkdir()
    for name in ("__init__.py", "environment.py", "home.py", "errors.py", "credentials.py"):
        shutil.copy(root() / "musequest" / name, tmp_path / "musequest" / name)
    (tmp_path / ".env").write_text("MUSEQUEST_TOLD=yes\n")
    code = "import musequest, os; print(os.environ['MUSEQUEST_TOLD'])"
    run = [sys.executable, "-c", code]
    shown = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "yes"
