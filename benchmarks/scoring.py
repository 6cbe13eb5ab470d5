"""How fast answers are scored, held against encoding them one by one.

    python benchmarks/scoring.py                   1,000 answers of about 150 words, and 250
    python benchmarks/scoring.py --record          and keep it in benchmarks/records/scoring.json

Four made-up systems answer the same questions about 65 exhibits; their answers are scored with all
metrics, the pocket docent's similarity_score included, with controls, intervals and differences.
A loop over the answers would give the encoder one text at a time: an answer, its ground truth, and,
for the identity, the references of all exhibits. That is measured on a few answers and multiplied.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from musequest.evaluation.answers import gather
from musequest.evaluation.base_model import BaseModel
from musequest.evaluation.differences import compare
from musequest.evaluation.encoder import load_encoder
from musequest.evaluation.scoring import compute_scores, summarize
from musequest.files import write_json
from musequest.home import root
from musequest.settings import load_profile
from musequest.tables import write_table

RECORD = root() / "benchmarks/records/scoring.json"
EXHIBITS, SYSTEMS, WORDS, SAMPLE = 65, 4, 150, 12
VOCABULARY = """carved painted harbour village copper silver winter market river guild master weaver
smith lantern boat feast stone timber thread wheel furnace letter captain widow mayor bridge marsh
orchard chapel road hammer kiln oil glass rope bell tower wall garden field water fire salt wool
bread song story hand eye door roof floor""".split()  # noqa: SIM905


def text_about(exhibit: int, rng: random.Random) -> str:
    """About 150 words on an exhibit: its name, place, year and measures among common words."""
    facts = f"The Piece of Place{chr(65 + exhibit % 26)}orn, made in {1400 + 7 * exhibit}, is "
    facts += f"{11 + exhibit} cm high and weighs {exhibit + 2}.5 kg. "
    words = rng.choices(VOCABULARY, k=WORDS - 15)
    lines = [" ".join(words[i : i + 12]).capitalize() + "." for i in range(0, len(words), 12)]
    return facts + " ".join(lines)


def write_predictions(folder: Path, answers: int) -> dict[str, Path]:
    """predictions.parquet of each system; every system answers the same questions."""
    rng, paths = random.Random(0), {}
    items = answers // SYSTEMS
    truths = [text_about(item % EXHIBITS, rng) for item in range(items)]
    for name in (f"system-{number}" for number in range(SYSTEMS)):
        rows = [
            {
                "data_id": f"{item:06d}",
                "item_name": f"piece-{item % EXHIBITS:03d}",
                "image_name": "00.jpg",
                "question": "What is this?",
                "ground_truth": truths[item],
                "answer": text_about((item + rng.randrange(2)) % EXHIBITS, rng),
                "new_tokens": 200,
                "seconds": 0.5,
            }
            for item in range(items)
        ]
        paths[name] = folder / f"{name}.parquet"
        write_table("predictions", paths[name], rows)
    return paths


def measure(answers: int) -> dict[str, Any]:
    """Score so many answers in this process; seconds, and the most memory it held."""
    load_encoder().encode(["a text, so that loading is not timed"])
    with tempfile.TemporaryDirectory() as folder:
        paths = write_predictions(Path(folder), answers)
        wall, processor = time.monotonic(), time.process_time()
        base = BaseModel(load_profile("pocket"), Path(folder) / "similarity.json")
        given = gather(paths)
        scores, _ = compute_scores(given, base)
        summarize(scores, given.tracks)
        compare(scores, given.tracks)
        seconds = time.monotonic() - wall, time.process_time() - processor
    return {
        "answers": answers,
        "controls": len(scores) - answers,
        "seconds": round(seconds[0], 1),
        "processor_seconds": round(seconds[1], 1),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def one_by_one(answers: int) -> dict[str, float]:
    """Processor seconds that a loop over the answers would spend on encoding alone."""
    rng, encoder = random.Random(1), load_encoder()
    encoder.encode(["a text, so that loading is not timed"])
    start = time.process_time()
    for number in range(SAMPLE):
        encoder.encode([text_about(number, rng)])
    each = (time.process_time() - start) / SAMPLE
    return {
        "seconds_a_text_alone": round(each, 4),
        "answer_and_ground_truth": round(each * 2 * answers, 1),
        "and_every_reference": round(each * (2 + EXHIBITS) * answers, 1),
    }


def in_own_process(answers: int) -> dict[str, Any]:
    """`measure` in a fresh process, whose peak memory is its own."""
    command = [sys.executable, __file__, "--measure", str(answers)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure, print, and keep the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--answers", type=int, default=1000)
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name}")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        print(json.dumps(measure(chosen.measure)))
        return
    few, many = (in_own_process(count) for count in (chosen.answers // 4, chosen.answers))
    loop = one_by_one(chosen.answers)
    spent = many["processor_seconds"]
    figures = {
        "scored": [few, many],
        "one_by_one_processor_seconds": loop,
        "times_faster_than_answer_and_ground_truth": round(
            loop["answer_and_ground_truth"] / spent, 1
        ),
        "times_faster_than_every_reference": round(loop["and_every_reference"] / spent, 1),
        "memory_growth_mib": many["peak_memory_mib"] - few["peak_memory_mib"],
        "words_an_answer": WORDS,
        "exhibits": EXHIBITS,
        "python": platform.python_version(),
        "cpu_cores": len(os.sched_getaffinity(0)),
        "load_of_the_machine": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(figures, indent=2))
    if chosen.record:
        write_json(RECORD, figures)


if __name__ == "__main__":
    main()
