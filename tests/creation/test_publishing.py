"""Publishing: exactly the folder on disk, nothing public unasked, a dry run that only tells."""

from pathlib import Path

import huggingface_hub
import pytest
from hub_server import HubServer

from musequest.__main__ import main
from musequest.core.errors import MuseQuestError
from musequest.core.hub import hub_api
from musequest.creation.augmentation import augment
from musequest.creation.dataset import audit, build_dataset
from musequest.creation.dialogs import synthesize
from musequest.creation.exhibits import collect_folder
from musequest.creation.offline_writer import OfflineWriter
from musequest.creation.publishing import push_to_hub

NAME = "ours/museum"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with an audited dataset of two exhibits."""
    from folder_museum import write_museum

    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("published")
        patch.setenv("MUSEQUEST_HOME", str(home))
        museum = write_museum(home / "museum", [(2, (1, 1, 1))])
        collect_folder(museum, "t", progress=False)
        augment("t", processes=1, progress=False)
        synthesize("t", OfflineWriter(), progress=False)
        build_dataset("t")
        audit("t")
    return home


@pytest.fixture
def hub(made: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MUSEQUEST_HOME", str(made))
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with HubServer() as server:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
        yield server


def on_disk(home: Path) -> dict[str, bytes]:
    folder = home / "data/t/dataset"
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_repository_holds_exactly_the_folder(hub: HubServer, made: Path):
    push_to_hub("t", NAME)
    assert hub.repositories[NAME] == {"private": True, "files": on_disk(made)}
    assert len(on_disk(made)) == 6
    hub.repositories[NAME]["files"] |= {"data/old.parquet": b"old", ".gitattributes": b"kept"}
    plan = push_to_hub("t", NAME)
    assert plan.exists and plan.removed == ["data/old.parquet"]
    assert hub.repositories[NAME]["files"] == on_disk(made) | {".gitattributes": b"kept"}


def test_a_dry_run_tells_and_changes_nothing(hub: HubServer, made: Path, capsys):
    arguments = ["push", "--collection", "t", "--repository", NAME, "--dry-run"]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert f"would create the private dataset repository {NAME}" in told
    assert all(f"upload {name}, " in told for name in on_disk(made))
    assert "licences of the photos: not stated" in told
    assert main([*arguments, "--public"]) == 0 and "the public" in capsys.readouterr().out
    assert not hub.writes and not hub.repositories


def test_a_dry_run_needs_no_network(made: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MUSEQUEST_HOME", str(made))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    for offline, name in ((True, NAME), (False, NAME), (False, "museum")):
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
        plan = push_to_hub("t", name, dry_run=True)
        assert plan.exists is None and "the Hub is out of reach" in str(plan)
        with pytest.raises(MuseQuestError, match="was not uploaded"):
            push_to_hub("t", name)


def test_a_name_alone_is_of_the_owner_of_the_token(hub: HubServer):
    assert push_to_hub("t", "museum", dry_run=True).repository == "ours/museum"


def test_a_public_repository_is_created_after_a_yes_only(hub: HubServer, capsys):
    asked = []

    def answer(question: str) -> bool:
        asked.append(question)
        return len(asked) > 1

    with pytest.raises(MuseQuestError, match="Nothing was uploaded: ours/museum would have become"):
        push_to_hub("t", NAME, private=False)
    with pytest.raises(MuseQuestError, match="Nothing was uploaded"):
        push_to_hub("t", NAME, private=False, confirm=answer)
    assert main(["push", "--collection", "t", "--repository", NAME, "--public"]) == 1
    assert not hub.writes and "Create the public repository ours/museum?" in asked[0]
    push_to_hub("t", NAME, private=False, confirm=answer)
    assert hub.repositories[NAME]["private"] is False and len(asked) == 2
    push_to_hub("t", NAME, private=False)  # it is public already


@pytest.mark.parametrize(
    ("status", "sentence"), [(403, "set HF_TOKEN to a token"), (500, "run the same command again")]
)
def test_a_hub_that_refuses_is_one_sentence(hub: HubServer, status: int, sentence: str):
    hub.status = status
    with pytest.raises(MuseQuestError, match=sentence):
        push_to_hub("t", NAME)


def test_what_cannot_be_published_is_one_sentence(hub: HubServer, made: Path, tmp_path: Path):
    with pytest.raises(MuseQuestError, match="names no repository"):
        push_to_hub("t", "no such name")
    with pytest.raises(MuseQuestError, match=r"does not exist; run `python -m musequest dataset"):
        push_to_hub("other", NAME)
    report = made / "data/t/audit.json"
    kept = report.rename(tmp_path / "audit.json")
    with pytest.raises(MuseQuestError, match="was not audited as it is"):
        push_to_hub("t", NAME)
    kept.rename(report)


def test_what_is_no_file_of_a_dataset_stays_here(
    hub: HubServer, made: Path, tmp_path: Path, capsys
):
    folder, before = made / "data/t/dataset", on_disk(made)
    (folder / "checkpoint").mkdir()
    strays = [".env", "data/.env", "data/notes.parquet", "checkpoint/optimizer.pt", "README.md~"]
    for name in strays:
        (folder / name).write_text("a secret")
    (folder / "link.csv").symlink_to(folder / ".env")
    (folder / "all").symlink_to(made)
    try:
        plan = push_to_hub("t", NAME)
        told = capsys.readouterr().out
        assert hub.repositories[NAME]["files"] == before and set(plan.files) == set(before)
        assert set(plan.left) == {*strays, "link.csv", "all"}
        assert "  leave .env here, which is no file of a dataset" in told
    finally:
        for name in (*strays, "link.csv", "all"):
            (folder / name).unlink()
        (folder / "checkpoint").rmdir()


@pytest.mark.parametrize("name", ["credits.csv", "data/test-00000-of-00001.parquet", "data"])
def test_a_link_in_place_of_a_file_is_refused(hub: HubServer, made: Path, tmp_path, name: str):
    own = made / "data/t/dataset" / name
    kept = own.rename(tmp_path / "kept")
    own.symlink_to(kept)
    try:
        with pytest.raises(MuseQuestError, match=f"{name} is a link; put what it leads to"):
            push_to_hub("t", NAME)
        assert not hub.writes
    finally:
        own.unlink()
        kept.rename(own)


def test_what_will_happen_is_shown_first_for_what_exists_too(hub: HubServer, capsys):
    push_to_hub("t", NAME)
    assert f"will create the private dataset repository {NAME}" in capsys.readouterr().out
    hub.repositories[NAME]["files"]["old.csv"] = b"old"
    hub.repositories[NAME]["private"] = False
    hub.shown = lambda: shown.append(capsys.readouterr().out)
    shown: list[str] = []
    push_to_hub("t", NAME)
    assert f"will replace what is in the public dataset repository {NAME}" in shown[0]
    assert "  remove old.csv" in shown[0] and "  upload README.md" in shown[0]


def test_a_token_does_not_go_to_a_hub_for_all_to_read(made: Path, monkeypatch):
    monkeypatch.setenv("MUSEQUEST_HOME", str(made))
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://93.184.215.14")
    with pytest.raises(MuseQuestError, match="HF_TOKEN would travel to http://93.184.215.14"):
        push_to_hub("t", NAME)


def test_a_pasted_token_may_end_a_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abc\n")
    assert hub_api().token == "hf_abc"
    monkeypatch.setenv("HF_TOKEN", " ")
    assert hub_api().token is None
