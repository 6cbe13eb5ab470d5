"""What the tests of the hosted writer share: a collection of exhibits without photos, and a run."""

from pathlib import Path

import pandas as pd

from musequest.core.tables import write_table
from musequest.creation.dialogs import synthesize
from musequest.creation.hosted import HostedWriter

NAMES = ["Sela Bowl", "Orme Casket", "Brod Lantern", "Harbour Bell", "Mill Dial"]


def write_exhibits(home: Path, count: int = 5, words: str = "") -> None:
    """Write data/t/exhibits.parquet: exhibits with a year, a measure and a maker each."""
    rows = []
    for index in range(count):
        title = NAMES[index % 5] + (f" {chr(65 + index // 5 % 26)}{index}" if index >= 5 else "")
        text = (
            f"The {title} was made of copper and oak by Ilse Varn of Tarn in {1710 + index}. It is "
            f"{17 + index} cm high. The workshop kept its drawings, and a later owner gave it to "
            f"the museum, where it hangs beside the stairs.{words}"
        )
        rows.append(
            {
                "item_id": index, "item_name": f"piece-{index:04d}", "title": title, "link": "",
                "record": "", "description": text, "photos": [], "license": "CC0-1.0",
                "credit": "", "facts": None,
            }
        )  # fmt: skip
    write_table("exhibits", home / "data/t/exhibits.parquet", rows)


def run(url: str, **options) -> pd.DataFrame:
    """Write the dialogs of the collection with the model behind `url`."""
    settings = {"backoff_s": 0.01, "timeout_s": 20.0} | options
    return synthesize("t", HostedWriter(base_url=url, **settings), progress=False)
