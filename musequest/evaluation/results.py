"""Everything that figures and report show of one profile, read back from its files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from ..errors import MuseQuestError
from ..files import read_json
from ..home import results_dir, root, run_dir
from ..json_shapes import Scored
from ..settings import Profile, load_profile
from ..systems.registry import exhibits_path, ordered
from ..tables import read_table
from .answers import Answers, gather
from .costs import RECORDS, costs_of
from .differences import Differences, Summary
from .items import dataset_items, outsider_photos, photos_of

REPORT = "report.html"
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
        """What each system cost (see costs.py), with its embedding distance on the main track."""
        own = self.summary[self.main_track]
        quality = pd.DataFrame([own[name]["embedding_distance"] for name in self.systems])
        seconds = pd.Series([own[name]["seconds"]["mean"] for name in self.systems], dtype=float)
        costs = costs_of(self.profile.name, self.systems).assign(ms=1000 * seconds)
        return costs.join(quality.astype(float))

    @property
    def published_means(self) -> dict[str, float]:
        """system -> published mean embedding distance, where this profile is the published one."""
        published = (self.profile.base_model, self.profile.collection) == PUBLISHED
        return published_means() if published else {}

    @cached_property
    def exhibits(self) -> pd.DataFrame:
        """exhibits.parquet by item_name; empty where the collection has none."""
        path = exhibits_path(self.profile)
        names = self.scores.item_name.unique()
        bare = pd.DataFrame({"item_name": names, "title": names})
        return (read_table("exhibits", path) if path else bare).set_index("item_name", drop=False)

    @cached_property
    def titles(self) -> dict[str, str]:
        """item_name -> title."""
        return {name: title or name for name, title in self.exhibits.title.items()}

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

    def photos(self, edge: int = 96) -> dict[str, Image.Image]:
        """data_id -> photo, its longer side at most `edge` px."""
        return photos_of(self.profile, edge)

    def outsider_photos(self, edge: int = 96) -> dict[str, Image.Image]:
        """data_id -> photo of an outside thing; empty where the set is not the one shown then."""
        answered = [Path(file["path"]) for file in self.record["outsiders"].values()]
        return outsider_photos(self.profile, answered, edge)

    def thumbnails(self, edge: int = 96) -> dict[str, Image.Image]:
        """item_name -> the photo of its first item."""
        photos = self.photos(edge)
        first = self.scores.drop_duplicates("item_name")
        rows = zip(first.item_name, first.data_id, strict=True)
        return {name: photos[data_id] for name, data_id in rows if data_id in photos}

    @cached_property
    def training(self) -> dict[str, pd.DataFrame]:
        """system -> metrics.parquet of its training, for those that were trained."""
        paths = {
            name: run_dir(self.profile.name, name) / "metrics.parquet" for name in self.systems
        }
        return {name: read_table("metrics", path) for name, path in paths.items() if path.is_file()}


def published_means(metric: str = "embedding_distance") -> dict[str, float]:
    """system -> mean of a metric of the published answers, in the same frozen encoder."""
    table = pd.read_csv(root() / RECORDS / "published_scores.csv")
    return dict(zip(table.system, table[metric], strict=True))


def load_results(profile: Profile | str) -> Results:
    """Read results/<profile>/; MuseQuestError if it has not been evaluated."""
    profile = load_profile(profile) if isinstance(profile, str) else profile
    folder = results_dir(profile.name)
    if not (folder / "scoring.json").is_file():
        raise MuseQuestError(
            f"{folder} holds no scores; evaluate the profile '{profile.name}' first (notebook 3.1)."
        )
    return Results(
        profile,
        folder,
        read_table("scores", folder / "scores.parquet"),
        read_json(folder / "summary.json"),
        read_json(folder / "scoring.json", Scored),
    )
