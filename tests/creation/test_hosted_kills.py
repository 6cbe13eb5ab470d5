"""A run that is killed: nothing accepted is lost, nothing is paid twice but what was in flight."""

import functools
import random
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from hosted import run, write_exhibits
from killed import Custody, kill, paid_in
from openai_server import OpenAIServer

from musequest.core.tables import read_table, write_table
from musequest.creation.hosted.ledger import Ledger

CONCURRENCY = 3


def start(python: str, url: str) -> subprocess.Popen:
    command = [python, "-m", "musequest", "synthesize", "--collection", "t"]
    command += ["--writer", "hosted", "--base-url", url, "--concurrency", str(CONCURRENCY)]
    # A shell's background job ignores Ctrl-C, and so would what it starts.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, **quiet, preexec_fn=heed)


def wait_for(process: subprocess.Popen, server: OpenAIServer, requests: int) -> None:
    """Wait until the process sent so many requests more, or ended."""
    goal, deadline = len(server.traffic.keys) + requests, time.monotonic() + 120
    while len(server.traffic.keys) < goal and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def kill_after(process: subprocess.Popen, server: OpenAIServer, requests: int) -> None:
    """Kill the process once it sent so many requests, and let their answers go nowhere."""
    wait_for(process, server, requests)
    kill(process, server)


def prove(
    python: str,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kills: int,
    count: int,
):
    """Kill a run `kills` times and compare what comes of it with an uninterrupted run."""
    write_exhibits(home, count)
    rng = random.Random(7)
    with OpenAIServer(latency_s=0.03) as server:
        custody = Custody(server, home / "data/t")
        for _ in range(kills):
            kill_after(start(python, server.url), server, rng.randint(1, 8))
            custody.take()
        process = start(python, server.url)
        told = process.communicate(timeout=300)[1].decode()
        assert process.returncode == 0, told
        custody.take()
    assert custody.lost == custody.lost_pairs == custody.asked_again == 0
    assert custody.most_in_flight <= CONCURRENCY
    assert custody.asked == 3 * count + custody.in_flight  # nothing in the ledger is asked again
    interrupted = read_table("dialogs", home / "data/t/dialogs.parquet")
    monkeypatch.setenv("MUSEQUEST_HOME", str(tmp_path / "other"))
    write_exhibits(tmp_path / "other", count)
    with OpenAIServer() as server:
        whole = run(server.url)
    pd.testing.assert_frame_equal(whole, interrupted)


def test_a_killed_run_goes_on_where_it_was(forks, home: Path, tmp_path: Path, monkeypatch):
    prove(forks.python, home, tmp_path, monkeypatch, kills=2, count=8)


@pytest.mark.slow
def test_thirty_kills_lose_nothing(forks, home: Path, tmp_path: Path, monkeypatch):
    prove(forks.python, home, tmp_path, monkeypatch, kills=30, count=65)


def test_ctrl_c_waits_for_what_is_under_way_and_keeps_it(forks, home: Path):
    write_exhibits(home, 8)
    with OpenAIServer(latency_s=0.4) as server:
        process = start(forks.python, server.url)
        wait_for(process, server, 6)
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=60)[1].decode()
        assert process.returncode == 130 and "the same command goes on" in told
        paid = paid_in(home / "data/t/ledger.jsonl")
        assert len(paid) == len(server.traffic.keys) < 24


def test_what_was_in_flight_at_a_kill_counts_against_the_limit(forks, home: Path):
    write_exhibits(home, 8)
    with OpenAIServer(latency_s=0.5) as server:
        kill_after(start(forks.python, server.url), server, 3)
    ledger = Ledger(home / "data/t/ledger.jsonl")
    assert ledger.committed_usd - ledger.paid_usd > 2 * 3000 * 0.6 / 1e6
    ledger.close()


def test_what_goes_missing_or_is_asked_again_is_seen(home: Path):
    write_exhibits(home, 2)
    with OpenAIServer() as server:
        custody = Custody(server, home / "data/t")
        run(server.url)
        custody.take()
        path = home / "data/t/dialogs.parquet"
        write_table("dialogs", path, read_table("dialogs", path).iloc[:15])
        lines = (home / "data/t/ledger.jsonl").read_text().splitlines()
        (home / "data/t/ledger.jsonl").write_text("\n".join(lines[:-1]) + "\n")
        custody.take()
        assert custody.lost == 1 and custody.lost_pairs == 15
        path.unlink()
        (home / "data/t/ledger.jsonl").unlink()
        run(server.url)
        custody.take()
        assert custody.asked_again == 5
