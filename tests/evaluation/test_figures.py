"""The figures: what they show, that they survive odd input, and how they are saved."""

import io
import itertools
import warnings
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scored_museum import answered_museum, make_metrics

from musequest.core.files import write_json
from musequest.evaluation.drawing import TALLEST_PX, Picture
from musequest.evaluation.figures import loss_curves, quality_costs
from musequest.evaluation.metrics import METRICS, metrics_of
from musequest.evaluation.report_tables import cost_frame
from musequest.evaluation.results import (
    PUBLISHED,
    Results,
    costs_of,
    published_costs,
    rent_usd,
)
from musequest.evaluation.score_figures import fact_bars, metric_bars, per_item, sight_points
from musequest.systems.registry import SYSTEMS, ordered, system


def make_scores(items: int, systems: tuple[str, ...] = ("base", "lora")) -> pd.DataFrame:
    """Scores of `items` exhibits, LoRA nearer to the ground truth than the base."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "model": name,
            "data_id": f"item-{index:03d}-00",
            "item_name": f"item-{index:03d}",
            "track": "",
            "embedding_distance": (0.6 if name == "base" else 0.1) + rng.random() / 5,
        }
        for name in systems
        for index in range(items)
    ]
    return pd.DataFrame(rows)


def pixels(figure: Picture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(figure.png())).convert("RGB"))


def texts(figure: Figure) -> str:
    return " | ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


@pytest.mark.parametrize("items", [1, 24, 65, 300])
def test_per_item_has_a_row_an_exhibit_that_can_be_read(items):
    figure = per_item(make_scores(items))
    plot = figure.axes[0]
    assert len(plot.collections[1].get_offsets()) == items
    height_px = figure.get_size_inches()[1] * 150
    assert height_px / items >= 0.24 * 150
    assert height_px < TALLEST_PX
    assert plot.get_xlim()[0] < 0
    labels = [text for text in figure.axes[1].texts if text.get_text().startswith("item-")]
    assert len(labels) == items
    assert min(label.get_fontsize() for label in labels) >= 7


def test_per_item_shows_means_ground_truth_and_thumbnails():
    scores = make_scores(5)
    thumbnail = Image.new("RGB", (60, 40), (250, 0, 250))
    figure = per_item(scores, {"item-002": thumbnail}, {"item-002": "The $5 Vase, a <b>pot</b>"})
    mean = scores[scores.model == "lora"].embedding_distance.mean()
    assert f"LoRA, mean {mean:.2f}" in texts(figure)
    assert "The $5 Vase, a <b>pot</b>" in texts(figure)
    dashed = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert any(np.isclose(dashed, mean))
    assert any(line.get_xdata()[0] == 0 for line in figure.axes[0].lines)
    assert ((pixels(figure) == (250, 0, 250)).all(axis=2)).sum() > 500


def test_rows_are_sorted_by_the_last_system():
    scores = make_scores(9)
    best = scores[scores.model == "lora"].sort_values("embedding_distance").item_name.iloc[0]
    assert texts(per_item(scores)).split("item-")[1].startswith(best.removeprefix("item-"))


def test_an_exhibit_with_several_items_is_one_row():
    scores = make_scores(3).assign(item_name="one")
    assert len(per_item(scores).axes[0].collections[1].get_offsets()) == 1


def test_per_item_says_how_many_items_of_which_tracks_it_draws():
    scores = make_scores(4)
    seen = scores.item_name == "item-001"
    shown = texts(per_item(scores.assign(track=np.where(seen, "seen_photo", "unseen_photo"))))
    assert "(3 photos unseen in training, 1 photos seen in training)" in shown


def test_titles_in_any_script_are_no_error():
    titles = {"item-000": "壺", "item-001": "x" * 300, "item-002": "$\\frac{1}$"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pixels(per_item(make_scores(3), titles=titles)).shape[2] == 3


def make_summary(systems: list[str], value: dict[str, float | None]) -> dict:
    return {"all": {name: dict.fromkeys(METRICS, value) for name in systems}}


def test_metric_bars_has_a_panel_a_metric():
    value = {"mean": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n": 9}
    figure = metric_bars(make_summary(["lora", "base"], value))
    shown = texts(figure)
    for metric in metrics_of("all"):
        assert f"{metric.label} {metric.direction}".strip() in shown
    assert "9 items" in shown
    nothing = {"mean": None, "ci_low": None, "ci_high": None, "n": 0}
    one = {"all": {"lora": dict.fromkeys(METRICS, nothing) | {"rouge_l": value}}}
    assert len(metric_bars(one).axes) == 1


def test_metric_bars_have_few_ticks_and_units():
    for high in (0.024, 0.25, 1.0, 91.0):
        value = {"mean": high, "ci_low": high / 2, "ci_high": high * 1.1, "n": 9}
        figure = metric_bars(make_summary(["lora"], value))
        for axes in figure.axes:
            assert 2 <= sum(0 <= tick <= axes.get_xlim()[1] for tick in axes.get_xticks()) <= 5
    assert "Answer length (word pieces)" in texts(figure)


def test_metric_bars_without_values_or_intervals():
    nothing = {"mean": None, "ci_low": None, "ci_high": None, "n": 0}
    assert "no value" in texts(metric_bars(make_summary(["base"], nothing)))
    few = {"mean": 0.5, "ci_low": None, "ci_high": None, "n": 2}
    assert not metric_bars(make_summary(["base"], few)).axes[0].lines


def test_loss_curves_mark_the_lowest_validation_loss():
    metrics = pd.DataFrame(make_metrics())
    best = metrics.loc[metrics.eval_loss.idxmin()]
    figure = loss_curves({"lora": metrics, "base": metrics.head(0)})
    assert f"best {best.eval_loss:.3f} at step {int(best.step)}" in texts(figure)


def test_loss_curves_of_broken_runs():
    metrics = pd.DataFrame(make_metrics(5)).assign(eval_loss=np.nan, train_loss=np.inf)
    assert "best" not in texts(loss_curves({"lora": metrics}))
    assert loss_curves({}).png()


def test_the_same_scores_give_the_same_bytes(tmp_path: Path):
    first = per_item(make_scores(4)).save(tmp_path / "a" / "per_item.png")
    assert first.read_bytes() == per_item(make_scores(4)).save(tmp_path / "b.png").read_bytes()
    assert first.read_bytes().startswith(b"\x89PNG")


def test_a_notebook_can_show_a_figure():
    figure = per_item(make_scores(2))
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_notebook_keeps_the_colours_of_photos():
    violet = np.random.default_rng(0).integers(90, 200, (60, 60, 3)).astype("uint8")
    photos = {f"item-{n:03d}": Image.fromarray(np.roll(violet, n, axis=2)) for n in range(3)}
    figure = per_item(make_scores(3), photos)
    kept, drawn = (
        np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
        for png in (figure._repr_png_(), figure.png(dpi=96))
    )
    assert np.abs(kept - drawn).max() <= 4
    assert Image.open(io.BytesIO(per_item(make_scores(3))._repr_png_())).mode == "P"


def test_every_known_system_looks_different():
    looks = {(each.colour, each.marker) for each in SYSTEMS.values()}
    assert len({colour for colour, _ in looks}) == len({m for _, m in looks}) == len(SYSTEMS)
    assert system("my_own").label == "my_own"


def test_unknown_systems_drawn_together_never_look_alike():
    names = [f"run_{first}{second}" for first in "abcdefgh" for second in "abcdefgh"]
    looks = {name: system(name, [*names, *SYSTEMS]) for name in names}
    colours = {look.colour for look in looks.values()} | {each.colour for each in SYSTEMS.values()}
    assert len(colours) == len(names) + len(SYSTEMS)
    assert system("run_ab").marker not in {each.marker for each in SYSTEMS.values()}
    assert system("run_ab__seed2", names).colour == looks["run_ab"].colour


def test_systems_are_told_in_their_order_and_unknown_ones_by_name():
    assert ordered(["zebra", "lora", "ape", "base"]) == ["base", "lora", "ape", "zebra"]


def test_per_item_draws_systems_alone_and_published_means():
    systems = ("base", "lora", "lora__blank_photo", "control_empty")
    scores = make_scores(4, systems)
    outside = scores[scores.model == "base"].assign(track="outsiders", data_id="out")
    figure = per_item(pd.concat([scores, outside]), published={"lora": 0.078})
    shown = texts(figure)
    assert "LoRA, published 0.08" in shown
    assert "Control" not in shown and "blank" not in shown
    assert "(4 items)" in shown
    lines = [line.get_xdata()[0] for line in figure.axes[0].lines]
    assert 0.078 in lines


def make_facts(systems: list[str]) -> pd.DataFrame:
    rows = [
        (name, f"item-{item:03d}-00", kind, status, f"{status} {place}")
        for name in systems
        for item in range(4)
        for kind in ("number", "name")
        for status, count in (("recalled", 2), ("missing", 1), ("invented", 3))
        for place in range(count)
    ]
    return pd.DataFrame(rows, columns=["model", "data_id", "kind", "status", "fact"])


def test_fact_bars_show_recalled_missing_and_invented_an_answer():
    figure = fact_bars(make_facts(["lora"]), make_scores(4), "all")
    for axes in figure.axes[:2]:
        widths = [[bar.get_width() for bar in bars] for bars in axes.containers]
        assert widths == [[0, 2], [0, 1], [0, -3]]  # base states nothing
    assert "Base (untuned)" in texts(figure) and "4 answers" in texts(figure)


def test_numbers_beside_the_bars_of_facts_have_room():
    facts = make_facts(["lora"]).query("status == 'recalled'")
    figure = fact_bars(facts, make_scores(4), "all")
    figure.draw_without_rendering()
    for axes in figure.axes[:2]:
        for told in axes.texts:
            left, right = told.get_window_extent().intervalx
            assert axes.bbox.x0 <= left and right <= axes.bbox.x1, told.get_text()


def test_sight_points_have_a_point_for_each_thing_shown_and_the_chance():
    value = {"mean": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n": 9}
    names = ["base", "lora", "lora__blank_photo", "lora__no_photo"]
    figure = sight_points(make_summary(names, value)["all"], chance=0.04)
    points = [line for line in figure.axes[0].lines if line.get_marker() not in ("None", "")]
    assert len(points) == 3
    assert any(line.get_xdata()[0] == 0.04 for line in figure.axes[0].lines)
    assert "another exhibit's photo" in texts(figure)
    assert "Base (untuned)" not in texts(figure)


def test_distances_beyond_1_stay_inside_the_figures():
    far = {"mean": 1.31, "ci_low": 1.2, "ci_high": 1.44, "n": 9}
    summary = make_summary(["lora", "lora__no_photo"], far)
    for figure in (sight_points(summary["all"], chance=0.04), metric_bars(summary)):
        panels = [axes for axes in figure.axes if "Embedding distance" in axes.get_title("left")]
        assert panels and all(axes.get_xlim()[1] > 1.44 for axes in panels)


def test_quality_costs_draw_what_is_known():
    figure = quality_costs(published_costs(), "similarity_score")
    minutes, memory, dollars = figure.axes
    assert len(minutes.lines) == len(dollars.lines) == 10
    assert len(memory.lines) == 5
    assert "4 × A6000" in texts(figure)
    assert "per GPU" in memory.get_xlabel() and "5 of 10 runs state none" in memory.get_xlabel()
    assert "state none" not in minutes.get_xlabel() + dollars.get_xlabel()
    nothing = published_costs().assign(usd=np.nan)
    assert "not known" in texts(quality_costs(nothing, "similarity_score"))


def test_no_label_of_a_run_is_printed_over_another():
    figure = quality_costs(published_costs(), "similarity_score")
    figure.draw_without_rendering()
    for axes in figure.axes:
        labels = [text for text in axes.texts if " × " in text.get_text()]
        assert len(labels) == len(axes.lines)
        boxes = [label.get_window_extent() for label in labels]
        points = [axes.transData.transform(line.get_xydata()[0]) for line in axes.lines]
        for one, other in itertools.combinations(boxes, 2):
            assert not one.overlaps(other)
        for box, point in itertools.product(boxes, points):
            assert not box.contains(*point)


@pytest.mark.parametrize(
    ("gpus", "minutes", "usd"),
    [
        (["NVIDIA RTX A6000"], 60, 0.76),
        (["NVIDIA A100 80GB PCIe"] * 2, 30, 1.64),
        (["NVIDIA A100-SXM4-80GB"], 60, None),
        (["NVIDIA A100-PCIE-40GB"], 60, None),
        (["NVIDIA H200"], 60, None),
        ([], 60, None),
        (["NVIDIA RTX A5000"], None, None),
    ],
)
def test_rent_is_the_price_of_all_gpus_for_the_time(gpus, minutes, usd):
    assert rent_usd(gpus, minutes) == usd


def test_what_a_system_cost_is_read_from_its_records(home: Path):
    runs = home / "runs/made_up"
    gpu = {"hardware": {"gpus": ["NVIDIA RTX A6000"]}, "minutes": 30.0, "disk_gib": 0.5}
    write_json(
        runs / "lora/run.json",
        gpu | {"status": "done", "peak_memory_gib": {"cpu": 9.0, "cuda:0": 20.0}},
    )
    write_json(runs / "retrieval/infer.json", {"cost": {"index_bytes": 2**20}})
    lora, retrieval = costs_of("made_up", ["lora", "retrieval"]).to_dict("records")
    assert (lora["hardware"], lora["memory_gib"], lora["usd"]) == ("1 × A6000", 20.0, 0.38)
    assert (retrieval["index_mib"], retrieval["hardware"]) == (1.0, "")
    shown = cost_frame(costs_of("made_up", ["lora", "retrieval"]).assign(ms=[12.0, 80.0]))
    assert shown.loc["Retrieval", "index, MiB"] == "1"
    assert shown.loc["LoRA", "rent, USD"] == "0.38"
    assert "all answers, USD" not in shown


def test_published_means_are_lines_of_the_published_profile_alone(home: Path):
    profile = answered_museum(home)
    parts = home, pd.DataFrame(), {}, {}
    assert Results(profile, *parts).published_means == {}
    model, collection = PUBLISHED
    published = replace(profile, base_model=model, collection=collection)
    means = Results(published, *parts).published_means
    rounded = {name: round(mean, 2) for name, mean in means.items()}
    assert rounded == {"base": 0.61, "gpt4o": 0.44, "lora": 0.08, "full": 0.07}
