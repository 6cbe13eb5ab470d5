"""Tables of the readmes that tell of exhibits: whose each is, and a text with its dialogs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from musequest.core.home import root
from musequest.creation.exhibits import Exhibit, read_folder

from .blocks import BLOCKS, block, markdown

POCKET, RINGS = Path("assets/pocket_museum"), Path("assets/another_domain")


def sample_pairs() -> str:
    """The pocket museum's first exhibit: its text, and a pair of each temperature."""
    from musequest.creation.dialogs import PAIRS_EACH, TEMPERATURES
    from musequest.creation.offline_writer import OfflineWriter

    exhibit = _exhibits(POCKET)[0]
    rows = []
    for temperature in TEMPERATURES:
        pair = OfflineWriter().write(exhibit, temperature, PAIRS_EACH, seed=0)[0]
        told = {"temperature": temperature, "question": pair.question, "answer": pair.answer}
        rows.append(told)
    return f"> **{exhibit.title}.** {exhibit.description}\n\n{markdown(pd.DataFrame(rows))}"


def credits_pocket() -> str:
    """Each exhibit of the pocket museum: its photos, its licence, its credit line."""
    return _credits(POCKET)


def credits_rings() -> str:
    """The same of the steel rings."""
    return _credits(RINGS)


@block(Path("assets/catalogues/smithsonian_65.csv"))
def credits_published(catalogue: pd.DataFrame) -> str:
    """Each exhibit of the published experiment: its page, and the record that holds its rights."""
    rows = [
        {"exhibit": f"[{row.item_name.replace('-', ' ')}]({row.link})", "record": row.record}
        for row in catalogue.itertuples()
    ]
    return markdown(pd.DataFrame(rows))


def _exhibits(folder: Path) -> list[Exhibit]:
    return read_folder(root() / folder)[0]


def _credits(folder: Path) -> str:
    rows = [
        {
            "exhibit": f"[{each.title}]({folder / each.photos[0]})",
            "record": each.record,
            "photos": len(each.photos),
            "licence": each.license,
            "credit": each.credit,
        }
        for each in _exhibits(folder)
    ]
    told = pd.DataFrame(rows)
    return markdown(told.loc[:, told.ne("").any()])


BLOCKS |= {
    "credits_pocket": credits_pocket,
    "credits_rings": credits_rings,
    "sample_pairs": sample_pairs,
}
