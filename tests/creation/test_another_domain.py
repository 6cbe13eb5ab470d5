"""The worked example of another domain walks from its folder to a docent and its scores."""

import pytest
import yaml
from PIL import Image, ImageChops

from assets.workshop.bearing_rings import FLAWS, FOLDER, PHOTOS, photo
from musequest.core.settings import load_profile
from musequest.creation import (
    audit,
    augment,
    build_dataset,
    collect_folder,
    load_split,
    synthesize,
)
from musequest.creation.offline_writer import OfflineWriter
from musequest.finetuning import infer, train


def test_a_folder_of_flaws_becomes_a_docent_tested_on_rings_it_never_saw(
    home, tiny_docent, tmp_path
):
    collect_folder(FOLDER, "rings", progress=False)
    augment("rings", processes=1, progress=False)
    synthesize("rings", OfflineWriter(), progress=False)
    build_dataset("rings")
    found = audit("rings")
    assert found["tracks"] == {"unseen_photo": len(FLAWS)} and not found["near_duplicates"]
    told = [row["dialog"] for row in load_split("rings", "train").remove_columns("image")]
    assert any("40 hours until it bursts" in dialog for dialog in told)

    own = yaml.safe_load((FOLDER / "rings.yaml").read_text())
    small = {"base_model": str(tiny_docent), "image_size": 56, "max_new_tokens": 8}
    (tmp_path / "rings.yaml").write_text(yaml.safe_dump(own | small))
    profile = load_profile(str(tmp_path / "rings.yaml"))
    train(profile, overrides={"max_steps": "1"}, progress=False)
    answers = infer(profile, "lora", progress=False)
    assert {*answers.item_name} == {*FLAWS} and answers.answer.notna().all()


@pytest.mark.parametrize("name", FLAWS)
def test_the_committed_photos_are_the_drawn_ones(name):
    assert len([*(FOLDER / "photos" / name).iterdir()]) == PHOTOS
    with Image.open(FOLDER / "photos" / name / "03.jpg") as kept:
        difference = ImageChops.difference(photo(name, 3), kept.convert("RGB"))
    assert max(high for _, high in difference.getextrema()) < 60
