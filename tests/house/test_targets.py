"""What the recorded runs on the pocket museum have to reach; a record that does not is no record.

The figures are those of benchmarks/records/, which commands wrote; nothing is run here.
"""

from typing import Any

import pytest

from benchmarks.tables import benchmark_tables, comparison_tables, readme_tables
from musequest.core.files import read_json
from musequest.core.home import root
from musequest.core.settings import approach_names


def record(path):
    if not (root() / path).exists():
        pytest.fail(f"{path} is not there; CONTRIBUTING.md tells which command writes it")
    return read_json(root() / path, dict[str, Any])


@pytest.fixture(scope="module")
def demo():
    return record(readme_tables.DEMO)


@pytest.fixture(scope="module")
def six():
    return record(comparison_tables.SIX)


def scores(demo, name):
    return demo["scores"][readme_tables.TRACK][name]


def test_the_tuned_docent_knows_the_museum_and_the_base_does_not(demo):
    tuned, base = scores(demo, "lora"), scores(demo, "base")
    assert tuned["embedding_distance"]["mean"] <= 0.15 < 0.45 <= base["embedding_distance"]["mean"]
    assert tuned["identity_at_1"]["mean"] >= 0.9
    assert tuned["number_recall"]["mean"] >= 0.7 > 0.1 > base["number_recall"]["mean"]


def test_the_floor_lies_near_chance(demo):
    floor = scores(demo, "control_other_exhibit")
    assert floor["identity_at_1"]["mean"] <= 0.1
    assert floor["number_recall"]["mean"] <= 0.1 and floor["invented_number_rate"]["mean"] >= 0.9


def test_changed_numbers_show_in_the_facts_and_hardly_in_the_distance(demo):
    changed = scores(demo, "control_changed_numbers")
    assert changed["invented_number_rate"]["mean"] > 0.9
    assert changed["embedding_distance"]["mean"] < 0.05


@pytest.mark.parametrize("condition", ["blank_photo", "wrong_photo", "no_photo"])
def test_without_its_photo_the_docent_knows_no_more_than_chance(demo, condition):
    with_it, without = scores(demo, "lora"), scores(demo, f"lora__{condition}")
    exhibits = demo["differences"][0]["exhibits"]
    # Chance lies within the interval, or the docent does worse: it says what it was not asked.
    assert without["identity_at_1"]["ci_low"] <= 1 / exhibits
    assert without["identity_at_1"]["ci_high"] < with_it["identity_at_1"]["ci_low"]


def test_all_six_approaches_reach_the_goal_in_time(six):
    assert list(six["approaches"]) == approach_names() and not six["failures"]
    for name, each in six["approaches"].items():
        assert each["run"]["status"] == "done", name
        assert each["scores"]["embedding_distance"]["mean"] <= 0.15, name
    assert sum(six["seconds"].values()) <= 40 * 60


@pytest.mark.parametrize("approach", ["full", "full_mp", "full_fsdp"])
def test_full_tuning_is_not_worse_than_lora(six, approach):
    pairs = {
        row["metric"]: row
        for row in six["differences"]
        if (row["system"], row["versus"]) == (approach, "lora")
    }
    assert {"embedding_distance", "identity_at_1", "number_recall"} <= set(pairs)
    assert not [metric for metric, row in pairs.items() if row["verdict"] == "worse"]


@pytest.mark.parametrize("approach", ["full", "full_mp", "full_fsdp"])
def test_a_full_run_takes_at_most_four_times_the_models_weights(six, approach):
    run = six["approaches"][approach]["run"]
    weights_gib = run["total_parameters"] * 4 / 2**30  # float32
    assert run["disk_gib"] <= 4 * weights_gib


def test_retrieval_was_compared_however_it_came_out():
    kept = record(comparison_tables.RETRIEVAL)
    own = kept["scores"][kept["track"]]
    assert set(comparison_tables.COMPARED) <= set(own)
    pairs = {(row["system"], row["versus"]) for row in kept["differences"]}
    assert ("retrieval", "lora") in pairs and ("rag", "retrieval") in pairs


def test_the_docent_learns_as_well_with_every_seed_and_by_other_kernels(six):
    """Each seed alone, by AVX2 and AVX-512, in bfloat16 and on one thread."""
    trained = {"avx512": six["approaches"]["lora"]["seeds"]}
    if (root() / benchmark_tables.PROCESSORS).exists():
        ways = record(benchmark_tables.PROCESSORS)["ways"]
        trained |= {way: each["seeds"] for way, each in ways.items()}
    assert len(trained["avx512"]) >= 5 and len(trained.get("avx2", range(5))) >= 5
    for way, seeds in trained.items():
        for seed, scores in seeds.items():
            assert scores["identity_at_1"] >= 0.95, (way, seed)
            assert scores["number_recall"] >= 0.9, (way, seed)
            assert scores["embedding_distance"] <= 0.12, (way, seed)


def test_scoring_is_quick_and_its_memory_hardly_grows():
    if not (root() / benchmark_tables.SCORING).exists():
        pytest.skip("scoring is not measured yet; benchmarks/scoring.py --record does so")
    kept = record(benchmark_tables.SCORING)
    few, many = kept["scored"]
    assert few["answers"] == 1000 and few["seconds"] <= 90
    for way in ("encoding_with_every_reference", "all_metrics_with_every_reference"):
        assert min(kept["times_faster"][way].values()) >= 10, way
    assert many["answers"] >= 2 * few["answers"]
    assert kept["memory_growth_mib"] <= 0.1 * few["peak_memory_mib"]
