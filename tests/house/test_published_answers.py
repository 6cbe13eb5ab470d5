"""The command that scores the published answers: both layouts, figures only, one sentence each."""

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import published_answers
from musequest.core.errors import MuseQuestError

TRUTHS = [f"The jug number {n} was made in {1700 + n} by Anna Weber of Ulm." for n in range(8)]
WRONG = [f"A jug of the year {1800 + n}." for n in range(8)]
RUNS = {
    "lora_a6000_48g_x1": TRUTHS,
    "lora_ddp_a6000_48g_x4": [*TRUTHS[:4], *WRONG[4:]],
    "full_a100_80g_x1": TRUTHS,
    "base_before_lora_a6000_48g_x1": WRONG,
    "base_before_full_a100_80g_x1": WRONG,
    "gpt4o": WRONG,
}
PLACES = {
    "lora_a6000_48g_x1": "2.1_lora_finetuning/run_1_a6000_48g_x1",
    "lora_ddp_a6000_48g_x4": "2.3_lora_finetuning_with_ddp/run_2_a6000_48g_x4",
    "full_a100_80g_x1": "2.4_full_finetuning/run_1_a100_80g_x1",
}


def table_of(answers: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "data_id": [str(n) for n in range(8)],
            "item_name": [f"jug-{n}" for n in range(8)],
            "image_name": [f"jug-{n}-1.jpg" for n in range(8)],
            "question": "What is this?",
            "ground_truth": TRUTHS,
            "answer": answers,
            "published_similarity": [0.01 * n for n in range(8)],
        }
    )


def texts_of() -> pd.DataFrame:
    """As the museum tells it, which knows the years of the wrong answers of the first two jugs."""
    told = [
        f"{truth} It was mended in {1800 + n if n < 2 else 1600}." for n, truth in enumerate(TRUTHS)
    ]
    return pd.DataFrame(
        {
            "item_id": range(8),
            "item_name": [f"jug-{n}" for n in range(8)],
            "link": "https://example.org",
            "train_images": [f"jug-{n}-1-aug1.jpg\njug-{n}-{1 + n % 2}.jpg" for n in range(8)],
            "validation_images": [f"jug-{n}-1-aug2.jpg" for n in range(8)],
            "test_images": [f"jug-{n}-1.jpg" for n in range(8)],
            "description": told,
        }
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the layout of the published repository."""
    folder, back = (
        tmp_path_factory.mktemp("published"),
        {v: k for k, v in published_answers.NAMES.items()},
    )
    for name, answers in RUNS.items():
        own = name.removeprefix("base_before_")
        when = "before" if own != name else "after"
        path = folder / published_answers.GPT4O / "inference_results_openai_gpt4o.csv"
        if own in PLACES:
            path = folder / "2_model_finetuning" / PLACES[own]
            path = path / published_answers.ANSWERS.format(when)
        path.parent.mkdir(parents=True, exist_ok=True)
        table = table_of(answers).rename(columns=back)
        table.loc[8] = [None, "average", *[None] * 4, 0.037]
        table.to_csv(path, index=False, encoding="utf-8-sig")
    untuned = folder / "2_model_finetuning" / PLACES["lora_ddp_a6000_48g_x4"]
    table_of(WRONG).rename(columns=back).to_csv(
        untuned / published_answers.ANSWERS.format("before"), index=False
    )
    (folder / published_answers.TEXTS).parent.mkdir(parents=True)
    texts_of().to_csv(folder / published_answers.TEXTS, index=False, encoding="utf-8-sig")
    return folder


@pytest.fixture(scope="module")
def scores(published: Path) -> pd.DataFrame:
    return published_answers.score_runs(*published_answers.find_runs(published), None)


def test_every_answer_has_a_row_of_figures_and_none_of_the_texts(scores: pd.DataFrame):
    assert len(scores) == 8 * 7 and list(scores)[:3] == ["run", "data_id", "item_name"]
    texts = scores.select_dtypes(exclude="number").drop(columns=["run", "data_id", "item_name"])
    assert texts.empty
    own = scores[scores.run == "lora_a6000_48g_x1"]
    assert own.published_similarity.round(2).tolist() == [0.01 * n for n in range(8)]
    assert (own.number_recall == 1).all() and (own.embedding_distance < 1e-6).all()


def test_what_the_museum_tells_is_invented_beside_the_ground_truth_alone(scores: pd.DataFrame):
    own = scores[scores.run == "gpt4o"].sort_values("data_id")
    assert own.invented_number_rate_beside_truths.tolist() == [1.0] * 8
    assert own.invented_number_rate.tolist() == [0.0, 0.0, *[1.0] * 6]


def test_the_summary_pairs_runs_and_measures_what_equal_models_differ_by(scores: pd.DataFrame):
    summary = published_answers.summary_of(scores)
    by_name = {row["what"]: row for row in summary["differences"]}
    more = by_name["lora_ddp_a6000_48g_x4 minus lora_a6000_48g_x1"]
    recalled = 1 - scores[scores.run == "gpt4o"].sort_values("data_id").number_recall[-4:].mean()
    assert more["number_recall"]["mean"] == pytest.approx(-recalled / 2, abs=1e-4)
    assert by_name["full minus adapters"]["number_recall"]["mean"] > 0
    recall = [row["number_recall"] for row in summary["differences"]]
    assert all(each["p_value"] <= each["p_adjusted"] <= 1 for each in recall)
    assert min(each["p_adjusted"] for each in recall) >= min(
        1, len(recall) * min(each["p_value"] for each in recall) - 1e-3
    )
    assert summary["noise_floor"]["embedding_distance"]["largest_difference"] == 0
    assert summary["exhibits"] == summary["answers_a_run"] == 8
    json.dumps(summary, allow_nan=False)


def test_the_split_is_counted_from_the_names_of_the_photos(published: Path):
    assert published_answers.split_of(published / published_answers.TEXTS) == {
        "exhibits_with_a_single_photo": 4,
        "exhibits_whose_test_photo_is_the_parent_of_a_training_photo": 8,
        "validation_photos": 8,
        "validation_photos_that_are_altered_copies": 8,
    }


def test_a_file_a_run_is_the_same(published: Path, scores: pd.DataFrame, tmp_path: Path):
    runs, texts = published_answers.find_runs(published)
    for name, path in runs.items():
        table = published_answers.read_run(path)
        table.drop(columns="published_similarity").to_csv(tmp_path / f"{name}.csv", index=False)
    texts_of()[["item_id", "item_name", "link", "description"]].to_csv(
        tmp_path / "museum_texts.csv", index=False
    )
    flat = published_answers.find_runs(tmp_path)
    similarities = scores[["run", "data_id", "published_similarity"]]
    again = published_answers.score_runs(*flat, similarities)
    pd.testing.assert_frame_equal(again.reset_index(drop=True), scores.reset_index(drop=True))
    assert published_answers.split_of(flat[1]) is None
    with pytest.raises(MuseQuestError, match="no published similarities; name them with"):
        published_answers.score_runs(*flat, None)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda p: p.unlink(), "cannot be read .*fetch it again"),
        (lambda p: p.write_text(""), "cannot be read .*fetch it again"),
        (lambda p: p.write_text("data_id,answer\n1,x\n"), "has no column 'item_name'"),
        (lambda p: p.write_bytes(b"\xff\xfe\x00\x01"), "cannot be read .*fetch it again"),
    ],
)
def test_a_run_that_is_missing_or_spoilt_is_a_sentence(tmp_path: Path, spoil, sentence: str):
    table_of(TRUTHS).to_csv(tmp_path / "gpt4o.csv", index=False)
    spoil(tmp_path / "gpt4o.csv")
    with pytest.raises(MuseQuestError, match=sentence):
        published_answers.read_run(tmp_path / "gpt4o.csv")


def test_a_folder_of_something_else_is_a_sentence(tmp_path: Path):
    with pytest.raises(MuseQuestError, match="holds neither museum_texts.csv .*give a clone of it"):
        published_answers.find_runs(tmp_path)


@pytest.mark.parametrize("missing", ["base_before", "gpt4o", "lora", "full"])
def test_a_group_of_runs_that_is_missing_is_a_sentence(scores: pd.DataFrame, missing: str):
    some = scores[~scores.run.str.startswith(missing)]
    with pytest.raises(MuseQuestError, match="There is no run of .*fetch all of them"):
        published_answers.summary_of(some)


@pytest.mark.parametrize("content", [None, "", "a,b\n1,2\n"])
def test_similarities_that_cannot_be_read_are_a_sentence(tmp_path: Path, content: str | None):
    path = tmp_path / "similarities.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(MuseQuestError, match="give a CSV file of run, data_id, similarity_score"):
        published_answers.read_similarities(path)
