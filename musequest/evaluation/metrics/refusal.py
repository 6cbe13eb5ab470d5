"""Whether a docent leaves things alone that its museum does not hold."""

from __future__ import annotations

import numpy as np

from ..names import claims, telling_names
from ..sheet import Sheet
from .registry import metric


@metric(
    "False recognition",
    best="low",
    meaning="How often a thing from outside the collection is taken for one of its exhibits.",
    formula="1 if the answer writes at least half of the telling names of an exhibit's title (the "
    "capitalised words that no other title has), else 0",
    source="this project; the false positive rate of open-set recognition (Scheirer et al. 2013)",
    of_outsiders=True,
)
def false_recognition_rate(sheet: Sheet) -> np.ndarray:
    """1 if an answer about an outside thing names an exhibit of the collection, else 0 (best).

    NaN where no title of the collection has a name by which it could be told.
    """
    names = telling_names(sheet.titles)
    if not names:
        return np.full(len(sheet.answers), np.nan)
    return np.array([float(bool(claims(answer, names))) for answer in sheet.answers])
