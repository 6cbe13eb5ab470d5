"""What a profile chooses: a museum, a writer; and what is said where a key or the network lacks."""

import dataclasses
from pathlib import Path

import pytest
from hosted import run, write_exhibits
from museum_server import artwork, running
from openai_server import OpenAIServer

from musequest.core.errors import MuseQuestError
from musequest.core.home import root
from musequest.core.settings import load_profile
from musequest.creation.hosted import BatchWriter, HostedWriter
from musequest.creation.offline_writer import OfflineWriter
from musequest.creation.stage import check_reach, collect, cost_of, sample, within_reach, writer_of
from musequest.systems import outsiders_folder

POCKET = load_profile("pocket")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "SMITHSONIAN_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_a_folder_is_collected(museum: Path, home: Path):
    profile = dataclasses.replace(POCKET, museum=str(museum), collection="t")
    assert len(collect(profile)) == 5 and (home / "data/t/originals").is_dir()


def test_a_large_model_is_tuned_on_a_museum_of_ones_own(museum: Path, home: Path, tmp_path: Path):
    """As README.md has it: a copy of the profile idefics2-8b with four keys set."""
    text = (root() / "profiles" / "idefics2-8b.yaml").read_text()
    for line, own in (
        ("museum: smithsonian", f"museum: {museum}"),
        ("collection: smithsonian", "collection: mine-8b"),
        ("writer: hosted", "writer: offline"),
    ):
        assert text.count(f"\n{line}\n") == 1
        text = text.replace(f"\n{line}\n", f"\n{own}\n")
    (tmp_path / "outsiders").mkdir()
    (tmp_path / "outsiders" / "outsiders.csv").write_text("photo,question,description\n")
    path = tmp_path / "mine-8b.yaml"
    path.write_text(f"{text}outsiders: {tmp_path / 'outsiders'}\n")
    profile = load_profile(path)
    assert (profile.name, profile.base_model) == ("mine-8b", "HuggingFaceM4/idefics2-8b")
    assert len(collect(profile)) == 5 and (home / "data/mine-8b/originals").is_dir()
    assert isinstance(writer_of(profile), OfflineWriter)
    assert outsiders_folder(profile) == tmp_path / "outsiders"
    within_reach(profile, writer=True, dialogs=True)
    assert not (home / "data" / "pocket").exists()


def test_a_museum_on_the_internet_is_asked_as_the_profile_says(home, monkeypatch):
    asked = []

    def collect_museum(name, collection, **options):
        asked.append((name, collection, options))
        write_exhibits(home)

    monkeypatch.setattr("musequest.creation.stage.collect_museum", collect_museum)
    profile = dataclasses.replace(POCKET, museum="artic", collection="t", query="bowl", limit=7)
    assert len(collect(profile)) == 5
    assert asked == [
        ("artic", "t", {"catalogue": None, "query": "bowl", "limit": 7, "language": "en"})
    ]


@pytest.mark.parametrize("museum", ["smithsonian", "artic"])
def test_without_network_a_sample_is_one_sentence(home: Path, monkeypatch, capsys, museum: str):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert sample(museum, "bowl", 3) == []
    told = capsys.readouterr().out
    assert told.count("\n") == 1 and "HF_HUB_OFFLINE keeps this run off the network" in told


def test_without_a_key_a_sample_is_one_sentence(home: Path, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert sample("smithsonian", "bowl", 3) == []
    assert "SMITHSONIAN_API_KEY is not set" in capsys.readouterr().out


def test_with_a_network_a_sample_is_a_collection(home: Path, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with running() as server:
        server.artworks = [artwork(1)]
        server.add_photo("img-1", 1)
        monkeypatch.setattr("musequest.creation.museums.artic.ArtInstitute.BASE_URL", server.artic)
        found = sample("artic", "landscape", 1)
    assert len(found) == 1 and (home / "data/artic_sample/exhibits.parquet").is_file()
    assert capsys.readouterr().out == ""


def test_the_writer_is_the_profile_s(home: Path, monkeypatch: pytest.MonkeyPatch):
    assert isinstance(writer_of(POCKET), OfflineWriter)
    hosted = dataclasses.replace(POCKET, writer="hosted", writer_model="gpt-4o", max_cost_usd=2.5)
    with pytest.raises(MuseQuestError, match="needs a key; set OPENAI_API_KEY"):
        writer_of(hosted)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    writer = writer_of(hosted)
    assert type(writer) is HostedWriter and writer.name == "gpt-4o"
    assert writer.server.max_cost_usd == 2.5
    assert type(writer_of(dataclasses.replace(hosted, writer="batch"))) is BatchWriter
    with pytest.raises(MuseQuestError, match="has the writer 'robot'; write offline, hosted or ba"):
        writer_of(dataclasses.replace(POCKET, writer="robot"))


def test_the_cost_is_told_before_anything_is_asked(home: Path, capsys):
    write_exhibits(home)
    profile = dataclasses.replace(POCKET, collection="t")
    cost = cost_of(profile)
    assert cost["calls still to be made"] == 15 and cost["completion tokens"] == 15 * 1500
    assert cost["USD, about"] == pytest.approx(2 * cost["USD in a batch, about"], abs=1e-4)
    assert "OPENAI_API_KEY in .env" in capsys.readouterr().out
    assert not (home / "data/t/ledger.jsonl").exists()
    with OpenAIServer() as server:
        run(server.url)
    assert cost_of(dataclasses.replace(profile, writer="hosted"))["calls still to be made"] == 0
    assert capsys.readouterr().out == ""


def far_away():
    return dataclasses.replace(
        POCKET, name="far", museum="smithsonian", collection="far", writer="hosted"
    )


@pytest.fixture
def pocket_in_small(monkeypatch: pytest.MonkeyPatch, museum: Path):
    """The pocket museum's place taken by five exhibits."""
    small = dataclasses.replace(POCKET, museum=str(museum))
    monkeypatch.setattr("musequest.creation.stage.load_profile", lambda name: small)
    return small


def test_what_is_in_reach_stays_chosen(home: Path, capsys):
    assert within_reach(POCKET, writer=True) is POCKET
    assert capsys.readouterr().out == ""


def test_without_network_the_pocket_museum_serves(home, monkeypatch, capsys, pocket_in_small):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert within_reach(far_away()) is pocket_in_small
    told = capsys.readouterr().out
    assert told.count("\n") == 1 and "goes on with the pocket museum: HF_HUB_OFFLINE" in told
    assert not (home / "data/far").exists()
    assert (home / "data/pocket/photos.parquet").is_file()


def test_a_museum_out_of_reach_is_told(home, monkeypatch, capsys, pocket_in_small):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(
        "musequest.creation.museums.smithsonian.Smithsonian.BASE_URL", "http://127.0.0.1:9/api"
    )
    assert within_reach(far_away()) is pocket_in_small
    assert "'smithsonian' is out of reach at 127.0.0.1" in capsys.readouterr().out
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")  # which may reach it
    check_reach(far_away())


def test_without_a_key_only_what_needs_the_writer_goes_on_with_the_pocket_museum(
    home, capsys, pocket_in_small
):
    write_exhibits(home)
    profile = dataclasses.replace(far_away(), collection="t")
    assert within_reach(profile) is profile and capsys.readouterr().out == ""
    for needed in ({"writer": True}, {"dialogs": True}):
        assert within_reach(profile, **needed) is pocket_in_small
        assert "needs a key; set OPENAI_API_KEY" in capsys.readouterr().out
    (home / "data/t/dialogs.parquet").write_bytes(b"written before")
    assert within_reach(profile, dialogs=True) is profile


@pytest.mark.parametrize("name", ["idefics2-8b", "idefics3-8b", "smolvlm-256m"])
def test_one_word_chooses_the_published_dataset(name: str):
    profile = load_profile(name)
    assert (profile.museum, profile.catalogue, profile.collection) == (
        "smithsonian",
        None,  # the 65 exhibits
        "smithsonian",
    )
    assert (profile.writer, profile.writer_model) == ("hosted", "gpt-4o-mini")
