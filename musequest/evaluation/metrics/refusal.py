"""Whether a docent leaves things alone that its museum does not hold."""

from __future__ import annotations

import numpy as np

from ...text.titles import claims, telling_titles
from ..scoring_batch import ScoringBatch
from .registry import metric


@metric(
    "False recognition",
    best="low",
    meaning="How often a thing from outside the collection is called by the title of an exhibit; a "
    "garbled title does not count.",
    formula="1 if the answer says what an exhibit's title names, its words side by side and one of "
    "them a name: those before the first 'of', 'from' and the like if two or more, else all; of a "
    "title with an owner or maker, that name and the thing, the one as the other's; else 0, "
    "as for a garbled title",
    source="this project; the false positive rate of open-set recognition (Scheirer et al. 2013)",
    of_outsiders=True,
)
def false_recognition_rate(batch: ScoringBatch) -> np.ndarray:
    """1 if an answer about an outside thing names an exhibit of the collection, else 0 (best).

    NaN where no title of the collection can be told from the others.
    """
    titles = telling_titles(batch.titles)
    if not titles:
        return np.full(len(batch.answers), np.nan)
    return np.array([float(bool(claims(answer, titles))) for answer in batch.answers])
