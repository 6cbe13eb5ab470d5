"""What the machine refuses is a sentence, and a bad exhibit is left out unless there are many."""

import logging
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sweeping import MOUNTS, Disk, in_child

from musequest.core.errors import MuseQuestError, leave_out, sentence_of, sentence_of_text
from musequest.core.files import read_json, write_json, write_whole
from musequest.core.keys import read_yaml
from musequest.core.photos import open_photo
from musequest.core.tables import read_table, write_table
from musequest.creation.exhibit_lists import read_list
from musequest.systems.photo_index import read_index

FULL = Path("/dev/full")  # takes nothing; opened only, since a rename would replace it
needs_mount = pytest.mark.skipif(not MOUNTS, reason="no disk can be mounted here")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")


def told(function) -> str:
    """What is said of the error that a function raises."""
    with pytest.raises(Exception) as raised:
        function()
    return sentence_of(raised.value)


def test_a_name_says_what_is_wrong_with_it(tmp_path: Path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").touch()
    for path, wrong in (
        (tmp_path / "absent", "it does not exist"),
        (tmp_path / ("x" * 300), "its name is too long"),
        (tmp_path / "loop", "links lead in a circle"),
        (tmp_path, "a folder where a file is expected"),
        (tmp_path / "file/below", "a file stands where a folder is expected"),
    ):
        sentence = told(path.read_bytes)
        assert sentence.startswith(f"{path} cannot be used: ") and wrong in sentence
        assert sentence.endswith("then run the same command again.")


@pytest.mark.parametrize("take", [lambda: bytearray(2**60), lambda: torch.empty(2**52)])
def test_memory_that_runs_out_is_told(take):
    assert told(take).startswith("Memory ran out; stop other programs")


def test_a_fault_of_the_program_is_no_sentence():
    assert sentence_of(KeyError("a")) is None and sentence_of_text("KeyError", "'a'") is None


def test_of_a_cell_of_a_notebook_only_the_text_is_known(tmp_path: Path):
    for error in (FileNotFoundError(2, "No such file", "a b.png"), MuseQuestError("Too bad.")):
        assert sentence_of_text(type(error).__name__, str(error)) == sentence_of(error)
    assert "disk is full" in sentence_of_text("OSError", "[Errno 28] No space left on device")


@pytest.mark.parametrize("full", [False, pytest.param(True, marks=needs_mount)])
@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(bytes(99_999)),
        lambda path: torch.save(torch.zeros(99_999), path),
        lambda path: save_file({"a": torch.zeros(99_999)}, path),
        lambda path: pq.write_table(pa.table({"a": np.random.rand(99_999)}), path),
        lambda path: Image.new("RGB", (999, 999)).save(path, "BMP"),
    ],
    ids=["bytes", "torch", "safetensors", "parquet", "photo"],
)
def test_the_file_that_was_being_written_is_named(write, full, tmp_path: Path):
    """On a disk that is full, or where files may not become so large, by whatever library."""
    home, said = tmp_path / "home", tmp_path / "said"
    home.mkdir()

    def limited() -> None:
        if full:
            Disk(home, home).fill(9_999)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (9_999, -1))
        try:
            with write_whole(home / "scores.bin") as temporary:
                write(temporary)
        except Exception as error:
            said.write_text(f"{sentence_of(error) or repr(error)} {[*home.iterdir()]}")

    assert in_child(limited) == 0
    found = said.read_text()
    assert found.startswith(f"{home}/scores.bin cannot be used: ") and found.endswith(" []")
    assert "make room, or let MUSEQUEST_HOME name a larger disk" in found
    assert "the disk is full" in found or not full


@contextmanager
def no_more_files() -> Iterator[None]:
    """As if the process had as many files open as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(next_one := os.open(os.devnull, os.O_RDONLY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("infer.json", read_json),
        ("infer.json", read_yaml),
        ("scores.parquet", partial(read_table, "scores")),
        ("scores.parquet", partial(read_list, needed=("model",))),
        ("scores.parquet", partial(read_index, made_for="a dataset")),
        ("photo.png", open_photo),
    ],
)
def test_a_good_file_that_the_machine_refuses_to_open_is_not_called_bad(name, read, tmp_path: Path):
    write_json(tmp_path / "infer.json", {})
    write_table("scores", tmp_path / "scores.parquet", [{"model": "lora", "data_id": "a-00"}])
    Image.new("RGB", (32, 32)).save(tmp_path / "photo.png")
    read(tmp_path / name)
    with no_more_files(), pytest.raises(OSError) as raised:
        read(tmp_path / name)
    assert "too many files are open" in sentence_of(raised.value).lower()


@needs_full
def test_output_that_nobody_takes_is_a_sentence(tmp_path: Path):
    code = (
        "from musequest.core.command_line import exit_code\n"
        "exit(exit_code(lambda: print('x' * 99)))"
    )
    command = ["env", "-u", "PYTHONUNBUFFERED", sys.executable, "-c", code]
    with FULL.open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 1 and ended.stderr.startswith("Not all could be printed (No space")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 1 and said.startswith("Not all could be printed (Broken pipe)")
    assert len(said.splitlines()) == 1


def test_a_single_bad_exhibit_is_reported_and_left_out(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, logger="musequest"):
        leave_out(["row 3: its photo is empty."], 5, "exhibits.csv")
    assert caplog.messages == ["Left out: row 3: its photo is empty."]


@pytest.mark.parametrize(("bad", "total"), [(2, 5), (2, 19), (3, 29), (1, 1), (0, 0)])
def test_too_many_bad_exhibits_stop_the_run(bad: int, total: int):
    with pytest.raises(MuseQuestError, match=f"exhibits.csv: {bad} of {total} exhibits"):
        leave_out(["bad"] * bad, total, "exhibits.csv")


@pytest.mark.parametrize(("bad", "total"), [(0, 3), (1, 2), (2, 20), (3, 30)])
def test_few_bad_exhibits_do_not(bad: int, total: int):
    leave_out(["bad"] * bad, total, "exhibits.csv")
