"""Every exhibit gets 15 photos; copies depend on seed, exhibit and slot alone."""

import itertools
import json
import multiprocessing.spawn
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from forked import in_child
from PIL import Image

from musequest.core.errors import MuseQuestError
from musequest.core.tables import read_table, write_table
from musequest.creation import augmentation
from musequest.creation.augmentation import augment, pipeline
from musequest.creation.exhibits import collect_folder
from musequest.creation.split import assign


@pytest.fixture
def collected(museum: Path, home: Path) -> Path:
    collect_folder(museum, "t", progress=False)
    return home / "data/t"


@pytest.fixture
def collection(dialogs_home: Path, home: Path) -> Path:
    """The same collection, whose copies are made."""
    return shutil.copytree(dialogs_home / "data/t", home / "data/t")


def run(**options) -> pd.DataFrame:
    return augment("t", progress=False, **options)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted((folder / "augmented").rglob("*.jpg"))
    }


def test_every_exhibit_has_fifteen_photos_by_the_split_rule(collection: Path):
    table = run()
    for name, own in table.groupby("item_name"):
        slots = assign(int((~own["augmented"]).sum()))
        assert list(own["slot"]) == list(range(15))
        assert list(own["source_photo"]) == [f"{name}-{slot.parent:02d}.jpg" for slot in slots]
        assert list(own["augmented"]) == [slot.augmented for slot in slots]
    for path in table["path"]:
        with Image.open(collection / path) as image:
            assert (image.mode, image.size) == ("RGB", (240, 180))


def test_a_copy_tells_what_was_done_and_differs_from_its_parent(collection: Path):
    table = run().set_index("image_name")
    for name, row in table[table["augmented"]].iterrows():
        steps = json.loads(row["transform"])["steps"]
        turns = [step["degrees"] for step in steps if "degrees" in step]
        assert len(turns) == 1 and -30 <= turns[0] <= 30, name
        parent = table.loc[row["source_photo"], "path"]
        assert (collection / row["path"]).read_bytes() != (collection / parent).read_bytes()
    assert (table.loc[~table["augmented"], "transform"] == "").all()


@pytest.fixture
def spawned_as_forks(forks) -> Iterator[None]:
    """Processes that are spawned need not import anew what takes seconds."""
    python = multiprocessing.spawn.get_executable()
    multiprocessing.set_executable(forks.python)
    yield
    multiprocessing.set_executable(python)


def test_number_of_processes_changes_nothing(collection: Path, spawned_as_forks):
    alone = files(collection), (collection / "photos.parquet").read_bytes()  # made by one
    shutil.rmtree(collection / "augmented")
    (collection / "photos.parquet").unlink()
    run(processes=2)
    assert (files(collection), (collection / "photos.parquet").read_bytes()) == alone


def test_another_seed_gives_other_copies(collection: Path):
    first = files(collection)
    run(seed=1)
    second = files(collection)
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] for name in first)


def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the copies that are made from now on."""
    names: list[str] = []
    original = augmentation.make_copy

    def make_copy(copy: augmentation.Copy) -> str:
        names.append("/".join(copy.target.parts[-2:]))
        return original(copy)

    monkeypatch.setattr(augmentation, "make_copy", make_copy)
    return names


def test_a_second_run_makes_only_what_is_missing(collection: Path, monkeypatch: pytest.MonkeyPatch):
    table = run()
    before = files(collection)
    names = made(monkeypatch)
    pd.testing.assert_frame_equal(run(), table)
    assert names == []
    (collection / "augmented/the-sela-bowl/07.jpg").unlink()
    run()
    assert names == ["the-sela-bowl/07.jpg"]
    assert files(collection) == before


def test_copies_of_a_changed_photo_are_made_again(
    museum: Path, collection: Path, monkeypatch: pytest.MonkeyPatch
):
    photo = museum / "photos/harbour-bell-of-ost/02.png"
    with Image.open(photo) as image:
        image.rotate(180).save(photo)
    collect_folder(museum, "t", progress=False)
    names = made(monkeypatch)
    run()
    assert names == [f"harbour-bell-of-ost/{slot:02d}.jpg" for slot in range(3, 15)]


def test_after_an_interruption_finished_copies_are_kept(
    collected: Path, monkeypatch: pytest.MonkeyPatch
):
    original = augmentation.make_copy
    count = 0

    def make_copy(copy: augmentation.Copy) -> str:
        nonlocal count
        count += 1
        if count == 21:
            raise KeyboardInterrupt
        return original(copy)

    with monkeypatch.context() as patch:
        patch.setattr(augmentation, "make_copy", make_copy)
        with pytest.raises(KeyboardInterrupt):
            run()
    names = made(monkeypatch)
    table = run()
    assert len(names) == table["augmented"].sum() - 20


def killed_after(copies: int, seed: int = 0) -> None:
    """Make copies in a process that is killed once so many are noted."""
    original, numbers = augmentation.make_copy, itertools.count()

    def make_copy(copy: augmentation.Copy) -> str:
        if next(numbers) == copies:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(copy)

    def dying() -> None:
        augmentation.make_copy = make_copy
        run(seed=seed, processes=1)

    assert in_child(dying) == -signal.SIGKILL


def test_after_a_kill_only_the_rest_is_made(collected: Path, monkeypatch: pytest.MonkeyPatch):
    killed_after(20)
    lines = (collected / augmentation.PROGRESS).read_bytes().splitlines()
    names = made(monkeypatch)
    table = run()
    assert len(lines) == 20 and len(names) == table["augmented"].sum() - len(lines)
    assert not (collected / augmentation.PROGRESS).exists()


def test_of_a_line_cut_short_by_a_kill_nothing_later_is_lost(
    collected: Path, monkeypatch: pytest.MonkeyPatch
):
    killed_after(20)
    noted = collected / augmentation.PROGRESS
    os.truncate(noted, noted.stat().st_size - 5)
    killed_after(10)
    names = made(monkeypatch)
    table = run()
    assert len(names) == table["augmented"].sum() - 19 - 10


def test_another_seed_killed_half_way_leaves_no_copy_behind(collection: Path):
    first = files(collection), (collection / "photos.parquet").read_bytes()
    killed_after(20, seed=1)
    assert files(collection) != first[0]
    run(seed=0)
    assert (files(collection), (collection / "photos.parquet").read_bytes()) == first


@pytest.mark.parametrize("size", [0, 2000])
def test_an_emptied_or_cut_copy_is_made_again(collection: Path, size: int):
    before = files(collection)
    os.truncate(collection / "augmented/the-sela-bowl/07.jpg", size)
    run()
    assert files(collection) == before


@pytest.mark.parametrize("damage", [lambda path: os.truncate(path, 2000), Path.unlink])
def test_a_damaged_original_is_a_sentence_that_names_the_exhibit(collection: Path, damage):
    damage(collection / "originals/the-sela-bowl/01.jpg")
    with pytest.raises(MuseQuestError, match="01.jpg.*of 'the-sela-bowl' and run collect again"):
        run()


def test_a_collection_of_an_older_version_goes_on(collection: Path):
    """One that tells no digests: its copies are made again, and come out the same."""
    before = files(collection)
    exhibits = read_table("exhibits", collection / "exhibits.parquet")
    write_table("exhibits", collection / "exhibits.parquet", exhibits.drop(columns="photo_digests"))
    photos = read_table("photos", collection / "photos.parquet")
    photos["transform"] = photos["transform"].str.replace(r'"sha256": "\w+", ', "", regex=True)
    write_table("photos", collection / "photos.parquet", photos)
    table = run()
    assert table["transform"][1:].str.contains('"sha256"').sum() == table["augmented"].sum()
    assert files(collection) == before
    os.truncate(collection / "originals/the-sela-bowl/01.jpg", 2000)
    with pytest.raises(MuseQuestError, match="the-sela-bowl/01.jpg is truncated or damaged"):
        run()


@pytest.mark.parametrize("seed", range(12))
def test_no_corner_turns_black(seed: int):
    result = pipeline(seed)(image=np.full((90, 120, 3), 200, np.uint8))["image"]
    assert result.shape == (90, 120, 3)
    assert result.min() > 90 and np.ptp(result) == 0
