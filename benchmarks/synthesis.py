"""How fast the hosted writer is, and what a kill costs it.

    python benchmarks/synthesis.py                       65 exhibits, a server with 2 s latency
    python benchmarks/synthesis.py --exhibits 5000       any other number
    python benchmarks/synthesis.py --kills 30            65 exhibits, killed at random moments

The server is the one of the tests, on loopback, so nothing is paid. It answers `--room` calls at
once and refuses more with 429, so it allows room / latency calls a second. One after another, the
calls would take calls x latency seconds; that is computed, not waited for. With `--record` the
figures are written to benchmarks/records/synthesis.json as well.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from musequest.creation.augmentation import augment
from musequest.creation.dataset import build_dataset
from musequest.creation.dialogs import TEMPERATURES, synthesize
from musequest.creation.hosted import HostedWriter
from musequest.files import read_json, write_json
from musequest.home import root
from musequest.photos import save_photo
from musequest.tables import read_table, write_table

sys.path.insert(0, str(root() / "tests"))
from openai_server import OpenAIServer

RECORD = root() / "benchmarks/records/synthesis.json"
SERVER = root() / "tests/openai_server.py"
MEBIBYTE = 2**20
# Of the killed runs: slow enough for every moment of a run to be met, fast enough to wait for.
KILLED_LATENCY_S, KILLED_CONCURRENCY = 1.0, 4
LONGEST_LIFE_S = 3.0  # from the first request of a run to its kill


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
            "photos": [f"originals/piece-{index:05d}/00.jpg"],
            "license": "CC0-1.0",
            "credit": "",
        }
        for index in range(count)
    ]
    write_table("exhibits", folder / "data/benchmark/exhibits.parquet", rows)


def write_photos(folder: Path, count: int) -> None:
    """Write a small photo of noise for each exhibit."""
    for index in range(count):
        noise = np.random.default_rng(index).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        photo = folder / f"data/benchmark/originals/piece-{index:05d}/00.jpg"
        save_photo(Image.fromarray(noise), photo)


def watch_memory(done: threading.Event, peak: list[int]) -> None:
    """Keep the most memory this process ever held, in bytes, in `peak[0]`."""
    process = psutil.Process()
    while not done.wait(0.1):
        peak[0] = max(peak[0], process.memory_info().rss)


def measure(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Write the dialogs of many exhibits, with the server in a process of its own."""
    command = [sys.executable, str(SERVER), "--latency-s", str(chosen.latency_s)]
    command += ["--room", str(chosen.room)]
    write_exhibits(folder, chosen.exhibits)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin and server.stdout
        figures = timed(server.stdout.readline().strip(), chosen)
        server.stdin.close()
        return figures | {"server": json.loads(server.stdout.readline())}


def timed(url: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """The run and its figures."""
    done, peak = threading.Event(), [0]
    threading.Thread(target=watch_memory, args=(done, peak), daemon=True).start()
    writer = HostedWriter(base_url=url, concurrency=chosen.concurrency, max_cost_usd=10_000.0)
    start = time.monotonic()
    table = synthesize("benchmark", writer)
    seconds = time.monotonic() - start
    done.set()
    calls = chosen.exhibits * len(TEMPERATURES)
    together = calls * chosen.latency_s
    return {
        "exhibits": chosen.exhibits,
        "calls": calls,
        "pairs": len(table),
        "latency_s": chosen.latency_s,
        "server_room": chosen.room,
        "concurrency": chosen.concurrency,
        "seconds": round(seconds, 2),
        "seconds_one_after_another": together,
        "times_faster": round(together / seconds, 1),
        "share_of_what_the_server_allows": round(together / chosen.room / seconds, 3),
        "peak_memory_mib": round(peak[0] / MEBIBYTE),
    }


def kill_and_resume(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Kill a run at random moments, let it end, and compare it with one that was left alone."""
    rng = random.Random(chosen.kills)
    count, (killed, whole) = chosen.exhibits, (folder / "killed", folder / "whole")
    for home in (killed, whole):
        write_exhibits(home, count)
        write_photos(home, count)
    accepted: set[str] = set()
    with OpenAIServer(latency_s=KILLED_LATENCY_S) as server:
        for _ in range(chosen.kills):
            kill(server, killed, rng.uniform(0, LONGEST_LIFE_S))
            accepted |= set(pairs_on_disk(killed))
        in_flight = len(server.traffic.keys) - responses(killed)
        last = start(server, killed)
        if last.wait():
            raise SystemExit("the run after the last kill failed")
        asked = len(server.traffic.keys)
        start(server, whole).wait()
    first, second = pairs_on_disk(killed), pairs_on_disk(whole)
    return {
        "exhibits": count,
        "kills": chosen.kills,
        "requests": asked,
        "in_flight_at_a_kill": in_flight,
        "paid_twice_beyond_those": asked - count * len(TEMPERATURES) - in_flight,
        "accepted_pairs_lost": len(accepted - set(first)),
        "pairs": len(first),
        "same_dialogs": first == second,
        "same_dataset_fingerprint": fingerprint_of(killed) == fingerprint_of(whole),
    }


def kill(server: OpenAIServer, home: Path, seconds: float) -> None:
    """Start a run and kill it so many seconds after its first request."""
    before, process = len(server.traffic.keys), start(server, home)
    while len(server.traffic.keys) == before and process.poll() is None:
        time.sleep(0.005)
    time.sleep(seconds)
    if process.poll() is not None:
        raise SystemExit("a run ended before its kill; take more --exhibits")
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1.5 * KILLED_LATENCY_S)  # what was in flight goes nowhere


def start(server: OpenAIServer, home: Path) -> subprocess.Popen[bytes]:
    """A run as typed in a shell."""
    command = [sys.executable, "-m", "musequest", "synthesize", "--collection", "benchmark"]
    command += ["--writer", "hosted", "--base-url", server.url]
    command += ["--concurrency", str(KILLED_CONCURRENCY)]
    environment = os.environ | {"MUSEQUEST_HOME": str(home)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def pairs_on_disk(home: Path) -> dict[str, str]:
    """The pairs that a run has accepted, by dialog_id."""
    path = home / "data/benchmark/dialogs.parquet"
    if not path.is_file():
        return {}
    table = read_table("dialogs", path)
    return dict(zip(table["dialog_id"], table["question"] + "\n" + table["answer"], strict=True))


def responses(home: Path) -> int:
    """How many responses the ledger holds; a line cut short is none."""
    lines = (home / "data/benchmark/ledger.jsonl").read_bytes().splitlines()
    return sum(line.endswith(b"}") and b'"event": "paid"' in line for line in lines)


def fingerprint_of(home: Path) -> str:
    """The fingerprint of the dataset that comes of a run."""
    os.environ["MUSEQUEST_HOME"] = str(home)
    augment("benchmark", processes=1, progress=False)
    return build_dataset("benchmark")["fingerprint"]


def main() -> None:
    """Measure, print the table, keep the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--exhibits", type=int, default=65)
    parser.add_argument("--latency-s", type=float, default=2.0)
    parser.add_argument("--room", type=int, default=64, help="calls at once the server allows")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name}")
    chosen = parser.parse_args()
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MUSEQUEST_HOME"] = folder
        figures = (kill_and_resume if chosen.kills else measure)(chosen, Path(folder))
    figures |= {
        "python": platform.python_version(),
        "cpu_cores": os.cpu_count(),
        "load_average_before": round(busy, 1),  # of other work on the machine
        "date": datetime.now(UTC).date().isoformat(),
    }
    for name, value in figures.items():
        print(f"{name:34} {value}")
    if chosen.record:
        kept = read_json(RECORD) if RECORD.is_file() else {}
        name = f"{chosen.kills} kills" if chosen.kills else f"{chosen.exhibits} exhibits"
        write_json(RECORD, kept | {name: figures})


if __name__ == "__main__":
    main()
