"""A run that is killed: nothing accepted is lost, nothing is paid twice but what was in flight."""

import functools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hosted import run, write_exhibits
from openai_server import OpenAIServer

from musequest.creation.hosted.ledger import Ledger
from musequest.tables import read_table

CONCURRENCY = 3


def start(url: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "musequest", "synthesize", "--collection", "t"]
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
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    time.sleep(3 * server.latency_s)


def paid(home: Path) -> Counter[str]:
    """Responses in the ledger by request; a line cut short is none."""
    found: Counter[str] = Counter()
    for line in (home / "data/t/ledger.jsonl").read_text().splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        if event["event"] == "paid":
            found[event["key"]] += 1
    return found


def prove(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int, count: int):
    """Kill a run `kills` times and compare what comes of it with an uninterrupted run."""
    write_exhibits(home, count)
    rng = random.Random(7)
    with OpenAIServer(latency_s=0.03) as server:
        for _ in range(kills):
            process = start(server.url)
            kill_after(process, server, rng.randint(1, 8))
        kept, lost = paid(home), len(server.traffic.keys) - sum(paid(home).values())
        assert 0 <= lost <= CONCURRENCY * kills  # what was in flight at a kill
        process = start(server.url)
        told = process.communicate(timeout=300)[1].decode()
        assert process.returncode == 0, told
        assert set(paid(home).values()) == {1} and kept.keys() <= paid(home).keys()
        assert len(server.traffic.keys) == 3 * count + lost  # nothing in the ledger is asked again
    interrupted = read_table("dialogs", home / "data/t/dialogs.parquet")
    monkeypatch.setenv("MUSEQUEST_HOME", str(tmp_path / "other"))
    write_exhibits(tmp_path / "other", count)
    with OpenAIServer() as server:
        whole = run(server.url)
    pd.testing.assert_frame_equal(whole, interrupted)


def test_a_killed_run_goes_on_where_it_was(home: Path, tmp_path: Path, monkeypatch):
    prove(home, tmp_path, monkeypatch, kills=2, count=8)


@pytest.mark.slow
def test_thirty_kills_lose_nothing(home: Path, tmp_path: Path, monkeypatch):
    prove(home, tmp_path, monkeypatch, kills=30, count=65)


def test_ctrl_c_waits_for_what_is_under_way_and_keeps_it(home: Path):
    write_exhibits(home, 8)
    with OpenAIServer(latency_s=0.4) as server:
        process = start(server.url)
        wait_for(process, server, 6)
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=60)[1].decode()
        assert process.returncode == 130 and "the same command goes on" in told
        assert sum(paid(home).values()) == len(server.traffic.keys) < 24


def test_what_was_in_flight_at_a_kill_counts_against_the_limit(home: Path):
    write_exhibits(home, 8)
    with OpenAIServer(latency_s=0.5) as server:
        kill_after(start(server.url), server, 3)
    ledger = Ledger(home / "data/t/ledger.jsonl")
    assert ledger.committed_usd - ledger.paid_usd > 2 * 3000 * 0.6 / 1e6
    ledger.close()
