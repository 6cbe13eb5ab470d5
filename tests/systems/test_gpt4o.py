"""GPT-4o by a real server on loopback: what is sent, what is kept, what is paid, and faults."""

import base64
import io
import json
import subprocess
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from killed import kill
from openai_server import OpenAIServer, choice
from PIL import Image
from tiny_dialogs import dialog, sample, stored

from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json
from musequest.core.settings import Profile
from musequest.core.tables import read_table, write_table
from musequest.creation.hosted.ledger import Ledger
from musequest.systems import answer, answer_if_possible
from musequest.systems.hosted import PHOTO_BYTES, PHOTO_EDGE, bounded_jpeg, is_of

ROWS = 12


def write_rows(home: Path, count: int = ROWS) -> None:
    """A dataset whose test photos and questions all differ, and no other split."""
    for split in ("train", "validation", "test"):
        rows = [stored(sample(i, "test")) for i in range(count)] if split == "test" else []
        path = home / f"data/tiny/dataset/data/{split}-00000-of-00001.parquet"
        write_table("dataset", path, rows)


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    write_rows(home)
    with OpenAIServer() as server:
        yield server


PROFILE = Profile("tiny", base_model="none", collection="tiny", image_size=144)


def ask(server: OpenAIServer, profile: Profile = PROFILE, **options):
    settings = {"base_url": server.url, "backoff_s": 0.01, "timeout_s": 20.0} | options
    return answer(profile, "gpt4o", progress=False, **settings)


def paid(home: Path) -> Counter[str]:
    lines = (home / "data/tiny/ledger.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    return Counter(event["key"] for event in events if event["event"] == "paid")


def infer_json(home: Path) -> dict:
    return read_json(home / "runs/tiny/gpt4o/infer.json")


def test_answers_are_kept_as_any_systems(server, home):
    table = ask(server)
    assert table.equals(read_table("predictions", home / "runs/tiny/gpt4o/predictions.parquet"))
    assert table.data_id.tolist() == [f"test-{index:02d}" for index in range(ROWS)]
    assert table.ground_truth[0].startswith("This is the red jug")
    said = zip(table.answer, table.question, strict=True)
    assert all(answer.startswith(f"To '{question}' I say") for answer, question in said)
    assert table.answer.nunique() == ROWS
    assert (table.new_tokens > 0).all() and (table.seconds > 0).all()
    record = infer_json(home)
    assert record["cost"]["usd"] == pytest.approx(table.cost_usd.sum())
    assert (record["model"], record["split"], record["max_tokens"]) == ("gpt-4o", "test", 1000)


def test_what_is_sent_is_photo_question_and_no_more(server):
    ask(server)
    for body in server.traffic.bodies:
        assert (body["model"], body["max_tokens"], body["temperature"]) == ("gpt-4o", 1000, 0.0)
        photo, text = body["messages"][1]["content"]
        assert text["text"] in ("What is this?", "Who made it, and when?")
        head, _, data = photo["image_url"]["url"].partition(",")
        assert head == "data:image/jpeg;base64"
        shown = Image.open(io.BytesIO(base64.b64decode(data)))
        assert shown.format == "JPEG" and max(shown.size) <= PHOTO_EDGE
        assert "jug" not in json.dumps(body) and "1700" not in json.dumps(body)


def test_a_dialogs_earlier_turns_are_sent_with_its_question(server, home):
    turns = json.loads(sample(0)["dialog"])["messages"]
    later = json.loads(dialog("Who made it?", "Nobody knows."))["messages"]
    later[0]["content"] = later[0]["content"][1:]
    row = {**sample(0, "test"), "dialog": json.dumps({"messages": turns + later})}
    write_table(
        "dataset", home / "data/tiny/dataset/data/test-00000-of-00001.parquet", [stored(row)]
    )
    ask(server)
    (body,) = server.traffic.bodies
    said = "Who made it, and when?\nThis is the red jug, made in 1700.\nWho made it?"
    assert body["messages"][1]["content"][1]["text"] == said


def test_a_large_photo_is_made_small_and_a_small_one_is_not_enlarged():
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2200, 3), dtype=np.uint8)
    data = bounded_jpeg(Image.fromarray(noise))
    assert len(data) <= PHOTO_BYTES
    assert Image.open(io.BytesIO(data)).size == (768, 524)
    assert Image.open(io.BytesIO(bounded_jpeg(Image.new("L", (40, 30))))).size == (40, 30)


def test_nothing_is_paid_twice_under_any_profile_of_the_collection(server, home):
    table = ask(server)
    assert ask(server).equals(table)
    (home / "runs/tiny/gpt4o/predictions.parquet").unlink()
    again = ask(server)
    assert again.equals(table)
    other = ask(server, replace(PROFILE, name="other"))
    assert other.answer.equals(table.answer) and (home / "runs/other/gpt4o").is_dir()
    assert len(server.traffic.keys) == ROWS


def test_another_encoder_of_jpeg_is_not_paid_again(server, home, monkeypatch):
    ask(server)
    (home / "runs/tiny/gpt4o/predictions.parquet").unlink()
    monkeypatch.setattr("musequest.systems.hosted.QUALITIES", (60,))
    ask(server)
    assert len(server.traffic.keys) == ROWS


def test_without_a_key_one_line_says_so_and_nothing_is_written(home, monkeypatch, capsys):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    write_rows(home)
    with pytest.raises(MuseQuestError, match="gpt-4o needs a key; set OPENAI_API_KEY"):
        answer(PROFILE, "gpt4o", progress=False)
    assert answer_if_possible(PROFILE, "gpt4o", progress=False) is None
    line = capsys.readouterr().out
    assert line.startswith("gpt4o is not compared: The model gpt-4o needs a key")
    assert line.count("\n") == 1
    assert not (home / "runs").exists() and not (home / "data/tiny/ledger.jsonl").exists()


def test_answers_that_were_paid_need_no_key(server, home, monkeypatch):
    table = ask(server)
    monkeypatch.delenv("OPENAI_API_KEY")
    assert answer(PROFILE, "gpt4o", progress=False).equals(table)


def test_the_estimate_comes_first_and_the_cost_is_shown_while_asking(server, capsys):
    settings = {"base_url": server.url}
    answer(PROFILE, "gpt4o", **settings)
    told = capsys.readouterr().err
    before, _, during = told.partition("asking gpt-4o")
    assert f"{ROWS} calls of gpt-4o: about " in before
    assert "USD at the prices of" in before and "the limit is 1.0 USD" in before
    assert " USD, " in during


@pytest.mark.parametrize("fault", ["limited", "500", "html_503", "reset", "truncated", "cut_json"])
def test_a_fault_is_waited_out_and_each_answer_is_paid_once(server, home, fault):
    server.faults.extend([{}, fault, fault])
    assert len(ask(server)) == ROWS
    assert set(paid(home).values()) == {1} and len(paid(home)) == ROWS


def test_a_hanging_server_is_not_waited_for(server, home):
    server.faults.extend([{}, "hang"])
    assert len(ask(server, timeout_s=0.7)) == ROWS


def test_a_refused_question_is_left_out_and_asked_again_alone(server, home, caplog):
    server.faults.extend([{}, "refused"])
    table = ask(server, concurrency=1)
    assert table.data_id.tolist() == [f"test-{index:02d}" for index in range(ROWS) if index != 1]
    assert infer_json(home)["unanswered"] == 1
    assert "test-01: " in caplog.text and "flagged" in caplog.text
    assert len(ask(server)) == ROWS
    assert "unanswered" not in infer_json(home)
    assert len(server.traffic.keys) == ROWS + 1


def test_too_many_refused_are_an_error_and_keep_what_was_paid(server, home):
    server.faults.extend([{}, "refused", "refused"])
    with pytest.raises(MuseQuestError, match="left 2 of 12 questions unanswered"):
        ask(server, concurrency=1)
    assert not (home / "runs/tiny/gpt4o/predictions.parquet").exists()
    assert len(paid(home)) == ROWS - 2


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("key", "refused the key"),
        ("no_credit", "no credit left"),
        ("model", "has no model 'gpt-4o'"),
    ],
)
def test_a_hopeless_run_ends_after_one_call(server, fault, sentence):
    server.faults.append(fault)
    with pytest.raises(MuseQuestError, match=sentence):
        ask(server)
    assert len(server.traffic.keys) == 1


def test_the_limit_is_never_crossed_and_a_higher_one_goes_on(server, home):
    most = (1000 * 10 + 765 * 2.5) / 1e6
    with pytest.raises(MuseQuestError, match="limit of 0.015 USD is reached"):
        ask(server, max_cost_usd=0.015, concurrency=1)
    ledger = Ledger(home / "data/tiny/ledger.jsonl")
    assert 0 < ledger.committed_usd <= 0.015 < ledger.committed_usd + most + 0.001
    ledger.close()
    before = len(server.traffic.keys)
    assert 0 < before < ROWS
    assert len(ask(server)) == ROWS and len(server.traffic.keys) == ROWS


@pytest.mark.parametrize("served", ["llama-3.2-vision", "gpt-4o", ""])
def test_another_model_may_not_stand_in(server, home, served):
    server.faults.append({"model": served})
    with pytest.raises(MuseQuestError, match=f"answers as the model '{served}'.*nothing may stand"):
        ask(server)
    assert not (home / "runs/tiny").exists()
    with OpenAIServer() as right:
        assert len(ask(right)) == ROWS


@pytest.mark.parametrize(
    ("served", "same"),
    [
        ("gpt-4o-2024-08-06", True),
        ("openai/gpt-4o-2024-11-20", True),
        ("gpt-4o", False),
        ("gpt-4o-audio-preview-2024-12-17", False),
        ("gpt-4o-mini", False),
        ("gpt-4o-mini-2024-07-18", False),
        ("my-gpt-4o", False),
        ("llama", False),
    ],
)
def test_a_dated_name_is_the_same_model_and_a_smaller_one_is_not(served, same):
    assert is_of("gpt-4o", served) == same


@pytest.mark.parametrize(
    ("given", "answer_kept", "problem"),
    [
        (choice(None, refusal="I cannot say."), "I cannot say.", None),
        (choice("It is a", "length"), "It is a", "does not end"),
        (choice(None, "content_filter"), "", "is empty"),
        (choice("half \ud800 of it"), "half ? of it", None),
        (choice("<think>A jug?</think>\n\nIt is a jug."), "It is a jug.", None),
        (choice([{"type": "text", "text": "It is"}, {"text": " a jug."}]), "It is a jug.", None),
        (choice("<script>alert(1)</script>"), "<script>alert(1)</script>", None),
    ],
)
def test_strange_answers_are_answers_and_are_told(server, home, given, answer_kept, problem):
    server.faults.append({"choices": [given]})
    table = ask(server, concurrency=1)
    assert table.answer[0] == answer_kept and len(table) == ROWS
    problems = infer_json(home)["problems"]
    assert problems == [] if problem is None else problem in problems[0]


@pytest.mark.parametrize(
    ("useless", "told"),
    [
        ({"choices": []}, "5 replies in a row .*the reply was empty"),
        ({"choices": [choice("<think>Hm.")]}, "5 replies in a row .*<think>Hm"),
        ({"choices": [], "error": {"message": "Dry."}, "usage": None}, "gives no answer .*Dry"),
    ],
)
def test_a_server_whose_answers_are_of_no_use_is_left_after_a_few(server, home, useless, told):
    server.faults.extend([useless] * 60)
    with pytest.raises(MuseQuestError, match=told):
        ask(server)
    assert len(server.traffic.keys) <= 6


def test_a_model_without_max_tokens_and_temperature_is_asked_without(server, home, caplog):
    server.untaken = {"max_tokens": "max_completion_tokens", "temperature": None}
    assert len(ask(server)) == ROWS and server.traffic.statuses.count(400) == 2
    assert server.traffic.bodies[-1]["max_completion_tokens"] == 1000
    assert "does not take temperature" in caplog.text


def test_a_redirect_is_not_followed(server, home):
    server.faults.extend(["redirect"] * 60)
    with pytest.raises(MuseQuestError, match="redirects to"):
        ask(server)
    assert len(server.traffic.keys) == 1


def test_a_condition_would_cost_and_is_refused(server):
    with pytest.raises(MuseQuestError, match="asked about the test photos alone"):
        answer(PROFILE, "gpt4o", "blank_photo", base_url=server.url, progress=False)
    assert not server.traffic.keys


def test_an_unreachable_server_is_one_sentence(home, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    write_rows(home)
    with OpenAIServer() as gone:
        url = gone.url
    with pytest.raises(MuseQuestError, match="gives no answer"):
        answer(PROFILE, "gpt4o", base_url=url, backoff_s=0.01, progress=False)


def test_a_killed_run_pays_nothing_twice(forks, server, home, tmp_path):
    profile = tmp_path / "tiny.yaml"
    profile.write_text("base_model: none\ncollection: tiny\nimage_size: 144\n")
    command = [forks.python, "-m", "musequest", "infer", "--profile", str(profile)]
    command += ["--approach", "gpt4o", "--base-url", server.url, "--concurrency", "2"]
    server.latency_s = 0.1
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(server.traffic.keys) < 5 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    kill(process, server)
    kept = paid(home)
    lost = len(server.traffic.keys) - sum(kept.values())
    assert 0 < len(kept) < ROWS and 0 <= lost <= 2
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "12 questions are answered by 'gpt4o'" in done.stdout
    assert set(paid(home).values()) == {1} and kept.keys() <= paid(home).keys()
    assert len(server.traffic.keys) == ROWS + lost
