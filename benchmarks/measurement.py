"""What the benchmarks share: their options, and how figures are printed and kept.

measurement = Measurement(__doc__, "gate")
chosen = measurement.parser.parse_args()
measurement.tell(figures, chosen.record)    and in records/gate.json with --record
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
from typing import Any

from musequest.core.files import write_json
from musequest.core.home import root


class Measurement:
    """One benchmark; made before it measures, so that the machine's load is that of others."""

    def __init__(self, text: str | None, name: str) -> None:
        self.path = root() / f"benchmarks/records/{name}.json"
        self.load = round(os.getloadavg()[0], 1)
        self.parser = argparse.ArgumentParser(description=(text or "").splitlines()[0])
        self.parser.add_argument("--record", action="store_true", help=f"write {self.path.name}")

    def tell(self, figures: dict[str, Any], record: bool) -> None:
        """Print the figures with date, machine and versions, and write them to `path` if asked."""
        # Imported here, for a process begins with the memory of the one that starts it.
        from musequest.finetuning.records import hardware, versions

        told = {
            "date": datetime.date.today().isoformat(),
            **figures,
            "hardware": hardware(),
            "versions": versions(),
            "load_before": self.load,
        }
        print(json.dumps(told, indent=2))
        if record:
            write_json(self.path, told)
