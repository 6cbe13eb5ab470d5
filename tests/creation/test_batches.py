"""Batches against a real server: submit, leave, come back, collect; whatever goes wrong between."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from batch_server import BatchServer
from hosted import NAMES, write_exhibits
from hosted import run as run_one_by_one

from musequest.core.errors import MuseQuestError
from musequest.creation.dialogs import synthesize
from musequest.creation.hosted import BatchWriter
from musequest.creation.hosted.ledger import Ledger


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    write_exhibits(home)
    with BatchServer() as server:
        yield server


def run(server: BatchServer, **options):
    return synthesize("t", BatchWriter(base_url=server.url, **options), progress=False)


def events(home: Path, kind: str) -> list[dict]:
    lines = (home / "data/t/ledger.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def let_pass(home: Path, minutes: int) -> None:
    """Write into the ledger that all was sent so many minutes earlier."""
    path, then = home / "data/t/ledger.jsonl", datetime.now(UTC) - timedelta(minutes=minutes)
    lines = [json.loads(line) | {"at": then.isoformat()} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def handed_over(server: BatchServer) -> Counter[str]:
    return Counter(name for batch in server.submitted for name in batch)


def test_submit_leave_come_back_collect(server, home: Path, capsys):
    assert len(run(server)) == 0
    assert "Batch batch_0 is handed over: 15 requests" in capsys.readouterr().err
    assert len(run(server)) == 0 and len(server.batches) == 1
    assert "batch_0 is in_progress, 0 of 15 answered" in capsys.readouterr().err
    server.end = "completed"
    table = run(server)
    assert "batch_0 has completed: 15 of 15 answered" in capsys.readouterr().err
    assert len(table) == 75 and len(run(server)) == 75
    assert set(handed_over(server).values()) == {1} and not server.traffic.bodies
    paid = sum(event["response"]["cost_usd"] for event in events(home, "paid"))
    assert table["cost_usd"].sum() == pytest.approx(paid)


def test_a_batch_asks_the_same_gives_the_same_and_costs_half(server, home: Path):
    run(server)
    server.end = "completed"
    table = run(server)
    sent = [json.loads(line) for line in server.files["file-0"].splitlines()]
    (home / "data/t/dialogs.parquet").unlink()
    (home / "data/t/ledger.jsonl").unlink()
    whole = run_one_by_one(server.url)
    bodies = [json.dumps(line["body"], sort_keys=True) for line in sent]
    assert sorted(bodies) == sorted(json.dumps(b, sort_keys=True) for b in server.traffic.bodies)
    assert table.drop(columns="cost_usd").equals(whole.drop(columns="cost_usd"))
    assert (2 * table["cost_usd"]).tolist() == pytest.approx(whole["cost_usd"].tolist())


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_what_a_batch_got_done_is_kept_and_the_rest_handed_over_again(server, home: Path, end):
    run(server)
    server.end, server.share = end, 0.4
    assert len(run(server)) == 30  # the six answered requests are those of two exhibits
    server.share = 1.0
    assert len(run(server)) == 75
    counts = handed_over(server)
    assert len(counts) == 15 and sum(counts.values()) == 15 + 9
    assert len(events(home, "paid")) == 15 and len(events(home, "free")) == 9


def test_a_batch_that_fails_costs_nothing_and_says_why(server, home: Path, capsys):
    run(server)
    server.end = "failed"
    assert len(run(server)) == 0
    assert "has failed: 0 of 15 answered. The first without: Enqueued token limit" in (
        capsys.readouterr().err
    )
    ledger = Ledger(home / "data/t/ledger.jsonl")
    assert ledger.paid_usd == 0 and len(ledger.batches) == 1  # handed over again
    ledger.close()


def test_what_is_not_accepted_goes_with_the_next_batch_three_times_at_most(server, caplog):
    server.spoil[NAMES[0]] = {"answer": "Too short."}
    run(server)
    server.end = "completed"
    assert [len(run(server)) for _ in range(5)] == [60] * 5
    assert [len(batch) for batch in server.submitted] == [15, 3, 3, 3]
    file = server.batches["batch_3"]["input_file_id"]
    last = [json.loads(line) for line in server.files[file].splitlines()]
    assert all("the answer has 2 words" in line["body"]["messages"][2]["content"] for line in last)
    assert "'piece-0000' at temperature 0.4: the answer has 2 words" in caplog.text


def test_one_refused_request_costs_its_exhibit_alone(server, capsys):
    server.refused = {NAMES[1]}
    run(server)
    server.end = "completed"
    assert len(run(server)) == 60
    assert "12 of 15 answered. The first without:" in capsys.readouterr().err


def test_the_limit_holds_for_what_is_handed_over(server, home: Path, capsys):
    run(server, max_cost_usd=0.006)
    taken = len(server.submitted[0])
    assert 0 < taken < 15 and f"lets {taken} of 15 requests go" in capsys.readouterr().err
    ledger = Ledger(home / "data/t/ledger.jsonl")
    assert 0.004 < ledger.committed_usd <= 0.006
    ledger.close()
    server.end = "completed"
    run(server)
    assert len(run(server)) == 75 and sum(handed_over(server).values()) == 15
    with pytest.raises(MuseQuestError, match="USD lets 0 of 3 requests go"):
        write_exhibits(home, 6)
        run(server, max_cost_usd=0.0001)


@pytest.mark.parametrize("fault", ["reset", "500", "hang"])
def test_a_batch_whose_answer_is_lost_is_found_again(server, home: Path, fault: str):
    server.faults.append(f"after:batches:{fault}")
    with pytest.raises(MuseQuestError, match="run the same command again"):
        run(server, timeout_s=0.7 if fault == "hang" else 20.0)
    assert len(server.batches) == 1
    server.end = "completed"
    assert len(run(server)) == 75 and len(server.batches) == 1


@pytest.mark.parametrize("fault", ["reset", "408", "cut_json"])
@pytest.mark.parametrize("hours", [-2, 2])
@pytest.mark.parametrize("nameless", [False, True])
def test_a_batch_is_found_whatever_the_clocks_say(
    server, home: Path, fault: str, hours: float, nameless: bool
):
    server.ahead_s, server.nameless = 3600 * hours, nameless
    server.faults.append(f"after:batches:{fault}")
    with pytest.raises(MuseQuestError, match="run the same command again"):
        run(server)
    assert len(server.batches) == 1
    for number in range(130):  # of other programs, on more than one page
        other = {"id": f"other_{number}", "input_file_id": "file-x", "metadata": None}
        server.batches[other["id"]] = server.batches["batch_0"] | other | {
            "status": "completed", "created_at": server.now() + 60,
        }  # fmt: skip
    server.end = "completed"
    assert len(run(server)) == 75 and len(server.submitted) == 1


def test_a_clock_that_is_put_right_makes_no_second_batch(server, home: Path, capsys):
    server.faults.append("after:batches:reset")
    with pytest.raises(MuseQuestError, match="is not known"):
        run(server)
    server.unlisted = True
    let_pass(home, minutes=120)  # by the clock of this machine alone
    assert len(run(server)) == 0 and "not known yet" in capsys.readouterr().err
    server.unlisted, server.end = False, "completed"
    assert len(run(server)) == 75 and len(server.submitted) == 1


def test_a_batch_that_was_never_made_is_handed_over_by_the_next_run(server, home: Path, capsys):
    server.faults.extend(["limited", "after:batches:reset"])  # the upload waits, then
    with pytest.raises(MuseQuestError, match="is not known"):
        run(server)
    server.batches.clear()
    run(server)
    assert not server.batches and "not known yet; come back 15 minutes" in capsys.readouterr().err
    server.ahead_s += 16 * 60
    run(server)
    assert len(server.batches) == 1 and len(events(home, "free")) == 15


def test_a_server_that_tells_no_time_is_looked_at_after_a_while(server, home: Path):
    server.faults.append("after:batches:reset")
    with pytest.raises(MuseQuestError, match="is not known"):
        run(server)
    server.batches.clear()
    path = home / "data/t/ledger.jsonl"  # as a ledger of an earlier release tells it
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    keep = [{k: v for k, v in line.items() if k not in ("file", "uploaded_at")} for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in keep))
    run(server)
    assert not server.batches
    let_pass(home, minutes=16)
    run(server)
    assert len(server.batches) == 1


def test_a_redirect_hands_nothing_over(server, home: Path):
    server.faults.append("redirect")
    with pytest.raises(MuseQuestError, match="redirects to .*--base-url"):
        run(server)
    assert not server.submitted and (home / "data/t/ledger.jsonl").read_text() == ""
    server.end = "completed"
    assert len(run(server)) == 0 and len(run(server)) == 75 and len(server.submitted) == 1


def test_a_batch_of_a_model_that_takes_not_all_parameters_goes_without(server, home: Path, capsys):
    server.untaken = {"max_tokens": "max_completion_tokens", "temperature": None}
    run(server)
    server.end = "completed"
    tables = [run(server) for _ in range(3)]
    assert len(tables[-1]) == 75 and tables[-1]["temperature"].isna().all()
    assert [len(batch) for batch in server.submitted] == [15, 15, 15]
    told = capsys.readouterr().err
    assert "does not take max_tokens (" in told and "does not take temperature (" in told
    assert len(events(home, "paid")) == 15 and len(events(home, "free")) == 30


def test_a_batch_whose_responses_are_of_no_use_is_not_followed_by_another(server, home: Path):
    server.changes = {"choices": [], "error": {"message": "The pool is dry."}}
    run(server)
    server.end = "completed"
    for _ in range(2):
        with pytest.raises(MuseQuestError, match="None of 15 replies .*The pool is dry"):
            run(server)
    assert len(server.submitted) == 1 and len(events(home, "paid")) == 15


def test_a_batch_that_is_listed_late_is_not_handed_over_twice(server, home: Path):
    server.faults.append("after:batches:reset")
    with pytest.raises(MuseQuestError, match="is not known"):
        run(server)
    server.unlisted = True
    assert len(run(server)) == 0 and len(server.batches) == 1
    server.unlisted, server.end = False, "completed"
    assert len(run(server)) == 75 and len(server.batches) == 1


def test_a_batch_is_looked_for_at_the_server_that_has_it(server, home: Path):
    run(server)
    with BatchServer() as other, pytest.raises(MuseQuestError, match="handed over to .*--base-url"):
        run(other)
    assert not other.traffic.bodies and not other.batches


def test_a_response_without_choices_is_paid_and_asked_for_anew(server, home: Path):
    server.emptied = {NAMES[0]}
    run(server)
    server.end = "completed"
    assert len(run(server)) == 60
    ledger = Ledger(home / "data/t/ledger.jsonl")
    assert len(ledger.batches) == 1 and len(events(home, "paid")) == 15
    assert all(event["response"]["cost_usd"] > 0 for event in events(home, "paid"))
    ledger.close()
    server.emptied.clear()
    assert len(run(server)) == 75


def test_what_is_refused_goes_again_three_times_at_most(server, caplog):
    server.refused = {NAMES[1]}
    run(server)
    server.end = "completed"
    assert [len(run(server)) for _ in range(5)] == [60] * 5
    assert [len(batch) for batch in server.submitted] == [15, 3, 3, 3]
    assert "'piece-0001' at temperature 0.4: the server refused it" in caplog.text
    assert "The prompt was flagged" in caplog.text
    assert set(handed_over(server).values()) == {1}


def test_a_batch_too_large_is_halved_until_it_is_taken(server, capsys):
    server.most = 4
    for _ in range(4):
        run(server)
    assert [len(batch) for batch in server.submitted] == [15, 7, 3]
    assert "no more at once than about 3 requests; 12 wait" in capsys.readouterr().err
    server.end = "completed"
    assert [len(run(server)) for _ in range(5)][-1] == 75
    assert [len(batch) for batch in server.submitted] == [15, 7, 3, 3, 3, 3, 3]


@pytest.mark.parametrize("fault", ["500", "html_503", "limited", "reset", "truncated"])
def test_faults_on_the_way_are_waited_out(server, fault: str):
    server.faults.append(fault)
    run(server)
    server.end = "completed"
    server.faults.append(fault)
    assert len(run(server)) == 75 and set(handed_over(server).values()) == {1}


def test_results_cut_short_are_fetched_again(server):
    run(server)
    server.end = "completed"
    server.faults.append("after:content:short")
    with pytest.raises(MuseQuestError, match="came cut short"):
        run(server)
    assert len(run(server)) == 75 and set(handed_over(server).values()) == {1}


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [("key", "refused the key .*; check OPENAI_API_KEY"), ("model", "run without --batch")],
)
def test_a_hopeless_batch_is_one_sentence_and_costs_nothing(server, home: Path, fault, sentence):
    server.faults.append(fault)
    with pytest.raises(MuseQuestError, match=sentence):
        run(server)
    assert not server.batches and (home / "data/t/ledger.jsonl").read_text() == ""


def test_a_web_page_in_the_place_of_a_batch_is_one_sentence(server, home: Path):
    server.faults.append("after:batches:page")
    with pytest.raises(MuseQuestError, match="is not known .*tells no id: '<html>"):
        run(server)
    server.faults.append("page")
    with pytest.raises(MuseQuestError, match="v1/batches is not there"):
        run(server)
    assert len(run(server)) == 0
    server.faults.append("page")
    with pytest.raises(MuseQuestError, match="v1/batches/batch_0 is not there"):
        run(server)
    server.end = "completed"
    assert len(run(server)) == 75 and len(server.submitted) == 1


def test_one_by_one_waits_for_the_batch(server):
    run(server)
    with pytest.raises(MuseQuestError, match="tells of a batch under way"):
        run_one_by_one(server.url)
    assert not server.traffic.bodies


def test_a_large_list_goes_in_several_batches(server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("musequest.creation.hosted.batches.MOST_REQUESTS", 7)
    run(server)
    assert [len(batch) for batch in server.submitted] == [7, 7, 1]
    server.end = "completed"
    assert len(run(server)) == 75


def test_a_kill_at_any_moment_hands_nothing_over_twice(forks, server, home: Path):
    command = [forks.python, "-m", "musequest", "synthesize", "--collection", "t", "--writer"]
    command += ["hosted", "--batch", "--base-url", server.url]
    server.faults.append("after:batches:hang")  # the batch exists, its answer is still to come
    process = subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 240
    while not server.batches and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    server.end = "completed"
    assert len(run(server)) == 75
    assert len(server.batches) == 1 and len(events(home, "paid")) == 15


def test_a_batch_under_way_survives_in_the_ledger(home: Path):
    ledger = Ledger(home / "ledger.jsonl")
    calls = [{"key": key, "most_usd": 0.1, "settings": {}} for key in "ab"]
    for call in calls:
        ledger.sent(**call, batch="name", base_url="http://127.0.0.1:1/v1/")
    ledger.add("accepted", batch="name", id="batch_1")
    ledger.close()
    again = Ledger(home / "ledger.jsonl")
    assert again.batches["name"].id == "batch_1" and set(again.batches["name"].calls) == {"a", "b"}
    again.add("free", call=again.batches["name"].calls["a"]["call"], reason="expired")
    assert set(again.batches["name"].calls) == {"b"} and again.committed_usd == pytest.approx(0.1)
    again.close()
