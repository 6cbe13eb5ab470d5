"""The time to a docent: told only where there is one, and kept once a demo."""

from pathlib import Path

import pandas as pd
import pytest
from tiny_dialogs import write_dataset, write_profile

from benchmarks.tables import comparison_tables, readme_tables
from musequest.book.walks import DemoRecord, time_to_docent
from musequest.core.errors import MuseQuestError
from musequest.core.files import write_json
from musequest.core.home import root
from musequest.core.settings import load_profile
from musequest.core.tables import write_table
from musequest.systems.conditions import outsider_rows
from musequest.systems.registry import variant

MACHINE = {"cpu_cores": 2, "threads": 2, "memory_gib": 23.5, "gpus": []}


def summary(identity: float | None, recall: float | None) -> dict:
    means = {"identity_at_1": identity, "number_recall": recall}
    return {"unseen_photo": {"lora": {name: {"mean": mean} for name, mean in means.items()}}}


@pytest.fixture
def record(home: Path) -> DemoRecord:
    walked = DemoRecord(load_profile("pocket"))
    walked.seconds = {"1.1": 20.4, "2.1": 150.0}
    return walked


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ((0.95, 0.9), "170 seconds, from photos to identity_at_1 0.950 and number_recall 0.900"),
        ((0.94, 0.95), "not reached; identity_at_1 0.940 and number_recall 0.950"),
        ((1.0, 0.89), "not reached; identity_at_1 1.000 and number_recall 0.890"),
        ((1.0, None), "not measured"),
    ],
)
def test_it_is_told_only_of_a_docent(record: DemoRecord, scores, told: str):
    assert f"Time to a docent: {told}" in time_to_docent(record, summary(*scores))


def test_a_walk_that_found_work_done_has_none(record: DemoRecord):
    record.from_nothing = False
    assert "not measured" in time_to_docent(record, summary(1.0, 1.0))


def test_each_demo_is_kept_once_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for module in ("blocks", "comparison_tables"):
        monkeypatch.setattr(f"benchmarks.tables.{module}.root", lambda: tmp_path)
    assert comparison_tables.docent_times() == "No time to a docent is recorded yet.\n"
    demo = {"date": "2026-01-02", "git_commit": "a" * 40, "hardware": MACHINE}
    for seconds, recall in ((200.5, 0.95), (200.5, 0.95), (180.0, 0.85)):
        comparison_tables.keep_time_to_docent(
            demo | {"total_seconds": seconds}, summary(0.97, recall)
        )
    table = comparison_tables.docent_times()
    assert table.count("2026-01-02") == 2 and "| 200.5 |" in table and "180" not in table
    assert "2 CPU cores" in table and "aaaaaaaa |" in table


def test_a_demo_scored_again_with_other_systems_is_not_kept(home: Path):
    """After `make notebooks` the scores hold retrieval too; what a demo compares goes through."""
    results = home / "results/pocket"
    write_json(results / "demo.json", {"from_nothing": True})
    own = {"base": {}, "lora__no_photo": {}, "control_empty": {}}
    tracks = {"unseen_photo": own, "outsiders": {"lora__outsiders": {}}}
    for track, more in (("unseen_photo", "retrieval__no_photo"), ("outsiders", "lora_ddp")):
        write_json(results / "summary.json", tracks | {track: tracks[track] | {more: {}}})
        with pytest.raises(MuseQuestError, match=f"{variant(more)[0]}.* too, .*make clean demo"):
            readme_tables.keep("pocket")
    write_json(results / "summary.json", tracks | {"outsiders": {"lora__outsiders": {}}})
    with pytest.raises(MuseQuestError, match=r"lora/run\.json"):  # the next thing that it reads
        readme_tables.keep("pocket")


def test_answers_are_kept_by_rule_and_shown_with_their_photos(
    home: Path, tmp_path: Path, tiny_docent: Path, monkeypatch: pytest.MonkeyPatch
):
    write_dataset(home, "tiny")
    profile = write_profile(tmp_path, tiny_docent)
    stranger = outsider_rows(root() / "assets/pocket_outsiders")[0]["data_id"]
    for system in ("base", "lora"):
        for folder, names in ((system, ["test-00", "test-01", "test-02"]), ("", [stranger])):
            rows = [
                {
                    **dict.fromkeys(("item_name", "image_name", "ground_truth"), "x"),
                    **{"data_id": name, "question": "What | is this?", "new_tokens": 1},
                    **{"answer": f"{system} says\n{name}", "seconds": 0.1},
                }
                for name in names
            ]
            path = home / "runs/tiny" / (folder or f"{system}__outsiders") / "predictions.parquet"
            write_table("predictions", path, pd.DataFrame(rows))
    for module in ("blocks", "readme_tables"):
        monkeypatch.setattr(f"benchmarks.tables.{module}.root", lambda: tmp_path)
    kept = readme_tables.shown(profile, readme_tables.rows_shown(profile))
    assert [each["lora"].split()[-1] for each in kept] == ["test-00", stranger]
    assert all((tmp_path / each["photo"]).is_file() for each in kept)
    kept[-1]["guide"] = "I do not know this one."
    write_json(tmp_path / readme_tables.DEMO, {"date": "2026-01-02", "shown": kept})
    table = readme_tables.pocket_strip()
    assert table.count("<img ") == 2 and "base says test-00<br>**After tuning:** lora" in table
    assert "a thing the museum does not have:** What \\| is this?" in table
    assert table.count("is checked first:** I do not know this one. |") == 1
