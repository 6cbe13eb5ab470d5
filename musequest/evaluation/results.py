"""Everything that figures and report show of one profile, read back from its files.

Scores and what they were computed from, the items with their photos, and what systems cost:
training minutes, memory, rent, disk, index size, price of answers. Rent is what the run's GPUs cost
an hour (benchmarks/records/gpu_rental.csv, prices the published experiment paid in January 2025)
for as long as it trained.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from ..core.errors import MuseQuestError
from ..core.files import read_json
from ..core.home import results_dir, root, run_dir
from ..core.json_shapes import Scored
from ..core.photos import open_photo
from ..core.settings import Profile, load_profile
from ..core.tables import iterate_table, read_table
from ..creation.split import STRANGER, given, photos_of, split_path
from ..systems.registry import OUTSIDERS, PREDICTIONS, exhibits_path, ordered, record_beside
from .answers import Answers, gather
from .differences import Differences, Summary
from .metrics import METRICS

REPORT = "report.html"
RECORDS = Path("benchmarks/records")
# Base model and collection of the published experiment.
PUBLISHED = ("HuggingFaceM4/idefics2-8b", "smithsonian")


@dataclass(frozen=True)
class Results:
    """The scores of one profile and what they were computed from."""

    profile: Profile
    folder: Path  # results/<profile>
    scores: pd.DataFrame  # scores.parquet
    summary: Summary  # summary.json
    record: dict[str, Any]  # scoring.json

    @property
    def systems(self) -> list[str]:
        """The scored systems, in the order of tables and figures."""
        return ordered(self.record["systems"])

    @property
    def answering(self) -> list[str]:
        """Systems and controls, as they stand side by side in the tables."""
        return [*self.systems, *self.record["controls"]]

    @property
    def main_track(self) -> str:
        """The track that counts: photos never seen in training, where the dataset has any."""
        return "unseen_photo" if "unseen_photo" in self.summary else "all"

    @cached_property
    def facts(self) -> pd.DataFrame:
        """facts.parquet."""
        return read_table("facts", self.folder / "facts.parquet")

    @cached_property
    def differences(self) -> Differences:
        """differences.json."""
        return read_json(self.folder / "differences.json")

    @cached_property
    def costs(self) -> pd.DataFrame:
        """What each system cost (`costs_of`), with its embedding distance on the main track."""
        own = self.summary[self.main_track]
        quality = pd.DataFrame([own[name]["embedding_distance"] for name in self.systems])
        seconds = pd.Series([own[name]["seconds"]["mean"] for name in self.systems], dtype=float)
        costs = costs_of(self.profile.name, self.systems).assign(ms=1000 * seconds)
        return costs.join(quality.astype(float))

    @property
    def published_means(self) -> dict[str, float]:
        """system -> mean embedding distance of its published answers, in the same frozen encoder.

        Empty where this profile is not the published one.
        """
        if (self.profile.base_model, self.profile.collection) != PUBLISHED:
            return {}
        record = read_json(root() / RECORDS / "published_answers.json")
        groups, runs = record["groups"], record["runs"]
        own = {"base": groups["untuned"], "gpt4o": groups["gpt4o"]}
        own |= {"lora": runs["lora_a6000_48g_x1"], "full": runs["full_a100_80g_x1"]}
        return {name: figures["embedding_distance"]["mean"] for name, figures in own.items()}

    @cached_property
    def titles(self) -> dict[str, str]:
        """item_name -> title, or the name where the collection tells of none."""
        if path := exhibits_path(self.profile):
            table = read_table("exhibits", path)
            return {row.item_name: row.title or row.item_name for row in table.itertuples()}
        return {name: name for name in self.scores.item_name.unique()}

    @cached_property
    def answers(self) -> Answers:
        """The answers that were scored, those about outside things with them.

        MuseQuestError if they or the exhibits have changed.
        """
        files = self.record["systems"] | self.record["outsiders"]
        exhibits = exhibits_path(self.profile)
        paths = {name: file["path"] for name, file in files.items()}
        answers = gather(paths, exhibits, dataset_items(self.profile))
        changed = [
            file["path"]
            for name, file in answers.files.items()
            if file["sha256"] != files[name]["sha256"]
        ]
        if answers.exhibits_sha256 != self.record.get("exhibits_sha256"):
            changed.append(exhibits or "exhibits.parquet")
        if changed:
            raise MuseQuestError(
                f"{changed[0]} has changed since it was scored; evaluate the profile "
                f"'{self.profile.name}' again."
            )
        return answers

    def photos(self, edge: int, data_ids: Container[str]) -> Iterator[tuple[str, Image.Image]]:
        """The data_ids of items with their photos in RGB, the longer side at most `edge` px."""
        path = split_path(self.profile.collection, self.profile.evaluation_split)
        for row in iterate_table("dataset", path):
            if row["data_id"] in data_ids:
                name = f"the photo of {row['data_id']} in {path}"
                photo = open_photo(photos_of(row, path)[0], name=name)
                photo.thumbnail((edge, edge))
                yield row["data_id"], photo

    def outsider_photos(self, edge: int) -> dict[str, Image.Image]:
        """data_id -> photo of an outside thing, its longer side at most `edge` px.

        Empty where the profile's set is not there, or is not the one that was shown then.
        """
        from ..systems.conditions import asked_under, outsider_rows, outsiders_folder

        try:
            present = asked_under(OUTSIDERS, self.profile)
            rows = outsider_rows(outsiders_folder(self.profile))
        except MuseQuestError:
            return {}
        answered = [Path(file["path"]) for file in self.record["outsiders"].values()]
        if any(not present.items() <= record_beside(p, "infer.json").items() for p in answered):
            return {}
        for row in rows:
            row["image"].thumbnail((edge, edge))
        return {row["data_id"]: row["image"] for row in rows}

    def thumbnails(self) -> dict[str, Image.Image]:
        """item_name -> the photo of its first item, its longer side at most 96 px."""
        first = self.scores.drop_duplicates("item_name")
        names = dict(zip(first.data_id, first.item_name, strict=True))
        return {names[data_id]: photo for data_id, photo in self.photos(96, names)}

    @cached_property
    def training(self) -> dict[str, pd.DataFrame]:
        """system -> metrics.parquet of its training, for those that were trained."""
        paths = {
            name: run_dir(self.profile.name, name) / "metrics.parquet" for name in self.systems
        }
        return {name: read_table("metrics", path) for name, path in paths.items() if path.is_file()}


def load_results(profile: Profile | str) -> Results:
    """Read results/<profile>/; MuseQuestError if it has not been evaluated."""
    profile = load_profile(profile)
    folder = results_dir(profile.name)
    if not (folder / "scoring.json").is_file():
        raise MuseQuestError(
            f"{folder} holds no scores; evaluate the profile '{profile.name}' first (`python -m "
            "musequest report`, or notebook 3.1)."
        )
    scores = read_table("scores", folder / "scores.parquet")
    newer = [name for name in METRICS if name not in scores]  # than these scores
    return Results(
        profile,
        folder,
        scores.reindex(columns=[*scores.columns, *newer]),
        read_json(folder / "summary.json"),
        read_json(folder / "scoring.json", Scored),
    )


def dataset_items(profile: Profile) -> pd.DataFrame:
    """item_name, ground_truth and track of every item about an exhibit, by its data_id."""
    path = split_path(profile.collection, profile.evaluation_split)
    rows = [
        given(row) | {"track": row["track"] or ""}
        for row in iterate_table("dataset", path)
        if row["item_name"] != STRANGER
    ]
    columns = ["data_id", "item_name", "ground_truth", "track"]
    return pd.DataFrame(rows, columns=columns).set_index("data_id")


def costs_of(profile_name: str, systems: Sequence[str]) -> pd.DataFrame:
    """A row a system: training minutes, peak memory of one device (GiB), rent (USD), disk (GiB),
    index (MiB), price of all answers (USD); NaN for what is not known or does not apply."""
    return pd.DataFrame([_cost(run_dir(profile_name, name) / PREDICTIONS) for name in systems])


def _cost(predictions: Path) -> dict[str, Any]:
    record = record_beside(predictions, "infer.json") | record_beside(predictions, "run.json")
    cost, minutes = record.get("cost", {}), record.get("minutes")
    gpus = record.get("hardware", {}).get("gpus", []) if "minutes" in record else []
    peaks = record.get("peak_memory_gib", {})
    on_gpus = [held for device, held in peaks.items() if device != "cpu"]
    index = cost.get("index_bytes")
    return {
        "approach": predictions.parent.name,
        "hardware": _hardware(gpus) if "minutes" in record else "",
        "minutes": minutes,
        "memory_gib": max(on_gpus or peaks.values(), default=None),
        "usd": rent_usd(gpus, minutes),
        "disk_gib": record.get("disk_gib"),
        "index_mib": None if index is None else index / 2**20,
        "answers_usd": cost.get("usd"),
    }


def published_costs() -> pd.DataFrame:
    """The published runs in the same columns, with their similarity score as `mean`."""
    runs = pd.read_csv(root() / RECORDS / "published_runs.csv")
    runs = runs[runs.training_minutes.notna()]
    gpus = [[row.gpu] * int(row.gpu_count) for row in runs.itertuples()]
    return pd.DataFrame(
        {
            "approach": list(runs.approach),
            "hardware": [_hardware(each) for each in gpus],
            "minutes": list(runs.training_minutes),
            # Published in GB, as the peak at the first step.
            "memory_gib": [gb * 1e9 / 2**30 for gb in runs.peak_vram_gb_step_1],
            "usd": [rent_usd(*each) for each in zip(gpus, runs.training_minutes, strict=True)],
            "mean": list(runs.similarity_score),
            "ci_low": float("nan"),
            "ci_high": float("nan"),
        }
    )


def rent_usd(gpus: Sequence[str], minutes: float | None) -> float | None:
    """What renting these GPUs so long cost; None where there is none, or no price of one.

    The price of an A100 by PCIe is none of one by SXM, nor that of 80 GB one of 40 GB.
    """
    prices = pd.read_csv(root() / RECORDS / "gpu_rental.csv")
    hourly = {_model(row.gpu): row for row in prices.itertuples()}
    usd = 0.0
    for gpu in gpus:
        row, size = hourly.get(_model(gpu)), re.search(r"(\d+) ?GB", gpu)
        if row is None or "SXM" in gpu or (size and int(size[1]) != row.vram_gb):
            return None
        usd += row.usd_per_hour_jan_2025
    return round(usd * minutes / 60, 3) if gpus and minutes is not None else None


def _model(gpu: str) -> str:
    """ "A100" of "NVIDIA A100 80GB PCIe"."""
    found = re.search(r"\b[A-Z]{1,2}\d{2,4}\b", gpu)
    return found[0] if found else gpu


def _hardware(gpus: Sequence[str]) -> str:
    return f"{len(gpus)} × {_model(gpus[0])}" if gpus else "CPU"
