"""Files are whole, or as they were before."""

import os
from pathlib import Path

import pytest

from musequest.core.errors import MuseQuestError
from musequest.core.files import (
    clear_temporaries,
    read_json,
    read_remade,
    write_json,
    write_text,
    write_whole,
)
from musequest.core.json_shapes import SHAPES


def test_a_written_file_replaces_the_old_one_and_leaves_nothing_else(tmp_path: Path):
    path = tmp_path / "deep/er/table.json"
    for content in ({"a": 1}, {"b": "é"}):
        write_json(path, content)
        assert read_json(path) == content
    assert [found.name for found in path.parent.iterdir()] == ["table.json"]


def test_an_error_within_leaves_the_old_file_and_no_temporary_one(tmp_path: Path):
    path = tmp_path / "text.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), write_whole(path) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".txt"
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_number_that_json_has_not_is_refused(tmp_path: Path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "n.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


BROKEN = [b"", b"{", b"\xff\xfe\x00", b"[]", b"null", b'"text"', b"[" * 100_000, b"9" * 5000]


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("name", [*SHAPES, "another.json"])
def test_broken_json_is_a_sentence(tmp_path: Path, name: str, content: bytes):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MuseQuestError, match=f"(?s){name} is not a readable JSON file.*again"):
        read_json(path)


@pytest.mark.parametrize(
    ("name", "content", "flaw"),
    [
        ("run.json", {"state": "done"}, "status: field required"),
        ("run.json", {"status": 1}, "status: input should be a valid string"),
        ("audit.json", {"fingerprint": "x"}, "exhibits: field required"),
        ("similarity.json", {"base_model_fingerprint": "x", "distances": {"a": "b"}}, "distances"),
        ("summary.json", {"all": []}, "all: input should be a valid dictionary"),
    ],
)
def test_json_of_another_version_is_a_sentence_that_names_the_key(tmp_path, name, content, flaw):
    write_json(tmp_path / name, content)
    with pytest.raises(MuseQuestError, match=flaw):
        read_json(tmp_path / name)


def test_keys_may_be_added_and_are_kept(tmp_path: Path):
    write_json(tmp_path / "run.json", {"status": "done", "later": [1]})
    assert read_json(tmp_path / "run.json") == {"status": "done", "later": [1]}


def test_what_is_made_anew_is_nothing_where_it_is_broken(tmp_path: Path, caplog):
    assert read_remade(tmp_path / "infer.json") == {}
    (tmp_path / "infer.json").write_text("[]")
    assert read_remade(tmp_path / "infer.json") == {}
    assert "infer.json is not a readable JSON file" in caplog.text


def test_after_a_rename_the_folder_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls, rename, sync = [], os.replace, os.fsync

    def replace(source, target):
        rename(source, target)
        calls.append("rename")

    def fsync(descriptor):
        sync(descriptor)
        calls.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "a.txt", "one")
    assert calls[1:] == ["rename", tmp_path] and calls[0].parent == tmp_path


def test_missing_json_is_a_sentence(tmp_path: Path):
    with pytest.raises(MuseQuestError, match="run.json does not exist"):
        read_json(tmp_path / "run.json")


def test_a_file_that_would_not_change_is_left_as_it_is(tmp_path: Path):
    path = tmp_path / "a.txt"
    write_text(path, "one")
    first = path.stat()
    write_text(path, "one")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (first.st_mtime_ns, first.st_ino)
    write_text(path, "two")
    assert path.read_text() == "two" and [*tmp_path.iterdir()] == [path]


def test_what_a_killed_process_left_is_cleared_and_nothing_else(tmp_path):
    left = [".train-00000-of-00001.0123456789ab.parquet", "deep/.card.fedcba987654.md"]
    kept = [".gitattributes", "train.parquet", ".hidden.parquet", ".x.0123456789abc.md"]
    for name in (*left, *kept):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    clear_temporaries(tmp_path)
    assert not any((tmp_path / name).exists() for name in left)
    assert all((tmp_path / name).exists() for name in kept)
