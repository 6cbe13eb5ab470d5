"""What a training step takes on a processor, alone and beside other programs, by how threads wait.

    python benchmarks/busy_machine.py             some minutes; let nothing else run
    python benchmarks/busy_machine.py --record    and keep it, in benchmarks/records/

The step is the pocket docent's: eight rows forward and backward. Beside it run as many endless
loops as there are cores. Each way to wait is measured in processes of its own, in turn, and again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from measurement import Measurement

from musequest.core.home import WAITING

STEPS, WARM_UP = 8, 2
ROUNDS = {"alone": 5, "beside": 2}
WAYS = {
    "spinning": {},  # what OpenMP does unless told otherwise
    "sleeping": {"OMP_WAIT_POLICY": "PASSIVE"},
    "chosen": WAITING,
    "one_thread": {"OMP_NUM_THREADS": "1"},
}
LOOP = [sys.executable, "-c", "while True: pass"]


def measure() -> float:
    """Seconds of a step, the median of several."""
    import torch
    from PIL import Image

    from musequest.core.settings import load_profile
    from musequest.finetuning.models import load_model, load_processor

    profile = load_profile("pocket")
    processor, model = load_processor(profile), load_model(profile).train()
    text = f"User:<image>What is this?<end_of_utterance>\nAssistant:{'a blue vase of clay ' * 20}"
    photos = [[Image.new("RGB", (128, 96), (20 * row, 90, 120))] for row in range(8)]
    batch = processor(text=[text] * 8, images=photos, return_tensors="pt", padding=True)
    seconds = []
    for _ in range(WARM_UP + STEPS):
        start = time.perf_counter()
        model(**batch, labels=batch["input_ids"]).loss.backward()
        model.zero_grad()
        seconds.append(time.perf_counter() - start)
    assert torch.isfinite(next(model.parameters())).all()
    return statistics.median(seconds[WARM_UP:])


@contextmanager
def busy() -> Iterator[None]:
    """An endless loop for each core, while it lasts."""
    loops = [subprocess.Popen(LOOP) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def in_own_process(way: str) -> float:
    """`measure` where threads wait that way."""
    others = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
    # An empty setting of OpenMP is none, but keeps the package from choosing.
    told = {"KMP_BLOCKTIME": "", **others, **WAYS[way]}
    command = [sys.executable, __file__, "--measure"]
    done = subprocess.run(command, env=told, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def rounds(count: int) -> dict[str, list[float]]:
    """Seconds of a step for each way to wait, round by round."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(count):
        for way, seconds in found.items():
            seconds.append(in_own_process(way))
    return found


def middle(values: Iterable[float]) -> float:
    """Their median."""
    return round(statistics.median(values), 3)


def times(seconds: list[float], others: list[float]) -> float:
    """How many times as long as others, within a round, for a machine's speed varies."""
    return middle(own / other for own, other in zip(seconds, others, strict=True))


def main() -> None:
    """Measure, print, and keep the record."""
    measurement = Measurement(__doc__, "busy_machine")
    parser = measurement.parser
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        print(measure())
        return
    alone = rounds(ROUNDS["alone"])
    with busy():
        beside = rounds(ROUNDS["beside"])
    figures = {
        "settings": WAYS,
        "seconds_a_step_alone": {way: middle(alone[way]) for way in WAYS},
        "seconds_a_step_beside_busy_loops": {way: middle(beside[way]) for way in WAYS},
        "times_spinning_alone": {way: times(alone[way], alone["spinning"]) for way in WAYS},
        "times_as_long_when_busy": {
            way: round(middle(beside[way]) / middle(alone[way]), 2) for way in WAYS
        },
        "rounds": ROUNDS,
    }
    measurement.tell(figures, chosen.record)


if __name__ == "__main__":
    main()
