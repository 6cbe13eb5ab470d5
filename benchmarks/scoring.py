"""How fast answers are scored, held against scoring them one by one.

    python benchmarks/scoring.py                   1,000 answers of about 150 words, and 2,000
    python benchmarks/scoring.py --record          and keep it in benchmarks/records/scoring.json

Four made-up systems answer the same questions about 65 exhibits; their answers are scored with all
metrics, the pocket docent's similarity_score and the claims about three facts an exhibit included,
with controls, intervals and differences.

A loop over the answers gives the encoder one text at a time: an answer, its ground truth, and, for
the identity, the references of all exhibits, unless it has kept them. Then it computes all metrics
of the one answer. Both are measured on a few answers and multiplied; such a loop has no controls,
intervals or differences.

Memory grows until the encoder and the base model have met their longest batches, which a few
hundred answers see to (the allocator keeps what they needed); so both numbers lie beyond that.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from musequest.core.files import write_json
from musequest.core.home import root
from musequest.core.settings import load_profile
from musequest.core.tables import write_table
from musequest.evaluation.answers import gather
from musequest.evaluation.base_model import BaseModel
from musequest.evaluation.differences import compare, summarize
from musequest.evaluation.metrics import metrics_of
from musequest.evaluation.scores import compute_scores
from musequest.evaluation.scoring_batch import References, ScoringBatch
from musequest.finetuning.distributed import python
from musequest.finetuning.records import hardware
from musequest.text.encoder import load_encoder

RECORD = root() / "benchmarks/records/scoring.json"
EXHIBITS, SYSTEMS, WORDS, SAMPLE = 65, 4, 150, 12
VOCABULARY = """carved painted harbour village copper silver winter market river guild master weaver
smith lantern boat feast stone timber thread wheel furnace letter captain widow mayor bridge marsh
orchard chapel road hammer kiln oil glass rope bell tower wall garden field water fire salt wool
bread song story hand eye door roof floor""".split()  # noqa: SIM905


def facts_about(exhibit: int) -> dict[str, str]:
    """Property -> value."""
    place = f"Place{chr(65 + exhibit % 26)}orn"
    return {"place": place, "date": f"{1400 + 7 * exhibit}", "height": f"{11 + exhibit} cm"}


def text_about(exhibit: int, rng: random.Random) -> str:
    """About 150 words on an exhibit: its name, place, year and measures among common words."""
    place, year, height = facts_about(exhibit).values()
    facts = f"The Piece of {place}, made in {place} in {year}, is {height} high "
    facts += f"and weighs {exhibit + 2}.5 kg. "
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


def write_exhibits(path: Path) -> Path:
    """exhibits.parquet: a text an exhibit, and the facts that answers are checked against."""
    rows = [
        {
            "item_id": number,
            "item_name": f"piece-{number:03d}",
            "title": f"The Piece of {facts_about(number)['place']}, {number}",
            **dict.fromkeys(("link", "record", "license", "credit"), ""),
            "description": text_about(number, random.Random(number)),
            "photos": ["00.jpg"],
            "facts": json.dumps(facts_about(number)),
        }
        for number in range(EXHIBITS)
    ]
    write_table("exhibits", path, rows)
    return path


def measure(answers: int) -> dict[str, Any]:
    """Score so many answers in this process; seconds, and the most memory it held."""
    load_encoder().encode(["a text, so that loading is not timed"])
    with tempfile.TemporaryDirectory() as folder:
        paths = write_predictions(Path(folder), answers)
        exhibits = write_exhibits(Path(folder) / "exhibits.parquet")
        start = clocks()
        base = BaseModel(load_profile("pocket"), Path(folder) / "similarity.json")
        given = gather(paths, exhibits)
        scores, *_ = compute_scores(given, base)
        summarize(scores, given.tracks)
        compare(scores, given.tracks)
        spent = _spent(clocks() - start)
    return {
        "answers": answers,
        "controls": len(scores) - answers,
        **spent,
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def one_by_one(answers: int) -> dict[str, dict[str, float]]:
    """Way -> seconds and processor seconds that a loop over the answers would take."""
    rng, encoder = random.Random(1), load_encoder()
    truths = [text_about(number, rng) for number in range(EXHIBITS)]
    names = [f"piece-{number:03d}" for number in range(EXHIBITS)]
    references = References.of(names, encoder.encode(truths))
    with tempfile.TemporaryDirectory() as folder:
        base = BaseModel(load_profile("pocket"), Path(folder) / "similarity.json")
        spent = []
        for number, (name, truth) in enumerate(list(zip(names, truths, strict=True))[: SAMPLE + 1]):
            answer = text_about(number, rng)
            start = clocks()
            own, other = encoder.encode([answer]), encoder.encode([truth])
            middle = clocks()
            batch = ScoringBatch(
                [name], [truth], [answer], [truth], other, own, references, encoder, [0.5], base,
                facts=[facts_about(number)],
            )  # fmt: skip
            for metric in metrics_of("all"):
                metric.compute(batch)
            spent.append((middle - start, clocks() - middle))
    encoding, computing = np.mean(spent[1:], axis=0)  # The first loads what the others use.
    ways = {
        "encoding": encoding,
        "encoding_with_every_reference": encoding * (2 + EXHIBITS) / 2,
        "all_metrics": encoding + computing,
        "all_metrics_with_every_reference": encoding * (2 + EXHIBITS) / 2 + computing,
    }
    return {way: _spent(clock * answers) for way, clock in ways.items()}


def clocks() -> np.ndarray:
    """Seconds of the clock on the wall, and those of the processors."""
    return np.array([time.monotonic(), time.process_time()])


def _spent(clock: np.ndarray) -> dict[str, float]:
    return dict(zip(("seconds", "processor_seconds"), clock.round(1).tolist(), strict=True))


def in_own_process(answers: int) -> dict[str, Any]:
    """`measure` in a fresh process, whose peak memory is its own."""
    command = [python(), __file__, "--measure", str(answers)]
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
    few, many = (in_own_process(count) for count in (chosen.answers, 2 * chosen.answers))
    loop = one_by_one(chosen.answers)
    figures = {
        "scored": [few, many],
        "one_by_one": loop,
        "times_faster": {
            way: {clock: round(spent[clock] / few[clock], 1) for clock in spent}
            for way, spent in loop.items()
        },
        "memory_growth_mib": many["peak_memory_mib"] - few["peak_memory_mib"],
        "words_an_answer": WORDS,
        "exhibits": EXHIBITS,
        "python": platform.python_version(),
        "hardware": hardware(),
        "load_of_the_machine": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(figures, indent=2))
    if chosen.record:
        write_json(RECORD, figures)


if __name__ == "__main__":
    main()
