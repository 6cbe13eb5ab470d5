"""The Art Institute's artworks are found by number, by their very title, or by words."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from museum_server import MuseumServer, artwork, running

from musequest.creation.museums.artic import ArtInstitute
from musequest.creation.museums.client import MuseumClient
from musequest.creation.museums.http import NotFound
from musequest.creation.museums.records import Entry


@pytest.fixture
def server() -> Iterator[MuseumServer]:
    with running() as museum:
        yield museum


@pytest.fixture
def museum(server: MuseumServer, tmp_path: Path) -> Iterator[ArtInstitute]:
    with MuseumClient(tmp_path / "cache", requests_per_minute=60_000) as client:
        yield ArtInstitute(client, server.artic)


def entry(link: str = "", record: str = "", title: str = "") -> Entry:
    return Entry(1, "a", link, record, title)


@pytest.mark.parametrize("record", ["7", "https://api.artic.edu/api/v1/artworks/7"])
def test_an_artwork_is_found_by_its_number(server: MuseumServer, museum: ArtInstitute, record: str):
    server.artworks = [artwork(7, alt_image_ids=["side", "img-7", None])]
    found = museum.find(entry(record=record))
    assert found.title == "Landscape No. 7"
    assert found.narrative == "A wide landscape & a mill, number 7."
    assert found.details == (
        "From the museum's record: Artist: Mira Quell Ostian, 1801-1860. Date: 1840. Place: Ost. "
        "Medium: Oil on canvas. Dimensions: 30 × 40 cm."
    )
    assert found.credit == "Gift of the tests, Art Institute of Chicago"
    assert found.license == "CC-BY-4.0"
    iiif = f"{server.address}/iiif/2"
    assert [photo.url for photo in found.photos] == [
        f"{iiif}/img-7/full/843,/0/default.jpg",
        f"{iiif}/side/full/843,/0/default.jpg",
    ]
    assert {photo.license for photo in found.photos} == {"CC0-1.0"}


def test_an_artwork_without_a_photo_has_none(server: MuseumServer, museum: ArtInstitute):
    server.artworks = [artwork(7, image_id=None, alt_image_ids=None)]
    assert museum.find(entry(link="https://www.artic.edu/artworks/7/a-title")).photos == []


@pytest.mark.parametrize("domain", [False, None, "true"])
def test_only_the_public_domain_is_cc0(server: MuseumServer, museum: ArtInstitute, domain: object):
    server.artworks = [artwork(7, is_public_domain=domain)]
    assert museum.find(entry(record="7")).photos[0].license == "not in the public domain"


def test_an_artwork_is_found_by_its_very_title_if_one_bears_it(
    server: MuseumServer, museum: ArtInstitute
):
    server.artworks = [artwork(7), artwork(8, title="Landscape No. 7 (study)")]
    assert museum.find(entry(title="landscape No. 7")).record_id == "7"
    with pytest.raises(NotFound, match="0 artworks bear the title 'Landscape'"):
        museum.find(entry(title="Landscape"))


def test_two_of_one_title_are_not_chosen_from(server: MuseumServer, museum: ArtInstitute):
    server.artworks = [artwork(7), artwork(8, title="Landscape No. 7")]
    with pytest.raises(NotFound, match="2 artworks bear the title"):
        museum.find(entry(title="Landscape No. 7"))


def test_an_absent_artwork_is_a_sentence(museum: ArtInstitute):
    with pytest.raises(NotFound, match=r"artworks/9 is not to be had \(No such artwork\)"):
        museum.find(entry(record="9"))


def test_a_search_follows_its_pages(
    server: MuseumServer, museum: ArtInstitute, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("musequest.creation.museums.artic.ROWS", 2)
    server.artworks = [artwork(number) for number in (1, 2, 3, 3, 5)]
    own = [record.record_id for record in museum.search("landscape")]
    assert own == ["1", "2", "3", "5"]
    assert [asked.params["page"] for asked in server.asked] == ["1", "2", "3"]
    assert server.asked[0].params["query[term][is_public_domain]"] == "true"
    assert "image_id" in server.asked[0].params["fields"]
