"""The gate: whether a photo shows an exhibit at all, asked before an answer is given.

    gate = open_gate(profile)
    gate.recognise([photo])[0].item_name    None: it is near to no exhibit, nothing is to be claimed

A photo is as near to an exhibit as to the nearest of its training photos (`photo_index`). Distances
are Mahalanobis distances by the covariance within exhibits (Lee et al. 2018, "A Simple Unified
Framework for Detecting Out-of-Distribution Samples"), shrunk as Ledoit and Wolf (2004) say, of the
features' principal components that hold 95 % of their variance: what differs between photos of one
exhibit, such as view and light, counts little, and what never does counts much. The likeness is
exp(-d² / 4k) of distance d and k components: 1 for the very photo, 0.61 for photos as far apart as
two of one exhibit are on average, 0 far away.

The threshold is the split-conformal quantile of the validation photos' likenesses (Papadopoulos et
al. 2002; Angelopoulos and Bates 2023): of n photos the k-th lowest, k = WRONG_REFUSALS (n + 1)
rounded down and 1 at least. Of further photos of exhibits that were taken like these, k / (n + 1)
at most are refused wrongly, on average over such validation photos; it holds for any measure, and
needs no model of strangers. That rate and all that was calibrated on stand in gate.json beside the
index; a gate of another model, dataset or measure is made anew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pandas as pd
from PIL import Image
from scipy.spatial.distance import cdist
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA

from ..core.errors import MuseQuestError
from ..core.files import hold, read_remade, write_json
from ..core.home import run_dir
from ..core.json_shapes import Calibration, Verdicts
from ..core.predictions import System
from ..core.settings import Profile
from ..creation.review import withheld
from ..creation.split import STRANGER, exhibit_rows, load_split
from ..finetuning.generation import ModelSystem
from ..finetuning.vision_store import unkept
from .conditions import OUTSIDERS, asked_under, rows_under
from .photo_index import photo_features
from .retrieval import Retrieval

WRONG_REFUSALS = 0.05  # photos of exhibits that may be taken for none
VARIANCE = 0.95  # of the features that is looked at
NEAREST = 3  # exhibits that are offered
MEASURE = f"within-exhibit Mahalanobis distance, {VARIANCE} of the variance"


@dataclass(frozen=True)
class Recognition:
    """What a photo shows, as far as the training photos tell."""

    item_name: str | None  # None: near to no exhibit, nothing is to be claimed
    confidence: float  # likeness of the nearest exhibit, 0 to 1
    threshold: float  # below it item_name is None
    nearest: tuple[tuple[str, float], ...]  # up to three exhibits and their likeness, best first


class Measure:
    """How near photos are to exhibits, learned from (n, bands, width) features of n photos."""

    def __init__(self, features: np.ndarray, item_names: np.ndarray) -> None:
        flat = features.reshape(len(features), -1).astype(np.float64)
        self.item_names, owner = np.unique(item_names.astype(str), return_inverse=True)
        means = np.zeros((len(self.item_names), flat.shape[1]))
        np.add.at(means, owner, flat)
        means /= np.bincount(owner)[:, None]
        if np.allclose(flat, means[owner], rtol=0, atol=1e-6 * max(1.0, float(np.abs(flat).max()))):
            raise MuseQuestError(
                "The gate learns from exhibits with two different training photos how photos of "
                "one exhibit differ, and the collection has none; add photos, then run augment "
                "and dataset again."
            )
        self.components = PCA(VARIANCE, svd_solver="full").fit(flat)
        reduced = self.components.transform(flat)
        within = reduced - self.components.transform(means)[owner]
        precision = LedoitWolf(assume_centered=True).fit(within).precision_
        self.whiten = np.linalg.cholesky(precision)
        by_exhibit = np.argsort(owner, kind="stable")
        self.known = (reduced @ self.whiten)[by_exhibit]
        self.first = np.searchsorted(owner[by_exhibit], np.arange(len(self.item_names)))

    def likeness(self, features: np.ndarray) -> np.ndarray:
        """(m, bands, width) features -> (m, exhibits) likenesses, in the order of item_names."""
        flat = features.reshape(len(features), -1).astype(np.float64)
        seen = self.components.transform(flat) @ self.whiten
        squares = cdist(seen, self.known, "sqeuclidean")
        nearest = np.minimum.reduceat(squares, self.first, axis=1)  # of each exhibit's photos
        return np.exp(-nearest / (4 * seen.shape[1]))


class Gate:
    """Recognises the exhibits of one profile; keeps model and index.

    A `docent` whose run left the vision model as it was lends its own: memory holds one model.
    """

    def __init__(self, profile: Profile, docent: System | None = None) -> None:
        self.profile, self.finder = profile, Retrieval(profile)
        if isinstance(docent, ModelSystem) and docent.profile == profile and docent.sees_as_base:
            self.finder.model = docent.model
        self.folder = run_dir(profile.name, "retrieval")
        index = self.finder.index
        self.measure = Measure(index.photo_vectors, index.item_names)
        self.calibration = self._calibration()

    def recognise(self, photos: Sequence[Image.Image]) -> list[Recognition]:
        """What each photo shows, but nothing that a curator withheld, as of now.

        Nothing of the photos is written: they are a visitor's.
        """
        hidden = withheld(self.profile.collection)
        with unkept():
            found = self._recognise(photos)
        return [
            replace(
                each,
                item_name=None if each.item_name in hidden else each.item_name,
                nearest=tuple(own for own in each.nearest if own[0] not in hidden),
            )
            for each in found
        ]

    def verdicts(self) -> Verdicts:
        """Of the photos that are evaluated, outsiders included; kept in verdicts.json."""
        made_for = {"gate": self.calibration, "split": self.profile.evaluation_split}
        outside = self.profile.outsiders is not None
        if outside:
            made_for |= asked_under(OUTSIDERS, self.profile)
        path = self.folder / "verdicts.json"
        kept = cast(Verdicts, read_remade(path))
        if kept and kept["made_for"] == json.loads(json.dumps(made_for)):
            return kept
        split = exhibit_rows(self.profile.collection, self.profile.evaluation_split)
        recognised, confidence = {}, {}
        for rows in [split, *([rows_under(OUTSIDERS, split, self.profile)] if outside else [])]:
            for row in rows:
                (found,) = self._recognise([row["image"]])
                recognised[row["data_id"]] = found.item_name
                confidence[row["data_id"]] = found.confidence
        made = Verdicts(made_for=made_for, recognised=recognised, confidence=confidence)
        write_json(path, made)
        return made

    def _recognise(self, photos: Sequence[Image.Image]) -> list[Recognition]:
        likeness = self._likeness(photos)
        threshold = self.calibration["threshold"]
        found = []
        for own in likeness:
            best = np.argsort(-own, kind="stable")[:NEAREST]
            nearest = tuple((str(self.measure.item_names[i]), float(own[i])) for i in best)
            name, confidence = nearest[0]
            known = name if confidence >= threshold else None
            found.append(Recognition(known, confidence, threshold, nearest))
        return found

    def _likeness(self, photos: Sequence[Image.Image]) -> np.ndarray:
        features = photo_features(self.finder.model, self.finder.processor, photos)
        return self.measure.likeness(features)

    def _calibration(self) -> Calibration:
        """As it was kept, or learned from the validation photos."""
        path = self.folder / "gate.json"
        made_for = self.finder.index_made_for() | {"measure": MEASURE, "rate": WRONG_REFUSALS}
        kept = cast(Calibration, read_remade(path))
        if kept and kept["made_for"] == json.loads(json.dumps(made_for)):
            return kept
        with hold(self.folder):
            made = calibrate(self._validation(), made_for)
            write_json(path, made)
        return made

    def _validation(self) -> pd.DataFrame:
        """A row a validation photo: likeness, whether a stranger, whether training has copies."""
        rows = load_split(self.profile.collection, "validation")
        train = load_split(self.profile.collection, "train")
        learned = {*train["source_photo"], *train["image_name"]} - {None}
        likeness = [float(self._likeness([photo]).max()) for photo in rows["image"]]
        names = pd.Series(list(rows["item_name"]))
        origins = pd.Series([*rows["source_photo"]]).isin(learned)
        columns = {"likeness": likeness, "stranger": names == STRANGER, "learned": origins}
        return pd.DataFrame(columns)


def calibrate(photos: pd.DataFrame, made_for: dict[str, Any]) -> Calibration:
    """The threshold for WRONG_REFUSALS, from validation photos: likeness, stranger, learned.

    Photos of which training has copies are nearer than any that come later, and count only where
    there are no others. Without a photo of an exhibit MuseQuestError is raised.
    """
    own, strangers = photos[~photos.stranger], photos[photos.stranger].likeness
    fair = own[~own.learned] if not own.learned.all() else own
    if fair.empty:
        raise MuseQuestError(
            "The validation split shows no exhibit, so nobody knows how near a photo of one comes; "
            "run dataset again, or mend the dataset that was imported."
        )
    ordered, count = np.sort(fair.likeness), len(fair)
    lowest = max(1, int(WRONG_REFUSALS * (count + 1)))
    threshold = float(ordered[lowest - 1])
    return Calibration(
        made_for=made_for,
        threshold=threshold,
        wrong_refusals=round(lowest / (count + 1), 4),
        validation_photos=count,
        learned_photos=len(own) - count,
        strangers=len(strangers),
        strangers_recognised=float((strangers >= threshold).mean()) if len(strangers) else None,
    )


def open_gate(profile: Profile, docent: System | None = None) -> Gate:
    """The gate of a profile, calibrated or read from what was kept; it looks with the base model.

    Of a `docent` that sees as the base model does it takes the loaded model, whose vision model
    is the same, and loads none. A dataset that is not there, or of which no distances can be
    learned, raises MuseQuestError.
    """
    return Gate(profile, docent)
