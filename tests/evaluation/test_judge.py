"""A judge by a real server on loopback: both orders, what is kept, and beside whom it is shown."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai_server import OpenAIServer
from scored_museum import answered_museum
from test_raters import labels_of

from musequest.core.errors import MuseQuestError
from musequest.core.settings import Profile
from musequest.evaluation.judge import judge, verdict_in
from musequest.evaluation.raters import ERRORS, annotate, read_labels
from musequest.evaluation.scoring import evaluate

NO = dict.fromkeys(ERRORS, "no")
ROWS = 6


def verdict(content: str) -> str:
    """Finds numbers that the texts lack, and calls every name wrong if the answer comes first."""
    told = json.loads(re.search(r"\{.*\}", content, re.DOTALL)[0])
    known = re.findall(r"\d+", " ".join(told["museum_texts"]))
    invented = set(re.findall(r"\d+", told["answer"])) - {*known}
    said = NO | {"number": "yes" if invented else "no"}
    return json.dumps(said | {"name": "no" if next(iter(told)) == "museum_texts" else "yes"})


@pytest.fixture(scope="module")
def museum(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Profile, Path]]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSEQUEST_HOME", str(home))
        patch.setenv("OPENAI_API_KEY", "sk-test")
        profile = answered_museum(home)
        evaluate(profile)
        yield profile, annotate(profile, rows=ROWS, seed=1)


def judged(server: OpenAIServer, profile: Profile, wrap=verdict) -> dict[str, int]:
    server.wrap = wrap
    return judge(profile, "gpt-4o-mini", base_url=server.url, backoff_s=0.01, timeout_s=20)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_judge_reads_both_orders_and_stands_beside_two_raters(museum, tmp_path: Path):
    profile, folder = museum
    raters = [labels_of(folder, name, {}, tmp_path / f"{name}.csv") for name in ("Ann", "Bob")]
    assert "judge" not in read_labels(profile, raters)
    with OpenAIServer() as server:
        counts = judged(server, profile)
        assert counts == {"labels": 3 * ROWS, "undecided": ROWS, "without_verdict": 0}
        assert judged(server, profile) == counts
        assert len(server.traffic.bodies) == 2 * ROWS  # nothing is paid twice
    for body in server.traffic.bodies:
        photo, text = body["messages"][1]["content"]
        assert photo["image_url"]["url"].startswith("data:image/jpeg;base64,")
        assert not re.search(r"\blora\b|\bbase\b", text["text"])
    labels = rows_of(folder / "judge.csv")
    assert {row["name"] for row in labels} == {""} and {row["exhibit"] for row in labels} == {"no"}
    invented = {n for n, row in enumerate(labels, 1) if row["number"] == "yes"}
    assert 0 < len(invented) < ROWS

    told = read_labels(profile, raters)["judge"]
    assert told["model"] == "gpt-4o-mini"
    assert told["errors"]["number"]["compared"] == ROWS and told["errors"]["name"]["compared"] == 0
    assert told["errors"]["number"]["precision"] == 0  # the raters found none of them
    rates = [told["errors"]["number"][f"rate_{name}"] for name in ("base", "lora")]
    assert sum(rates) * ROWS / 2 == pytest.approx(len(invented), abs=1e-3)
    alike = [
        labels_of(folder, name, {"number": invented}, tmp_path / f"{name}.csv")
        for name in ("Ann", "Bob")
    ]
    number = read_labels(profile, alike)["judge"]["errors"]["number"]
    assert (number["kappa"], number["precision"], number["recall"]) == (1, 1, 1)


@pytest.mark.parametrize(
    "reply",
    [
        "I cannot say.",
        "[]",
        '{"exhibit": "no", "number": "maybe", "name": "no", "property": "no"}',
        '{"exhibit": "no", "number": "no", "name": "no"}',
        '{"exhibit": "no", ',
    ],
)
def test_a_reply_that_says_neither_is_a_sentence(reply: str):
    with pytest.raises(MuseQuestError, match="gave no verdict|neither yes nor no to"):
        verdict_in(reply)


def test_verdicts_are_read_in_fences_among_words_and_as_booleans():
    reply = '```json\n{"exhibit": true, "number": "No", "name": " yes ", "property": false}\n```'
    assert verdict_in(f"Here it is:\n{reply}\nDone.") == {
        "exhibit": True, "number": False, "name": True, "property": False,
    }  # fmt: skip


def test_a_judge_that_never_gives_a_verdict_stops_early_and_keeps_what_was_paid(museum, caplog):
    profile, folder = museum
    other = folder.rename(folder.with_name("kept"))
    try:
        annotate(profile, rows=ROWS, seed=9)
        with OpenAIServer() as server, pytest.raises(MuseQuestError, match="could not be used"):
            judged(server, profile, lambda content: "Hard to say.")
        assert not (folder / "judge.csv").exists()
        assert 5 <= len(server.traffic.bodies) <= 2 * ROWS
    finally:
        folder.rename(folder.with_name("other"))
        other.rename(folder)


def test_what_is_missing_is_told_before_anything_is_paid(museum, monkeypatch):
    profile, folder = museum
    with pytest.raises(MuseQuestError, match="The price of the model 'nobody' is not known"):
        judge(profile, "nobody")
    key = (folder / "key.json").rename(folder / "away.json")
    with pytest.raises(MuseQuestError, match="write a sheet by `musequest annotate` first"):
        judge(profile, "gpt-4o-mini")
    key.rename(folder / "key.json")
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(MuseQuestError, match="OPENAI_API_KEY"):
        judge(profile, "gpt-4o-mini")
