"""How fast the hosted writer is, held against the same calls one after another.

    python benchmarks/synthesis.py                       65 exhibits, a server with 2 s latency
    python benchmarks/synthesis.py --exhibits 5000       any other number

The server is the one of the tests, in a process of its own on loopback, so nothing is paid. One
after another, the calls would take calls x latency seconds; that is computed, not waited for. With
`--record` the figures are written to benchmarks/records/synthesis.json as well.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from musequest.creation.dialogs import TEMPERATURES, synthesize
from musequest.creation.hosted import HostedWriter
from musequest.files import read_json, write_json
from musequest.home import root
from musequest.tables import write_table

RECORD = root() / "benchmarks/records/synthesis.json"
MEBIBYTE = 2**20


def write_exhibits(folder: Path, count: int) -> None:
    """Write data/benchmark/exhibits.parquet with `count` exhibits of about 300 words each."""
    filler = "The workshop kept its drawings, and a later owner gave the piece to the museum. " * 20
    rows = [
        {
            "item_id": index,
            "item_name": f"piece-{index:05d}",
            "title": f"Piece of {index:05d}",
            "link": "",
            "record": "",
            "description": f"It was made of copper in {1500 + index % 400}. {filler}",
            "photos": [],
            "license": "CC0-1.0",
            "credit": "",
            "facts": None,
        }
        for index in range(count)
    ]
    write_table("exhibits", folder / "data/benchmark/exhibits.parquet", rows)


def watch_memory(done: threading.Event, peak: list[int]) -> None:
    """Keep the most memory this process ever held, in bytes, in `peak[0]`."""
    process = psutil.Process()
    while not done.wait(0.1):
        peak[0] = max(peak[0], process.memory_info().rss)


def measure(url: str, count: int, latency_s: float, concurrency: int) -> dict[str, Any]:
    """Write the dialogs of `count` exhibits and return the figures."""
    done, peak = threading.Event(), [0]
    threading.Thread(target=watch_memory, args=(done, peak), daemon=True).start()
    writer = HostedWriter(base_url=url, concurrency=concurrency, max_cost_usd=10_000.0)
    start = time.monotonic()
    table = synthesize("benchmark", writer)
    seconds = time.monotonic() - start
    done.set()
    calls = count * len(TEMPERATURES)
    return {
        "exhibits": count,
        "calls": calls,
        "pairs": len(table),
        "latency_s": latency_s,
        "concurrency": concurrency,
        "seconds": round(seconds, 2),
        "seconds_one_after_another": calls * latency_s,
        "times_faster": round(calls * latency_s / seconds, 1),
        "share_of_what_the_server_allows": round(calls * latency_s / concurrency / seconds, 3),
        "peak_memory_mib": round(peak[0] / MEBIBYTE),
        "python": platform.python_version(),
        "cpu_cores": os.cpu_count(),
    }


def main() -> None:
    """Start the server, measure, print the table, keep the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--exhibits", type=int, default=65)
    parser.add_argument("--latency-s", type=float, default=2.0)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name}")
    chosen = parser.parse_args()
    command = [sys.executable, str(root() / "tests/openai_server.py")]
    command += ["--latency-s", str(chosen.latency_s)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server,
    ):
        os.environ["MUSEQUEST_HOME"] = folder
        assert server.stdin and server.stdout
        url = server.stdout.readline().strip()
        write_exhibits(Path(folder), chosen.exhibits)
        figures = measure(url, chosen.exhibits, chosen.latency_s, chosen.concurrency)
        server.stdin.close()
        figures |= {"server": json.loads(server.stdout.readline())}
    for name, value in figures.items():
        print(f"{name:34} {value}")
    if chosen.record:
        kept = read_json(RECORD) if RECORD.is_file() else {}
        write_json(RECORD, kept | {f"{chosen.exhibits} exhibits": figures})


if __name__ == "__main__":
    main()
