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
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from musequest.core.files import read_json, write_json
from musequest.core.home import root
from musequest.core.photos import save_photo
from musequest.core.tables import write_table
from musequest.creation.augmentation import augment
from musequest.creation.dataset import build_dataset
from musequest.creation.dialogs import TEMPERATURES, synthesize
from musequest.creation.hosted import HostedWriter

sys.path.insert(0, str(root() / "tests/helpers"))
from killed import Custody, kill, pairs_in
from openai_server import OpenAIServer

RECORD = root() / "benchmarks/records/synthesis.json"
SERVER = root() / "tests/helpers/openai_server.py"
MEBIBYTE = 2**20
DATA = "data/benchmark"
# Of the killed runs: slow enough for every moment of a run to be met, fast enough to wait for.
KILLED_LATENCY_S, KILLED_CONCURRENCY = 0.2, 8
OFTEN_SAVED = """
import sys

from musequest.__main__ import main
from musequest.creation import dialogs

dialogs.SAVE_SECONDS = 0.3
sys.exit(main())
"""


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
    """Kill runs at random moments and let them end, again and again, until there were enough kills.

    Each collection that comes of it is compared with that of a run that was left alone.
    """
    rng, moments = random.Random(chosen.kills), Counter[str]()
    with OpenAIServer(latency_s=KILLED_LATENCY_S) as server:
        prepare(whole := folder / "whole", chosen.exhibits)
        begun = time.monotonic()
        start(server, whole).wait()
        life_s, same, kept = time.monotonic() - begun, [], []
        while moments.total() < chosen.kills:
            prepare(home := folder / f"killed-{len(kept)}", chosen.exhibits)
            kept.append(custody := Custody(server, home / DATA))
            left = chosen.kills - moments.total()
            moments += kill_until_done(custody, home, life_s, left, rng)
            same.append(pairs_in(home / DATA) == pairs_in(whole / DATA))
            same.append(fingerprint_of(home) == fingerprint_of(whole))
    calls = chosen.exhibits * len(TEMPERATURES)
    beyond = [each.asked - each.begun - calls - each.in_flight for each in kept]
    return {
        "exhibits": chosen.exhibits,
        "kills": chosen.kills,
        "kills_by_moment": dict(moments),
        "runs_to_the_end": len(kept),
        "concurrency": KILLED_CONCURRENCY,
        "in_flight_at_a_kill": sum(each.in_flight for each in kept),
        "most_in_flight_at_a_kill": max(each.most_in_flight for each in kept),
        "paid_requests_asked_again": sum(each.asked_again for each in kept),
        "paid_twice_beyond_those_in_flight": sum(beyond),
        "responses_lost": sum(each.lost for each in kept),
        "accepted_pairs_lost": sum(each.lost_pairs for each in kept),
        "pairs": len(kept[-1].pairs),
        "same_dialogs_and_dataset": all(same),
    }


def kill_until_done(
    custody: Custody, home: Path, life_s: float, most: int, rng: random.Random
) -> Counter[str]:
    """Start runs and kill each somewhere in a whole run's life, until one ends before that.

    Every third is killed at its first save after that moment. After `most` kills a run is left
    alone. Counts the kills by what they met.
    """
    moments: Counter[str] = Counter()
    server, data = custody.server, home / DATA
    while True:
        before, process = len(server.traffic.keys), start(server, home)
        alone, left_over = moments.total() == most, saves_begun(data)
        lives = outlives(process, 3600 if alone else rng.uniform(0, life_s), lambda: False)
        if saving := rng.random() < 1 / 3:
            lives = outlives(process, 3600, lambda old=left_over: saves_begun(data) > old)
        if not lives:
            if process.returncode:
                raise SystemExit("a run that was not killed failed")
            custody.take()
            return moments
        asked = len(server.traffic.keys) - before
        moments["saving" if saving else "asking" if asked else "starting"] += 1
        kill(process, server)
        custody.take()


def outlives(process: subprocess.Popen[bytes], seconds: float, met: Callable[[], bool]) -> bool:
    """Wait so long, or until something is met; whether the run still goes on then."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline and not met():
        time.sleep(0.001)
    return process.returncode is None


def saves_begun(data: Path) -> int:
    """How many files of dialogs are being written, or were when a run was killed."""
    return len(list(data.glob(".dialogs.*.parquet")))


def prepare(home: Path, count: int) -> None:
    """A collection that has everything but dialogs."""
    write_exhibits(home, count)
    write_photos(home, count)


def start(server: OpenAIServer, home: Path) -> subprocess.Popen[bytes]:
    """A run as typed in a shell, but that it saves as often as it may."""
    arguments = ["synthesize", "--collection", "benchmark", "--writer", "hosted", "--base-url"]
    arguments += [server.url, "--concurrency", str(KILLED_CONCURRENCY)]
    environment = os.environ | {"MUSEQUEST_HOME": str(home)}
    return subprocess.Popen(
        [sys.executable, "-c", OFTEN_SAVED, *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


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
