"""Dialogs: 15 checked pairs an exhibit from any writer, kept from run to run."""

import logging
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from musequest.core.errors import MuseQuestError
from musequest.core.tables import write_table
from musequest.creation.dialogs import TEMPERATURES, Pair, Writer, sha256_of, synthesize
from musequest.creation.exhibits import Exhibit, collect_folder
from musequest.creation.offline_writer import OfflineWriter

LONG = " ".join(["word"] * 50)


@dataclass
class FakeWriter(Writer):
    """A writer that counts its calls and, for chosen exhibits, gives other pairs."""

    spoiled: dict[str, dict[str, str]] = field(default_factory=dict)
    fails_at: str = ""
    name: str = "fake"
    words: str = "please"
    concurrency: int = 1
    asked: list[str] = field(default_factory=list)
    barrier: threading.Barrier | None = None

    def prompt(self, exhibit: Exhibit, temperature: float, n: int, seed: int) -> str:
        return f"{self.words}: {n} pairs about {exhibit.description}"

    def write(self, exhibit: Exhibit, temperature: float, n: int, seed: int) -> list[Pair]:
        self.asked.append(exhibit.item_name)
        if self.barrier:
            self.barrier.wait(timeout=20)
        if exhibit.item_name == self.fails_at:
            raise KeyboardInterrupt
        prompt = sha256_of(self.prompt(exhibit, temperature, n, seed))
        moment = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
        pairs = [Pair(f"What is it? {i}", f"{temperature} {i} {LONG}", prompt, f"id{i}",
                      10, 20, 0.001, moment) for i in range(n)]  # fmt: skip
        return [replace(pair, **self.spoiled.get(exhibit.item_name, {})) for pair in pairs]


@pytest.fixture
def path(museum: Path, home: Path) -> Path:
    collect_folder(museum, "t", progress=False)
    return home / "data/t/dialogs.parquet"


def run(writer, **options) -> pd.DataFrame:
    return synthesize("t", writer, progress=False, **options)


def test_fifteen_rows_an_exhibit_five_at_each_temperature(path: Path):
    table = run(OfflineWriter())
    assert len(table) == 75
    for name, own in table.groupby("item_name"):
        assert list(own["pair_index"]) == list(range(15))
        assert list(own["temperature"]) == [t for t in TEMPERATURES for _ in range(5)]
        assert list(own["dialog_id"]) == [f"{name}-{index:02d}" for index in range(15)]
        assert own["answer"].nunique() == 15
    assert set(table["writer"]) == {"offline"} and table["cost_usd"].sum() == 0


def test_the_same_input_and_seed_give_the_same_bytes(path: Path):
    run(OfflineWriter())
    first = path.read_bytes()
    path.unlink()
    run(OfflineWriter())
    assert path.read_bytes() == first
    run(OfflineWriter(), seed=1)
    assert path.read_bytes() != first


def test_what_a_writer_tells_about_its_work_is_kept(path: Path):
    row = run(FakeWriter()).iloc[7]
    assert (row["prompt_tokens"], row["completion_tokens"], row["cost_usd"]) == (10, 20, 0.001)
    assert row["created_at"] == pd.Timestamp("2024-05-06 07:08:09+00:00")
    assert row["response_id"] == "id2" and len(row["prompt_sha256"]) == 64


def test_a_second_run_asks_for_nothing(path: Path):
    first, again = FakeWriter(), FakeWriter()
    table = run(first)
    before = path.read_bytes()
    pd.testing.assert_frame_equal(run(again), table)
    assert len(first.asked) == 15 and again.asked == [] and path.read_bytes() == before


def test_an_exhibit_whose_text_changed_is_asked_again_and_the_others_kept(path: Path, museum: Path):
    run(FakeWriter())
    listed = museum / "exhibits.csv"
    listed.write_text(listed.read_text().replace("The Sela Bowl was made", "The Sela Bowl is made"))
    collect_folder(museum, "t", progress=False)
    writer = FakeWriter()
    assert len(run(writer)) == 75
    assert set(writer.asked) == {"the-sela-bowl"}


def test_another_prompt_asks_about_all(path: Path):
    run(FakeWriter())
    writer = FakeWriter(words="kindly")
    run(writer)
    assert len(writer.asked) == 15


def test_the_work_of_another_writer_is_not_overwritten(path: Path):
    run(FakeWriter())
    before = path.read_bytes()
    with pytest.raises(
        MuseQuestError, match=r"dialogs.parquet holds the work of the writer 'fake'"
    ):
        run(OfflineWriter())
    assert path.read_bytes() == before


def test_after_an_interruption_the_finished_exhibits_are_kept(path: Path):
    with pytest.raises(KeyboardInterrupt):
        run(FakeWriter(fails_at="harbour-bell-of-ost"))
    assert set(pd.read_parquet(path)["item_name"]) == {"the-lantern-of-brod", "the-sela-bowl"}
    writer = FakeWriter()
    assert len(run(writer)) == 75
    assert len(writer.asked) == 9 and "the-sela-bowl" not in writer.asked
    resumed = path.read_bytes()
    path.unlink()
    run(FakeWriter())
    assert path.read_bytes() == resumed


def test_pairs_are_kept_whatever_their_order_and_with_columns_of_others(path: Path):
    table = run(FakeWriter())
    own = table[table["item_name"] != "the-sela-bowl"].assign(mark=range(60))
    write_table("dialogs", path, own.sample(frac=1, random_state=0))
    writer = FakeWriter()
    again = run(writer)
    assert set(writer.asked) == {"the-sela-bowl"}
    pd.testing.assert_frame_equal(again.drop(columns="mark"), table)
    kept = again.dropna(subset="mark")
    assert list(kept["dialog_id"]) == list(own["dialog_id"]) and list(kept["mark"]) == [*range(60)]


def test_a_writer_may_be_asked_about_several_exhibits_at_once(path: Path):
    # Three calls must be under way together, or the barrier breaks.
    together = FakeWriter(concurrency=5, barrier=threading.Barrier(5))
    table = run(together)
    pd.testing.assert_frame_equal(table, run(FakeWriter()))
    assert list(table["item_name"].unique())[0] == "the-lantern-of-brod"


@pytest.mark.parametrize(
    ("spoiled", "flaw"),
    [
        ({"answer": ""}, "the answer is empty"),
        ({"question": " "}, "the question is empty"),
        ({"answer": "too short"}, "the answer has 2 words, not 40 to 300"),
        ({"answer": "word " * 301}, "the answer has 301 words"),
        ({"answer": f"{LONG}<end_of_utterance>"}, "the answer contains the writer's own marker"),
        ({"answer": f"{LONG} <b>bold</b>"}, "the answer contains HTML"),
        ({"answer": LONG}, "an answer came twice"),
        ({"question": "What is the Sela bowl?"}, "the question names the exhibit"),
    ],
)
def test_bad_pairs_leave_their_exhibit_out(
    path: Path, caplog: pytest.LogCaptureFixture, spoiled: dict[str, str], flaw: str
):
    with caplog.at_level(logging.WARNING, logger="musequest"):
        table = run(FakeWriter(spoiled={"the-sela-bowl": spoiled}))
    assert len(table) == 60 and "the-sela-bowl" not in set(table["item_name"])
    (message,) = caplog.messages
    assert "the writer 'fake' on the exhibit 'the-sela-bowl'" in message and flaw in message


def test_too_many_bad_exhibits_stop_the_run_but_good_pairs_are_kept(path: Path):
    bad = dict.fromkeys(("the-sela-bowl", "the-orme-casket"), {"answer": ""})
    with pytest.raises(MuseQuestError, match="2 of 5 exhibits cannot be used"):
        run(FakeWriter(spoiled=bad))
    writer = FakeWriter()
    run(writer)
    assert set(writer.asked) == set(bad)


def test_a_writer_that_gives_too_few_pairs_is_reported(path: Path, caplog):
    class Short(FakeWriter):
        def write(self, exhibit, temperature, n, seed):
            pairs = super().write(exhibit, temperature, n, seed)
            return pairs[:3] if exhibit.item_name == "the-sela-bowl" else pairs

    with caplog.at_level(logging.WARNING, logger="musequest"):
        run(Short())
    assert "3 pairs came where 5 were asked" in caplog.text


def test_without_exhibits_the_remedy_is_named(home: Path):
    with pytest.raises(MuseQuestError, match=r"exhibits.parquet does not exist; run .*collect"):
        run(OfflineWriter())
