"""Augmentation: every exhibit gets 15 photos, altered copies filling up where real ones end.

The copies follow the split rule, so a test photo is never altered into a training photo unless it
is the exhibit's only one. Each copy depends on seed, exhibit and slot alone, whatever the number
of processes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from ..core.errors import MuseQuestError
from ..core.files import (
    check_digests,
    clear_temporaries,
    file_digest,
    holds_collection,
    json_lines,
    parse_json,
)
from ..core.home import collection_dir
from ..core.photos import open_photo, save_photo
from ..core.tables import read_table, write_table
from .exhibits import Exhibit, load_exhibits

# Changes when `pipeline` does, so that copies made by an older one are made again.
RECIPE = 1
# Below this number of copies for each, a further process takes longer to start than it saves.
COPIES_A_PROCESS = 400
AHEAD = 4  # copies handed to each process; all at once would take memory
# In data/<collection>/, a line for each copy as it is made, until photos.parquet tells of all.
PROGRESS = ".augmented.jsonl"


@dataclass(frozen=True)
class Copy:
    """One augmented copy to be made."""

    parent: Path
    target: Path
    seed: str

    def origin(self) -> dict[str, Any]:
        """Return what the copy depends on besides the library."""
        return {"recipe": RECIPE, "seed": self.seed, "parent_sha256": file_digest(self.parent)}


@holds_collection
def augment(
    collection: str, *, seed: int = 0, processes: int | None = None, progress: bool = True
) -> pd.DataFrame:
    """Write data/<collection>/photos.parquet and the copies augmented/<item_name>/<slot>.jpg.

    `processes` is the number of processes at most, as many as there are cores if None. Copies on
    disk are kept, after a kill too, where each is the very file that was made of the same parent
    with the same seed. A photo that was not collected as it is, or cannot be opened, raises
    MuseQuestError. Returns the lineage, 15 rows an exhibit.
    """
    folder = collection_dir(collection)
    exhibits = load_exhibits(collection)
    clear_temporaries(folder / "augmented")
    for exhibit in exhibits:
        check_originals(exhibit, folder)
    rows = [row for exhibit in exhibits for row in lineage(exhibit)]
    jobs = _missing(rows, folder, seed)
    try:
        with (folder / PROGRESS).open("a", encoding="utf-8", newline="\n") as noted:
            if noted.tell():
                print(file=noted)  # ends a line that a kill cut short
            for index, transform in _made(jobs, processes, progress):
                rows[index]["transform"] = transform
                line = {"path": rows[index]["path"], "transform": transform}
                print(json.dumps(line), file=noted, flush=True)
    finally:
        done = [row for row in rows if row["transform"] or not row["augmented"]]
        write_table("photos", folder / "photos.parquet", done)
    (folder / PROGRESS).unlink()
    return read_table("photos", folder / "photos.parquet")


def check_originals(exhibit: Exhibit, folder: Path) -> None:
    """Raise MuseQuestError unless an exhibit's photos are the files that were collected."""
    if exhibit.photo_digests:  # collections of older versions have none
        recorded = dict(zip(exhibit.photos, exhibit.photo_digests, strict=True))
        remedy = f"mend the museum's photos of '{exhibit.item_name}' and run collect again"
        check_digests(folder, recorded, remedy)


def check_copy(path: Path, transform: str) -> None:
    """Raise MuseQuestError unless a copy is the file whose making its transform tells.

    Those of older versions tell how it was made, not what came out.
    """
    told, found = _told(transform), file_digest(path)
    older = "recipe" in told and "sha256" not in told
    if found is None or not (older or told.get("sha256") == found):
        flaw = "is absent" if found is None else "is not the copy that photos.parquet tells of"
        raise MuseQuestError(f"{path} {flaw}; run `python -m musequest augment` again.")


def pipeline(seed: int) -> Any:
    """Return the Albumentations pipeline, for photos of shape (height, width, 3) uint8.

    Flip, light, rotation up to 30 degrees or shift-scale-rotate, light blur. Borders are
    reflected, so that no black corners come up.
    """
    # Imported here, since it takes seconds and a collection that is complete needs none of it.
    import albumentations as A
    import cv2

    cv2.setNumThreads(1)
    mirror = cv2.BORDER_REFLECT_101
    turn = A.Rotate((-30, 30), border_mode=mirror, p=1)
    shift_scale_rotate = A.Affine(
        scale=(0.88, 1.12), translate_percent=(-0.06, 0.06), rotate=(-30, 30), keep_ratio=True,
        border_mode=mirror, p=1,
    )  # fmt: skip
    return A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.RandomBrightnessContrast((-0.2, 0.2), (-0.2, 0.2), p=0.8),
            A.OneOf([turn, shift_scale_rotate], p=1),
            A.Blur((3, 3), p=0.25),
        ],
        seed=seed,
        save_applied_params=True,
    )


def lineage(exhibit: Exhibit) -> list[dict[str, Any]]:
    """The exhibit's 15 rows of photos.parquet, those of copies without their transform."""
    name, rows = exhibit.item_name, []
    for slot in exhibit.slots():
        copy = f"augmented/{name}/{slot.slot:02d}.jpg"
        row = {
            "item_name": name,
            "slot": slot.slot,
            "image_name": f"{name}-{slot.slot:02d}.jpg",
            "path": copy if slot.augmented else exhibit.photos[slot.photo],
            "source_photo": f"{name}-{slot.parent:02d}.jpg",
            "augmented": slot.augmented,
            "transform": "",
        }
        rows.append(row)
    return rows


def _missing(rows: list[dict[str, Any]], folder: Path, seed: int) -> dict[int, Copy]:
    """The copies to be made, by row; rows whose copy is on disk get their transform."""
    known = _on_disk(folder)
    paths = {row["image_name"]: folder / row["path"] for row in rows if not row["augmented"]}
    jobs = {}
    for index, row in enumerate(rows):
        if row["augmented"]:
            key = f"{seed}/{row['item_name']}/{row['slot']}"
            copy = Copy(paths[row["source_photo"]], folder / row["path"], key)
            # How the copy would be made now, and that the file on disk is what was made.
            expected = copy.origin() | {"sha256": file_digest(copy.target)}
            told = known.get(row["path"], [])
            made = [each for each in told if expected.items() <= _told(each).items()]
            if made:
                row["transform"] = made[-1]
            else:
                jobs[index] = copy
    return jobs


def _on_disk(folder: Path) -> dict[str, list[str]]:
    """The transforms that are on record for a copy's path, of earlier runs first."""
    known: dict[str, list[str]] = {}
    if (path := folder / "photos.parquet").is_file():
        table = read_table("photos", path)
        for name, applied in zip(table["path"], table["transform"], strict=True):
            known.setdefault(name, []).append(applied)
    if (path := folder / PROGRESS).is_file():
        for told in json_lines(path.read_bytes()):  # the last may be cut short by a kill
            known.setdefault(str(told.get("path")), []).append(str(told.get("transform")))
    return known


def _told(transform: str) -> dict[str, Any]:
    """What a transform tells; nothing where it is none."""
    try:
        return parse_json(transform or "{}", dict[str, Any])
    except (ValueError, TypeError):
        return {}


def _made(
    jobs: dict[int, Copy], processes: int | None, progress: bool
) -> Iterator[tuple[int, str]]:
    """Make the copies, and give each one's number and transform as it is done."""
    count = max(1, processes or os.cpu_count() or 1)
    if processes is None:
        count = min(count, math.ceil(len(jobs) / COPIES_A_PROCESS))
    bar = tqdm(total=len(jobs), desc="Augmenting", unit="photo", disable=not progress or not jobs)
    with bar:
        if count <= 1:
            for index, copy in jobs.items():
                yield index, make_copy(copy)
                bar.update()
            return
        # Spawned, since a forked process may hang where the parent has threads, as notebooks do.
        context = multiprocessing.get_context("spawn")
        # Ctrl-C is for this process alone, which ends the others in order.
        ignored = (signal.SIGINT, signal.SIG_IGN)
        with ProcessPoolExecutor(count, context, signal.signal, ignored) as pool:
            begun = ((pool.submit(make_copy, copy), index) for index, copy in jobs.items())
            running = dict(itertools.islice(begun, AHEAD * count))
            try:
                while running:
                    for job in wait(running, return_when=FIRST_COMPLETED).done:
                        yield running.pop(job), job.result()
                        bar.update()
                        running |= itertools.islice(begun, 1)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def make_copy(copy: Copy) -> str:
    """Make one augmented copy; return its transform as JSON, for photos.parquet."""
    origin = copy.origin()
    number = int.from_bytes(hashlib.sha256(copy.seed.encode()).digest()[:4], "big")
    result = pipeline(number)(image=np.asarray(open_photo(copy.parent)))
    save_photo(Image.fromarray(result["image"]), copy.target)
    steps = [_step(name, values) for name, values in result["applied_transforms"]]
    return json.dumps({**origin, "sha256": file_digest(copy.target), "steps": steps})


def _step(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """What a transform did, in the numbers that a reader can follow."""
    step: dict[str, Any] = {"transform": name}
    if (matrix := values.get("matrix")) is not None:
        step["degrees"] = round(math.degrees(math.atan2(matrix[1][0], matrix[0][0])), 2)
        step["scale"] = round(math.hypot(matrix[0][0], matrix[1][0]), 3)
    if "alpha" in values:
        step["contrast"] = round(float(values["alpha"]), 3)
        step["brightness"] = round(float(values["beta"]), 1)
    if "kernel" in values:
        step["kernel_px"] = int(values["kernel"])
    return step
