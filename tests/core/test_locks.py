"""A collection and a run are held by one process at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from forked import can_mount

from musequest.core.errors import MuseQuestError
from musequest.core.files import HELD, hold
from musequest.creation.augmentation import augment
from musequest.creation.dataset import audit, build_dataset
from musequest.creation.dialogs import synthesize
from musequest.creation.exhibits import collect_folder
from musequest.creation.imported import collect_dataset
from musequest.creation.museums import collect_museum
from musequest.creation.offline_writer import OfflineWriter
from musequest.creation.publishing import push_to_hub

HOLD = """
import subprocess, sys
from pathlib import Path
from musequest.core.errors import MuseQuestError
from musequest.core.files import hold
try:
    with hold(Path(sys.argv[1])):
        if len(sys.argv) > 2:
            subprocess.Popen([sys.executable, "-c", sys.argv[2], sys.argv[1]])
        else:
            print("held", flush=True)
        sys.stdin.read()
except MuseQuestError as error:
    print(error, flush=True)
"""


def holder(folder: Path, *more: str, inherits: bool = False) -> subprocess.Popen:
    """A process that holds `folder` until its input is closed; `more` is what it starts."""
    environment = {name: value for name, value in os.environ.items() if inherits or name != HELD}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), *more], env=environment, **pipes
    )


def refused(folder: Path) -> bool:
    try:
        with hold(folder):
            return False
    except MuseQuestError as error:
        assert f"{folder} is in use by another process" in str(error)
        return True


@pytest.fixture
def folder(home: Path) -> Path:
    return home / "data/t"


def test_a_second_process_says_so_and_a_dead_one_holds_nothing(folder: Path):
    with holder(folder) as other:
        assert other.stdout.readline() == "held\n"
        assert refused(folder) and not refused(folder.with_name("u"))
        other.kill()
        other.wait()
        assert not refused(folder)


def test_every_step_that_writes_to_a_collection_holds_it(folder: Path, museum: Path):
    steps = {
        "collect": lambda: collect_folder(museum, "t", progress=False),
        "collect of a museum": lambda: collect_museum("artic", "t", query="x"),
        "collect of a dataset": lambda: collect_dataset(museum, "t"),
        "augment": lambda: augment("t", progress=False),
        "synthesize": lambda: synthesize("t", OfflineWriter(), progress=False),
        "dataset": lambda: build_dataset("t"),
        "audit": lambda: audit("t"),
        "push": lambda: push_to_hub("t", "o/n", dry_run=True),
    }
    with holder(folder) as other:
        assert other.stdout.readline() == "held\n"
        for step in steps.values():
            with pytest.raises(MuseQuestError, match="data/t is in use by another process"):
                step()
        other.stdin.close()
    assert not folder.exists()
    collect_folder(museum, "t", progress=False)


def test_a_process_may_hold_again_what_it_holds_and_so_may_what_it_starts(folder: Path):
    with hold(folder):
        with hold(folder):
            pass
        with holder(folder, inherits=True) as child:
            assert child.stdout.readline() == "held\n"
            child.stdin.close()
        with holder(folder) as stranger:
            assert "is in use by another process" in stranger.stdout.readline()
    assert HELD not in os.environ or not os.environ[HELD]
    assert not refused(folder)
    assert not folder.parent.exists()  # as before


def test_what_a_killed_holder_started_still_holds(folder: Path):
    """As the ranks of a run, which save their state when the process that started them is gone."""
    with holder(folder, HOLD) as parent:
        assert parent.stdout.readline() == "held\n"  # the child says so
        parent.kill()
        parent.wait()
        assert refused(folder)
        parent.stdin.close()  # at which the child ends
        assert parent.stdout.read() == ""
    assert not refused(folder)


@pytest.mark.skipif(not can_mount(), reason="no disk can be mounted here")
def test_where_nothing_can_be_written_nothing_is_held(tmp_path: Path):
    """What reads alone, as answers that are there already, works on a read-only disk."""
    script = 'mount -t tmpfs -o ro tmpfs "$1" && exec "$2" -c "$3" "$1/data/t"'
    command = ["unshare", "-rm", "sh", "-c", script, "sh", str(tmp_path), sys.executable, HOLD]
    done = subprocess.run(command, input="", capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("held\n", "")
