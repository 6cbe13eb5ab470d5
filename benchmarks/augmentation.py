"""How many augmented copies of photos stage 1 makes a second.

    python benchmarks/augmentation.py             two minutes
    python benchmarks/augmentation.py --record    and keep it in benchmarks/records/

Each exhibit has one photo, of noise softened to what a camera's photo takes as JPEG, and so gets 14
copies. They are made by one process and by as many as there are cores, in turn, and again; a ratio
is taken within a round.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measurement import Measurement
from PIL import Image
from synthesis import write_exhibits

from musequest.core.photos import save_photo
from musequest.creation.augmentation import augment, pipeline

COLLECTION = "benchmark"


def write_photos(folder: Path, count: int, photo_px: int) -> None:
    """Write a photo for each exhibit."""
    for number in range(count):
        coarse = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        photo = Image.fromarray(coarse).resize((photo_px, photo_px), Image.Resampling.BICUBIC)
        save_photo(photo, folder / f"data/{COLLECTION}/originals/piece-{number:05d}/00.jpg")


def timed(folder: Path, processes: int) -> dict[str, Any]:
    """Make all copies anew."""
    made = folder / "data" / COLLECTION
    shutil.rmtree(made / "augmented", ignore_errors=True)
    (made / "photos.parquet").unlink(missing_ok=True)
    start = time.monotonic()
    table = augment(COLLECTION, processes=processes, progress=False)
    seconds, copies = time.monotonic() - start, int(table["augmented"].sum())
    return {
        "processes": processes,
        "copies": copies,
        "seconds": round(seconds, 2),
        "photos_per_second": round(copies / seconds, 1),
    }


def main() -> None:
    """Measure, print, and keep the record."""
    measurement = Measurement(__doc__, "augmentation")
    parser = measurement.parser
    parser.add_argument("--exhibits", type=int, default=65)
    parser.add_argument("--photo-px", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["MUSEQUEST_HOME"] = temporary
        write_exhibits(Path(temporary), chosen.exhibits)
        write_photos(Path(temporary), chosen.exhibits, chosen.photo_px)
        pipeline(0)  # imports what takes seconds
        runs = [
            {"round": number, **timed(Path(temporary), processes)}
            for number in range(chosen.rounds)
            for processes in dict.fromkeys((1, cores))
        ]

    def middle(processes: int) -> float:
        own = [run["photos_per_second"] for run in runs if run["processes"] == processes]
        return round(statistics.median(own), 1)

    pairs = zip(runs[::2], runs[1::2], strict=False) if cores > 1 else []
    faster = [many["photos_per_second"] / one["photos_per_second"] for one, many in pairs]
    figures = {
        "photo_px": chosen.photo_px,
        "runs": runs,
        "photos_per_second": {str(count): middle(count) for count in dict.fromkeys((1, cores))},
        "times_one_process": round(statistics.median(faster), 2) if faster else None,
    }
    measurement.tell(figures, chosen.record)


if __name__ == "__main__":
    main()
