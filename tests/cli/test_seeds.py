"""Several seeds of an approach: trained, answered and reported by one option each."""

import json
import math

import pytest
from tiny_dialogs import write_dataset, write_profile

from musequest.__main__ import main
from musequest.core.files import read_json, write_json


@pytest.fixture
def tiny(tmp_path, home, tiny_docent):
    """The name of a tiny profile."""
    write_dataset(home, "tiny")
    write_profile(tmp_path, tiny_docent)
    return str(tmp_path / "tiny.yaml")


def test_seeds_are_trained_answered_and_reported_once_each(tiny, home, capsys, caplog):
    more = ["--profile", tiny, "--approach", "lora", "--seeds", "3"]
    assert main(["train", *more]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["seed"] for record in records] == [1, 2, 3]
    assert len({record["best_eval_loss"] for record in records}) == 3
    folders = [home / "runs" / name / "lora" for name in ("tiny", "tiny__seed2", "tiny__seed3")]
    kept = [(folder / "run.json").read_bytes() for folder in folders]
    assert main(["train", *more]) == main(["infer", *more]) == 0
    assert [(folder / "run.json").read_bytes() for folder in folders] == kept
    assert all((folder / "predictions.parquet").is_file() for folder in folders)

    assert main(["report", "--profile", tiny, "--seeds", "3", "--margin", "0.5"]) == 0
    cell = read_json(home / "results/tiny/summary.json")["all"]["lora"]["embedding_distance"]
    assert cell["seeds"] == 3 and not math.isnan(cell["seed_spread"])
    assert sorted(read_json(home / "results/tiny/scoring.json")["seeds"]) == [
        "lora__seed2", "lora__seed3",
    ]  # fmt: skip
    assert "of 3 seeds" in (home / "results/tiny/report.html").read_text("utf-8")

    other = read_json(folders[1] / "run.json")
    other["training"]["learning_rate"] /= 2
    write_json(folders[1] / "run.json", other)
    (folders[2] / "infer.json").unlink()
    assert main(["report", "--profile", tiny, "--seeds", "2"]) == 1
    told = capsys.readouterr().err
    assert "of seed2, it was trained with other settings than lora (training.learning_rate" in told
    write_json(folders[1] / "run.json", json.loads(kept[1]))
    assert main(["report", "--profile", tiny, "--seeds", "3"]) == 1
    told = capsys.readouterr().err
    assert "lora has no answers of 3 seeds: of seed3, no infer.json vouches" in told
    assert main(["report", "--profile", tiny]) == 0
    assert "lora__seed3 is left out: no infer.json vouches" in caplog.text
    assert main(["clean", "--profile", "tiny"]) == 0
    assert not any(folder.exists() for folder in folders)


@pytest.mark.parametrize("approach", ["base", "lora"])
def test_seeds_of_what_was_not_trained_are_refused(approach, tiny, capsys):
    assert main(["infer", "--profile", tiny, "--approach", approach, "--seeds", "2"]) == 1
    assert "--seeds is for approaches that were trained" in capsys.readouterr().err


def test_seeds_within_a_launched_process_are_refused(tiny, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert main(["train", "--profile", tiny, "--seeds", "2"]) == 1
    assert "--seeds starts the processes of each training" in capsys.readouterr().err
