"""Where the stages write."""

from pathlib import Path

import pytest

from musequest.core import home as places
from musequest.core.errors import MuseQuestError


def test_root_holds_the_profiles():
    assert (places.root() / "profiles/pocket.yaml").is_file()


def test_chosen_home_wins(home: Path):
    assert places.home() == home
    assert places.collection_dir("pocket") == home / "data/pocket"
    assert places.run_dir("pocket", "lora") == home / "runs/pocket/lora"
    assert places.results_dir("pocket") == home / "results/pocket"


def test_a_notebook_writes_beside_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MUSEQUEST_HOME", raising=False)
    stage = tmp_path / "house/1_stage/1.2_step"
    stage.mkdir(parents=True)
    (tmp_path / "house/profiles").mkdir()
    (tmp_path / "house/pyproject.toml").touch()
    monkeypatch.chdir(stage)
    assert places.home() == tmp_path / "house"


def test_elsewhere_home_is_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MUSEQUEST_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert places.home() == tmp_path


def test_what_is_removed_of_a_profile_is_its_own_and_that_of_its_seeds(home: Path):
    for name in ("pocket", "pocket__seed1", "pocket__seed12", "pocket__seedlings", "pocketed"):
        (home / "runs" / name / "lora").mkdir(parents=True)
    removed = places.remove_made("pocket")
    assert {path.name for path in removed} == {"pocket", "pocket__seed1", "pocket__seed12"}
    assert {path.name for path in (home / "runs").iterdir()} == {"pocket__seedlings", "pocketed"}


@pytest.mark.parametrize("name", ["", "..", "../other", "a/b", ".hidden", "two words"])
def test_a_name_cannot_lead_out_of_home(name: str):
    for place in (places.collection_dir, places.results_dir, lambda n: places.run_dir("p", n)):
        with pytest.raises(MuseQuestError, match="cannot name a"):
            place(name)
