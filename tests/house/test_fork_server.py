"""Forks that stand for interpreters take arguments, input, variables and signals as those do."""

import os
import signal
import subprocess
from pathlib import Path

import pytest


def test_arguments_input_variables_and_exit_status_pass(forks, tmp_path: Path):
    told = "import os, sys; print(sys.argv[1:], sys.stdin.read(), os.environ['X']); sys.exit('no')"
    (tmp_path / "told.py").write_text(told)
    command = [forks.python, "-u", str(tmp_path / "told.py"), "a b", "c"]
    done = subprocess.run(command, input="in", env={"X": "y"}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "['a b', 'c'] in y\n", "no\n")


def test_code_is_run_and_variables_say_where_files_lie(forks, tmp_path: Path):
    code = (
        "import sys, tempfile; from huggingface_hub import constants\n"
        "print(sys.argv, tempfile.gettempdir(), constants.HF_HUB_CACHE)"
    )
    where = {"TMPDIR": str(tmp_path), "HF_HOME": str(tmp_path / "hub")}
    done = subprocess.run(
        [forks.python, "-c", code, "a"], env=where, capture_output=True, text=True
    )
    assert done.stdout == f"['-c', 'a'] {tmp_path} {tmp_path}/hub/hub\n", done.stderr


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 7), (signal.SIGINT, 1), (signal.SIGKILL, -9)]
)
def test_signals_reach_the_fork(forks, tmp_path: Path, number: int, status: int):
    code = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
    (tmp_path / "wait.py").write_text(code + "print(flush=True)\nsignal.pause()\nsignal.pause()")
    process = subprocess.Popen([forks.python, str(tmp_path / "wait.py")], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"\n"
    process.send_signal(number)
    process.communicate()  # which ends only when the fork, too, has closed its output
    assert process.returncode == status


def test_a_module_is_run_and_a_killed_fork_is_told(forks, tmp_path: Path):
    command = [forks.python, "-m", "musequest", "preflight", "--profile", "absent"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "absent" in done.stderr.splitlines()[-1]
    (tmp_path / "dies.py").write_text("import os; os.kill(os.getpid(), 9)")
    assert subprocess.run([forks.python, str(tmp_path / "dies.py")]).returncode == -9


def test_open_files_keep_their_numbers(forks):
    """As `multiprocessing` needs it for what it spawns."""
    heard, said = os.pipe()
    code = "import os, sys; os.write(int(sys.argv[1]), b'whole')"
    command = [forks.python, "-B", "-c", code, str(said)]
    assert subprocess.run(command, pass_fds=[said]).returncode == 0
    os.close(said)
    with os.fdopen(heard, "rb") as told:
        assert told.read() == b"whole"
