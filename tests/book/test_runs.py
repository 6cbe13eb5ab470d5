"""What a run left: each answer stands beside its question, and the readmes show them by rule."""

from pathlib import Path

import pytest
from scored_museum import answered_museum

from benchmarks.tables import blocks, run_tables
from musequest.core.files import write_csv
from musequest.core.tables import read_table
from musequest.creation.split import load_split
from musequest.evaluation.results import load_results
from musequest.evaluation.scoring import evaluate

SYSTEMS = ["base", "lora"]


@pytest.fixture
def answers(home: Path):
    """Twelve questions, answered by the untuned model and by LoRA."""
    profile = answered_museum(home, 12)
    evaluate(profile)
    return run_tables.answer_frame(load_results(profile), SYSTEMS)


def test_each_answer_stands_beside_its_question_and_its_distance(home: Path, answers):
    assert answers.data_id.tolist() == list(load_split("made_up", "test")["data_id"])
    scores = read_table("scores", home / "results/made_up/scores.parquet")
    for name in SYSTEMS:
        said = read_table("predictions", home / f"runs/made_up/{name}/predictions.parquet")
        said = said.set_index("data_id").loc[answers.data_id]
        assert answers[name].tolist() == said.answer.tolist()
        assert answers.question.tolist() == said.question.tolist()
        assert answers.ground_truth.tolist() == said.ground_truth.tolist()
        own = scores[scores.model == name].set_index("data_id").embedding_distance
        wanted = own.loc[answers.data_id].tolist()
        assert answers[f"{name}_embedding_distance"].tolist() == pytest.approx(wanted, abs=1e-4)


def test_readmes_show_questions_by_number_and_answers_by_distance(
    answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for module in (blocks, run_tables):
        monkeypatch.setattr(module, "root", lambda: tmp_path)
    assert "make six" in run_tables.answers_of("lora") and "make six" in run_tables.single_answers()
    write_csv(tmp_path / run_tables.ANSWERS, answers.columns, answers.to_dict("records"))
    run = {"approach": "lora", "date": "2026-01-02"}
    write_csv(tmp_path / run_tables.CURVES, run, [run])
    shown = run_tables.answers_of("lora")  # the first of six, so the first two of twelve questions
    assert "2 of 12 test questions" in shown and "Of 2026-01-02" in shown
    assert [answer in shown for answer in answers.lora] == [True] * 2 + [False] * 10
    ordered = answers.sort_values("lora_embedding_distance", kind="stable").lora.tolist()
    best, middle, worst = run_tables.single_answers().splitlines()[2:]
    assert ordered[0] in best and ordered[6] in middle and ordered[-1] in worst
