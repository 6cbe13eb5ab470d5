"""Make the pocket docent: pre-train it, measure what it sees, write it.

    python -m assets.workshop.scenes scenes
    python -m assets.workshop.make_docent scenes --work pretraining

writes assets/pocket_docent/ (weights in half precision, processor, record.json). The record holds
what was measured on unseen renderings.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

import torch

from musequest.core.home import root

from .docent import count_parameters
from .measures import measure
from .pretraining import LESSONS, UNSEEN, Pretraining
from .vision_pretraining import load_scenes


def write_docent(pretraining: Pretraining, folder: Path) -> None:
    """Save weights in half precision, processor and record.json into `folder`."""
    torch.manual_seed(0)
    record = {
        "made_by": "python -m assets.workshop.make_docent",
        "date": datetime.now(UTC).date().isoformat(),
        "parameters": count_parameters(pretraining.model),
        "scenes": len(pretraining.scenes.labels),
        "scenes_for_training": len(pretraining.scenes.labels) - UNSEEN,
        "seed": pretraining.seed,
        "minutes": round(pretraining.minutes, 1),
        "lessons": [
            vars(lesson) | {"last_loss": _mean(pretraining.losses[lesson.name][-50:])}
            for lesson in LESSONS
        ],
        "proof": measure(pretraining.model, pretraining.processor, pretraining.scenes, UNSEEN),
    }
    pretraining.model.half().save_pretrained(folder)
    pretraining.processor.save_pretrained(folder)
    (folder / "record.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record["proof"], indent=2), flush=True)


def _mean(values: list[float]) -> float:
    return round(sum(values) / max(1, len(values)), 4)


def main() -> None:
    """Run the lessons, measure, and write assets/pocket_docent."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("scenes", type=Path, help="folder that assets.workshop.scenes wrote")
    parser.add_argument(
        "--work", type=Path, default=Path("pretraining"), help="state to resume from"
    )
    parser.add_argument("--out", type=Path, default=root() / "assets" / "pocket_docent")
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    pretraining = Pretraining(load_scenes(arguments.scenes), arguments.work)
    print(f"{count_parameters(pretraining.model):,} parameters", flush=True)
    pretraining.run()
    write_docent(pretraining, arguments.out)


if __name__ == "__main__":
    main()
