"""Files are whole, or as they were before."""

from pathlib import Path

import pytest

from musequest.errors import MuseQuestError
from musequest.files import clear_temporaries, read_json, write_json, write_text, write_whole


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


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00"])
def test_broken_json_is_a_sentence(tmp_path: Path, content: bytes):
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(MuseQuestError, match="run.json is not a readable JSON file"):
        read_json(path)


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
