"""The gate: what it recognises, what it was calibrated on, and what it never reads."""

import io
import json
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_dialogs import COLOURS, sample, stored, write_dataset, write_profile

from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json
from musequest.core.tables import read_table, write_table
from musequest.creation.split import STRANGER, exhibit_rows, load_split, split_path
from musequest.systems import answer, open_gate
from musequest.systems.gate import Measure, calibrate


@pytest.fixture
def profile(tmp_path, home, tiny_docent):
    write_dataset(home, "tiny")
    return write_profile(tmp_path, tiny_docent)


def calibration(home):
    return read_json(home / "runs/tiny/retrieval/gate.json")


def cloud(exhibits=20, photos=40, bands=2, width=3, seed=0):
    """Features of exhibits that differ along the first axis, and vary along the others."""
    rng = np.random.default_rng(seed)
    names = np.repeat([f"exhibit-{number:02d}" for number in range(exhibits)], photos)
    places = np.repeat(np.arange(exhibits), photos)
    features = rng.normal(0, 9.0, (len(names), bands, width))
    features[:, 0, 0] = places * 10 + rng.normal(0, 0.1, len(names))
    return features, names


def learned(likeness, stranger=False, copied=False):
    rows = {"likeness": likeness, "stranger": stranger, "learned": copied}
    return pd.DataFrame(rows, index=range(len(likeness)))


def test_an_exhibits_photo_is_recognised_and_offered_with_its_runners_up(profile):
    gate = open_gate(profile)
    shown = [sample(index)["image"] for index in range(3)]
    found = gate.recognise(shown)
    assert [each.item_name for each in found] == [name.replace(" ", "-") for name in COLOURS]
    for each in found:
        likenesses = [likeness for _, likeness in each.nearest]
        assert each.nearest[0] == (each.item_name, each.confidence)
        assert len({name for name, _ in each.nearest}) == 3
        assert likenesses == sorted(likenesses, reverse=True)
        assert 0 <= each.threshold <= each.confidence <= 1.0


def test_what_is_near_to_no_exhibit_is_not_claimed_but_what_it_resembles_is_told(profile):
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    (found,) = open_gate(profile).recognise([Image.fromarray(noise)])
    assert found.item_name is None and found.confidence < found.threshold
    assert len(found.nearest) == 3 and found.nearest[0][1] == found.confidence


def test_what_varies_between_photos_of_one_exhibit_counts_little():
    features, names = cloud()
    measure = Measure(features, names)
    between, within = features[:1].copy(), features[:1].copy()
    between[0, 0, 0] += 5  # half the way to the next exhibit
    within[0, 1, 2] += 5
    assert measure.likeness(within).max() > 0.9 > 0.5 > measure.likeness(between).max()
    assert measure.likeness(features[:1]).max() == pytest.approx(1.0)


def test_many_exhibits_are_compared_in_little_memory():
    rng, exhibits = np.random.default_rng(0), 400
    owners = rng.permutation(np.repeat(np.arange(exhibits), 3))  # in no order
    features = rng.normal(size=(exhibits, 4, 10))[owners]
    features += rng.normal(0, 0.25, features.shape)
    measure = Measure(features, owners.astype(object))
    tracemalloc.start()
    found = measure.likeness(features[:32])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (measure.item_names[found.argmax(axis=1)] == owners[:32].astype(str)).all()
    assert found.max(axis=1) == pytest.approx(1.0)
    assert peak < 4 * 8 * 32 * len(owners)  # a few numbers for each pair of photos


@pytest.mark.parametrize("count", [19, 35, 200])
def test_the_promised_rate_of_wrong_refusals_holds_for_photos_that_come_later(count):
    rng, refused = np.random.default_rng(count), []
    for _ in range(150):
        made = calibrate(learned(rng.beta(5, 2, count)), {})
        refused.append(float((rng.beta(5, 2, 200) < made["threshold"]).mean()))
    assert np.mean(refused) == pytest.approx(made["wrong_refusals"], abs=0.01)
    assert made["wrong_refusals"] <= 0.05 and made["validation_photos"] == count


def test_with_few_photos_the_promise_is_what_they_allow():
    made = calibrate(learned([0.9, 0.7, 0.8]), {})
    assert (made["threshold"], made["wrong_refusals"]) == (0.7, 0.25)
    assert calibrate(learned([0.4]), {})["wrong_refusals"] == 0.5


def test_photos_whose_copies_are_learned_count_only_where_there_are_no_others():
    fair, copied = learned([0.6, 0.8]), learned([0.3], copied=True)
    made = calibrate(pd.concat([fair, copied]), {})
    assert (made["threshold"], made["validation_photos"], made["learned_photos"]) == (0.6, 2, 1)
    assert calibrate(copied, {})["threshold"] == 0.3


def test_strangers_measure_the_gate_and_never_move_it():
    own = learned([0.6, 0.8, 0.9])
    made = calibrate(pd.concat([own, learned([0.1, 0.7, 0.2, 0.3], stranger=True)]), {})
    assert made["threshold"] == 0.6
    assert (made["strangers"], made["strangers_recognised"]) == (4, 0.25)
    assert calibrate(own, {})["strangers_recognised"] is None


def test_without_a_validation_photo_of_an_exhibit_there_is_no_gate():
    with pytest.raises(MuseQuestError, match="validation split shows no exhibit"):
        calibrate(learned([0.5], stranger=True), {})


def test_it_is_calibrated_once_and_its_record_says_on_what(profile, home):
    open_gate(profile)
    path = home / "runs/tiny/retrieval/gate.json"
    before, kept = path.stat().st_mtime_ns, calibration(home)
    assert open_gate(profile).calibration == kept and path.stat().st_mtime_ns == before
    assert kept["validation_photos"] == 3 and kept["wrong_refusals"] == 0.25
    told = kept["made_for"]
    assert told["dataset_fingerprint"] and told["base_model_fingerprint"] and told["rate"] == 0.05


@pytest.mark.parametrize("key", ["base_model_fingerprint", "dataset_fingerprint", "measure"])
def test_a_gate_made_for_something_else_is_never_read(profile, home, key):
    open_gate(profile)
    path, kept = home / "runs/tiny/retrieval/gate.json", calibration(home)
    other = kept | {"threshold": 0.0, "made_for": kept["made_for"] | {key: "another"}}
    path.write_text(json.dumps(other))
    assert open_gate(profile).calibration == kept == calibration(home)


@pytest.mark.parametrize("damage", ["{", "{}", '{"threshold": "high"}', "[]"])
def test_a_damaged_gate_is_made_anew(profile, home, damage):
    kept = open_gate(profile).calibration
    (home / "runs/tiny/retrieval/gate.json").write_text(damage)
    assert open_gate(profile).calibration == kept == calibration(home)


def test_another_dataset_gets_another_gate(profile, home):
    before = open_gate(profile).calibration
    write_dataset(home, "tiny", year_shift=1)
    assert open_gate(profile).calibration["made_for"] != before["made_for"]


def test_a_visitors_photo_leaves_no_file(profile, home):
    gate = open_gate(profile)
    before = sorted(path for path in home.rglob("*") if path.is_file())
    gate.recognise([Image.new("RGB", (80, 60), (250, 200, 10))])
    assert sorted(path for path in home.rglob("*") if path.is_file()) == before


def rewrite(split, change):
    path = split_path("tiny", split)
    rows = change(read_table("dataset", path)).astype(object)
    write_table("dataset", path, rows.where(rows.notna(), None).to_dict("records"))


def test_a_collection_of_one_exhibit_has_a_gate(profile):
    for split in ("train", "validation", "test"):
        rewrite(split, lambda rows: rows.assign(item_name="jug"))
    (found,) = open_gate(profile).recognise([sample(0)["image"]])
    assert [name for name, _ in found.nearest] == ["jug"] and found.item_name == "jug"


def test_exhibits_of_a_single_training_photo_teach_no_distance(profile):
    rewrite("train", lambda rows: rows.drop_duplicates("item_name"))
    with pytest.raises(MuseQuestError, match="two different training photos"):
        open_gate(profile)


def add_strangers(*splits):
    for split in splits:
        row = stored(sample(0, split) | {"data_id": f"{split}-stranger", "item_name": STRANGER})
        buffer = io.BytesIO()
        noise = np.random.default_rng(1).integers(0, 256, (60, 60, 3), dtype=np.uint8)
        Image.fromarray(noise).save(buffer, "PNG")
        row["image"]["bytes"] = buffer.getvalue()
        path = split_path("tiny", split)
        rows = read_table("dataset", path).astype(object)
        rows = rows.where(rows.notna(), None).to_dict("records")
        write_table("dataset", path, [*rows, row])


def test_strangers_are_in_no_index_and_no_evaluation_but_are_learned(profile, home):
    add_strangers("train", "validation")
    gate = open_gate(profile)
    assert STRANGER not in gate.measure.item_names and len(load_split("tiny", "train")) == 11
    assert len(exhibit_rows("tiny", "train")) == 10
    assert (gate.calibration["strangers"], gate.calibration["strangers_recognised"]) == (1, 0.0)
    table = answer(profile, "retrieval", progress=False)
    assert STRANGER not in [*table.item_name, *table.retrieved_item_name]


def test_verdicts_on_what_is_evaluated_are_kept_until_something_changes(profile, home):
    gate = open_gate(profile)
    made = gate.verdicts()
    path = home / "runs/tiny/retrieval/verdicts.json"
    before = path.stat().st_mtime_ns
    outside = {name for name in made["recognised"] if name.startswith("outsider-")}
    inside = {row["data_id"] for row in load_split("tiny", "test")}
    assert made["recognised"].keys() == made["confidence"].keys() == inside | outside
    assert len(outside) == 60
    assert open_gate(profile).verdicts() == made and path.stat().st_mtime_ns == before
    gate.calibration["threshold"] = 1.1
    assert not any(gate.verdicts()["recognised"].values())
