"""The ledger and the disk: what is on it when, and what a disk that is slow or full costs."""

import resource
import time
from pathlib import Path

import pytest
from hosted import run, write_exhibits
from openai_server import OpenAIServer

from musequest.creation.hosted.ledger import Ledger


@pytest.fixture
def flushes(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int]]:
    """Make the disk slow; when each of its flushes ended, and how much of the ledger it held."""
    done, flush = [], Ledger.flush

    def slowly(ledger: Ledger) -> None:
        size = ledger.path.stat().st_size
        flush(ledger)
        time.sleep(0.1)
        done.append((time.monotonic(), size))

    monkeypatch.setattr(Ledger, "flush", slowly)
    return done


def test_calls_share_flushes_and_leave_none_out(home: Path, flushes):
    write_exhibits(home, 20)
    with OpenAIServer(latency_s=0.1) as server:
        assert len(run(server.url, concurrency=16)) == 300
    assert len(flushes) < 60  # of 60 calls, each with a beginning and an end
    text = (home / "data/t/ledger.jsonl").read_bytes()
    for number, arrived in enumerate(server.traffic.moments):
        flushed = max(size for ended, size in flushes if ended <= arrived)
        assert text[:flushed].count(b'"event": "sent"') > number


def test_a_response_is_found_once_it_is_on_the_disk(home: Path):
    ledger = Ledger(home / "ledger.jsonl")
    ledger.add("paid", call=ledger.sent("key", 0.1), key="key", response={"cost_usd": 0.05})
    assert ledger.find("key") is None and ledger.committed_usd == pytest.approx(0.05)
    ledger.flush()
    assert ledger.find("key") == {"cost_usd": 0.05}
    ledger.close()


def test_a_line_that_did_not_fit_takes_no_later_one_along(home: Path):
    path = home / "ledger.jsonl"
    ledger = Ledger(path)
    call = ledger.sent("key", 0.1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, hard))
    try:
        with pytest.raises(OSError, match="did not fit"):
            ledger.add("paid", call=call, key="key", response={"cost_usd": 0.05})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    ledger.add("paid", call=call, key="key", response={"cost_usd": 0.05})
    ledger.close()
    again = Ledger(path)
    assert again.find("key") == {"cost_usd": 0.05}
    again.close()
